//! Namespaces and endpoints of containers.

use std::collections::HashMap;
use std::os::fd::{AsFd, RawFd};
use std::path::{Path, PathBuf};

use bollard_stubs::models::EndpointSettings;

use super::{NetworkService, State, find, random_id, used_addresses};
use crate::runtime::network::bridge;
use crate::runtime::network::dns;
use crate::runtime::network::endpoint::{self, Connection};
use crate::runtime::network::error::NetworkError;
use crate::runtime::network::namespace;
use crate::runtime::network::record::{ContainerRecord, Driver, EndpointRecord, NetworkRecord};
use crate::runtime::network::request::{AttachRequest, ContainerNames};
use crate::runtime::network::store;
use crate::runtime::network::turn::Turn;

impl NetworkService {
    /// Makes and pins a network namespace for a container, with loopback up; the one that it has already is kept.
    /// The path can be handed to `setns`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new_namespace(&self, container: &str) -> Result<PathBuf, NetworkError> {
        let path = self.pin_path(container);
        let mut state = self.lock();
        if !state.containers.contains_key(container) {
            let record = ContainerRecord {
                names: ContainerNames {
                    id: container.to_owned(),
                    ..ContainerNames::default()
                },
                namespace: path.clone(),
                endpoints: Vec::new(),
                ports: Vec::new(),
            };
            store::write(&self.container_path(container), &record)?;
            state.containers.insert(container.to_owned(), record);
        }
        namespace::pin(&path)?;
        Ok(path)
    }

    /// The same with a namespace that was made elsewhere: pinned in place of one that is left from before.
    ///
    /// # Errors
    /// When it cannot be pinned.
    pub fn adopt_namespace(&self, container: &str, made: &Path) -> Result<PathBuf, NetworkError> {
        namespace::pin_made(&self.pin_path(container), made)?;
        self.new_namespace(container)
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
        let mut state = self.lock();
        let network = find(&state, &request.network)?.clone();
        if network.config_only {
            return Err(NetworkError::Forbidden(format!(
                "network {} is a config-only network: containers cannot be connected to it",
                network.name
            )));
        }
        if matches!(network.driver, Driver::Host | Driver::Null) {
            return Ok(without_endpoint(&network, request));
        }
        let turn = (!state.standing.contains_key(&network.id)).then(Turn::take);
        self.yield_subnet(&mut state, &network.id)?;
        let network = find(&state, &network.id)?.clone();
        let endpoint = plan(&state, &network, request)?;
        let settings = endpoint.settings.clone();
        let index = self.stand_up(&mut state, &network.id)?;
        drop(turn);
        self.remember(&mut state, request, endpoint.clone())?;
        if let Err(error) = self.carry_out(
            &mut state,
            &network,
            &endpoint,
            &request.container.id,
            index,
        ) {
            drop(self.take_back(&mut state, &request.container.id, &network.id));
            return Err(error);
        }
        Ok(settings)
    }

    /// The record is written before anything stands, so that a crash leaves nothing that nobody knows of.
    fn remember(
        &self,
        state: &mut State,
        request: &AttachRequest,
        endpoint: EndpointRecord,
    ) -> Result<(), NetworkError> {
        let id = &request.container.id;
        let container = state.containers.get_mut(id).expect("the plan found it");
        container.names = request.container.clone();
        container.endpoints.push(endpoint);
        store::write(&self.container_path(id), container)
    }

    fn carry_out(
        &self,
        state: &mut State,
        network: &NetworkRecord,
        endpoint: &EndpointRecord,
        container: &str,
        index: u32,
    ) -> Result<(), NetworkError> {
        let record = &state.containers[container];
        let wants_names = dns::has_names(network) && !self.names.serves(container);
        let connection = Connection {
            network,
            endpoint,
            namespace: &namespace::open(&record.namespace)?,
            host_index: index,
            owner: bridge::owner_mark(&self.paths.instance, &network.id),
            ways: endpoint::ways(&ends(state, record)),
        };
        let sockets =
            endpoint::connect(&connection, || wants_names.then(dns::sockets).transpose())?;
        self.names
            .directory()
            .join(&record.names, endpoint, network);
        if let Some(sockets) = sockets {
            self.names.serve_on(container, sockets, &self.background);
        }
        self.lead_ports(state, container)
    }

    /// The numbers of the sockets of a container's name server, where it has one.
    #[must_use]
    pub fn name_sockets(&self, container: &str) -> Option<[RawFd; 2]> {
        self.names.sockets_of(container)
    }

    /// Starts the container's name server.
    pub(super) fn serve_names(&self, record: &ContainerRecord) -> Result<(), NetworkError> {
        let namespace = namespace::open(&record.namespace)?;
        self.names
            .serve(&record.names.id, namespace.as_fd(), &self.background)
            .map_err(NetworkError::kernel(format!(
                "start the name server of `{}`",
                record.names.name
            )))
    }

    /// After a change of endpoints: default routes, and the way of published ports.
    pub(super) fn settle(&self, state: &mut State, container: &str) -> Result<(), NetworkError> {
        let record = &state.containers[container];
        if namespace::is_pinned(&record.namespace) {
            endpoint::route(&ends(state, record), &record.namespace)?;
        }
        self.lead_ports(state, container)
    }

    /// Takes a container off a network.
    ///
    /// # Errors
    /// When it is not connected.
    pub fn detach(&self, container: &str, network: &str) -> Result<(), NetworkError> {
        let mut state = self.lock();
        let network = find(&state, network)?.clone();
        let connected = state
            .containers
            .get(container)
            .is_some_and(|record| record.endpoints.iter().any(|end| end.network == network.id));
        if !connected {
            return Err(NetworkError::NotConnected {
                container: container.to_owned(),
                network: network.name,
            });
        }
        self.take_back(&mut state, container, &network.id)?;
        self.settle(&mut state, container)
    }

    /// Removes one endpoint with its links and names.
    fn take_back(
        &self,
        state: &mut State,
        container: &str,
        network: &str,
    ) -> Result<(), NetworkError> {
        let Some(record) = state.containers.get_mut(container) else {
            return Ok(());
        };
        let Some(place) = record
            .endpoints
            .iter()
            .position(|end| end.network == network)
        else {
            return Ok(());
        };
        let endpoint = record.endpoints.remove(place);
        self.names.directory().leave(container, network);
        let gone = endpoint::disconnect(&endpoint, &record.namespace);
        store::write(&self.container_path(container), record)?;
        gone
    }

    /// The endpoints of a container by the names of their networks.
    #[must_use]
    pub fn endpoints(&self, container: &str) -> HashMap<String, EndpointSettings> {
        let state = self.lock();
        let record = state.containers.get(container);
        record
            .into_iter()
            .flat_map(|record| ends(&state, record))
            .map(|(network, endpoint)| (network.name.clone(), endpoint.settings.clone()))
            .collect()
    }

    /// Gives everything of a stopped container back: ports, endpoints, names and its namespace.
    ///
    /// # Errors
    /// When something could not be removed; the rest is removed all the same.
    pub fn release(&self, container: &str) -> Result<(), NetworkError> {
        self.release_locked(&mut self.lock(), container)
    }

    pub(super) fn release_locked(
        &self,
        state: &mut State,
        container: &str,
    ) -> Result<(), NetworkError> {
        let mut outcome = self.drop_ports(state, container);
        self.names.stop(container);
        if let Some(record) = state.containers.remove(container) {
            for endpoint in &record.endpoints {
                self.names.directory().leave(container, &endpoint.network);
                outcome = outcome.and(endpoint::retire(endpoint));
            }
        }
        outcome = outcome.and(namespace::unpin(&self.pin_path(container)));
        outcome.and(store::remove(&self.container_path(container)))
    }

    pub(super) fn pin_path(&self, container: &str) -> PathBuf {
        self.paths.run.join("netns").join(container)
    }

    pub(super) fn container_path(&self, container: &str) -> PathBuf {
        self.paths
            .run
            .join("network")
            .join(format!("{container}.json"))
    }
}

/// The endpoints of a container with their networks.
pub(super) fn ends<'a>(
    state: &'a State,
    record: &'a ContainerRecord,
) -> Vec<(&'a NetworkRecord, &'a EndpointRecord)> {
    record
        .endpoints
        .iter()
        .filter_map(|endpoint| Some((state.networks.get(&endpoint.network)?, endpoint)))
        .collect()
}

fn plan(
    state: &State,
    network: &NetworkRecord,
    request: &AttachRequest,
) -> Result<EndpointRecord, NetworkError> {
    let container = state.containers.get(&request.container.id).ok_or_else(|| {
        NetworkError::Invalid(format!(
            "container {} has no network namespace",
            request.container.id
        ))
    })?;
    if container
        .endpoints
        .iter()
        .any(|endpoint| endpoint.network == network.id)
    {
        return Err(NetworkError::AlreadyConnected {
            container: request.container.name.clone(),
            network: network.name.clone(),
        });
    }
    let used = used_addresses(state, &network.id);
    endpoint::decide(network, request, container, &used, random_id())
}

fn without_endpoint(network: &NetworkRecord, request: &AttachRequest) -> EndpointSettings {
    let empty = || Some(String::new());
    EndpointSettings {
        network_id: Some(network.id.clone()),
        endpoint_id: Some(random_id()),
        gateway: empty(),
        ip_address: empty(),
        ip_prefix_len: Some(0),
        ipv6_gateway: empty(),
        global_ipv6_address: empty(),
        global_ipv6_prefix_len: Some(0),
        mac_address: empty(),
        ..request.settings.clone()
    }
}
