//! The contents of `/etc/hosts` and `/etc/resolv.conf` of a container.

use std::net::IpAddr;

use super::connect::ends;
use super::{NetworkService, State, find};
use crate::runtime::network::dns::upstream;
use crate::runtime::network::record::Driver;
use crate::runtime::network::request::{HostsRequest, NameService, ResolvRequest};
use crate::runtime::network::subnet::Family;

/// What every container's `/etc/hosts` starts with.
const HOSTS_HEAD: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// Options of the user's resolver that make no sense towards our server are left out.
const ENGINE_SERVER: &str = "127.0.0.11";

impl NetworkService {
    /// The text of `/etc/hosts` for a container, with the addresses that it has now.
    #[must_use]
    pub fn hosts_file(&self, request: &HostsRequest) -> String {
        let state = self.lock();
        let mut text = HOSTS_HEAD.to_owned();
        for line in extra_hosts(&state, request)
            .chain(links(&state, request))
            .chain(own(&state, request))
        {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// The text of `/etc/resolv.conf` for a container.
    #[must_use]
    pub fn resolv_conf(&self, request: &ResolvRequest) -> String {
        let host = upstream::host_configuration();
        let pick =
            |own: &[String], hosts: Vec<String>| if own.is_empty() { hosts } else { own.to_vec() };
        let servers = match request.names {
            NameService::Engine => vec![ENGINE_SERVER.to_owned()],
            NameService::Host => pick(
                &request.dns,
                host.reachable_servers()
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            ),
        };
        let mut search = pick(&request.dns_search, host.search);
        search.retain(|domain| domain != "."); // Docker's way to say "none"
        let mut options = pick(&request.dns_options, host.options);
        if request.names == NameService::Engine
            && !options.iter().any(|option| option.starts_with("ndots"))
        {
            options.push("ndots:0".to_owned());
        }
        let mut text = String::from("# Made by the hoist engine.\n");
        for server in servers {
            text.push_str("nameserver ");
            text.push_str(&server);
            text.push('\n');
        }
        for (keyword, words) in [("search", search), ("options", options)] {
            if !words.is_empty() {
                text.push_str(keyword);
                text.push(' ');
                text.push_str(&words.join(" "));
                text.push('\n');
            }
        }
        text
    }
}

fn extra_hosts<'a>(
    state: &'a State,
    request: &'a HostsRequest,
) -> impl Iterator<Item = String> + 'a {
    request.extra_hosts.iter().filter_map(move |entry| {
        let (name, address) = entry.split_once([':', '='])?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        if address == "host-gateway" {
            return host_gateway(state, &request.container)
                .map(|gateway| format!("{gateway}\t{name}"));
        }
        Some(format!("{address}\t{name}"))
    })
}

/// The host as the container sees it: the gateway of one of its own networks, which it may talk to; else the default
/// bridge's.
fn host_gateway(state: &State, container: &str) -> Option<IpAddr> {
    let record = state.containers.get(container);
    let own = record
        .into_iter()
        .flat_map(|record| ends(state, record))
        .find_map(|(network, _)| {
            network
                .gateway(Family::V4)
                .filter(|_| network.driver == Driver::Bridge)
        });
    own.or_else(|| find(state, "bridge").ok()?.gateway(Family::V4))
}

fn links<'a>(state: &'a State, request: &'a HostsRequest) -> impl Iterator<Item = String> + 'a {
    request.links.iter().filter_map(move |entry| {
        let (reference, alias) = entry.rsplit_once(':').unwrap_or((entry, entry));
        let reference = reference.trim_start_matches('/');
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        let other = state.containers.values().find(|record| {
            record.names.name == reference || record.names.id.starts_with(reference)
        })?;
        let (_, endpoint) = ends(state, other)
            .into_iter()
            .find(|(network, _)| network.name == "bridge")?;
        let short = other.names.id.get(..12).unwrap_or(&other.names.id);
        let address = endpoint.ipv4?;
        Some(format!("{address}\t{alias} {short} {}", other.names.name))
    })
}

fn own<'a>(state: &'a State, request: &'a HostsRequest) -> impl Iterator<Item = String> + 'a {
    let name = match &*request.domainname {
        "" => request.hostname.clone(),
        domain => format!("{0}.{domain} {0}", request.hostname),
    };
    let record = state.containers.get(&request.container);
    record.into_iter().flat_map(move |record| {
        let addresses = ends(state, record).into_iter().flat_map(|(_, endpoint)| {
            [endpoint.ipv4.map(IpAddr::V4), endpoint.ipv6.map(IpAddr::V6)]
                .into_iter()
                .flatten()
        });
        let name = name.clone();
        addresses
            .map(move |address| format!("{address}\t{name}"))
            .collect::<Vec<_>>()
    })
}
