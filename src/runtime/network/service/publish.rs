//! Published ports: sockets that hold them on the host, and rules that lead them to the container.

use std::net::SocketAddr;

use bollard_stubs::models::PortMap;

use super::connect::ends;
use super::{NetworkService, State};
use crate::runtime::network::conntrack;
use crate::runtime::network::endpoint;
use crate::runtime::network::error::NetworkError;
use crate::runtime::network::firewall::{Element, PortRule};
use crate::runtime::network::link::is_unspecified;
use crate::runtime::network::port::{self, Claim, Holder, Targets};
use crate::runtime::network::record::{Protocol, PublishedPort};
use crate::runtime::network::store;
use crate::runtime::network::subnet::Family;

impl NetworkService {
    /// Publishes ports of a container: an empty host port is given a free one, a range its first free one, an empty
    /// host address means all addresses of both families. Gives back what holds, in the form of
    /// `NetworkSettings.Ports`. All or nothing.
    ///
    /// # Errors
    /// When a port is taken; the message names who holds it.
    ///
    /// # Panics
    /// Never: the container is looked up under the same lock.
    pub fn publish(&self, container: &str, wishes: &PortMap) -> Result<PortMap, NetworkError> {
        let wishes = port::parse(wishes)?;
        let mut state = self.lock();
        let targets = targets(&state, container);
        let Some(record) = state.containers.get(container).cloned() else {
            return Ok(port::to_map(&wishes, &[]));
        };
        if targets == Targets::default() {
            // No network with a way out: as in Docker, nothing is published and nothing said.
            return Ok(port::to_map(&wishes, &[]));
        }
        let mut holders = Vec::new();
        for wish in &wishes {
            let claim = Claim {
                wish,
                endpoint: &record.names.name,
                targets,
            };
            let taken = |published: &PublishedPort| {
                holder_of(&state, &holders, &record.names.name, published)
            };
            let new = port::claim(&claim, &taken)?;
            holders.extend(new);
        }
        for holder in &mut holders {
            holder.forward(&self.background);
        }
        let published: Vec<_> = holders.iter().map(|holder| holder.port.clone()).collect();
        let record = state
            .containers
            .get_mut(container)
            .expect("it was just found");
        record.ports.extend(published.iter().cloned());
        store::write(&self.container_path(container), record)?;
        state
            .holders
            .entry(container.to_owned())
            .or_default()
            .extend(holders);
        if let Err(error) = self.lead_ports(&mut state, container) {
            drop(self.drop_ports(&mut state, container));
            return Err(error);
        }
        Ok(port::to_map(&wishes, &published))
    }

    /// Gives a container's ports back.
    ///
    /// # Errors
    /// When the rules cannot be changed.
    pub fn unpublish(&self, container: &str) -> Result<(), NetworkError> {
        self.drop_ports(&mut self.lock(), container)
    }

    pub(super) fn drop_ports(
        &self,
        state: &mut State,
        container: &str,
    ) -> Result<(), NetworkError> {
        state.holders.remove(container);
        let outcome = match state.port_rules.remove(container) {
            Some(rules) => state
                .firewall
                .remove(rules)
                .map_err(NetworkError::kernel("remove the rules of published ports")),
            None => Ok(()),
        };
        if let Some(record) = state.containers.get_mut(container)
            && !record.ports.is_empty()
        {
            forget_flows(&record.ports);
            record.ports.clear();
            store::write(&self.container_path(container), record)?;
        }
        outcome
    }

    /// Makes the rules of a container's ports lead to the address that it has now.
    pub(super) fn lead_ports(
        &self,
        state: &mut State,
        container: &str,
    ) -> Result<(), NetworkError> {
        let targets = targets(state, container);
        for holder in state.holders.get(container).into_iter().flatten() {
            holder.aim(targets);
        }
        let ports = state
            .containers
            .get(container)
            .map(|record| record.ports.clone());
        let wanted: Vec<_> = ports
            .iter()
            .flatten()
            .filter_map(|port| rule_of(port, targets))
            .collect();
        let present = state.port_rules.get(container).cloned().unwrap_or_default();
        if wanted == present {
            return Ok(());
        }
        let failed = || NetworkError::kernel("write the rules of published ports");
        state.firewall.remove(present).map_err(failed())?;
        state
            .port_rules
            .insert(container.to_owned(), wanted.clone());
        state.firewall.add(wanted).map_err(failed())?;
        forget_flows(ports.as_deref().unwrap_or_default());
        Ok(())
    }

    /// The ports of a container as shown to clients.
    #[must_use]
    pub fn ports(&self, container: &str) -> PortMap {
        let state = self.lock();
        let record = state.containers.get(container);
        port::published_map(record.map_or(&[], |record| record.ports.as_slice()))
    }
}

/// After the rules of ports changed. Where the kernel cannot forget, clients that go on sending from the same port have to
/// pause for as long as the kernel remembers them.
fn forget_flows(ports: &[PublishedPort]) {
    if let Err(error) = conntrack::forget_flows(ports) {
        tracing::warn!(%error, "cannot forget the flows of published UDP ports");
    }
}

/// Where published ports of a container lead: the endpoints that its default routes go by.
pub(super) fn targets(state: &State, container: &str) -> Targets {
    let Some(record) = state.containers.get(container) else {
        return Targets::default();
    };
    let bridged: Vec<_> = ends(state, record)
        .into_iter()
        .filter(|(network, _)| network.driver.has_bridge())
        .collect();
    let best = |family| endpoint::gateway_of(&bridged, family).map(|(_, endpoint)| *endpoint);
    Targets {
        v4: best(Family::V4).and_then(|endpoint| endpoint.ipv4),
        v6: best(Family::V6).and_then(|endpoint| endpoint.ipv6),
    }
}

/// The map entry of a port; a port of a family that the container does not have is the forwarder's alone.
fn rule_of(port: &PublishedPort, targets: Targets) -> Option<Element> {
    let to = match Family::of(port.host_ip) {
        Family::V4 => targets.v4?.into(),
        Family::V6 => targets.v6?.into(),
    };
    Some(Element::Port(PortRule {
        at: (!is_unspecified(port.host_ip)).then_some(port.host_ip),
        protocol: port.protocol,
        port: port.host_port,
        to: SocketAddr::new(to, port.container_port),
    }))
}

/// Which container of this engine holds a port already.
fn holder_of(
    state: &State,
    pending: &[Holder],
    pending_name: &str,
    wanted: &PublishedPort,
) -> Option<String> {
    let clashes = |held: &PublishedPort| {
        let same = |protocol: Protocol| protocol == wanted.protocol;
        let both = is_unspecified(held.host_ip) || is_unspecified(wanted.host_ip);
        same(held.protocol)
            && held.host_port == wanted.host_port
            && Family::of(held.host_ip) == Family::of(wanted.host_ip)
            && (both || held.host_ip == wanted.host_ip)
    };
    if pending.iter().any(|holder| clashes(&holder.port)) {
        return Some(pending_name.to_owned());
    }
    let holder = state
        .containers
        .values()
        .find(|record| record.ports.iter().any(clashes));
    holder.map(|record| record.names.name.clone())
}
