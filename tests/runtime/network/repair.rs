//! What others remove stands again.

use std::time::{Duration, Instant};

use hoist::runtime::network::{NetworkService, Repair};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::{Bench, TestResult, links, on_own_host, request, route_socket};

const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const GET_TABLE: u16 = (NFTABLES << 8) | 1;
const DELETE_TABLE: u16 = (NFTABLES << 8) | 2;
const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const DUMP: u16 = 0x300;

/// Waits for the watcher, which tells nobody when it is done.
fn soon(mut holds: impl FnMut() -> TestResult<bool>) -> TestResult<bool> {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if holds()? {
            return Ok(true);
        }
        std::thread::yield_now();
    }
    Ok(false)
}

/// What `nft flush ruleset` does: removes the tables of everyone.
fn flush_ruleset() -> TestResult {
    let mut batch = Vec::new();
    for (kind, flags, subsystem) in [
        (BATCH_BEGIN, REQUEST, NFTABLES),
        (DELETE_TABLE, REQUEST | ACKNOWLEDGE, 0),
        (BATCH_END, REQUEST, NFTABLES),
    ] {
        batch.extend(nftables_message(kind, flags, subsystem));
    }
    let socket = nftables_socket()?;
    socket.send(&batch, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let code = answer.get(16..20).ok_or("no acknowledgement")?;
    assert_eq!(code, [0; 4], "the kernel refuses to flush");
    Ok(())
}

/// Whether the kernel lists a table; its name is somewhere in the answer.
fn has_table(name: &str) -> TestResult<bool> {
    let socket = nftables_socket()?;
    socket.send(&nftables_message(GET_TABLE, REQUEST | DUMP, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let name = [name.as_bytes(), &[0]].concat();
    Ok(answer.windows(name.len()).any(|bytes| bytes == name))
}

fn nftables_socket() -> TestResult<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// A message without attributes, for tables of any family.
fn nftables_message(kind: u16, flags: u16, subsystem: u16) -> Vec<u8> {
    let mut bytes = 20_u32.to_ne_bytes().to_vec(); // length: this header and the family's
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // sequence, port
    bytes.extend([0, 0]); // any family, version
    bytes.extend(subsystem.to_be_bytes());
    bytes
}

#[test]
fn removed_rules_come_back_by_themselves() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.join("web", "bridge")?;
        bench.publish("web", "80/tcp", "", "")?;
        assert_eq!(bench.service.repair()?, Repair::NotNeeded);
        let table = format!("hoist{}", bench.paths.instance);
        assert!(has_table(&table)?);
        flush_ruleset()?;
        assert!(soon(|| has_table(&table))?, "no table again");
        assert_eq!(bench.service.repair()?, Repair::NotNeeded);
        Ok(())
    })
}

#[test]
fn an_engine_starts_where_bridges_were_removed_while_it_was_away() -> TestResult {
    on_own_host(|| {
        let mut bench = Bench::new()?;
        bench.network("net")?;
        bench.join("dead", "net")?;
        bench.join("also-dead", "net")?;
        let paths = bench.paths.clone();
        // Its folder is needed on; what watches over the bridge is not.
        bench.service = NetworkService::open(paths)?;
        let bridge = links()?.into_iter().find(|name| name.starts_with("br-"));
        let mut gone = LinkMessage::default();
        gone.attributes
            .push(LinkAttribute::IfName(bridge.ok_or("no bridge")?));
        request(&route_socket()?, RouteNetlinkMessage::DelLink(gone))?;
        bench.service.restore(&[])?;
        assert!(links()?.is_empty(), "{:?}", links()?);
        Ok(())
    })
}

#[test]
fn a_removed_bridge_comes_back_with_its_members() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.network("net")?;
        let web = bench.join("web", "net")?;
        let app = bench.join("app", "net")?;
        web.greet(80, "hello")?;
        let bridge = links()?
            .into_iter()
            .find(|name| name.starts_with("br-"))
            .ok_or("no bridge")?;
        let mut gone = LinkMessage::default();
        gone.attributes.push(LinkAttribute::IfName(bridge.clone()));
        request(&route_socket()?, RouteNetlinkMessage::DelLink(gone))?;
        assert!(soon(|| Ok(links()?.contains(&bridge)))?, "no bridge again");
        assert!(soon(|| Ok(app.hears(web.ip()?, 80)?.is_some()))?);
        Ok(())
    })
}
