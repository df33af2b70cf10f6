//! After a start of the engine: what should stand, stands; what belongs to nobody, goes.

use std::collections::{HashMap, HashSet};
use std::io;

use super::{NetworkService, State};
use crate::runtime::network::bridge::owner_mark;
use crate::runtime::network::dns::{self, NameSockets};
use crate::runtime::network::error::NetworkError;
use crate::runtime::network::link;
use crate::runtime::network::namespace;
use crate::runtime::network::netlink::Netlink;
use crate::runtime::network::port::Holder;
use crate::runtime::network::record::{ContainerRecord, NetworkRecord};
use crate::runtime::network::request::LiveContainer;
use crate::runtime::network::store;

use super::connect::ends;
use super::publish::targets;

impl NetworkService {
    /// After a start of the engine: makes bridges, rules, forwarders and name servers of the living containers stand
    /// again, and removes whatever belongs to nobody.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn restore(&self, live: &[LiveContainer]) -> Result<(), NetworkError> {
        self.restore_on(live, HashMap::new())
    }

    /// As [`Self::restore`], with sockets of name servers that an engine before this one has left, by container.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn restore_on(
        &self,
        live: &[LiveContainer],
        mut sockets: HashMap<String, NameSockets>,
    ) -> Result<(), NetworkError> {
        let live: HashSet<&str> = live.iter().map(|container| container.id.as_str()).collect();
        let mut state = self.lock();
        self.load_containers(&mut state, &live)?;
        self.drop_strange_pins(&state)?;
        self.drop_strange_links(&state)?;
        let used: Vec<_> = state
            .networks
            .values()
            .filter(|record| is_used(&state, &record.id))
            .map(|record| record.id.clone())
            .collect();
        for network in used {
            self.stand_up(&mut state, &network)?;
        }
        let containers: Vec<_> = state.containers.values().cloned().collect();
        // All names before the first look-up that has waited is answered.
        for record in &containers {
            for (network, endpoint) in ends(&state, record) {
                let directory = self.names.directory();
                directory.join(&record.names, endpoint, network);
            }
        }
        for record in &containers {
            self.revive(&mut state, record, sockets.remove(&record.names.id))?;
        }
        if containers.is_empty() {
            let failed = NetworkError::kernel("remove the firewall rules");
            return state.firewall.clear().map_err(failed);
        }
        // One transaction for everything, whatever the table has become meanwhile.
        state
            .firewall
            .write()
            .map_err(NetworkError::kernel("write the firewall rules (nftables)"))
    }

    fn load_containers(&self, state: &mut State, live: &HashSet<&str>) -> Result<(), NetworkError> {
        let mut dead = Vec::new();
        for path in store::entries(&self.paths.run.join("network"))? {
            if path.extension().is_none_or(|extension| extension != "json") {
                store::remove(&path)?;
                continue;
            }
            let Some(record) = store::read::<ContainerRecord>(&path)? else {
                continue;
            };
            let id = record.names.id.clone();
            if !live.contains(&*id) {
                dead.push(id.clone());
            }
            state.containers.insert(id, record);
        }
        dead.iter()
            .try_for_each(|id| self.release_locked(state, id))
    }

    fn drop_strange_pins(&self, state: &State) -> Result<(), NetworkError> {
        for (id, path) in namespace::pins(&self.paths.run.join("netns"))? {
            if !state.containers.contains_key(&id) {
                namespace::unpin(&path)?;
            }
        }
        Ok(())
    }

    /// Links that carry our mark and that no record names.
    fn drop_strange_links(&self, state: &State) -> Result<(), NetworkError> {
        let failed = || NetworkError::kernel("remove links that belong to nobody");
        let known: HashSet<&str> = state
            .containers
            .values()
            .flat_map(|record| {
                record
                    .endpoints
                    .iter()
                    .map(|endpoint| endpoint.host_link.as_str())
            })
            .collect();
        let ours = owner_mark(&self.paths.instance, "");
        let strange: Vec<_> = link::list()
            .map_err(failed())?
            .into_iter()
            .filter_map(|seen| {
                let network = seen.owner.as_deref()?.strip_prefix(&*ours)?.to_owned();
                let stands = state.networks.get(&network).is_some_and(|record| {
                    let is_host_side = record.bridge_name() == seen.name
                        || super::bridge::parent_name(record) == seen.name;
                    is_host_side && is_used(state, &network) || known.contains(&*seen.name)
                });
                (!stands).then_some(seen.name)
            })
            .collect();
        link::delete_all(&strange).map_err(failed())
    }

    /// Name server and ports of a container that runs on.
    fn revive(
        &self,
        state: &mut State,
        record: &ContainerRecord,
        sockets: Option<NameSockets>,
    ) -> Result<(), NetworkError> {
        let id = &record.names.id;
        let has_names = ends(state, record)
            .into_iter()
            .any(|(network, _)| dns::has_names(network));
        if has_names && namespace::is_pinned(&record.namespace) {
            if let Some(sockets) = sockets {
                self.names.serve_on(id, sockets, &self.background);
            } else if let Err(error) = self.serve_names(record) {
                // The others are not to suffer for it.
                tracing::warn!(%error, container = id, "the container has no names until it is started again");
            }
        }
        let targets = targets(state, id);
        let mut holders = Vec::new();
        for port in &record.ports {
            // Somebody may have taken the socket meanwhile; the rules still lead the port to the container.
            if let Ok(mut holder) = Holder::take(port.clone(), targets) {
                holder.forward(&self.background);
                holders.push(holder);
            }
        }
        state.holders.insert(id.clone(), holders);
        self.lead_ports(state, id)
    }

    /// Removes links, rules and namespaces of this engine when nothing runs any more; the networks stay on disk.
    ///
    /// # Errors
    /// When something could not be removed.
    pub fn shut_down(&self) -> Result<(), NetworkError> {
        let mut state = self.lock();
        let containers: Vec<_> = state.containers.keys().cloned().collect();
        let mut outcome = containers
            .iter()
            .try_for_each(|id| self.release_locked(&mut state, id));
        state.standing.clear();
        outcome = outcome.and(self.drop_strange_links(&state));
        outcome.and(
            state
                .firewall
                .clear()
                .map_err(NetworkError::kernel("remove the firewall rules")),
        )
    }

    /// Makes bridges and firewall rules anew that somebody removed; says whether that was so. The watcher does the same
    /// by itself.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn repair(&self) -> Result<Repair, NetworkError> {
        repair(&mut self.lock(), &self.paths.instance)
    }
}

pub(super) fn repair(state: &mut State, instance: &str) -> Result<Repair, NetworkError> {
    let links = repair_links(state, instance)?;
    let rules = repair_rules(state).map_err(NetworkError::kernel(
        "write the firewall rules (nftables) anew",
    ))?;
    Ok(if links == Repair::Done { links } else { rules })
}

/// Bridges that vanished come back, with the links of their members under them.
fn repair_links(state: &mut State, instance: &str) -> Result<Repair, NetworkError> {
    let standing: Vec<_> = state.standing.clone().into_iter().collect();
    let mut outcome = Repair::NotNeeded;
    for (id, known) in standing {
        let bridged = state.networks.get(&id).filter(|it| it.driver.has_bridge());
        let Some(name) = bridged.map(NetworkRecord::bridge_name) else {
            continue;
        };
        let failed = || NetworkError::kernel(format!("find bridge `{name}`"));
        if link::index_of(&name).map_err(failed())? == Some(known) {
            continue;
        }
        let index = super::stand_up(state, instance, &id)?;
        put_under(state, &id, index).map_err(NetworkError::kernel(format!(
            "put the members of `{name}` under it again"
        )))?;
        outcome = Repair::Done;
    }
    Ok(outcome)
}

fn put_under(state: &State, network: &str, bridge: u32) -> io::Result<()> {
    let ends = state.containers.values().flat_map(|it| &it.endpoints);
    let batch = ends
        .filter(|end| end.network == network)
        .map(|end| link::put_under(&end.host_link, bridge))
        .collect();
    Netlink::route()?
        .run(batch)
        .map_err(|refusal| refusal.source)
}

fn repair_rules(state: &mut State) -> io::Result<Repair> {
    if state.standing.is_empty() || state.firewall.is_whole()? {
        return Ok(Repair::NotNeeded);
    }
    state.firewall.write()?;
    Ok(Repair::Done)
}

/// Whether something had to be put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Everything was as we left it.
    NotNeeded,
    /// It was put right.
    Done,
}

fn is_used(state: &State, network: &str) -> bool {
    state
        .containers
        .values()
        .any(|record| record.endpoints.iter().any(|end| end.network == network))
}
