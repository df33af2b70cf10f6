//! The network service: the one owner of networks, endpoints, addresses, ports and names.
//!
//! All methods block for as long as the kernel takes (well below ten milliseconds), so async callers may call them
//! directly or through `spawn_blocking`. One lock guards everything: the kernel serialises changes of links anyway.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | networks: create, list, remove |
//! | `connect.rs` | namespaces and endpoints |
//! | `publish.rs` | ports |
//! | `files.rs` | `/etc/hosts`, `/etc/resolv.conf` |
//! | `restore.rs` | after a start of the engine; at its end; repair |
//! | `watch.rs` | hears when somebody removes rules or links |
//! | `yield_subnet.rs` | subnets that the host came to use for something else |

mod connect;
mod files;
mod publish;
mod restore;
mod watch;
mod yield_subnet;

pub use restore::Repair;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_stubs::models::{EndpointResource, NetworkCreateRequest, NetworkInspect};
use sha2::{Digest, Sha256};

use super::background::Background;
use super::bridge;
use super::create::{self, Origin};
use super::dns::NameServer;
use super::endpoint;
use super::error::NetworkError;
use super::firewall::{Element, Firewall, Set};
use super::ipam::Taken;
use super::link;
use super::obstacle;
use super::overlay::{self, Overlay};
use super::port::Holder;
use super::record::{ContainerRecord, Driver, NetworkRecord, inspect, is_predefined};
use super::relay::Relay;
use super::request::{NetworkPaths, WayOut};
use super::store;
use super::subnet::{Family, Subnet};
use super::turn::Turn;
use crate::runtime::sys::netns;

/// The outcome of a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The new network's id.
    pub id: String,
    /// What the user should know; empty mostly.
    pub warning: String,
}

/// Everything that is known, behind one lock.
#[derive(Debug)]
struct State {
    networks: BTreeMap<String, NetworkRecord>,
    containers: BTreeMap<String, ContainerRecord>,
    firewall: Firewall,
    /// The host links of networks that stand, by network id.
    standing: HashMap<String, u32>,
    /// The host sockets that hold published ports, by container id.
    holders: HashMap<String, Vec<Holder>>,
    /// The rules that lead published ports to a container.
    port_rules: HashMap<String, Vec<Element>>,
    /// The way out, where it is the engine itself.
    _relay: Option<Relay>,
}

/// Networks, endpoints, addresses, ports and names of one engine.
#[derive(Debug)]
pub struct NetworkService {
    paths: NetworkPaths,
    state: Arc<Mutex<State>>,
    names: Arc<NameServer>,
    background: Background,
}

impl NetworkService {
    /// Opens the state below the paths. Nothing of the machine is changed before [`NetworkService::restore`] or the
    /// first use.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn open(paths: NetworkPaths) -> Result<Self, NetworkError> {
        let background = Background::start().map_err(NetworkError::kernel(
            "start the thread of forwarders and name servers",
        ))?;
        let mut firewall = Firewall::new(&paths.instance);
        let relay = match paths.way_out {
            WayOut::Host => None,
            way_out => {
                let started = Relay::start(&background, way_out);
                Some(started.map_err(NetworkError::kernel("start the relay of connections"))?)
            }
        };
        if let Some(relay) = &relay {
            firewall.lead_to_relay(relay.doors());
        }
        let state = State {
            networks: BTreeMap::new(),
            containers: BTreeMap::new(),
            firewall,
            standing: HashMap::new(),
            holders: HashMap::new(),
            port_rules: HashMap::new(),
            _relay: relay,
        };
        let service = Self {
            paths,
            state: Arc::new(Mutex::new(state)),
            names: Arc::new(NameServer::default()),
            background,
        };
        service.load()?;
        service.add_predefined()?;
        service.watch();
        Ok(service)
    }

    /// Without the watcher nothing fails; what others remove then stays away until the next use.
    fn watch(&self) {
        match netns::on_ground(watch::Ears::open).flatten() {
            Ok(ears) => {
                let state = Arc::downgrade(&self.state);
                let work = watch::run(ears, state, self.paths.instance.clone());
                drop(self.background.handle().spawn(work));
            }
            Err(error) => tracing::warn!(%error, "cannot watch rules and links"),
        }
    }

    /// Makes a network.
    ///
    /// # Errors
    /// When the request is wrong, or its name or addresses are taken.
    pub fn create(&self, request: &NetworkCreateRequest) -> Result<Created, NetworkError> {
        if request.name.trim().is_empty() {
            return Err(NetworkError::Invalid(
                "network name cannot be empty".to_owned(),
            ));
        }
        if is_predefined(&request.name) {
            return Err(NetworkError::Forbidden(format!(
                "operation is not permitted on predefined {} network",
                request.name
            )));
        }
        if matches!(request.driver.as_deref(), Some("host" | "null" | "none")) {
            return Err(NetworkError::Forbidden(format!(
                "only one instance of \"{}\" network is allowed",
                request.driver.as_deref().unwrap_or_default()
            )));
        }
        let mut state = self.lock();
        if state
            .networks
            .values()
            .any(|record| record.name == request.name)
        {
            return Err(NetworkError::NameTaken(request.name.clone()));
        }
        let _turn = Turn::take();
        let record = self.decide(&state, request)?;
        self.add(&mut state, record)
    }

    fn decide(
        &self,
        state: &State,
        request: &NetworkCreateRequest,
    ) -> Result<NetworkRecord, NetworkError> {
        let lender = request
            .config_from
            .as_ref()
            .and_then(|source| source.network.as_deref())
            .filter(|name| !name.is_empty())
            .map(|name| find(state, name))
            .transpose()?;
        let origin = Origin {
            id: random_id(),
            created: jiff::Timestamp::now().to_string(),
            site: self.site(),
        };
        let record = create::decide(request, &origin, &taken(state)?, lender)?;
        endpoint::check_options(&record)?;
        Overlay::of(&record)?;
        overlay::beyond(&record)?;
        check_bridge_name(state, &record)?;
        Ok(record)
    }

    /// The record first, so that nothing can stand that nobody knows of; taken back when the links cannot be made.
    fn add(&self, state: &mut State, record: NetworkRecord) -> Result<Created, NetworkError> {
        let id = record.id.clone();
        store::write(&self.record_path(&id), &record)?;
        let needs_links = record.driver != Driver::Host && record.driver != Driver::Null;
        let stands = needs_links && !record.config_only;
        let mut warnings: Vec<_> = Overlay::of(&record)?.iter().map(Overlay::warning).collect();
        if stands && record.driver.has_bridge() {
            warnings.extend(obstacle::find());
        }
        state.networks.insert(id.clone(), record);
        if stands && let Err(error) = self.stand_up(state, &id) {
            drop(self.forget(state, &id)); // the first failure is the one to tell
            return Err(error);
        }
        warnings.retain(|warning| !warning.is_empty());
        Ok(Created {
            id,
            warning: warnings.join("; "),
        })
    }

    /// Removes a network that nobody uses.
    ///
    /// # Errors
    /// When it does not exist, is predefined or has active endpoints.
    pub fn remove(&self, reference: &str) -> Result<NetworkInspect, NetworkError> {
        let mut state = self.lock();
        let record = find(&state, reference)?.clone();
        if record.is_predefined() {
            return Err(NetworkError::Forbidden(format!(
                "{} is a pre-defined network and cannot be removed",
                record.name
            )));
        }
        let users = users(&state, &record);
        if !users.is_empty() {
            return Err(NetworkError::Forbidden(format!(
                "error while removing network: network {} has active endpoints ({})",
                record.name,
                users.join(", ")
            )));
        }
        self.forget(&mut state, &record.id)?;
        Ok(inspect(&record, HashMap::new()))
    }

    fn forget(&self, state: &mut State, id: &str) -> Result<(), NetworkError> {
        let Some(record) = state.networks.get(id).cloned() else {
            return Ok(());
        };
        if state.standing.remove(id).is_some() || record.driver.has_bridge() {
            state
                .firewall
                .remove(elements(&record))
                .map_err(NetworkError::kernel("change the firewall rules"))?;
            bridge::take_down(&record, &self.paths.instance)?;
        }
        store::remove(&self.paths.state.join(id))?;
        state.networks.remove(id);
        if has_peers(&record) && !state.networks.values().any(has_peers) {
            self.names.leave_peers();
        }
        Ok(())
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
        let mut records: Vec<_> = state.networks.values().collect();
        records.sort_by(|one, other| one.created.cmp(&other.created));
        records
            .into_iter()
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
        let mut state = self.lock();
        let unused: Vec<_> = state
            .networks
            .values()
            .filter(|record| !record.is_predefined() && users(&state, record).is_empty())
            .filter(|record| wanted(&inspect(record, HashMap::new())))
            .map(|record| (record.id.clone(), record.name.clone()))
            .collect();
        let mut removed = Vec::new();
        for (id, name) in unused {
            self.forget(&mut state, &id)?;
            removed.push(name);
        }
        Ok(removed)
    }

    /// The rules of this engine as text in the syntax of `nft`, a line each, for `hoist network rules`.
    #[must_use]
    pub fn rules(&self) -> Vec<String> {
        self.lock().firewall.text()
    }

    /// Makes the host's side of a network stand and gives back its link.
    fn stand_up(&self, state: &mut State, id: &str) -> Result<u32, NetworkError> {
        let index = stand_up(state, &self.paths.instance, id)?;
        if state.networks.get(id).is_some_and(has_peers)
            && let Err(error) = self.names.meet_peers(&self.background)
        {
            tracing::warn!(%error, "other hosts of overlay networks find no names of this one");
        }
        Ok(index)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.paths.state.join(id).join("network.json")
    }

    /// The engine's part of unique local IPv6 addresses: the same for the same state folder.
    fn site(&self) -> [u8; 5] {
        let digest = Sha256::digest(self.paths.state.as_os_str().as_encoded_bytes());
        std::array::from_fn(|index| digest[index])
    }

    fn load(&self) -> Result<(), NetworkError> {
        let mut state = self.lock();
        for folder in store::entries(&self.paths.state)? {
            match store::read::<NetworkRecord>(&folder.join("network.json"))? {
                Some(record) => {
                    state.networks.insert(record.id.clone(), record);
                }
                None => store::remove(&folder)?, // half made
            }
        }
        Ok(())
    }

    /// The networks that always exist.
    fn add_predefined(&self) -> Result<(), NetworkError> {
        let mut state = self.lock();
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
            if state.networks.values().any(|record| record.name == name) {
                continue;
            }
            let options = (driver == "bridge").then(|| self.default_bridge_options());
            let request = NetworkCreateRequest {
                name: name.to_owned(),
                driver: Some(driver.to_owned()),
                options,
                ..NetworkCreateRequest::default()
            };
            let record = self.decide(&state, &request)?;
            store::write(&self.record_path(&record.id), &record)?;
            state.networks.insert(record.id.clone(), record);
        }
        Ok(())
    }

    fn default_bridge_options(&self) -> HashMap<String, String> {
        let mut bridge = format!("hoist{}", self.paths.instance);
        bridge.truncate(14); // a link's name has at most fifteen bytes
        [
            ("com.docker.network.bridge.default_bridge", "true"),
            ("com.docker.network.bridge.enable_icc", "true"),
            ("com.docker.network.bridge.enable_ip_masquerade", "true"),
            ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
            ("com.docker.network.bridge.name", &format!("{bridge}0")),
            ("com.docker.network.driver.mtu", "1500"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }
}

/// Makes the host's side of a network stand and gives back its link; one that stands is only looked at, so a
/// bridge that somebody removed comes back at the next use.
fn stand_up(state: &mut State, instance: &str, id: &str) -> Result<u32, NetworkError> {
    let record = state
        .networks
        .get(id)
        .cloned()
        .ok_or_else(|| NetworkError::UnknownNetwork(id.to_owned()))?;
    let name = if record.driver.has_bridge() {
        record.bridge_name()
    } else {
        bridge::parent_name(&record)
    };
    let seen = link::index_of(&name).map_err(NetworkError::kernel(format!("find `{name}`")))?;
    if let (Some(index), Some(known)) = (seen, state.standing.get(id))
        && index == *known
    {
        return Ok(index);
    }
    let index = bridge::stand_up(&record, instance)?;
    if record.driver.has_bridge() {
        bridge::allow_forwarding(&record)?;
        state
            .firewall
            .add(elements(&record))
            .map_err(NetworkError::kernel("write the firewall rules (nftables)"))?;
    }
    state.standing.insert(id.to_owned(), index);
    Ok(index)
}

/// Whether a network reaches other hosts, whose engines know names of it.
fn has_peers(network: &NetworkRecord) -> bool {
    matches!(overlay::beyond(network), Ok(Some(_)))
}

/// 64 random hexadecimal digits.
fn random_id() -> String {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .expect("a buffer of 32 bytes can be filled");
    }
    hex::encode(bytes)
}

/// What a new network must not overlap.
fn taken(state: &State) -> Result<Taken, NetworkError> {
    let ours: Vec<u32> = state.standing.values().copied().collect();
    let networks = state
        .networks
        .values()
        .filter(|record| !record.config_only)
        .flat_map(|record| record.pools.iter().map(|pool| pool.subnet))
        .collect();
    let routes: Vec<Subnet> =
        link::routed_blocks(&ours).map_err(NetworkError::kernel("list the routes of the host"))?;
    Ok(Taken { networks, routes })
}

fn check_bridge_name(state: &State, record: &NetworkRecord) -> Result<(), NetworkError> {
    let name = record.bridge_name();
    let same = |other: &&NetworkRecord| other.driver.has_bridge() && other.bridge_name() == name;
    match state.networks.values().find(same) {
        Some(other) if record.driver.has_bridge() => Err(NetworkError::Forbidden(format!(
            "cannot create network {}: bridge name `{name}` is in use by network {}",
            record.name, other.name
        ))),
        _ => Ok(()),
    }
}

const MODE_IPV4: &str = "com.docker.network.bridge.gateway_mode_ipv4";
const MODE_IPV6: &str = "com.docker.network.bridge.gateway_mode_ipv6";

/// What the firewall knows of a network.
fn elements(record: &NetworkRecord) -> Vec<Element> {
    if !record.driver.has_bridge() {
        return Vec::new();
    }
    let name = record.bridge_name();
    let option = |key: &str| record.options.get(key).map(String::as_str);
    let mut list = vec![Element::Bridge(Set::Bridges, name.clone())];
    if record.flag("com.docker.network.bridge.enable_icc") != Some(false) {
        list.push(Element::Pair(Set::Together, name.clone()));
    }
    if record.internal {
        list.push(Element::Bridge(Set::Internal, name.clone()));
    }
    let masquerades = record.flag("com.docker.network.bridge.enable_ip_masquerade") != Some(false);
    for pool in &record.pools {
        let (key, blocks, masquerade) = match pool.subnet.family() {
            Family::V4 => (MODE_IPV4, Set::Blocks4, Set::Masquerade4),
            Family::V6 => (MODE_IPV6, Set::Blocks6, Set::Masquerade6),
        };
        list.push(Element::Block(blocks, pool.subnet));
        if masquerades && !record.internal && option(key) != Some("routed") {
            list.push(Element::Block(masquerade, pool.subnet));
        }
        if matches!(option(key), Some("routed" | "nat-unprotected")) && !record.internal {
            list.push(Element::Bridge(Set::Open, name.clone()));
        }
    }
    for (address, _) in bridge::gateways(record) {
        list.push(Element::Gateway(name.clone(), address));
        list.push(Element::Address(address));
    }
    list
}

/// A network by name, id or prefix of an id.
fn find<'a>(state: &'a State, reference: &str) -> Result<&'a NetworkRecord, NetworkError> {
    let wanted = if reference == "default" {
        "bridge"
    } else {
        reference
    };
    if let Some(record) = state.networks.get(wanted) {
        return Ok(record);
    }
    if let Some(record) = state.networks.values().find(|record| record.name == wanted) {
        return Ok(record);
    }
    let mut matches = state
        .networks
        .values()
        .filter(|record| !wanted.is_empty() && record.id.starts_with(wanted));
    match (matches.next(), matches.next()) {
        (Some(record), None) => Ok(record),
        (Some(_), Some(_)) => Err(NetworkError::Ambiguous(reference.to_owned())),
        (None, _) => Err(NetworkError::UnknownNetwork(reference.to_owned())),
    }
}

/// Who keeps a network from being removed: running containers, or networks that borrow from it.
fn users(state: &State, record: &NetworkRecord) -> Vec<String> {
    let containers = state
        .containers
        .values()
        .filter(|container| {
            container
                .endpoints
                .iter()
                .any(|end| end.network == record.id)
        })
        .map(|container| {
            format!(
                "name:\"{}\" id:\"{:.12}\"",
                container.names.name, container.names.id
            )
        });
    let borrowers = state
        .networks
        .values()
        .filter(|other| record.config_only && other.config_from.as_deref() == Some(&*record.name))
        .map(|other| format!("network:\"{}\"", other.name));
    containers.chain(borrowers).collect()
}

/// The addresses in use on a network.
fn used_addresses(state: &State, network: &str) -> HashSet<IpAddr> {
    state
        .containers
        .values()
        .flat_map(|container| &container.endpoints)
        .filter(|endpoint| endpoint.network == network)
        .flat_map(|endpoint| {
            [endpoint.ipv4.map(IpAddr::V4), endpoint.ipv6.map(IpAddr::V6)]
                .into_iter()
                .flatten()
        })
        .collect()
}

/// The running containers of a network.
fn members(state: &State, network: &str) -> HashMap<String, EndpointResource> {
    let mut members = HashMap::new();
    for (id, container) in &state.containers {
        let ends = container
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.network == network);
        for endpoint in ends {
            let settings = &endpoint.settings;
            let address = |address: &Option<String>, prefix: Option<i64>| {
                let address = address.as_deref().filter(|text| !text.is_empty());
                address.map_or_else(String::new, |text| {
                    format!("{text}/{}", prefix.unwrap_or(0))
                })
            };
            let resource = EndpointResource {
                name: Some(container.names.name.clone()),
                endpoint_id: Some(endpoint.id.clone()),
                mac_address: settings.mac_address.clone(),
                ipv4_address: Some(address(&settings.ip_address, settings.ip_prefix_len)),
                ipv6_address: Some(address(
                    &settings.global_ipv6_address,
                    settings.global_ipv6_prefix_len,
                )),
            };
            members.insert(id.clone(), resource);
        }
    }
    members
}
