//! The rules of our table: a fixed list. What changes stands in sets and maps, so that a thousand published ports cost
//! what one costs.
//!
//! ```text
//! prerouting (raw)   containers must not reach the host's 127.0.0.0/8 by a bridge
//! prerouting, output published ports: destination of the host -> address of the container, by map
//! forward            known connections; inside one network; internal ones neither in nor out; published ports; no
//!                    other way into a network, so networks do not reach each other
//! input              from a bridge to its own address and to the host, not to another network's address
//! postrouting        the host's address for what leaves, and for what containers send to published ports
//! prerouting (relay) of an ordinary user's engine: TCP to the host, and without `pasta` to the outside, goes to the engine
//! ```
//!
//! Accepting in our table only means that our table has no objection: a host firewall that drops in a table of its own
//! still drops.

use std::fmt;

use netlink_packet_netfilter::nftables::{InetHookNumber, MetaKey, Operator};

use super::element::Set;
use super::expression::{self as e, Expression, Membership};
use crate::runtime::network::subnet::Family;

/// A place where packets meet our rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// Where.
    pub(crate) number: InetHookNumber,
    /// Its name.
    pub(crate) name: &'static str,
    /// Before or after others at the same place.
    pub(crate) priority: i32,
}

/// A chain with its rules.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// The name in the table.
    pub(crate) name: &'static str,
    /// Where it hangs; none for one that others jump to.
    pub(crate) hook: Option<Hook>,
    /// Its rules in order.
    pub(crate) rules: Vec<Vec<Clause>>,
}

/// A part of a rule: a condition, or what is done at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clause {
    /// The packet is of this family.
    Family(Family),
    /// The interface that it came by is in a set, or is not.
    Came(Set, Membership),
    /// The interface that it leaves by is in a set, or is not.
    Leaves(Set, Membership),
    /// Both interfaces together are in a set.
    CameAndLeaves(Set),
    /// The interface that it came by and its destination are in a set.
    CameTo(Set),
    /// Its destination is in a set.
    To(Set),
    /// Its source is in a set.
    From(Set),
    /// Its source is in 127.0.0.0/8.
    FromLoopback,
    /// Its destination is in 127.0.0.0/8.
    ToLoopback,
    /// Its destination is not `::1`.
    NotToLoopback6,
    /// Its destination is an address of this host.
    ToThisHost,
    /// It belongs to a known connection.
    Known,
    /// Its connection goes by a published port.
    Published,
    /// Sends it where a map says; goes on where it says nothing.
    Translate(Set),
    /// Gives it the host's address.
    Masquerade,
    /// No objection.
    Accept,
    /// Ends it.
    Drop,
    /// Asks another chain.
    Jump(&'static str),
    /// It is TCP.
    Tcp,
    /// Sends it to the engine's relay, at this port of 127.0.0.1.
    Relay(u16),
}

/// The ports of the engine's relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doors {
    /// For what is meant for the host: sent to a gateway.
    pub(crate) host: u16,
    /// For what leaves, where no routes lead on.
    pub(crate) outside: Option<u16>,
}

/// The whole table; with the doors of a relay, where bridges do not stand on the host.
pub(crate) fn chains(relay: Option<Doors>) -> Vec<Chain> {
    let mut chains = vec![
        published(),
        guard(),
        destination("prerouting"),
        destination("output"),
        input(),
        forward(),
        postrouting(),
    ];
    chains.extend(relay.map(way_out));
    chains
}

/// After published ports: what goes to a gateway or to none of our networks goes to the relay, but for internal networks.
fn way_out(doors: Doors) -> Chain {
    use Clause::{Accept, Came, CameTo, Family as F, Relay, Tcp, To};
    let outside = doors
        .outside
        .map(|port| vec![F(Family::V4), Tcp, Relay(port)]);
    let mut rules = vec![
        vec![Came(Set::Bridges, Membership::Out), Accept],
        vec![Came(Set::Internal, Membership::In), Accept],
        vec![
            F(Family::V4),
            CameTo(Set::Gateways4),
            Tcp,
            Relay(doors.host),
        ],
        vec![F(Family::V4), To(Set::Blocks4), Accept],
    ];
    rules.extend(outside);
    Chain {
        name: "relay",
        hook: Some(hook("nat", InetHookNumber::PreRouting, "prerouting", -90)),
        rules,
    }
}

fn hook(kind: &'static str, number: InetHookNumber, name: &'static str, priority: i32) -> Hook {
    Hook {
        kind,
        number,
        name,
        priority,
    }
}

fn published() -> Chain {
    use Clause::{Family as F, NotToLoopback6, Translate};
    Chain {
        name: "published",
        hook: None,
        rules: vec![
            vec![F(Family::V4), Translate(Set::PortsAt4)],
            vec![F(Family::V4), Translate(Set::Ports4)],
            // A packet from ::1 may not leave loopback, so the engine's forwarder serves ::1.
            vec![F(Family::V6), NotToLoopback6, Translate(Set::PortsAt6)],
            vec![F(Family::V6), NotToLoopback6, Translate(Set::Ports6)],
        ],
    }
}

fn guard() -> Chain {
    Chain {
        name: "guard",
        hook: Some(hook(
            "filter",
            InetHookNumber::PreRouting,
            "prerouting",
            -300,
        )),
        rules: vec![vec![
            Clause::Came(Set::Bridges, Membership::In),
            Clause::Family(Family::V4),
            Clause::ToLoopback,
            Clause::Drop,
        ]],
    }
}

fn destination(name: &'static str) -> Chain {
    let number = if name == "output" {
        InetHookNumber::LocalOut
    } else {
        InetHookNumber::PreRouting
    };
    Chain {
        name,
        hook: Some(hook("nat", number, name, -100)),
        rules: vec![vec![Clause::ToThisHost, Clause::Jump("published")]],
    }
}

fn input() -> Chain {
    use Clause::{Accept, Came, CameTo, Drop, Family as F, Known, To};
    let from_bridge = Came(Set::Bridges, Membership::In);
    Chain {
        name: "input",
        hook: Some(hook("filter", InetHookNumber::LocalIn, "input", 0)),
        rules: vec![
            vec![Came(Set::Bridges, Membership::Out), Accept],
            vec![from_bridge, Known, Accept],
            vec![F(Family::V4), CameTo(Set::Gateways4), Accept],
            vec![F(Family::V6), CameTo(Set::Gateways6), Accept],
            vec![F(Family::V4), To(Set::Addresses4), Drop],
            vec![F(Family::V6), To(Set::Addresses6), Drop],
            vec![Came(Set::Internal, Membership::In), F(Family::V4), Drop],
        ],
    }
}

fn forward() -> Chain {
    use Clause::{Accept, Came, CameAndLeaves, Drop, Known, Leaves, Published};
    Chain {
        name: "forward",
        hook: Some(hook("filter", InetHookNumber::Forward, "forward", 0)),
        rules: vec![
            vec![Known, Accept],
            vec![CameAndLeaves(Set::Together), Accept],
            vec![Came(Set::Internal, Membership::In), Drop],
            vec![Leaves(Set::Internal, Membership::In), Drop],
            vec![Leaves(Set::Bridges, Membership::In), Published, Accept],
            vec![
                Came(Set::Bridges, Membership::Out),
                Leaves(Set::Open, Membership::In),
                Accept,
            ],
            vec![Leaves(Set::Bridges, Membership::In), Drop],
        ],
    }
}

/// By addresses and not by the interface that a packet came by: kernels before 5.7 do not know it here, and none knows it
/// for packets that the host filters while they are bridged.
fn postrouting() -> Chain {
    use Clause::{Family as F, From, FromLoopback, Leaves, Masquerade, Published};
    let (inside, outside) = (
        Leaves(Set::Bridges, Membership::In),
        Leaves(Set::Bridges, Membership::Out),
    );
    Chain {
        name: "postrouting",
        hook: Some(hook("nat", InetHookNumber::PostRouting, "postrouting", 100)),
        rules: vec![
            vec![
                F(Family::V4),
                Published,
                inside,
                From(Set::Blocks4),
                Masquerade,
            ],
            vec![
                F(Family::V6),
                Published,
                inside,
                From(Set::Blocks6),
                Masquerade,
            ],
            vec![F(Family::V4), FromLoopback, inside, Masquerade],
            vec![F(Family::V4), From(Set::Masquerade4), outside, Masquerade],
            vec![F(Family::V6), From(Set::Masquerade6), outside, Masquerade],
        ],
    }
}

impl Clause {
    /// The expressions that carry it out.
    pub(crate) fn expressions(self) -> Vec<Expression> {
        let first = e::register(0);
        match self {
            Self::Family(family) => {
                let number = match family {
                    Family::V4 => 2,
                    Family::V6 => 10,
                };
                vec![
                    e::meta(MetaKey::Nfproto, first),
                    e::compare(first, Operator::Equal, &[number]),
                ]
            }
            Self::Came(set, wanted) => {
                vec![
                    e::meta(MetaKey::Iifname, first),
                    e::member(set.name(), first, wanted),
                ]
            }
            Self::Leaves(set, wanted) => {
                vec![
                    e::meta(MetaKey::Oifname, first),
                    e::member(set.name(), first, wanted),
                ]
            }
            Self::CameAndLeaves(set) => vec![
                e::meta(MetaKey::Iifname, first),
                e::meta(MetaKey::Oifname, e::register(4)),
                e::member(set.name(), first, Membership::In),
            ],
            Self::CameTo(set) => vec![
                e::meta(MetaKey::Iifname, first),
                destination_address(set, 4),
                e::member(set.name(), first, Membership::In),
            ],
            Self::To(set) => {
                vec![
                    destination_address(set, 0),
                    e::member(set.name(), first, Membership::In),
                ]
            }
            Self::From(set) => {
                let (offset, length) = if is_v6(set) { (8, 16) } else { (12, 4) };
                vec![
                    e::payload(e::NETWORK_HEADER, offset, length, first),
                    e::member(set.name(), first, Membership::In),
                ]
            }
            Self::FromLoopback => loopback(12),
            Self::ToLoopback => loopback(16),
            Self::NotToLoopback6 => {
                let mut address = [0; 16];
                address[15] = 1;
                vec![
                    e::payload(e::NETWORK_HEADER, 24, 16, first),
                    e::compare(first, Operator::NotEqual, &address),
                ]
            }
            Self::ToThisHost => vec![
                e::destination_kind(first),
                e::compare(first, Operator::Equal, &2u32.to_ne_bytes()),
            ],
            Self::Known => has_bits(e::connection_state(first), e::STATE_ESTABLISHED_OR_RELATED),
            Self::Published => has_bits(
                e::connection_status(first),
                e::STATUS_DESTINATION_TRANSLATED,
            ),
            Self::Translate(map) => translate(map),
            Self::Masquerade => vec![e::masquerade()],
            Self::Accept => vec![e::accept()],
            Self::Drop => vec![e::drop_packet()],
            Self::Jump(chain) => vec![e::jump(chain)],
            Self::Tcp => vec![
                e::meta(MetaKey::L4Proto, first),
                e::compare(first, Operator::Equal, &[6]),
            ],
            Self::Relay(port) => vec![
                e::load(&[127, 0, 0, 1], first),
                e::load(&port.to_be_bytes(), e::register(1)),
                e::destination_nat(2, first, e::register(1)),
            ],
        }
    }
}

fn is_v6(set: Set) -> bool {
    matches!(
        set,
        Set::Gateways6
            | Set::Addresses6
            | Set::Blocks6
            | Set::Masquerade6
            | Set::Ports6
            | Set::PortsAt6
    )
}

fn destination_address(set: Set, register: u32) -> Expression {
    let (offset, length) = if is_v6(set) { (24, 16) } else { (16, 4) };
    e::payload(e::NETWORK_HEADER, offset, length, e::register(register))
}

fn loopback(offset: u32) -> Vec<Expression> {
    let first = e::register(0);
    vec![
        e::payload(e::NETWORK_HEADER, offset, 4, first),
        e::mask(first, &[255, 0, 0, 0]),
        e::compare(first, Operator::Equal, &[127, 0, 0, 0]),
    ]
}

fn has_bits(load: Expression, bits: u32) -> Vec<Expression> {
    let first = e::register(0);
    vec![
        load,
        e::mask(first, &bits.to_ne_bytes()),
        e::compare(first, Operator::NotEqual, &[0; 4]),
    ]
}

fn translate(map: Set) -> Vec<Expression> {
    let words = if is_v6(map) { 4 } else { 1 };
    let at_address = matches!(map, Set::PortsAt4 | Set::PortsAt6);
    let mut list = Vec::new();
    let mut next = 0;
    if at_address {
        list.push(destination_address(map, 0));
        next = words;
    }
    list.push(e::meta(MetaKey::L4Proto, e::register(next)));
    list.push(e::payload(e::TRANSPORT_HEADER, 2, 2, e::register(next + 1)));
    list.push(e::translate(map.name(), e::register(0)));
    let family = if is_v6(map) { 10 } else { 2 };
    list.push(e::destination_nat(
        family,
        e::register(0),
        e::register(words),
    ));
    list
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let negation = |wanted: &Membership| {
            if *wanted == Membership::Out {
                "!= "
            } else {
                ""
            }
        };
        match self {
            Self::Family(Family::V4) => write!(f, "meta nfproto ipv4"),
            Self::Family(Family::V6) => write!(f, "meta nfproto ipv6"),
            Self::Came(set, wanted) => write!(f, "iifname {}@{}", negation(wanted), set.name()),
            Self::Leaves(set, wanted) => write!(f, "oifname {}@{}", negation(wanted), set.name()),
            Self::CameAndLeaves(set) => write!(f, "iifname . oifname @{}", set.name()),
            Self::CameTo(set) => write!(f, "iifname . {} @{}", destination_text(*set), set.name()),
            Self::To(set) => write!(f, "{} @{}", destination_text(*set), set.name()),
            Self::From(set) => {
                let family = if is_v6(*set) { "ip6" } else { "ip" };
                write!(f, "{family} saddr @{}", set.name())
            }
            Self::FromLoopback => write!(f, "ip saddr 127.0.0.0/8"),
            Self::ToLoopback => write!(f, "ip daddr 127.0.0.0/8"),
            Self::NotToLoopback6 => write!(f, "ip6 daddr != ::1"),
            Self::ToThisHost => write!(f, "fib daddr type local"),
            Self::Known => write!(f, "ct state established,related"),
            Self::Published => write!(f, "ct status dnat"),
            Self::Translate(map) => translate_text(*map, f),
            Self::Masquerade => write!(f, "masquerade"),
            Self::Accept => write!(f, "accept"),
            Self::Drop => write!(f, "drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Tcp => write!(f, "meta l4proto tcp"),
            Self::Relay(port) => write!(f, "dnat ip to 127.0.0.1:{port}"),
        }
    }
}

fn destination_text(set: Set) -> &'static str {
    if is_v6(set) { "ip6 daddr" } else { "ip daddr" }
}

fn translate_text(map: Set, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let family = if is_v6(map) { "ip6" } else { "ip" };
    let at = if matches!(map, Set::PortsAt4 | Set::PortsAt6) {
        format!("{} . ", destination_text(map))
    } else {
        String::new()
    };
    write!(
        f,
        "dnat {family} to {at}meta l4proto . th dport map @{}",
        map.name()
    )
}
