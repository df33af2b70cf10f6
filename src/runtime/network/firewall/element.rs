//! What the sets and maps of our table hold: the facts about networks and ports that change while the rules stay.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::runtime::network::record::Protocol;
use crate::runtime::network::subnet::{Family, Subnet};

/// Number of a data type in nftables, which the `nft` program shows sets by.
mod kind {
    pub(super) const IPV4: u32 = 7;
    pub(super) const IPV6: u32 = 8;
    pub(super) const PROTOCOL: u32 = 12;
    pub(super) const PORT: u32 = 13;
    pub(super) const INTERFACE: u32 = 41;
}

/// A set or map of our table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    /// Our bridges.
    Bridges,
    /// Bridges without a way out.
    Internal,
    /// Bridges whose members are reachable from outside without a published port.
    Open,
    /// A bridge twice, where its members may talk to each other.
    Together,
    /// The blocks of our bridges.
    Blocks4,
    /// The same for IPv6.
    Blocks6,
    /// Blocks whose packets leave with the host's address.
    Masquerade4,
    /// The same for IPv6.
    Masquerade6,
    /// A bridge and its own address.
    Gateways4,
    /// The same for IPv6.
    Gateways6,
    /// The addresses of all bridges.
    Addresses4,
    /// The same for IPv6.
    Addresses6,
    /// Published ports of any IPv4 address of the host.
    Ports4,
    /// The same for IPv6.
    Ports6,
    /// Published ports of one IPv4 address of the host.
    PortsAt4,
    /// The same for IPv6.
    PortsAt6,
}

impl Set {
    /// All of them, in the order in which they are made.
    pub(crate) const ALL: [Self; 16] = [
        Self::Bridges,
        Self::Internal,
        Self::Open,
        Self::Together,
        Self::Blocks4,
        Self::Blocks6,
        Self::Masquerade4,
        Self::Masquerade6,
        Self::Gateways4,
        Self::Gateways6,
        Self::Addresses4,
        Self::Addresses6,
        Self::Ports4,
        Self::Ports6,
        Self::PortsAt4,
        Self::PortsAt6,
    ];

    /// The name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridges => "bridges",
            Self::Internal => "internal",
            Self::Open => "open",
            Self::Together => "together",
            Self::Blocks4 => "blocks4",
            Self::Blocks6 => "blocks6",
            Self::Masquerade4 => "masquerade4",
            Self::Masquerade6 => "masquerade6",
            Self::Gateways4 => "gateways4",
            Self::Gateways6 => "gateways6",
            Self::Addresses4 => "addresses4",
            Self::Addresses6 => "addresses6",
            Self::Ports4 => "ports4",
            Self::Ports6 => "ports6",
            Self::PortsAt4 => "ports_at4",
            Self::PortsAt6 => "ports_at6",
        }
    }

    fn key_kinds(self) -> &'static [u32] {
        match self {
            Self::Bridges | Self::Internal | Self::Open => &[kind::INTERFACE],
            Self::Together => &[kind::INTERFACE, kind::INTERFACE],
            Self::Gateways4 => &[kind::INTERFACE, kind::IPV4],
            Self::Gateways6 => &[kind::INTERFACE, kind::IPV6],
            Self::Addresses4 | Self::Blocks4 | Self::Masquerade4 => &[kind::IPV4],
            Self::Addresses6 | Self::Blocks6 | Self::Masquerade6 => &[kind::IPV6],
            Self::Ports4 | Self::Ports6 => &[kind::PROTOCOL, kind::PORT],
            Self::PortsAt4 => &[kind::IPV4, kind::PROTOCOL, kind::PORT],
            Self::PortsAt6 => &[kind::IPV6, kind::PROTOCOL, kind::PORT],
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only maps have values")]
    fn value_kinds(self) -> &'static [u32] {
        match self {
            Self::Ports4 | Self::PortsAt4 => &[kind::IPV4, kind::PORT],
            Self::Ports6 | Self::PortsAt6 => &[kind::IPV6, kind::PORT],
            _ => &[],
        }
    }

    /// The type and length of its keys.
    pub(crate) fn key(self) -> (u32, u32) {
        concatenation(self.key_kinds())
    }

    /// The type and length of its values, where it is a map.
    pub(crate) fn value(self) -> Option<(u32, u32)> {
        let kinds = self.value_kinds();
        (!kinds.is_empty()).then(|| concatenation(kinds))
    }

    /// Whether its members are blocks and not single values.
    pub(crate) fn has_blocks(self) -> bool {
        matches!(
            self,
            Self::Blocks4 | Self::Blocks6 | Self::Masquerade4 | Self::Masquerade6
        )
    }

    /// A note for `nft`, which otherwise shows keys in the wrong order of bytes: 1 is the machine's, 2 the network's.
    pub(crate) fn note(self) -> Option<Vec<u8>> {
        let order: u32 = match self.key_kinds() {
            [kind::INTERFACE] => 1,
            [_] => 2,
            _ => return None,
        };
        let mut note = vec![0, 4];
        note.extend(order.to_ne_bytes());
        Some(note)
    }

    /// The type as `nft` writes it.
    pub(crate) fn type_text(self) -> String {
        let names = |kinds: &[u32]| {
            kinds
                .iter()
                .map(|kind| kind_name(*kind))
                .collect::<Vec<_>>()
                .join(" . ")
        };
        match self.value_kinds() {
            [] => names(self.key_kinds()),
            values => format!("{} : {}", names(self.key_kinds()), names(values)),
        }
    }
}

fn kind_name(kind: u32) -> &'static str {
    match kind {
        kind::IPV4 => "ipv4_addr",
        kind::IPV6 => "ipv6_addr",
        kind::PROTOCOL => "inet_proto",
        kind::PORT => "inet_service",
        _ => "ifname",
    }
}

/// A concatenated type has six bits per part; each part stands at a multiple of four bytes.
fn concatenation(kinds: &[u32]) -> (u32, u32) {
    let kind = kinds.iter().fold(0, |number, kind| number << 6 | kind);
    let single = kinds.len() == 1;
    let length = kinds
        .iter()
        .map(|kind| match *kind {
            kind::IPV6 | kind::INTERFACE => 16,
            kind::PROTOCOL if single => 1,
            kind::PORT if single => 2,
            _ => 4,
        })
        .sum();
    (kind, length)
}

/// One member of a set, or one entry of a map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    /// A bridge in one of the sets of bridges.
    Bridge(Set, String),
    /// A bridge twice.
    Pair(Set, String),
    /// A bridge with its address.
    Gateway(String, IpAddr),
    /// The address of a bridge.
    Address(IpAddr),
    /// A block of addresses.
    Block(Set, Subnet),
    /// A published port.
    Port(PortRule),
}

/// A published port and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortRule {
    /// The address of the host; none: any.
    pub(crate) at: Option<IpAddr>,
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The port of the host.
    pub(crate) port: u16,
    /// The container's address and port.
    pub(crate) to: SocketAddr,
}

/// One entry of a set as the kernel compares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// The value, in maps.
    pub(crate) value: Option<Vec<u8>>,
    /// Where it stands in a block.
    pub(crate) bound: Bound,
}

/// The place of an entry in a block of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The first value, or the only one.
    First,
    /// The value after the last.
    End,
}

impl Element {
    /// The bridge that it says to be one of ours.
    pub(crate) fn bridge(&self) -> Option<&str> {
        match self {
            Self::Bridge(Set::Bridges, name) => Some(name),
            _ => None,
        }
    }

    /// The set that it belongs to.
    pub(crate) fn set(&self) -> Set {
        match self {
            Self::Bridge(set, _) | Self::Pair(set, _) | Self::Block(set, _) => *set,
            Self::Gateway(_, address) => by_family(*address, Set::Gateways4, Set::Gateways6),
            Self::Address(address) => by_family(*address, Set::Addresses4, Set::Addresses6),
            Self::Port(rule) => match (rule.at, Family::of(rule.to.ip())) {
                (None, Family::V4) => Set::Ports4,
                (None, Family::V6) => Set::Ports6,
                (Some(_), Family::V4) => Set::PortsAt4,
                (Some(_), Family::V6) => Set::PortsAt6,
            },
        }
    }

    /// What it is in the set: one entry, or the first and the one after the last of a block.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let single = |key| {
            vec![Entry {
                key,
                value: self.value(),
                bound: Bound::First,
            }]
        };
        match self {
            Self::Bridge(_, name) => single(interface(name)),
            Self::Pair(_, name) => single([interface(name), interface(name)].concat()),
            Self::Gateway(name, address) => single([interface(name), octets(*address)].concat()),
            Self::Address(address) => single(octets(*address)),
            Self::Block(_, block) => {
                let mut entries = single(octets(block.base()));
                let end = block.following().map(octets);
                entries.extend(end.map(|key| Entry {
                    key,
                    value: None,
                    bound: Bound::End,
                }));
                entries
            }
            Self::Port(rule) => {
                let mut key = rule.at.map(octets).unwrap_or_default();
                key.extend([rule.protocol.number(), 0, 0, 0]);
                key.extend(port(rule.port));
                single(key)
            }
        }
    }

    /// The value, for maps.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only ports have values")]
    fn value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Port(rule) => {
                let mut value = octets(rule.to.ip());
                value.extend(port(rule.to.port()));
                Some(value)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(_, name) => write!(f, "\"{name}\""),
            Self::Pair(_, name) => write!(f, "\"{name}\" . \"{name}\""),
            Self::Gateway(name, address) => write!(f, "\"{name}\" . {address}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Block(_, block) => write!(f, "{block}"),
            Self::Port(rule) => {
                if let Some(at) = rule.at {
                    write!(f, "{at} . ")?;
                }
                let (protocol, to) = (rule.protocol.name(), rule.to);
                write!(
                    f,
                    "{protocol} . {} : {} . {}",
                    rule.port,
                    to.ip(),
                    to.port()
                )
            }
        }
    }
}

fn by_family(address: IpAddr, v4: Set, v6: Set) -> Set {
    if address.is_ipv4() { v4 } else { v6 }
}

fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}
