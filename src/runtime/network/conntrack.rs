//! Flows that the kernel remembers: those of a published UDP port are forgotten when the port comes to lead elsewhere.
//!
//! A UDP flow has no end. As long as a client sends, the kernel goes on translating to the address that the first packet
//! was given, or to none at all, whatever the rules say by then. TCP ends by itself: the other side refuses.

use std::io;
use std::net::IpAddr;

use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol as Carried, Tuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};

use super::link::is_unspecified;
use super::netlink::{Netlink, Request};
use super::record::{Protocol, PublishedPort};
use super::subnet::Family;

/// Forgets the UDP flows towards published ports; the number of those that there were.
pub(crate) fn forget_flows(ports: &[PublishedPort]) -> io::Result<usize> {
    let mut forgotten = 0;
    for family in [Family::V4, Family::V6] {
        let concerned: Vec<_> = ports
            .iter()
            .filter(|port| port.protocol == Protocol::Udp && Family::of(port.host_ip) == family)
            .collect();
        if !concerned.is_empty() {
            forgotten += forget(family, &concerned)?;
        }
    }
    Ok(forgotten)
}

fn forget(family: Family, ports: &[&PublishedPort]) -> io::Result<usize> {
    let mut netlink = Netlink::netfilter()?;
    let known = netlink.dump(message(family, ConntrackMessage::Get(Vec::new())))?;
    let mut forgotten = 0;
    for flow in known.iter().filter_map(origin) {
        if !ports.iter().any(|port| leads_to(flow, port)) {
            continue;
        }
        let flow = vec![ConntrackAttribute::CtaTupleOrig(flow.to_vec())];
        let request = Request {
            message: message(family, ConntrackMessage::Delete(flow)),
            flags: 0,
        };
        match netlink.run(vec![request]) {
            Ok(()) => forgotten += 1,
            // It ended meanwhile.
            Err(refusal) if refusal.source.raw_os_error() == Some(libc::ENOENT) => {}
            Err(refusal) => return Err(refusal.source),
        }
    }
    Ok(forgotten)
}

fn message(family: Family, message: ConntrackMessage) -> NetfilterMessage {
    let family = match family {
        Family::V4 => NetfilterProtoFamily::IPv4,
        Family::V6 => NetfilterProtoFamily::IPv6,
    };
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message)
}

/// The flow as the client began it.
fn origin(message: &NetfilterMessage) -> Option<&[Tuple]> {
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = &message.inner else {
        return None;
    };
    attributes.iter().find_map(|attribute| {
        if let ConntrackAttribute::CtaTupleOrig(flow) = attribute {
            Some(flow.as_slice())
        } else {
            None
        }
    })
}

fn leads_to(flow: &[Tuple], port: &PublishedPort) -> bool {
    let mut addresses = flow.iter().flat_map(|tuple| match tuple {
        Tuple::Ip(parts) => parts.as_slice(),
        _ => &[],
    });
    let to: Option<IpAddr> = addresses.find_map(|part| match part {
        IPTuple::DestinationAddress(address) => Some(*address),
        _ => None,
    });
    let parts = || {
        flow.iter().flat_map(|tuple| match tuple {
            Tuple::Proto(parts) => parts.as_slice(),
            _ => &[],
        })
    };
    let here = is_unspecified(port.host_ip) || to == Some(port.host_ip);
    here && parts().any(|part| *part == ProtoTuple::Protocol(Carried::Udp))
        && parts().any(|part| *part == ProtoTuple::DestinationPort(port.host_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flows_to_the_port_and_its_address_are_meant() -> Result<(), std::net::AddrParseError> {
        let flow = |to: &str, carried, port| -> Result<Vec<Tuple>, std::net::AddrParseError> {
            Ok(vec![
                Tuple::Ip(vec![
                    IPTuple::SourceAddress("192.0.2.9".parse()?),
                    IPTuple::DestinationAddress(to.parse()?),
                ]),
                Tuple::Proto(vec![
                    ProtoTuple::Protocol(carried),
                    ProtoTuple::SourcePort(53),
                    ProtoTuple::DestinationPort(port),
                ]),
            ])
        };
        let port = |host_ip: &str| -> Result<PublishedPort, std::net::AddrParseError> {
            Ok(PublishedPort {
                host_ip: host_ip.parse()?,
                host_port: 53,
                container_port: 5353,
                protocol: Protocol::Udp,
            })
        };
        let (any, one) = (port("0.0.0.0")?, port("192.0.2.1")?);
        let meant = flow("192.0.2.1", Carried::Udp, 53)?;
        assert!(leads_to(&meant, &any) && leads_to(&meant, &one));
        let elsewhere = flow("192.0.2.2", Carried::Udp, 53)?;
        assert!(leads_to(&elsewhere, &any) && !leads_to(&elsewhere, &one));
        assert!(!leads_to(&flow("192.0.2.1", Carried::Udp, 54)?, &any));
        assert!(!leads_to(&flow("192.0.2.1", Carried::Tcp, 53)?, &any));
        Ok(())
    }
}
