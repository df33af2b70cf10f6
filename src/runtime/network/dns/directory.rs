//! Who is called what on which network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use super::has_names;
use super::peer::Beyond;
use crate::runtime::network::endpoint;
use crate::runtime::network::overlay;
use crate::runtime::network::record::{EndpointRecord, NetworkRecord};
use crate::runtime::network::request::ContainerNames;
use crate::runtime::network::subnet::Family;

/// The addresses of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    container: String,
    /// Its IPv4 address.
    pub(crate) v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub(crate) v6: Option<Ipv6Addr>,
}

#[derive(Debug, Default)]
struct Names {
    network: String,
    members: HashMap<String, Vec<Member>>,
    /// Whose turn it is, by name and family of addresses: a client asks for both at once, and each has its own round.
    turns: HashMap<String, [AtomicUsize; 2]>,
    reverse: HashMap<IpAddr, String>,
}

/// What one container sees.
#[derive(Debug, Default)]
struct View {
    /// Networks with names, in the order of attachment.
    networks: Vec<String>,
    /// Networks with a way out.
    ways_out: Vec<String>,
    /// Other names of its own for members: (network, alias) to the member's name.
    links: HashMap<(String, String), String>,
    upstream: Vec<IpAddr>,
}

#[derive(Debug, Default)]
struct Contents {
    networks: HashMap<String, Names>,
    /// Overlay networks with other hosts, by id; their names are empty.
    overlays: HashMap<String, Beyond>,
    views: HashMap<String, View>,
}

/// The shared directory.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    contents: RwLock<Contents>,
}

/// Who may be asked about names that are not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Nobody: the container has no way out.
    Nobody,
    /// The host's resolvers.
    Host,
    /// Resolvers of the user's.
    Servers(Vec<IpAddr>),
    /// The engines of the other hosts of overlay networks.
    Peers(Vec<Beyond>),
}

impl Directory {
    /// Adds an endpoint.
    pub(crate) fn join(
        &self,
        container: &ContainerNames,
        endpoint: &EndpointRecord,
        network: &NetworkRecord,
    ) {
        let mut contents = self.write();
        let view = contents.views.entry(container.id.clone()).or_default();
        view.upstream.clone_from(&container.dns);
        if endpoint::has_way_out(network) {
            view.ways_out.push(network.id.clone());
        }
        if !has_names(network) {
            return;
        }
        view.networks.push(network.id.clone());
        for link in endpoint.settings.links.iter().flatten() {
            let (target, alias) = link.split_once(':').unwrap_or((link, link));
            view.links
                .insert((network.id.clone(), lower(alias)), lower(target));
        }
        if let Some(beyond) = beyond_of(network) {
            contents.overlays.insert(network.id.clone(), beyond);
        }
        let names = contents.networks.entry(network.id.clone()).or_default();
        names.network.clone_from(&network.name);
        let member = Member {
            container: container.id.clone(),
            v4: endpoint.ipv4,
            v6: endpoint.ipv6,
        };
        for name in endpoint.settings.dns_names.iter().flatten() {
            let name = lower(name);
            names.turns.entry(name.clone()).or_default();
            names.members.entry(name).or_default().push(member.clone());
        }
        let addresses = [endpoint.ipv4.map(IpAddr::V4), endpoint.ipv6.map(IpAddr::V6)];
        for address in addresses.into_iter().flatten() {
            names.reverse.insert(address, container.name.clone());
        }
    }

    /// Removes an endpoint.
    pub(crate) fn leave(&self, container: &str, network: &str) {
        let mut contents = self.write();
        if let Some(view) = contents.views.get_mut(container) {
            view.networks.retain(|id| id != network);
            view.ways_out.retain(|id| id != network);
            view.links.retain(|(id, _), _| id != network);
        }
        if let Some(names) = contents.networks.get_mut(network) {
            let mut gone = Vec::new();
            names.members.retain(|_, members| {
                gone.extend(
                    members
                        .iter()
                        .filter(|member| member.container == container)
                        .cloned(),
                );
                members.retain(|member| member.container != container);
                !members.is_empty()
            });
            let members = &names.members;
            names.turns.retain(|name, _| members.contains_key(name));
            for member in gone {
                let addresses = [member.v4.map(IpAddr::V4), member.v6.map(IpAddr::V6)];
                for address in addresses.into_iter().flatten() {
                    names.reverse.remove(&address);
                }
            }
            if names.members.is_empty() {
                contents.networks.remove(network);
                contents.overlays.remove(network);
            }
        }
    }

    /// Forgets what a container sees.
    pub(crate) fn forget(&self, container: &str) {
        self.write().views.remove(container);
    }

    /// The members with an address of the family that a name means for a container, each time beginning with another one;
    /// `None` where the name is nobody's.
    pub(crate) fn find(&self, container: &str, name: &str, family: Family) -> Option<Vec<Member>> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let view = contents.views.get(container)?;
        let mut turn = None;
        let mut found: Vec<Member> = view
            .networks
            .iter()
            .filter_map(|id| {
                let names = contents.networks.get(id)?;
                let linked = view.links.get(&(id.clone(), name.to_owned()));
                let qualified = || {
                    let plain = name
                        .strip_suffix(&lower(&names.network))?
                        .strip_suffix('.')?;
                    names.members.get_key_value(plain)
                };
                let key = linked.map_or(name, String::as_str);
                let (key, members) = names.members.get_key_value(key).or_else(qualified)?;
                turn = turn.or_else(|| names.turns.get(key));
                Some(members)
            })
            .flatten()
            .cloned()
            .collect();
        if found.is_empty() {
            return None;
        }
        // Those that have no such address have no turn.
        found.retain(|member| match family {
            Family::V4 => member.v4.is_some(),
            Family::V6 => member.v6.is_some(),
        });
        let turn = turn.map_or(0, |turns| {
            let place = match family {
                Family::V4 => 0,
                Family::V6 => 1,
            };
            turns[place].fetch_add(1, Ordering::Relaxed)
        });
        let count = found.len().max(1);
        found.rotate_left(turn % count);
        Some(found)
    }

    /// The overlays of a container on which other hosts may know a name: one without a dot, or with the network's name.
    pub(crate) fn beyond(&self, container: &str, name: &str) -> Vec<Beyond> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let Some(view) = contents.views.get(container) else {
            return Vec::new();
        };
        let overlays = view.networks.iter().filter_map(|id| {
            let overlay = contents.overlays.get(id)?;
            let network = lower(&contents.networks.get(id)?.network);
            let plain = match name.rsplit_once('.') {
                None => name,
                Some((plain, end)) if end == network => plain,
                Some(_) => return None,
            };
            let name = plain.to_owned();
            (!plain.is_empty()).then(|| Beyond {
                name,
                ..overlay.clone()
            })
        });
        overlays.collect()
    }

    /// What a peer of an overlay is told about a name: our members; `None` where it is no peer of it.
    pub(crate) fn members_for_peer(
        &self,
        peer: IpAddr,
        number: u32,
        name: &str,
    ) -> Option<Vec<Member>> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let mut ours = contents
            .overlays
            .iter()
            .filter(|(_, overlay)| overlay.number == number && overlay.peers.contains(&peer))
            .peekable();
        ours.peek()?;
        let members = ours.filter_map(|(id, _)| contents.networks.get(id)?.members.get(name));
        Some(members.flatten().cloned().collect())
    }

    /// The name of an address: `container.network`.
    pub(crate) fn name_of(&self, container: &str, address: IpAddr) -> Option<String> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let view = contents.views.get(container)?;
        view.networks.iter().find_map(|id| {
            let names = contents.networks.get(id)?;
            names
                .reverse
                .get(&address)
                .map(|name| format!("{name}.{}", names.network))
        })
    }

    /// Who is asked about other names.
    pub(crate) fn upstream(&self, container: &str) -> Upstream {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        match contents.views.get(container) {
            Some(view) if view.ways_out.is_empty() => Upstream::Nobody,
            Some(view) if !view.upstream.is_empty() => Upstream::Servers(view.upstream.clone()),
            Some(_) => Upstream::Host,
            None => Upstream::Nobody,
        }
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Contents> {
        self.contents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a network has beyond this host; `None` where it has nothing.
fn beyond_of(network: &NetworkRecord) -> Option<Beyond> {
    // Options that mean nothing were refused when the network was made.
    let (number, peers) = overlay::beyond(network).ok().flatten()?;
    Some(Beyond {
        number,
        peers,
        subnets: network.pools.iter().map(|pool| pool.subnet).collect(),
        name: String::new(),
    })
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}
