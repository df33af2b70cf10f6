//! Passage for our bridges beside Docker: rules in `DOCKER-USER`, the chain that Docker keeps for the rules of others.
//!
//! Docker gives the host's `FORWARD` chain the policy drop, and where the kernel filters bridged packets too
//! (`br_netfilter`), that stops even containers of one network of ours from reaching each other. Accepting in our own
//! table cannot help against a drop in another one. So each bridge gets two accepting rules there, marked with our
//! table's name; what may really pass is still decided by our table. Without that chain nothing is done.

use std::collections::BTreeSet;
use std::io;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::nftables::{
    MetaKey, NfTablesMessage, Operator, RuleAttribute, RuleMessage,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};

use super::expression as e;
use super::message::{self, RuleRequest};
use crate::runtime::network::netlink::Netlink;

const TABLE: &str = "filter";
const CHAIN: &str = "DOCKER-USER";
const FAMILIES: [NetfilterProtoFamily; 2] =
    [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6];
/// An interface name in a register, filled with zeros.
const INTERFACE_NAME: usize = 16;

/// Makes the rules with our mark those of these bridges, in each family that has the chain.
pub(crate) fn let_pass(mark: &str, bridges: &BTreeSet<&str>) -> io::Result<()> {
    FAMILIES
        .into_iter()
        .try_for_each(|family| sync(family, mark, bridges))
}

fn sync(family: NetfilterProtoFamily, mark: &str, bridges: &BTreeSet<&str>) -> io::Result<()> {
    let Ok(present) = rules(family) else {
        return Ok(()); // no such chain: nothing stands in the way
    };
    let wanted: BTreeSet<String> = bridges.iter().map(|bridge| comment(mark, bridge)).collect();
    let ours = present
        .iter()
        .filter(|rule| rule.comment.starts_with(&comment(mark, "")));
    let mut messages: Vec<_> = ours
        .filter(|rule| !wanted.contains(&rule.comment))
        .map(|rule| removal(family, rule.handle))
        .collect();
    for bridge in bridges {
        let comment = comment(mark, bridge);
        if !present.iter().any(|rule| rule.comment == comment) {
            messages.extend(
                [MetaKey::Iifname, MetaKey::Oifname].map(|key| rule(family, key, bridge, &comment)),
            );
        }
    }
    if messages.is_empty() {
        return Ok(());
    }
    Netlink::netfilter()?
        .run_transaction(message::transaction(messages))
        .map_err(|refusal| refusal.source)
}

fn comment(mark: &str, bridge: &str) -> String {
    format!("{mark}:{bridge}")
}

/// A rule of the chain, as far as it matters here.
struct Present {
    handle: u64,
    comment: String,
}

/// The rules of the chain; an error where there is none.
fn rules(family: NetfilterProtoFamily) -> io::Result<Vec<Present>> {
    let chain = message::chains_of(family, TABLE)?;
    if !chain.iter().any(|name| name == CHAIN) {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    let attributes = vec![
        RuleAttribute::Table(TABLE.to_owned()),
        RuleAttribute::Chain(CHAIN.to_owned()),
    ];
    let query = NfTablesMessage::GetRule(RuleMessage { attributes });
    let header = NetfilterHeader::new(family, 0, 0);
    let found = Netlink::netfilter()?.dump(NetfilterMessage::new(header, query))?;
    Ok(found.into_iter().filter_map(present).collect())
}

fn present(message: NetfilterMessage) -> Option<Present> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) = message.inner else {
        return None;
    };
    let mut present = Present {
        handle: 0,
        comment: String::new(),
    };
    let mut in_chain = false;
    for attribute in rule.attributes {
        match attribute {
            RuleAttribute::Handle(handle) => present.handle = handle,
            RuleAttribute::Chain(name) => in_chain = name == CHAIN,
            RuleAttribute::UserData(bytes) => present.comment = read_comment(&bytes),
            _ => {}
        }
    }
    in_chain.then_some(present)
}

/// A comment as `nft` writes it: type 0, length, text with a final zero.
fn write_comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![0, length];
    bytes.extend(text.bytes());
    bytes.push(0);
    bytes
}

fn read_comment(bytes: &[u8]) -> String {
    match bytes {
        [0, _, text @ .., 0] => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}

fn rule(family: NetfilterProtoFamily, key: MetaKey, bridge: &str, comment: &str) -> RuleRequest {
    let mut name = bridge.as_bytes().to_vec();
    name.resize(INTERFACE_NAME, 0);
    let attributes = vec![
        RuleAttribute::Table(TABLE.to_owned()),
        RuleAttribute::Chain(CHAIN.to_owned()),
        RuleAttribute::Expressions(vec![
            e::meta(key, e::register(0)),
            e::compare(e::register(0), Operator::Equal, &name),
            e::accept(),
        ]),
        RuleAttribute::UserData(write_comment(comment)),
    ];
    message::request_in(
        family,
        NfTablesMessage::NewRule(RuleMessage { attributes }),
        NLM_F_CREATE,
    )
}

fn removal(family: NetfilterProtoFamily, handle: u64) -> RuleRequest {
    let attributes = vec![
        RuleAttribute::Table(TABLE.to_owned()),
        RuleAttribute::Chain(CHAIN.to_owned()),
        RuleAttribute::Handle(handle),
    ];
    message::request_in(
        family,
        NfTablesMessage::DeleteRule(RuleMessage { attributes }),
        0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_read_as_they_are_written() {
        assert_eq!(read_comment(&write_comment("hoist:br0")), "hoist:br0");
        assert_eq!(read_comment(&[]), "");
    }
}
