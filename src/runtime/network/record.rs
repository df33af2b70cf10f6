//! What the service remembers: one record per network (`<root>/networks/<id>/network.json`) and one per container that
//! has a namespace (`<run>/network/<id>.json`).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use bollard_stubs::models::{
    ConfigReference, EndpointResource, EndpointSettings, Ipam, IpamConfig, NetworkInspect,
};
use serde::{Deserialize, Serialize};

use super::request::ContainerNames;
use super::subnet::{Family, Subnet};

/// How a network carries its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of the host, with address translation to the outside.
    Bridge,
    /// The host's own namespace.
    Host,
    /// Nothing but loopback.
    Null,
    /// A MAC address of its own on an interface of the host.
    Macvlan,
    /// An address of its own on an interface of the host, with that interface's MAC.
    Ipvlan,
    /// A bridge whose far members are reached by VXLAN.
    Overlay,
}

impl Driver {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Overlay => "overlay",
        }
    }

    /// The driver of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [
            Self::Bridge,
            Self::Host,
            Self::Null,
            Self::Macvlan,
            Self::Ipvlan,
            Self::Overlay,
        ]
        .into_iter()
        .find(|driver| driver.name() == name)
    }

    /// Whether members hang on a bridge of this host.
    #[must_use]
    pub fn has_bridge(self) -> bool {
        matches!(self, Self::Bridge | Self::Overlay)
    }
}

/// Where the subnets of a network come from; only the user's own allow static addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PoolOrigin {
    /// Named in the request.
    User,
    /// Taken from the default pools.
    Default,
}

/// One subnet of a network and what may be given out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    /// The block.
    pub(crate) subnet: Subnet,
    /// Addresses without a wish come from here.
    pub(crate) range: Option<Subnet>,
    /// The bridge's own address, and the members' default route.
    pub(crate) gateway: Option<IpAddr>,
    /// Addresses that somebody else on the wire has.
    pub(crate) reserved: BTreeMap<String, IpAddr>,
    /// Who chose the block.
    pub(crate) origin: PoolOrigin,
}

/// A network.
#[expect(
    clippy::struct_excessive_bools,
    reason = "as the API has them, each by its own name"
)]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// The user's name for it.
    pub(crate) name: String,
    /// How it carries packets.
    pub(crate) driver: Driver,
    /// RFC 3339.
    pub(crate) created: String,
    /// Whether there is no way out.
    pub(crate) internal: bool,
    /// Kept for clients; every network of this engine can be attached to.
    pub(crate) attachable: bool,
    /// Whether it only lends its settings to others.
    pub(crate) config_only: bool,
    /// The network that lent the settings.
    pub(crate) config_from: Option<String>,
    /// Whether members get an IPv4 address.
    pub(crate) enable_ipv4: bool,
    /// Whether members get an IPv6 address.
    pub(crate) enable_ipv6: bool,
    /// Driver options.
    pub(crate) options: BTreeMap<String, String>,
    /// Labels.
    pub(crate) labels: HashMap<String, String>,
    /// Options of the address management, kept for clients.
    pub(crate) ipam_options: Option<HashMap<String, String>>,
    /// The subnets.
    pub(crate) pools: Vec<Pool>,
}

impl NetworkRecord {
    /// The first pool of a family.
    #[must_use]
    pub(crate) fn pool(&self, family: Family) -> Option<&Pool> {
        self.pools
            .iter()
            .find(|pool| pool.subnet.family() == family)
    }

    /// The gateway of a family.
    #[must_use]
    pub(crate) fn gateway(&self, family: Family) -> Option<IpAddr> {
        self.pool(family).and_then(|pool| pool.gateway)
    }

    /// Whether it is one of those that always exist.
    #[must_use]
    pub(crate) fn is_predefined(&self) -> bool {
        is_predefined(&self.name)
    }

    /// A driver option that is a truth value; Docker's options say `true`, `1`, `T`.
    #[must_use]
    pub(crate) fn flag(&self, option: &str) -> Option<bool> {
        self.options.get(option).map(|value| is_true(value))
    }

    /// The name of the bridge on the host.
    #[must_use]
    pub(crate) fn bridge_name(&self) -> String {
        self.options
            .get("com.docker.network.bridge.name")
            .cloned()
            .unwrap_or_else(|| format!("br-{}", &self.id[..12]))
    }

    /// The wanted size of packets, where there is a wish; an overlay needs room for its outer headers.
    #[must_use]
    pub(crate) fn mtu(&self) -> Option<u32> {
        let wish = self
            .options
            .get("com.docker.network.driver.mtu")
            .or_else(|| self.options.get("mtu"))
            .and_then(|text| text.parse().ok())
            .filter(|mtu| *mtu > 0);
        wish.or((self.driver == Driver::Overlay).then_some(1450))
    }
}

/// Whether a name is reserved for a network that always exists.
#[must_use]
pub(crate) fn is_predefined(name: &str) -> bool {
    matches!(name, "bridge" | "host" | "none" | "default")
}

/// Go's reading of a truth value; anything else is false.
pub(crate) fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// One end of a network in a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EndpointRecord {
    /// The network.
    pub(crate) network: String,
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// The address, where the network has IPv4.
    pub(crate) ipv4: Option<Ipv4Addr>,
    /// The address, where the network has IPv6.
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// The interface's name inside.
    pub(crate) interface: String,
    /// The link's name on the host; empty where there is none.
    pub(crate) host_link: String,
    /// As shown to clients, filled.
    pub(crate) settings: EndpointSettings,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedPort {
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: Protocol,
    /// The port inside.
    pub(crate) container_port: u16,
    /// The address of the host that it is bound to; unspecified: all.
    pub(crate) host_ip: IpAddr,
    /// The port of the host.
    pub(crate) host_port: u16,
}

/// A transport protocol that can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The name in port texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The number in IP headers.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp]
            .into_iter()
            .find(|protocol| protocol.name() == name)
    }
}

/// Everything of one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    /// What it is called.
    pub(crate) names: ContainerNames,
    /// The pinned namespace.
    pub(crate) namespace: PathBuf,
    /// Its endpoints, in the order of attachment.
    pub(crate) endpoints: Vec<EndpointRecord>,
    /// Its published ports.
    pub(crate) ports: Vec<PublishedPort>,
}

/// A network as clients see it.
pub(crate) fn inspect(
    network: &NetworkRecord,
    containers: HashMap<String, EndpointResource>,
) -> NetworkInspect {
    NetworkInspect {
        name: Some(network.name.clone()),
        id: Some(network.id.clone()),
        created: Some(network.created.clone()),
        scope: Some("local".to_owned()),
        driver: Some(network.driver.name().to_owned()),
        enable_ipv4: Some(network.enable_ipv4),
        enable_ipv6: Some(network.enable_ipv6),
        ipam: Some(ipam_of(network)),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        ingress: Some(false),
        config_from: Some(ConfigReference {
            network: Some(network.config_from.clone().unwrap_or_default()),
        }),
        config_only: Some(network.config_only),
        options: Some(network.options.clone().into_iter().collect()),
        labels: Some(network.labels.clone()),
        containers: Some(containers),
        ..NetworkInspect::default()
    }
}

fn ipam_of(network: &NetworkRecord) -> Ipam {
    let config = network
        .pools
        .iter()
        .map(|pool| IpamConfig {
            subnet: Some(pool.subnet.to_string()),
            ip_range: pool.range.map(|range| range.to_string()),
            gateway: pool.gateway.map(|gateway| gateway.to_string()),
            auxiliary_addresses: (!pool.reserved.is_empty()).then(|| {
                pool.reserved
                    .iter()
                    .map(|(name, address)| (name.clone(), address.to_string()))
                    .collect()
            }),
        })
        .collect();
    Ipam {
        driver: Some("default".to_owned()),
        options: network.ipam_options.clone(),
        config: Some(config),
    }
}
