//! One end of a network in a container: the decision (pure) and the links, addresses and routes that carry it out.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use bollard_stubs::models::EndpointSettings;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, IpVlanMode, LinkAttribute, MacVlanMode,
};

use crate::runtime::sys::netns;

use super::error::NetworkError;
use super::ipam;
use super::link::{self, DefaultRoute, LinkLocal, LinkPlan, PortIsolation, RouteRequest};
use super::namespace;
use super::netlink::{Netlink, Refusal};
use super::record::{ContainerRecord, Driver, EndpointRecord, NetworkRecord};
use super::request::{AttachRequest, ContainerNames};
use super::subnet::Family;

/// Decides an endpoint: addresses, hardware address, names. Nothing is done yet.
pub(crate) fn decide(
    network: &NetworkRecord,
    request: &AttachRequest,
    container: &ContainerRecord,
    used: &HashSet<IpAddr>,
    id: String,
) -> Result<EndpointRecord, NetworkError> {
    let wish = |text: Option<&String>| -> Result<Option<IpAddr>, NetworkError> {
        let text = text.filter(|text| !text.is_empty());
        text.map(|text| {
            text.parse()
                .map_err(|_| NetworkError::Invalid(format!("invalid IP address: {text}")))
        })
        .transpose()
    };
    let config = request.settings.ipam_config.clone().unwrap_or_default();
    let wishes = [
        wish(config.ipv4_address.as_ref())?,
        wish(config.ipv6_address.as_ref())?,
    ];
    let mut addresses = [None, None];
    for (index, family) in [Family::V4, Family::V6].into_iter().enumerate() {
        let Some(pool) = ipam::pool_for(network, family) else {
            if let Some(address) = wishes[index] {
                return Err(NetworkError::Invalid(format!(
                    "invalid endpoint settings: network {} has no {} subnet for {address}",
                    network.name,
                    family.name()
                )));
            }
            continue;
        };
        addresses[index] = Some(ipam::allocate(network, pool, wishes[index], used)?);
    }
    let ipv4 = addresses[0].and_then(|address| {
        if let IpAddr::V4(address) = address {
            Some(address)
        } else {
            None
        }
    });
    let ipv6 = addresses[1].and_then(|address| {
        if let IpAddr::V6(address) = address {
            Some(address)
        } else {
            None
        }
    });
    let mac = hardware_address(network, &request.settings, ipv4, &id)?;
    let interface = interface_name(&request.settings, container)?;
    let host_link = if network.driver.has_bridge() {
        format!("veth{}", &id[..9])
    } else {
        String::new()
    };
    let settings = filled(network, request, &id, (ipv4, ipv6), mac);
    Ok(EndpointRecord {
        network: network.id.clone(),
        id,
        ipv4,
        ipv6,
        interface,
        host_link,
        settings,
    })
}

fn hardware_address(
    network: &NetworkRecord,
    settings: &EndpointSettings,
    ipv4: Option<Ipv4Addr>,
    id: &str,
) -> Result<Option<[u8; 6]>, NetworkError> {
    if network.driver == Driver::Ipvlan {
        return Ok(None); // members share the parent's
    }
    let wish = settings.mac_address.as_deref();
    if let Some(text) = wish.filter(|text| !text.is_empty()) {
        return parse_mac(text).map(Some);
    }
    let mut random = [0; 4];
    // The endpoint's id is random and hexadecimal.
    for (byte, digits) in random.iter_mut().zip(id.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).unwrap_or("0");
        *byte = u8::from_str_radix(digits, 16).unwrap_or(0);
    }
    Ok(Some(ipam::hardware_address(ipv4, random)))
}

fn parse_mac(text: &str) -> Result<[u8; 6], NetworkError> {
    let wrong = || NetworkError::Invalid(format!("invalid MAC address: {text}"));
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().ok_or_else(wrong)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() || mac[0] & 1 == 1 {
        Err(wrong())
    } else {
        Ok(mac)
    }
}

/// The name inside: the wish, or the first free `ethN`.
fn interface_name(
    settings: &EndpointSettings,
    container: &ContainerRecord,
) -> Result<String, NetworkError> {
    let wish = settings
        .driver_opts
        .as_ref()
        .and_then(|options| options.get("com.docker.network.endpoint.ifname"))
        .filter(|name| !name.is_empty());
    let taken = |name: &str| {
        container
            .endpoints
            .iter()
            .any(|endpoint| endpoint.interface == name)
    };
    match wish {
        Some(name) if name.len() > 15 || name.contains(['/', ' ']) || name == "lo" => Err(
            NetworkError::Invalid(format!("invalid interface name: {name}")),
        ),
        Some(name) if taken(name) => Err(NetworkError::Forbidden(format!(
            "interface name {name} is already in use in this container"
        ))),
        Some(name) => Ok(name.clone()),
        None => Ok((0u32..=u32::MAX)
            .map(|number| format!("eth{number}"))
            .find(|name| !taken(name))
            .expect("numbers do not run out")),
    }
}

/// The settings as shown to clients.
fn filled(
    network: &NetworkRecord,
    request: &AttachRequest,
    id: &str,
    (ipv4, ipv6): (Option<Ipv4Addr>, Option<Ipv6Addr>),
    mac: Option<[u8; 6]>,
) -> EndpointSettings {
    let gateway = |family| {
        let gateway = network.gateway(family).filter(|_| has_way_out(network));
        gateway
            .map(|gateway| gateway.to_string())
            .unwrap_or_default()
    };
    let prefix = |family| {
        network
            .pool(family)
            .map_or(0, |pool| i64::from(pool.subnet.prefix()))
    };
    let ipv4_text = ipv4.map(|address| address.to_string()).unwrap_or_default();
    let ipv6_text = ipv6.map(|address| address.to_string()).unwrap_or_default();
    EndpointSettings {
        network_id: Some(network.id.clone()),
        endpoint_id: Some(id.to_owned()),
        gateway: Some(if ipv4.is_some() {
            gateway(Family::V4)
        } else {
            String::new()
        }),
        ip_address: Some(ipv4_text),
        ip_prefix_len: Some(if ipv4.is_some() {
            prefix(Family::V4)
        } else {
            0
        }),
        ipv6_gateway: Some(if ipv6.is_some() {
            gateway(Family::V6)
        } else {
            String::new()
        }),
        global_ipv6_address: Some(ipv6_text),
        global_ipv6_prefix_len: Some(if ipv6.is_some() {
            prefix(Family::V6)
        } else {
            0
        }),
        mac_address: Some(mac.map(mac_text).unwrap_or_default()),
        dns_names: (network.name != "bridge")
            .then(|| dns_names(&request.container, &request.settings)),
        ..request.settings.clone()
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The names that others on the network find a container by.
fn dns_names(container: &ContainerNames, settings: &EndpointSettings) -> Vec<String> {
    let short = container.id.get(..12).unwrap_or(&container.id).to_owned();
    let mut names = Vec::new();
    let candidates = std::iter::once(container.name.clone())
        .chain(settings.aliases.clone().unwrap_or_default())
        .chain(std::iter::once(short))
        .chain(container.hostname.clone());
    for name in candidates {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether members get a default route by this network.
pub(crate) fn has_way_out(network: &NetworkRecord) -> bool {
    !network.internal
}

/// An endpoint that is to be carried out, and what is done in the container's namespace on the same visit.
#[derive(Debug)]
pub(crate) struct Connection<'a> {
    /// The network.
    pub(crate) network: &'a NetworkRecord,
    /// The endpoint.
    pub(crate) endpoint: &'a EndpointRecord,
    /// The container's namespace.
    pub(crate) namespace: &'a File,
    /// The network's link on the host.
    pub(crate) host_index: u32,
    /// Whom the new link belongs to.
    pub(crate) owner: String,
    /// The default routes afterwards.
    pub(crate) ways: Vec<Way>,
}

/// Carries an endpoint out: links, addresses and default routes. `more` is done in the namespace at the end.
pub(crate) fn connect<T: Send>(
    connection: &Connection<'_>,
    more: impl FnOnce() -> io::Result<T> + Send,
) -> Result<T, NetworkError> {
    let (network, endpoint) = (connection.network, connection.endpoint);
    let failed = || {
        NetworkError::kernel(format!(
            "connect `{}` to network `{}`",
            endpoint.interface, network.name
        ))
    };
    let batch = host_side(connection)?;
    Netlink::route()
        .and_then(|mut netlink| netlink.run(batch).map_err(|refusal| refusal.source))
        .map_err(failed())?;
    netns::inside(connection.namespace.as_fd(), || {
        let mut netlink = Netlink::route()?;
        give_addresses(&mut netlink, network, endpoint)?;
        set_routes(&mut netlink, &connection.ways)?;
        more()
    })
    .and_then(|outcome| outcome)
    .map_err(failed())
}

/// The links, as far as they are made from the host.
fn host_side(connection: &Connection<'_>) -> Result<Vec<RouteRequest>, NetworkError> {
    let (network, endpoint) = (connection.network, connection.endpoint);
    let inner = LinkPlan {
        name: endpoint.interface.clone(),
        mtu: network.mtu(),
        mac: endpoint
            .settings
            .mac_address
            .as_deref()
            .and_then(|mac| parse_mac(mac).ok()),
    };
    if !network.driver.has_bridge() {
        let (kind, data) = shared_link(network)?;
        let more = vec![
            LinkAttribute::Link(connection.host_index),
            LinkAttribute::NetNsFd(connection.namespace.as_raw_fd()),
        ];
        return Ok(vec![link::new_link(&inner, kind, Some(data), more)]);
    }
    let host = LinkPlan {
        name: endpoint.host_link.clone(),
        mtu: network.mtu(),
        mac: None,
    };
    let namespace = connection.namespace.as_fd();
    let mut batch = vec![link::new_pair(
        &host,
        connection.host_index,
        &inner,
        namespace,
    )];
    batch.push(link::port_options(
        &endpoint.host_link,
        port_isolation(network),
    ));
    let owner = connection.owner.clone();
    batch.extend(link::up_owned(
        &endpoint.host_link,
        LinkLocal::Absent,
        owner,
    ));
    Ok(batch)
}

fn port_isolation(network: &NetworkRecord) -> PortIsolation {
    match network.flag("com.docker.network.bridge.enable_icc") {
        Some(false) => PortIsolation::Isolated,
        _ => PortIsolation::Open,
    }
}

/// In the container's namespace.
fn give_addresses(
    netlink: &mut Netlink,
    network: &NetworkRecord,
    endpoint: &EndpointRecord,
) -> io::Result<()> {
    let index = link::index_of(&endpoint.interface)?.ok_or(io::ErrorKind::NotFound)?;
    let prefix = |family| network.pool(family).map_or(0, |pool| pool.subnet.prefix());
    let link_local = if endpoint.ipv6.is_some() {
        LinkLocal::Automatic
    } else {
        LinkLocal::Absent
    };
    let mut batch = link::up(index, link_local);
    batch.extend(
        endpoint
            .ipv4
            .map(|address| link::address(index, address.into(), prefix(Family::V4))),
    );
    batch.extend(
        endpoint
            .ipv6
            .map(|address| link::address(index, address.into(), prefix(Family::V6))),
    );
    netlink.run(batch).map_err(|refusal| refusal.source)
}

fn shared_link(network: &NetworkRecord) -> Result<(InfoKind, InfoData), NetworkError> {
    let option = |name: &str| network.options.get(name).map(String::as_str);
    let unknown = |what: &str, mode: &str| {
        NetworkError::Invalid(format!(
            "invalid {what} of network {}: {mode}",
            network.name
        ))
    };
    if network.driver == Driver::Macvlan {
        let mode = match option("macvlan_mode").unwrap_or("bridge") {
            "" | "bridge" => MacVlanMode::Bridge,
            "private" => MacVlanMode::Private,
            "vepa" => MacVlanMode::Vepa,
            "passthru" => MacVlanMode::Passthrough,
            mode => return Err(unknown("macvlan_mode", mode)),
        };
        return Ok((
            InfoKind::MacVlan,
            InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]),
        ));
    }
    let mode = match option("ipvlan_mode").unwrap_or("l2") {
        "" | "l2" => IpVlanMode::L2,
        "l3" => IpVlanMode::L3,
        "l3s" => IpVlanMode::L3S,
        mode => return Err(unknown("ipvlan_mode", mode)),
    };
    Ok((
        InfoKind::IpVlan,
        InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)]),
    ))
}

/// Refuses options of macvlan and ipvlan that [`connect`] could not carry out.
pub(crate) fn check_options(network: &NetworkRecord) -> Result<(), NetworkError> {
    if matches!(network.driver, Driver::Macvlan | Driver::Ipvlan) {
        shared_link(network).map(drop)
    } else {
        Ok(())
    }
}

/// Takes an endpoint's links away.
pub(crate) fn disconnect(
    endpoint: &EndpointRecord,
    namespace_path: &Path,
) -> Result<(), NetworkError> {
    let failed = || NetworkError::kernel(format!("remove link `{}`", endpoint.interface));
    if !endpoint.host_link.is_empty() {
        return link::delete_all(std::slice::from_ref(&endpoint.host_link)).map_err(failed());
    }
    if !namespace::is_pinned(namespace_path) {
        return Ok(());
    }
    let namespace = namespace::open(namespace_path)?;
    let names = vec![endpoint.interface.clone()];
    netns::inside(namespace.as_fd(), || link::delete_all(&names))
        .and_then(|outcome| outcome)
        .map_err(failed())
}

/// Gives up the endpoint of a container that has ended. Its links end with the namespace, whenever the kernel gets to
/// it; until then nobody can be led to them.
pub(crate) fn retire(endpoint: &EndpointRecord) -> Result<(), NetworkError> {
    if endpoint.host_link.is_empty() {
        return Ok(());
    }
    let failed = NetworkError::kernel(format!("retire link `{}`", endpoint.host_link));
    let outcome = Netlink::route()
        .map(|mut netlink| netlink.run(vec![link::retire_port(&endpoint.host_link)]));
    match outcome {
        // Where somebody has removed the bridge, nobody is led there any more either.
        Ok(Err(Refusal { source, .. })) if link::is_gone(&source) || link::is_no_port(&source) => {
            Ok(())
        }
        Ok(Err(Refusal { source, .. })) | Err(source) => Err(failed(source)),
        Ok(Ok(())) => Ok(()),
    }
}

/// The endpoint that the default route of a family goes by: the highest priority, then the first name.
pub(crate) fn gateway_of<'a>(
    endpoints: &'a [(&'a NetworkRecord, &'a EndpointRecord)],
    family: Family,
) -> Option<&'a (&'a NetworkRecord, &'a EndpointRecord)> {
    endpoints
        .iter()
        .filter(|(network, endpoint)| {
            let has_address = match family {
                Family::V4 => endpoint.ipv4.is_some(),
                Family::V6 => endpoint.ipv6.is_some(),
            };
            has_address && has_way_out(network) && network.gateway(family).is_some()
        })
        .min_by_key(|(network, endpoint)| {
            (
                -endpoint.settings.gw_priority.unwrap_or(0),
                network.name.clone(),
            )
        })
}

/// The default route of a family: by which interface to which next host; none: there is no way out.
pub(crate) type Way = (Family, Option<(String, Option<IpAddr>)>);

/// The default routes that a container's endpoints imply.
pub(crate) fn ways(endpoints: &[(&NetworkRecord, &EndpointRecord)]) -> Vec<Way> {
    [Family::V4, Family::V6]
        .into_iter()
        .map(|family| {
            let best = gateway_of(endpoints, family);
            let way = best
                .map(|(network, endpoint)| (endpoint.interface.clone(), next_hop(network, family)));
            (family, way)
        })
        .collect()
}

/// Makes the default routes of a container those that its endpoints imply.
pub(crate) fn route(
    endpoints: &[(&NetworkRecord, &EndpointRecord)],
    namespace_path: &Path,
) -> Result<(), NetworkError> {
    let namespace = namespace::open(namespace_path)?;
    let ways = ways(endpoints);
    netns::inside(namespace.as_fd(), || {
        set_routes(&mut Netlink::route()?, &ways)
    })
    .and_then(|outcome| outcome)
    .map_err(NetworkError::kernel("set the default route"))
}

/// In l3 modes the parent routes for its members, so there is no next host.
fn next_hop(network: &NetworkRecord, family: Family) -> Option<IpAddr> {
    let routed = network.driver == Driver::Ipvlan
        && network
            .options
            .get("ipvlan_mode")
            .is_some_and(|mode| mode.starts_with("l3"));
    network.gateway(family).filter(|_| !routed)
}

fn set_routes(netlink: &mut Netlink, ways: &[Way]) -> io::Result<()> {
    ways.iter()
        .try_for_each(|(family, way)| set_route(netlink, *family, way.as_ref()))
}

fn set_route(
    netlink: &mut Netlink,
    family: Family,
    way: Option<&(String, Option<IpAddr>)>,
) -> io::Result<()> {
    let address_family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let Some((interface, gateway)) = way else {
        // Mostly there is none to remove.
        drop(netlink.run(vec![link::no_default_route(address_family)]));
        return Ok(());
    };
    let index = link::index_of(interface)?.ok_or(io::ErrorKind::NotFound)?;
    let route = DefaultRoute {
        index,
        gateway: *gateway,
        family: address_family,
    };
    netlink
        .run(vec![link::default_route(route)])
        .map_err(|refusal| refusal.source)
}
