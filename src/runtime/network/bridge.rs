//! The host's side of a network: its bridge, or the link that macvlan and ipvlan members hang on.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoData, InfoKind, InfoVlan, LinkAttribute,
};
use sha2::{Digest, Sha256};

use super::error::NetworkError;
use super::link::{self, LinkLocal, LinkPlan};
use super::netlink::Netlink;
use super::overlay;
use super::record::{Driver, NetworkRecord};
use super::subnet::Family;
use crate::runtime::sys::netns;

/// The alias that marks links of one engine and one network.
pub(crate) fn owner_mark(instance: &str, network: &str) -> String {
    format!("hoist/{instance}/{network}")
}

/// Makes what a network needs on the host and gives back the link's index; what stands already is left as it is.
pub(crate) fn stand_up(network: &NetworkRecord, instance: &str) -> Result<u32, NetworkError> {
    match network.driver {
        Driver::Macvlan | Driver::Ipvlan => parent(network, instance),
        Driver::Bridge | Driver::Overlay | Driver::Host | Driver::Null => {
            let index = bridge(network, instance)?;
            overlay::stand_up(network, index, owner_mark(instance, &network.id))?;
            Ok(index)
        }
    }
}

/// Removes what [`stand_up`] made.
pub(crate) fn take_down(network: &NetworkRecord, instance: &str) -> Result<(), NetworkError> {
    let mark = owner_mark(instance, &network.id);
    let failed = || NetworkError::kernel(format!("remove the links of network `{}`", network.name));
    let ours = link::list()
        .map_err(failed())?
        .into_iter()
        .filter(|link| link.owner.as_deref() == Some(&*mark))
        .map(|link| link.name)
        .collect::<Vec<_>>();
    link::delete_all(&ours).map_err(failed())
}

fn bridge(network: &NetworkRecord, instance: &str) -> Result<u32, NetworkError> {
    let name = network.bridge_name();
    let failed = |step: &str| {
        NetworkError::kernel(format!(
            "{step} bridge `{name}` of network `{}`",
            network.name
        ))
    };
    if let Some(index) = link::index_of(&name).map_err(failed("find"))? {
        settle(network, index).map_err(failed("set up"))?;
        return Ok(index);
    }
    let plan = LinkPlan {
        name: name.clone(),
        mtu: network.mtu(),
        mac: Some(hardware_address(&network.id)),
    };
    let data = InfoData::Bridge(vec![
        InfoBridge::StpState(BridgeStpState::Disabled),
        InfoBridge::ForwardDelay(0),
    ]);
    let mut made = vec![link::new_link(
        &plan,
        InfoKind::Bridge,
        Some(data),
        Vec::new(),
    )];
    made.extend(link::up_owned(
        &name,
        link_local(network),
        owner_mark(instance, &network.id),
    ));
    Netlink::route()
        .and_then(|mut netlink| netlink.run(made).map_err(|refusal| refusal.source))
        .map_err(failed("make"))?;
    let index = link::index_of(&name)
        .and_then(|index| index.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
        .map_err(failed("find"))?;
    settle(network, index).map_err(failed("set up"))?;
    // Only on our own bridges: lets a published port be reached by the host's 127.0.0.1. Rules drop what containers
    // send to that address.
    let switch = format!("/proc/sys/net/ipv4/conf/{name}/route_localnet");
    netns::on_ground(|| std::fs::write(switch, "1"))
        .flatten()
        .map_err(failed("let loopback reach"))?;
    Ok(index)
}

/// A bridge without a hardware address of its own has that of its lowest port: when this member leaves, all others send
/// to an address that is gone. It follows from the network's id, so that a bridge which is made anew has the old one.
fn hardware_address(network: &str) -> [u8; 6] {
    let digest = Sha256::digest(network.as_bytes());
    // A unicast address given by hand.
    [0x02, 0x68, digest[0], digest[1], digest[2], digest[3]]
}

/// Gives a bridge its addresses and brings it up.
fn settle(network: &NetworkRecord, index: u32) -> io::Result<()> {
    let mut batch: Vec<_> = gateways(network)
        .into_iter()
        .map(|(address, prefix)| link::address(index, address, prefix))
        .collect();
    batch.extend(link::up(index, link_local(network)));
    Netlink::route()?
        .run(batch)
        .map_err(|refusal| refusal.source)
}

fn link_local(network: &NetworkRecord) -> LinkLocal {
    if network.enable_ipv6 {
        LinkLocal::Automatic
    } else {
        LinkLocal::Absent
    }
}

/// The addresses of a bridge itself.
pub(crate) fn gateways(network: &NetworkRecord) -> Vec<(IpAddr, u8)> {
    [Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| super::ipam::pool_for(network, family))
        .filter_map(|pool| pool.gateway.map(|gateway| (gateway, pool.subnet.prefix())))
        .collect()
}

/// The name of the link that members of a macvlan or ipvlan network hang on: the option `parent`, or a dummy link.
pub(crate) fn parent_name(network: &NetworkRecord) -> String {
    network
        .options
        .get("parent")
        .filter(|name| !name.is_empty())
        .cloned()
        .unwrap_or_else(|| format!("dm-{}", &network.id[..12]))
}

fn parent(network: &NetworkRecord, instance: &str) -> Result<u32, NetworkError> {
    let name = parent_name(network);
    let failed = |step: &str| {
        NetworkError::kernel(format!(
            "{step} parent link `{name}` of network `{}`",
            network.name
        ))
    };
    let parent = network.options.get("parent");
    let named = parent.is_some_and(|parent| !parent.is_empty());
    if named {
        refuse_without_root(network, &format!("hangs on the host's link `{name}`"))?;
    }
    if let Some(index) = link::index_of(&name).map_err(failed("find"))? {
        return Ok(index);
    }
    let plan = LinkPlan {
        name: name.clone(),
        ..LinkPlan::default()
    };
    let request = if named {
        let (carrier, tag) = vlan_of(&name)?;
        let carrier_index = link::index_of(&carrier)
            .map_err(failed("find"))?
            .ok_or_else(|| {
                NetworkError::Invalid(format!(
                    "invalid parent `{name}`: there is no link `{carrier}` on this host"
                ))
            })?;
        let data = InfoData::Vlan(vec![InfoVlan::Id(tag)]);
        link::new_link(
            &plan,
            InfoKind::Vlan,
            Some(data),
            vec![LinkAttribute::Link(carrier_index)],
        )
    } else {
        link::new_link(&plan, InfoKind::Dummy, None, Vec::new())
    };
    let made = Netlink::route().and_then(|mut netlink| {
        let mut batch = vec![request];
        let owner = owner_mark(instance, &network.id);
        batch.extend(link::up_owned(&name, LinkLocal::Automatic, owner));
        netlink.run(batch).map_err(|refusal| refusal.source)?;
        Ok(link::index_of(&name)?.ok_or(io::ErrorKind::NotFound)?)
    });
    made.map_err(failed("make"))
}

/// Where bridges do not stand on the host, no link of the host is in reach.
pub(crate) fn refuse_without_root(network: &NetworkRecord, why: &str) -> Result<(), NetworkError> {
    if !netns::has_ground() {
        return Ok(());
    }
    Err(NetworkError::Invalid(format!(
        "network `{}` {why}, which needs an engine run by root",
        network.name
    )))
}

/// `eth0.10` is VLAN 10 on `eth0`.
fn vlan_of(name: &str) -> Result<(String, u16), NetworkError> {
    let parts = name
        .rsplit_once('.')
        .and_then(|(carrier, tag)| Some((carrier, tag.parse().ok()?)));
    match parts {
        Some((carrier, tag)) if (1..4095).contains(&tag) => Ok((carrier.to_owned(), tag)),
        _ => Err(NetworkError::Invalid(format!(
            "invalid parent `{name}`: there is no such link on this host, and it does not name a VLAN as in `eth0.10`"
        ))),
    }
}

/// Lets the host pass packets on: what a network with a way out needs.
pub(crate) fn allow_forwarding(network: &NetworkRecord) -> Result<(), NetworkError> {
    if network.internal {
        return Ok(());
    }
    switch_on("/proc/sys/net/ipv4/ip_forward")?;
    if network.enable_ipv6 {
        switch_on("/proc/sys/net/ipv6/conf/all/forwarding")
    } else {
        Ok(())
    }
}

fn switch_on(path: &str) -> Result<(), NetworkError> {
    let switch = || {
        if std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1") {
            return Ok(());
        }
        std::fs::write(path, "1")
    };
    netns::on_ground(switch)
        .flatten()
        .map_err(NetworkError::file("switch on", path))
}
