//! What callers ask of the network service.

use std::net::IpAddr;
use std::path::PathBuf;

use bollard_stubs::models::EndpointSettings;

/// How what containers send leaves this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// Bridges stand on the host, and its routes lead on.
    Host,
    /// Bridges stand elsewhere, with routes of their own; what containers want of the host goes through the engine.
    Routes,
    /// The same without routes: through the engine, which makes connections of its own, TCP only.
    Relay,
}

/// Where the service keeps its state, and which engine it belongs to.
#[derive(Debug, Clone)]
pub struct NetworkPaths {
    /// `<root>/networks`: one folder per network.
    pub state: PathBuf,
    /// `<run>`: namespaces are pinned below `<run>/netns`, endpoints and ports recorded below `<run>/network`.
    pub run: PathBuf,
    /// The short id of this engine, empty for the default one: part of link aliases and of the nftables table's name.
    pub instance: String,
    /// How packets leave.
    pub way_out: WayOut,
}

/// What a container is called, and how it looks names up.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct ContainerNames {
    /// The full id.
    pub id: String,
    /// The name without a leading slash.
    pub name: String,
    /// The host name inside, where it is one of the user's.
    pub hostname: Option<String>,
    /// Resolvers of the user's (`--dns`); empty: those of the host.
    pub dns: Vec<IpAddr>,
}

/// One endpoint that is wanted.
#[derive(Debug, Clone)]
pub struct AttachRequest {
    /// The container.
    pub container: ContainerNames,
    /// Name, id or prefix of an id of the network.
    pub network: String,
    /// The wishes: static addresses, MAC, aliases, links, driver options, gateway priority.
    pub settings: EndpointSettings,
}

/// A container that runs, as the engine knows after it has re-adopted everything.
#[derive(Debug, Clone)]
pub struct LiveContainer {
    /// The full id.
    pub id: String,
}

/// What `/etc/hosts` of a container is made of.
#[derive(Debug, Clone, Default)]
pub struct HostsRequest {
    /// The container's id; addresses come from its endpoints.
    pub container: String,
    /// The host name inside.
    pub hostname: String,
    /// The domain name inside, where there is one.
    pub domainname: String,
    /// `NAME:ADDRESS` lines, where an address may be `host-gateway`.
    pub extra_hosts: Vec<String>,
    /// `CONTAINER:ALIAS` links on the default bridge.
    pub links: Vec<String>,
}

/// What `/etc/resolv.conf` of a container is made of.
#[derive(Debug, Clone, Default)]
pub struct ResolvRequest {
    /// Whether the container is on a network with names (any but the default bridge, `host` and `none`).
    pub names: NameService,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
}

/// Who answers a container's look-ups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameService {
    /// The engine's server at 127.0.0.11.
    #[default]
    Engine,
    /// The resolvers of the host or of the user.
    Host,
}
