//! Firewall and address translation: one nftables table of our own, `inet hoist<instance>`, written by netlink.
//!
//! The desired contents stand in memory; each change is one transaction of a few set elements. Where the kernel says
//! that the table is not as we left it (somebody flushed it), the whole table is written anew, in one transaction too.

mod docker;
mod element;
mod expression;
mod message;
mod rule;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;

use super::netlink::Netlink;

pub(crate) use element::{Element, PortRule, Set};
pub(crate) use rule::Doors;

/// Our table.
#[derive(Debug)]
pub(crate) struct Firewall {
    table: String,
    contents: BTreeSet<Element>,
    presence: Presence,
    relay: Option<Doors>,
}

/// Whether the kernel has our table, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// Not since we started.
    Unknown,
    /// We wrote it.
    Written,
}

impl Firewall {
    /// The table of an engine; nothing is written yet.
    pub(crate) fn new(instance: &str) -> Self {
        Self {
            table: format!("hoist{instance}"),
            contents: BTreeSet::new(),
            presence: Presence::Unknown,
            relay: None,
        }
    }

    /// Leads what leaves to a relay from the next write on.
    pub(crate) fn lead_to_relay(&mut self, doors: Doors) {
        self.relay = Some(doors);
    }

    fn chains(&self) -> Vec<rule::Chain> {
        rule::chains(self.relay)
    }

    /// Adds elements, in one transaction.
    pub(crate) fn add(&mut self, elements: Vec<Element>) -> io::Result<()> {
        let new: Vec<_> = elements
            .into_iter()
            .filter(|element| !self.contents.contains(element))
            .collect();
        self.contents.extend(new.iter().cloned());
        if new.is_empty() && self.presence == Presence::Written {
            return Ok(());
        }
        self.change(&new, &[])
    }

    /// Removes elements, in one transaction.
    pub(crate) fn remove(&mut self, elements: Vec<Element>) -> io::Result<()> {
        let old: Vec<_> = elements
            .into_iter()
            .filter(|element| self.contents.remove(element))
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        self.change(&[], &old)
    }

    fn change(&mut self, new: &[Element], old: &[Element]) -> io::Result<()> {
        let of_bridge = |element: &Element| element.set() == Set::Bridges;
        if new.iter().chain(old).any(of_bridge) {
            self.pass_beside_docker();
        }
        if self.presence == Presence::Written {
            let batch = message::change(&self.table, new, old);
            if transact(batch).is_ok() {
                return Ok(());
            }
        }
        self.write()
    }

    /// Lets our bridges through where Docker drops what it does not know; a failure is worth a word, not more.
    fn pass_beside_docker(&self) {
        let bridges: BTreeSet<&str> = self.contents.iter().filter_map(Element::bridge).collect();
        if let Err(error) = docker::let_pass(&self.table, &bridges) {
            tracing::warn!("cannot let containers pass in Docker's chain `DOCKER-USER`: {error}");
        }
    }

    /// Writes the whole table anew.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        self.pass_beside_docker();
        transact(message::whole(&self.table, &self.contents, &self.chains()))?;
        self.presence = Presence::Written;
        Ok(())
    }

    /// Whether the kernel has our table.
    pub(crate) fn is_present(&self) -> io::Result<bool> {
        message::tables().map(|tables| tables.contains(&self.table))
    }

    /// Whether the kernel has our table with all its rules; a flush leaves an empty one.
    pub(crate) fn is_whole(&self) -> io::Result<bool> {
        let wanted: usize = self.chains().iter().map(|chain| chain.rules.len()).sum();
        Ok(self.is_present()? && message::rules_of(&self.table)? == wanted)
    }

    /// Forgets and removes the table; one that is not there counts as removed.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.contents.clear();
        self.presence = Presence::Unknown;
        self.pass_beside_docker();
        if self.is_present()? {
            transact(message::removal(&self.table))
        } else {
            Ok(())
        }
    }

    /// The table in the syntax of `nft`, a line each.
    pub(crate) fn text(&self) -> Vec<String> {
        let mut lines = vec![format!("table inet {} {{", self.table)];
        for set in Set::ALL {
            let kind = if set.value().is_some() { "map" } else { "set" };
            lines.push(format!("\t{kind} {} {{", set.name()));
            lines.push(format!("\t\ttype {}", set.type_text()));
            if set.has_blocks() {
                lines.push("\t\tflags interval".to_owned());
            }
            let elements: Vec<_> = self
                .contents
                .iter()
                .filter(|element| element.set() == set)
                .map(ToString::to_string)
                .collect();
            if !elements.is_empty() {
                lines.push(format!("\t\telements = {{ {} }}", elements.join(", ")));
            }
            lines.push("\t}".to_owned());
        }
        for chain in self.chains() {
            lines.extend(chain_text(&chain));
        }
        lines.push("}".to_owned());
        lines
    }
}

fn chain_text(chain: &rule::Chain) -> Vec<String> {
    let mut lines = vec![format!("\tchain {} {{", chain.name)];
    if let Some(hook) = chain.hook {
        lines.push(format!(
            "\t\ttype {} hook {} priority {}; policy accept;",
            hook.kind, hook.name, hook.priority
        ));
    }
    for clauses in &chain.rules {
        let mut line = "\t\t".to_owned();
        for (index, clause) in clauses.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(line, "{gap}{clause}").expect("writing to a string does not fail");
        }
        lines.push(line);
    }
    lines.push("\t}".to_owned());
    lines
}

fn transact(batch: Vec<message::RuleRequest>) -> io::Result<()> {
    Netlink::netfilter()?
        .run_transaction(batch)
        .map_err(|refusal| refusal.source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::network::record::Protocol;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn port(number: u16) -> Result<Element, Box<dyn std::error::Error>> {
        Ok(Element::Port(PortRule {
            at: None,
            protocol: Protocol::Tcp,
            port: number,
            to: "172.18.0.2:80".parse()?,
        }))
    }

    #[test]
    fn keys_have_the_length_that_their_set_declares() -> TestResult {
        let gateway = |address: &str| -> Result<Element, std::net::AddrParseError> {
            Ok(Element::Gateway("br-0".to_owned(), address.parse()?))
        };
        let elements = [
            port(8080)?,
            Element::Port(PortRule {
                at: Some("::2".parse()?),
                protocol: Protocol::Udp,
                port: 1,
                to: "[fd00::2]:53".parse()?,
            }),
            gateway("172.18.0.1")?,
            gateway("fd00::1")?,
            Element::Bridge(Set::Bridges, "br-0".to_owned()),
            Element::Pair(Set::Together, "br-0".to_owned()),
            Element::Address("fd00::1".parse()?),
            Element::Block(Set::Blocks6, "fd00::/64".parse()?),
        ];
        for element in elements {
            let set = element.set();
            for entry in element.entries() {
                assert_eq!(entry.key.len(), set.key().1 as usize, "{element}");
            }
            let length = set.value().map(|(_, length)| length as usize);
            let first = element
                .entries()
                .into_iter()
                .next()
                .and_then(|entry| entry.value);
            assert_eq!(first.map(|value| value.len()), length, "{element}");
        }
        Ok(())
    }

    #[test]
    fn a_published_port_reads_as_nft_writes_it() -> TestResult {
        assert_eq!(port(8080)?.to_string(), "tcp . 8080 : 172.18.0.2 . 80");
        Ok(())
    }

    #[test]
    fn the_text_names_table_sets_and_rules() -> TestResult {
        let mut firewall = Firewall::new("x1");
        firewall.contents.insert(port(8080)?);
        let text = firewall.text().join("\n");
        assert!(text.starts_with("table inet hoistx1 {"));
        assert!(text.contains("elements = { tcp . 8080 : 172.18.0.2 . 80 }"));
        assert!(text.contains("dnat ip to meta l4proto . th dport map @ports4"));
        assert!(text.contains("oifname @bridges drop"));
        assert!(!text.contains("chain relay"));
        Ok(())
    }

    #[test]
    fn a_relay_takes_tcp_that_goes_to_no_network_of_ours() {
        let mut firewall = Firewall::new("x1");
        firewall.lead_to_relay(Doors {
            host: 1234,
            outside: Some(4567),
        });
        let text = firewall.text().join("\n");
        let (_, relay) = text.split_once("chain relay {").unwrap_or_default();
        assert!(relay.contains("iifname @internal accept"), "{relay}");
        assert!(relay.contains("ip daddr @blocks4 accept"), "{relay}");
        assert!(
            relay.contains("@gateways4 meta l4proto tcp dnat ip to 127.0.0.1:1234"),
            "{relay}"
        );
        assert!(
            relay.contains("meta l4proto tcp dnat ip to 127.0.0.1:4567"),
            "{relay}"
        );
    }
}
