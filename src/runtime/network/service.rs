//! The network service: the one owner of networks, endpoints, addresses, ports and names.
//!
//! All methods block for as long as the kernel takes (well below ten milliseconds), so async callers may call them
//! directly or through `spawn_blocking`.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bollard_stubs::models::{
    EndpointResource, EndpointSettings, NetworkCreateRequest, NetworkInspect, PortMap,
};

use super::create::{self, Origin};
use super::error::NetworkError;
use super::ipam::Taken;
use super::record::{ContainerRecord, Driver, NetworkRecord, inspect, is_predefined};
use super::request::{AttachRequest, HostsRequest, LiveContainer, NetworkPaths, ResolvRequest};
use super::store;

/// The outcome of a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The new network's id.
    pub id: String,
    /// What the user should know; empty mostly.
    pub warning: String,
}

/// Everything that is known, behind one lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) networks: BTreeMap<String, NetworkRecord>,
    pub(crate) containers: BTreeMap<String, ContainerRecord>,
}

/// Networks, endpoints, addresses, ports and names of one engine.
#[derive(Debug)]
pub struct NetworkService {
    paths: NetworkPaths,
    state: Mutex<State>,
}

impl NetworkService {
    /// Opens the state below the paths. Nothing of the machine is changed before [`NetworkService::restore`] or the
    /// first use.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn open(paths: NetworkPaths) -> Result<Self, NetworkError> {
        let service = Self {
            paths,
            state: Mutex::default(),
        };
        service.load()?;
        Ok(service)
    }

    /// Makes a network.
    ///
    /// # Errors
    /// When the request is wrong, or its name or addresses are taken.
    pub fn create(&self, request: &NetworkCreateRequest) -> Result<Created, NetworkError> {
        let _ = request;
        Err(NetworkError::Invalid(
            "networks cannot be made yet".to_owned(),
        ))
    }

    /// Removes a network that nobody uses.
    ///
    /// # Errors
    /// When it does not exist, is predefined or has active endpoints.
    pub fn remove(&self, reference: &str) -> Result<NetworkInspect, NetworkError> {
        let mut state = self.lock();
        let id = find(&state, reference)?.id.clone();
        store::remove(&self.paths.state.join(&id))?;
        let record = state.networks.remove(&id).expect("it was just found");
        Ok(inspect(&record, HashMap::new()))
    }

    /// One network, by name, id or prefix of an id, with its running containers.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn inspect(&self, reference: &str) -> Result<NetworkInspect, NetworkError> {
        let state = self.lock();
        let record = find(&state, reference)?;
        Ok(inspect(record, members(&state, &record.id)))
    }

    /// All networks, with their running containers, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<NetworkInspect> {
        let state = self.lock();
        state
            .networks
            .values()
            .map(|record| inspect(record, members(&state, &record.id)))
            .collect()
    }

    /// Removes networks that nobody uses and that `wanted` picks; gives back their names. Networks that only stopped
    /// containers name are the caller's to leave out.
    ///
    /// # Errors
    /// When a removal fails.
    pub fn prune(
        &self,
        wanted: impl Fn(&NetworkInspect) -> bool,
    ) -> Result<Vec<String>, NetworkError> {
        let _ = wanted;
        Ok(Vec::new())
    }

    /// Makes and pins a network namespace for a container, with loopback up; the one that it has already is kept.
    /// The path can be handed to `setns`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new_namespace(&self, container: &str) -> Result<PathBuf, NetworkError> {
        Err(NetworkError::Invalid(format!(
            "no namespace for {container} yet"
        )))
    }

    /// The pinned namespace of a container, for another that shares it (`container:ID`).
    #[must_use]
    pub fn namespace_of(&self, container: &str) -> Option<PathBuf> {
        self.lock()
            .containers
            .get(container)
            .map(|record| record.namespace.clone())
    }

    /// Connects a container that has a namespace to a network; gives back the settings as shown to clients.
    /// Networks `host` and `none` need no endpoint, only filled settings.
    ///
    /// # Errors
    /// When the network is unknown, the address taken, or the kernel refuses.
    pub fn attach(&self, request: &AttachRequest) -> Result<EndpointSettings, NetworkError> {
        Err(NetworkError::UnknownNetwork(request.network.clone()))
    }

    /// Takes a container off a network.
    ///
    /// # Errors
    /// When it is not connected.
    pub fn detach(&self, container: &str, network: &str) -> Result<(), NetworkError> {
        Err(NetworkError::NotConnected {
            container: container.to_owned(),
            network: network.to_owned(),
        })
    }

    /// The endpoints of a container by the names of their networks.
    #[must_use]
    pub fn endpoints(&self, container: &str) -> HashMap<String, EndpointSettings> {
        let _ = container;
        HashMap::new()
    }

    /// Publishes ports of a container: an empty host port is given a free one, a range its first free one, an empty
    /// host address means all addresses of both families. Gives back what holds, in the form of
    /// `NetworkSettings.Ports`. All or nothing.
    ///
    /// # Errors
    /// When a port is taken; the message names who holds it.
    pub fn publish(&self, container: &str, wishes: &PortMap) -> Result<PortMap, NetworkError> {
        let _ = (container, wishes);
        Ok(PortMap::new())
    }

    /// Gives a container's ports back.
    ///
    /// # Errors
    /// When the rules cannot be changed.
    pub fn unpublish(&self, container: &str) -> Result<(), NetworkError> {
        let _ = container;
        Ok(())
    }

    /// Gives everything of a stopped container back: ports, endpoints, names and its namespace.
    ///
    /// # Errors
    /// When something could not be removed; the rest is removed all the same.
    pub fn release(&self, container: &str) -> Result<(), NetworkError> {
        let _ = container;
        Ok(())
    }

    /// The text of `/etc/hosts` for a container.
    #[must_use]
    pub fn hosts_file(&self, request: &HostsRequest) -> String {
        let _ = request;
        String::new()
    }

    /// The text of `/etc/resolv.conf` for a container.
    #[must_use]
    pub fn resolv_conf(&self, request: &ResolvRequest) -> String {
        let _ = request;
        String::new()
    }

    /// After a start of the engine: makes bridges, rules, forwarders and name servers of the living containers stand
    /// again, and removes whatever belongs to nobody.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn restore(&self, live: &[LiveContainer]) -> Result<(), NetworkError> {
        let _ = live;
        Ok(())
    }

    /// The rules of this engine as text, a line each, for `hoist network rules`.
    #[must_use]
    pub fn rules(&self) -> Vec<String> {
        Vec::new()
    }

    /// Removes links, rules and namespaces of this engine when nothing runs any more; the networks stay on disk.
    ///
    /// # Errors
    /// When something could not be removed.
    pub fn shut_down(&self) -> Result<(), NetworkError> {
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Result<(), NetworkError> {
        let mut state = self.lock();
        for folder in store::entries(&self.paths.state)? {
            if let Some(record) = store::read::<NetworkRecord>(&folder.join("network.json"))? {
                state.networks.insert(record.id.clone(), record);
            }
        }
        Ok(())
    }
}

/// A network by name, id or prefix of an id.
pub(crate) fn find<'a>(
    state: &'a State,
    reference: &str,
) -> Result<&'a NetworkRecord, NetworkError> {
    let unknown = || NetworkError::UnknownNetwork(reference.to_owned());
    if let Some(record) = state.networks.get(reference) {
        return Ok(record);
    }
    if let Some(record) = state
        .networks
        .values()
        .find(|record| record.name == reference)
    {
        return Ok(record);
    }
    let mut matches = state
        .networks
        .values()
        .filter(|record| !reference.is_empty() && record.id.starts_with(reference));
    match (matches.next(), matches.next()) {
        (Some(record), None) => Ok(record),
        (Some(_), Some(_)) => Err(NetworkError::Ambiguous(reference.to_owned())),
        (None, _) => Err(unknown()),
    }
}

/// The running containers of a network.
pub(crate) fn members(state: &State, network: &str) -> HashMap<String, EndpointResource> {
    let mut members = HashMap::new();
    for (id, container) in &state.containers {
        for endpoint in container
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.network == network)
        {
            let settings = &endpoint.settings;
            let address = |address: &Option<String>, prefix: Option<i64>| {
                let address = address.as_deref().filter(|text| !text.is_empty());
                address.map_or_else(String::new, |text| {
                    format!("{text}/{}", prefix.unwrap_or(0))
                })
            };
            members.insert(
                id.clone(),
                EndpointResource {
                    name: Some(container.names.name.clone()),
                    endpoint_id: Some(endpoint.id.clone()),
                    mac_address: settings.mac_address.clone(),
                    ipv4_address: Some(address(&settings.ip_address, settings.ip_prefix_len)),
                    ipv6_address: Some(address(
                        &settings.global_ipv6_address,
                        settings.global_ipv6_prefix_len,
                    )),
                },
            );
        }
    }
    members
}
