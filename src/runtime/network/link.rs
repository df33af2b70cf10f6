//! Links, addresses and routes as netlink messages (pure), and the few sequences in which they are sent.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's attributes are many and grow; only a few concern us"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgePortState, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind,
    InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::netdevice;

use crate::runtime::sys::netns;

use super::netlink::{Netlink, Refusal, Request};
use super::subnet::Subnet;

/// A message about links, addresses or routes, with its flags.
pub(crate) type RouteRequest = Request<RouteNetlinkMessage>;

/// Whether members of a bridge may talk to each other directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortIsolation {
    /// They may.
    Open,
    /// They reach the bridge itself only.
    Isolated,
}

/// What a link that is to be made has in common, whatever its kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinkPlan {
    /// Its name.
    pub(crate) name: String,
    /// Size of packets, where there is a wish.
    pub(crate) mtu: Option<u32>,
    /// Hardware address, where there is a wish.
    pub(crate) mac: Option<[u8; 6]>,
}

/// Whether an interface gets a link-local IPv6 address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LinkLocal {
    /// The kernel makes one.
    #[default]
    Automatic,
    /// None: the network has no IPv6, and duplicate-address probes would only be noise.
    Absent,
}

impl LinkPlan {
    fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(self.name.clone()));
        message.attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        message
            .attributes
            .extend(self.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        message
    }
}

fn set_up(message: &mut LinkMessage) {
    message.header.flags |= LinkFlags::Up;
    message.header.change_mask |= LinkFlags::Up;
}

/// A new link of any kind.
pub(crate) fn new_link(
    plan: &LinkPlan,
    kind: InfoKind,
    data: Option<InfoData>,
    more: Vec<LinkAttribute>,
) -> RouteRequest {
    let mut message = plan.message();
    let mut information = vec![LinkInfo::Kind(kind)];
    information.extend(data.map(LinkInfo::Data));
    message
        .attributes
        .push(LinkAttribute::LinkInfo(information));
    message.attributes.extend(more);
    Request {
        message: RouteNetlinkMessage::NewLink(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// A new pair, both ends down: `host` here on a bridge, `inner` in another namespace.
pub(crate) fn new_pair(
    host: &LinkPlan,
    bridge: u32,
    inner: &LinkPlan,
    namespace: BorrowedFd<'_>,
) -> RouteRequest {
    let mut peer = inner.message();
    peer.attributes
        .push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    let data = InfoData::Veth(InfoVeth::Peer(peer));
    new_link(
        host,
        InfoKind::Veth,
        Some(data),
        vec![LinkAttribute::Controller(bridge)],
    )
}

/// The attribute that puts a link under a bridge.
pub(crate) fn under(bridge: u32) -> LinkAttribute {
    LinkAttribute::Controller(bridge)
}

/// Puts a link that exists under a bridge, and up.
pub(crate) fn put_under(name: &str, bridge: u32) -> RouteRequest {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
        .attributes
        .extend([LinkAttribute::IfName(name.to_owned()), under(bridge)]);
    Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
    }
}

/// Sends what a VXLAN link does not know the way of to a host too.
pub(crate) fn flood_to(index: u32, host: IpAddr) -> RouteRequest {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(vec![0; 6]));
    message
        .attributes
        .push(NeighbourAttribute::Destination(match host {
            IpAddr::V4(host) => NeighbourAddress::Inet(host),
            IpAddr::V6(host) => NeighbourAddress::Inet6(host),
        }));
    Request {
        message: RouteNetlinkMessage::NewNeighbour(message),
        flags: NLM_F_CREATE | NLM_F_APPEND,
    }
}

/// Settings of a member of a bridge. Hairpin: where the host filters bridged packets (`br_netfilter`, which Docker loads),
/// a container that asks for its own published port is answered by the port that it asked by.
pub(crate) fn port_options(name: &str, isolation: PortIsolation) -> RouteRequest {
    let mut options = vec![InfoBridgePort::HairpinMode(true)];
    if isolation == PortIsolation::Isolated {
        options.push(InfoBridgePort::Isolated(true));
    }
    port_request(name, options)
}

fn port_request(name: &str, options: Vec<InfoBridgePort>) -> RouteRequest {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(options)),
    ]));
    Request {
        message: RouteNetlinkMessage::NewLink(message),
        flags: 0,
    }
}

/// Silences a member of a bridge and makes the bridge forget where it was. Unlike a removal this does not wait for
/// every processor to have noticed.
pub(crate) fn retire_port(name: &str) -> RouteRequest {
    let silent = InfoBridgePort::State(BridgePortState::Disabled);
    port_request(name, vec![silent, InfoBridgePort::Flush])
}

/// Brings a link up.
pub(crate) fn up(index: u32, link_local: LinkLocal) -> Vec<RouteRequest> {
    bring_up(|message| message.header.index = index, link_local)
}

/// Brings a new link up and writes into its alias whom it belongs to.
pub(crate) fn up_owned(name: &str, link_local: LinkLocal, owner: String) -> Vec<RouteRequest> {
    let by_name = |message: &mut LinkMessage| {
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
    };
    let mut list = bring_up(by_name, link_local);
    let mut message = LinkMessage::default();
    by_name(&mut message);
    message.attributes.push(LinkAttribute::IfAlias(owner));
    // First of all: a link without an owner is one that nobody removes.
    list.insert(
        0,
        Request {
            message: RouteNetlinkMessage::SetLink(message),
            flags: 0,
        },
    );
    list
}

/// The kernel takes alias and the choice about the link-local address for a link that exists, and the latter before the
/// link is up.
fn bring_up(name: impl Fn(&mut LinkMessage), link_local: LinkLocal) -> Vec<RouteRequest> {
    let request = |message| Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
    };
    let mut list = Vec::new();
    if link_local == LinkLocal::Absent && Path::new("/proc/sys/net/ipv6").exists() {
        let mut message = LinkMessage::default();
        name(&mut message);
        let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let choice = vec![AfSpecUnspec::Inet6(vec![none])];
        message.attributes.push(LinkAttribute::AfSpecUnspec(choice));
        list.push(request(message));
    }
    let mut message = LinkMessage::default();
    name(&mut message);
    set_up(&mut message);
    list.push(request(message));
    list
}

/// Removes a link by its name.
pub(crate) fn delete(name: &str) -> RouteRequest {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    Request {
        message: RouteNetlinkMessage::DelLink(message),
        flags: 0,
    }
}

/// Gives a link an address. IPv6 addresses are ours alone by construction, so no time is lost on duplicate detection.
pub(crate) fn address(index: u32, address: IpAddr, prefix: u8) -> RouteRequest {
    let mut message = AddressMessage::default();
    message.header.family = family_of(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    match address {
        IpAddr::V4(_) => {
            if let IpAddr::V4(last) = Subnet::around(address, prefix).last() {
                message.attributes.push(AddressAttribute::Broadcast(last));
            }
        }
        IpAddr::V6(_) => {
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    Request {
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    }
}

/// Where the default route of a family goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DefaultRoute {
    /// The interface.
    pub(crate) index: u32,
    /// The next host; none where the interface itself is the way (ipvlan in l3 mode).
    pub(crate) gateway: Option<IpAddr>,
    /// The family.
    pub(crate) family: AddressFamily,
}

/// Sets the default route.
pub(crate) fn default_route(route: DefaultRoute) -> RouteRequest {
    let mut message = default_route_message(route.family);
    message.attributes.extend(route.gateway.map(|gateway| {
        RouteAttribute::Gateway(match gateway {
            IpAddr::V4(gateway) => RouteAddress::Inet(gateway),
            IpAddr::V6(gateway) => RouteAddress::Inet6(gateway),
        })
    }));
    if route.gateway.is_none() {
        message.header.scope = RouteScope::Link;
    }
    message.attributes.push(RouteAttribute::Oif(route.index));
    Request {
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    }
}

/// Removes the default route of a family.
pub(crate) fn no_default_route(family: AddressFamily) -> RouteRequest {
    Request {
        message: RouteNetlinkMessage::DelRoute(default_route_message(family)),
        flags: 0,
    }
}

fn default_route_message(family: AddressFamily) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message
}

fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

/// The index of a link of the host's side, or of the namespace into which the thread has gone.
pub(crate) fn index_of(name: &str) -> io::Result<Option<u32>> {
    let socket = netns::on_ground(|| {
        rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
            None,
        )
    })??;
    match netdevice::name_to_index(&socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(rustix::io::Errno::NODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether the kernel says that there is no such link.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

/// Whether the kernel says that a link is under no bridge.
pub(crate) fn is_no_port(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}

/// Removes links by name; what is gone already counts as removed.
pub(crate) fn delete_all(names: &[String]) -> io::Result<()> {
    let mut netlink = Netlink::route()?;
    for name in names {
        match netlink.run(vec![delete(name)]) {
            Err(Refusal { source, .. }) if !is_gone(&source) => return Err(source),
            _ => {}
        }
    }
    Ok(())
}

/// A link as the kernel lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LinkSeen {
    /// Its index.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its alias: whom it belongs to.
    pub(crate) owner: Option<String>,
}

/// All links of this namespace.
pub(crate) fn list() -> io::Result<Vec<LinkSeen>> {
    let found = Netlink::route()?.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(found.into_iter().filter_map(seen).collect())
}

fn seen(message: RouteNetlinkMessage) -> Option<LinkSeen> {
    let RouteNetlinkMessage::NewLink(message) = message else {
        return None;
    };
    let mut link = LinkSeen {
        index: message.header.index,
        ..LinkSeen::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.owner = Some(alias),
            _ => {}
        }
    }
    Some(link)
}

/// The blocks that this host routes somewhere, except by the links left out and by default routes.
pub(crate) fn routed_blocks(without: &[u32]) -> io::Result<Vec<Subnet>> {
    let mut blocks = blocks_of(Netlink::route()?, without)?;
    if netns::has_ground() {
        blocks.extend(blocks_of(Netlink::route_of_process()?, &[])?);
    }
    Ok(blocks)
}

fn blocks_of(mut netlink: Netlink, without: &[u32]) -> io::Result<Vec<Subnet>> {
    let mut blocks = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut query = RouteMessage::default();
        query.header.address_family = family;
        let routes = netlink.dump(RouteNetlinkMessage::GetRoute(query))?;
        blocks.extend(
            routes
                .into_iter()
                .filter_map(|route| block_of(route, without)),
        );
    }
    Ok(blocks)
}

fn block_of(route: RouteNetlinkMessage, without: &[u32]) -> Option<Subnet> {
    let RouteNetlinkMessage::NewRoute(route) = route else {
        return None;
    };
    if route.header.table != RouteHeader::RT_TABLE_MAIN
        || route.header.destination_prefix_length == 0
    {
        return None;
    }
    let mut block = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                block = Some(IpAddr::V4(*address));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                block = Some(IpAddr::V6(*address));
            }
            RouteAttribute::Oif(index) if without.contains(index) => return None,
            _ => {}
        }
    }
    block.map(|address| Subnet::around(address, route.header.destination_prefix_length))
}

/// Brings loopback of this namespace up; the kernel adds 127.0.0.1 and `::1` by itself.
pub(crate) fn loopback_up() -> io::Result<()> {
    Netlink::route()?
        .run(up(1, LinkLocal::Automatic))
        .map_err(|refusal| refusal.source)
}

/// The unspecified addresses, for comparisons.
pub(crate) fn is_unspecified(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || address == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}
