//! Networks and how a service is attached to one.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::{Labels, Mapping};

/// A network of the project.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Network {
    /// The engine's name of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Driver; empty is the engine's default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Driver options.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub driver_opts: Mapping,
    /// Address management.
    #[serde(skip_serializing_if = "super::form::no_section")]
    pub ipam: Ipam,
    /// Made outside of this project.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Without a way out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Containers outside of Swarm services may attach.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attachable: bool,
    /// Labels.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub labels: Labels,
    /// IPv4 addresses are given out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_ipv4: Option<bool>,
    /// IPv6 addresses are given out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_ipv6: Option<bool>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Address management of a network.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Ipam {
    /// IPAM driver.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Address pools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<IpamPool>,
    /// Driver options.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub options: Mapping,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// One address pool.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct IpamPool {
    /// Subnet in CIDR form.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    /// Gateway address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Part of the subnet that addresses come from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    /// Addresses in use outside of the engine, by host name.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub aux_addresses: Mapping,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// A service's attachment to a network.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct AttachedNetwork {
    /// Further names of the service on the network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Driver options of the endpoint.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub driver_opts: Mapping,
    /// The network with the highest one gives the default route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gw_priority: Option<i64>,
    /// Name of the interface in the container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface_name: String,
    /// Fixed IPv4 address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv4_address: String,
    /// Fixed IPv6 address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv6_address: String,
    /// Link-local addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link_local_ips: Vec<String>,
    /// Fixed MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    /// The network with the highest one is connected first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}
