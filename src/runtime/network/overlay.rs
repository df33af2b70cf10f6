//! Overlay networks: a VXLAN port on the network's bridge, and the other hosts as static peers.
//!
//! Every host makes the network under the same name (or the same VXLAN number) with the others' addresses in the option
//! `hoist.peers`; each gives its own part of the subnet out (`ip_range`). The peers' engines are asked for names
//! (`dns/peer.rs`), on macvlan and ipvlan networks with that option too.

use std::net::IpAddr;

use netlink_packet_route::link::{InfoData, InfoKind, InfoVxlan};
use sha2::{Digest, Sha256};

use super::bridge;
use super::error::NetworkError;
use super::link::{self, LinkLocal, LinkPlan};
use super::netlink::Netlink;
use super::record::{Driver, NetworkRecord};

/// Addresses of the other hosts, with commas between.
const PEERS: &str = "hoist.peers";
/// The VXLAN number; where there is none, the network's name decides it.
const NUMBER: &str = "com.docker.network.driver.overlay.vxlanid_list";
const ENCRYPTED: &str = "encrypted";
/// The port that VXLAN has by assignment.
const PORT: u16 = 4789;

/// What an overlay network is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overlay {
    number: u32,
    peers: Vec<IpAddr>,
}

impl Overlay {
    /// Reads the options; `None` for other drivers.
    pub(crate) fn of(network: &NetworkRecord) -> Result<Option<Self>, NetworkError> {
        if network.driver != Driver::Overlay {
            return Ok(None);
        }
        // `--opt encrypted` has no value: only a clear no is one.
        let wish = network.options.get(ENCRYPTED).map(String::as_str);
        if wish.is_some_and(|wish| !matches!(wish, "false" | "False" | "FALSE" | "f" | "F" | "0")) {
            return Err(NetworkError::Invalid(format!(
                "network {} cannot be encrypted: this engine has no keys to share with the other hosts; use a link that encrypts (WireGuard) below it",
                network.name
            )));
        }
        Ok(Some(Self {
            number: number(network)?,
            peers: peers(network)?,
        }))
    }

    /// What the user should know.
    pub(crate) fn warning(&self) -> String {
        if self.peers.is_empty() {
            format!("an overlay network without the option `{PEERS}` reaches this host only")
        } else {
            String::new()
        }
    }
}

/// The number of a network that reaches other hosts, and these hosts: on an overlay they are where packets go, on a
/// macvlan or ipvlan only their engines are asked for names. `None` where there are none.
pub(crate) fn beyond(network: &NetworkRecord) -> Result<Option<(u32, Vec<IpAddr>)>, NetworkError> {
    if !matches!(
        network.driver,
        Driver::Overlay | Driver::Macvlan | Driver::Ipvlan
    ) {
        return Ok(None);
    }
    let peers = peers(network)?;
    Ok((!peers.is_empty()).then_some((number(network)?, peers)))
}

fn number(network: &NetworkRecord) -> Result<u32, NetworkError> {
    let Some(text) = network.options.get(NUMBER) else {
        let digest = Sha256::digest(network.name.as_bytes());
        return Ok(u32::from_be_bytes([0, digest[0], digest[1], digest[2] | 1]));
    };
    let first = text.split(',').next().unwrap_or_default().trim();
    first
        .parse()
        .ok()
        .filter(|number| (1..1 << 24).contains(number))
        .ok_or_else(|| NetworkError::Invalid(format!("invalid vxlan id value {text}")))
}

fn peers(network: &NetworkRecord) -> Result<Vec<IpAddr>, NetworkError> {
    let text = network
        .options
        .get(PEERS)
        .map(String::as_str)
        .unwrap_or_default();
    text.split([',', ' '])
        .filter(|peer| !peer.is_empty())
        .map(|peer| {
            peer.parse()
                .map_err(|_| NetworkError::Invalid(format!("invalid peer address: {peer}")))
        })
        .collect()
}

/// Puts the VXLAN port on the bridge; one that is there already is kept.
pub(crate) fn stand_up(
    network: &NetworkRecord,
    bridge_index: u32,
    owner: String,
) -> Result<(), NetworkError> {
    let Some(overlay) = Overlay::of(network)? else {
        return Ok(());
    };
    bridge::refuse_without_root(network, "reaches other hosts")?;
    let name = format!("vx-{}", &network.id[..12]);
    let failed = || {
        NetworkError::kernel(format!(
            "make VXLAN port `{name}` of network `{}`",
            network.name
        ))
    };
    if link::index_of(&name).map_err(failed())?.is_some() {
        return Ok(());
    }
    let plan = LinkPlan {
        name: name.clone(),
        mtu: network.mtu(),
        mac: None,
    };
    let data = InfoData::Vxlan(vec![
        InfoVxlan::Id(overlay.number),
        InfoVxlan::Port(PORT),
        InfoVxlan::Learning(true),
    ]);
    let mut batch = vec![link::new_link(
        &plan,
        InfoKind::Vxlan,
        Some(data),
        vec![link::under(bridge_index)],
    )];
    batch.extend(link::up_owned(&name, LinkLocal::Absent, owner));
    Netlink::route()
        .and_then(|mut netlink| {
            netlink.run(batch).map_err(|refusal| refusal.source)?;
            let index = link::index_of(&name)?.ok_or(std::io::ErrorKind::NotFound)?;
            let peers = overlay
                .peers
                .iter()
                .map(|peer| link::flood_to(index, *peer));
            netlink
                .run(peers.collect())
                .map_err(|refusal| refusal.source)
        })
        .map_err(failed())
}
