//! Our table as netlink messages: transactions that write it, change its sets, or remove it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's attributes are many and grow; only a few concern us"
)]

use std::collections::BTreeSet;
use std::io;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, Hook, ListAttribute, NfTablesMessage,
    RuleAttribute, RuleMessage, SetAttribute, SetElementAttribute, SetElementFlags, SetElementList,
    SetElementMessage, SetFlags, SetMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};

use super::element::{Bound, Element, Set};
use super::rule::{Chain, Clause};
use crate::runtime::network::netlink::{Netlink, Request};

/// A message about rules, with its flags.
pub(crate) type RuleRequest = Request<NetfilterMessage>;

/// The number of nftables among the subsystems of netfilter.
const NFTABLES: u16 = 10;
/// An attribute holds at most 64 KiB; a set element takes less than a hundred bytes.
const ELEMENTS_PER_MESSAGE: usize = 400;

fn control(message: ControlMessage) -> RuleRequest {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES);
    Request {
        message: NetfilterMessage::new(header, message),
        flags: 0,
    }
}

fn request(message: NfTablesMessage, flags: u16) -> RuleRequest {
    request_in(NetfilterProtoFamily::Inet, message, flags)
}

/// A message about a table of a family.
pub(crate) fn request_in(
    family: NetfilterProtoFamily,
    message: NfTablesMessage,
    flags: u16,
) -> RuleRequest {
    let header = NetfilterHeader::new(family, 0, 0);
    Request {
        message: NetfilterMessage::new(header, message),
        flags,
    }
}

/// Messages that the kernel takes all or none.
pub(crate) fn transaction(messages: Vec<RuleRequest>) -> Vec<RuleRequest> {
    let begin = std::iter::once(control(ControlMessage::BatchBegin));
    begin
        .chain(messages)
        .chain(std::iter::once(control(ControlMessage::BatchEnd)))
        .collect()
}

/// Writes the table anew, whether it is there or not.
pub(crate) fn whole(
    table: &str,
    contents: &BTreeSet<Element>,
    chains: &[Chain],
) -> Vec<RuleRequest> {
    let mut messages = vec![new_table(table), old_table(table), new_table(table)];
    messages.extend(
        Set::ALL
            .into_iter()
            .zip(1..)
            .map(|(set, id)| new_set(table, set, id)),
    );
    messages.extend(chains.iter().map(|chain| new_chain(table, chain)));
    for chain in chains {
        messages.extend(
            chain
                .rules
                .iter()
                .map(|rule| new_rule(table, chain.name, rule)),
        );
    }
    let contents: Vec<_> = contents.iter().cloned().collect();
    messages.extend(elements(table, &contents, Direction::In));
    transaction(messages)
}

/// Changes members of sets and entries of maps.
pub(crate) fn change(table: &str, new: &[Element], old: &[Element]) -> Vec<RuleRequest> {
    let mut messages = elements(table, old, Direction::Out);
    messages.extend(elements(table, new, Direction::In));
    transaction(messages)
}

/// Removes the table.
pub(crate) fn removal(table: &str) -> Vec<RuleRequest> {
    transaction(vec![old_table(table)])
}

fn table_message(table: &str) -> TableMessage {
    TableMessage {
        attributes: vec![TableAttribute::Name(table.to_owned())],
    }
}

fn new_table(table: &str) -> RuleRequest {
    request(
        NfTablesMessage::NewTable(table_message(table)),
        NLM_F_CREATE,
    )
}

fn old_table(table: &str) -> RuleRequest {
    request(NfTablesMessage::DeleteTable(table_message(table)), 0)
}

fn new_set(table: &str, set: Set, id: u32) -> RuleRequest {
    let (key_type, key_length) = set.key();
    let mut attributes = vec![
        SetAttribute::Table(table.to_owned()),
        SetAttribute::Name(set.name().to_owned()),
        SetAttribute::KeyType(key_type),
        SetAttribute::KeyLen(key_length),
        SetAttribute::Id(id),
    ];
    if set.has_blocks() {
        attributes.push(SetAttribute::Flags(SetFlags::Interval));
    }
    if let Some((value_type, value_length)) = set.value() {
        attributes.push(SetAttribute::Flags(SetFlags::Map));
        attributes.push(SetAttribute::DataType(value_type));
        attributes.push(SetAttribute::DataLen(value_length));
    }
    attributes.extend(set.note().map(SetAttribute::UserData));
    request(
        NfTablesMessage::NewSet(SetMessage { attributes }),
        NLM_F_CREATE,
    )
}

fn new_chain(table: &str, chain: &Chain) -> RuleRequest {
    let mut attributes = vec![
        ChainAttribute::Table(table.to_owned()),
        ChainAttribute::Name(chain.name.to_owned()),
    ];
    if let Some(hook) = chain.hook {
        attributes.push(ChainAttribute::Type(hook.kind.to_owned()));
        attributes.push(ChainAttribute::Hook(vec![
            Hook::Number(hook.number.into()),
            Hook::Priority(hook.priority.cast_unsigned()),
        ]));
    }
    request(
        NfTablesMessage::NewChain(ChainMessage { attributes }),
        NLM_F_CREATE,
    )
}

fn new_rule(table: &str, chain: &str, clauses: &[Clause]) -> RuleRequest {
    let expressions = clauses
        .iter()
        .flat_map(|clause| clause.expressions())
        .collect();
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(chain.to_owned()),
        RuleAttribute::Expressions(expressions),
    ];
    request(
        NfTablesMessage::NewRule(RuleMessage { attributes }),
        NLM_F_CREATE | NLM_F_APPEND,
    )
}

/// Whether elements come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

fn elements(table: &str, list: &[Element], direction: Direction) -> Vec<RuleRequest> {
    let mut messages = Vec::new();
    for set in Set::ALL {
        let of_set: Vec<_> = list.iter().filter(|element| element.set() == set).collect();
        for part in of_set.chunks(ELEMENTS_PER_MESSAGE) {
            messages.push(element_message(table, set, part, direction));
        }
    }
    messages
}

fn element_message(table: &str, set: Set, part: &[&Element], direction: Direction) -> RuleRequest {
    let entries = part.iter().flat_map(|element| element.entries());
    let list = entries.map(|entry| {
        let mut attributes = vec![SetElementAttribute::Key(DataAttribute::Value(entry.key))];
        if let (Some(value), Direction::In) = (entry.value, direction) {
            attributes.push(SetElementAttribute::Data(DataAttribute::Value(value)));
        }
        if entry.bound == Bound::End {
            attributes.push(SetElementAttribute::Flags(SetElementFlags::IntervalEnd));
        }
        ListAttribute::Element(attributes)
    });
    let message = SetElementMessage {
        attributes: vec![
            SetElementList::Table(table.to_owned()),
            SetElementList::Set(set.name().to_owned()),
            SetElementList::Elements(list.collect()),
        ],
    };
    match direction {
        Direction::In => request(NfTablesMessage::NewSetElement(message), NLM_F_CREATE),
        Direction::Out => request(NfTablesMessage::DeleteSetElement(message), 0),
    }
}

/// The names of the tables of the family `inet`.
pub(crate) fn tables() -> io::Result<Vec<String>> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
    let query = NfTablesMessage::GetTable(TableMessage {
        attributes: Vec::new(),
    });
    let found = Netlink::netfilter()?.dump(NetfilterMessage::new(header, query))?;
    Ok(found.into_iter().filter_map(table_name).collect())
}

/// How many rules a table of ours has.
pub(crate) fn rules_of(table: &str) -> io::Result<usize> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
    let attributes = vec![RuleAttribute::Table(table.to_owned())];
    let query = NfTablesMessage::GetRule(RuleMessage { attributes });
    let found = Netlink::netfilter()?.dump(NetfilterMessage::new(header, query))?;
    let of_table = |message: &NetfilterMessage| match &message.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) => rule
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, RuleAttribute::Table(name) if name == table)),
        _ => false,
    };
    Ok(found.iter().filter(|message| of_table(message)).count())
}

/// The names of the chains of a table.
pub(crate) fn chains_of(family: NetfilterProtoFamily, table: &str) -> io::Result<Vec<String>> {
    let header = NetfilterHeader::new(family, 0, 0);
    let query = NfTablesMessage::GetChain(ChainMessage {
        attributes: Vec::new(),
    });
    let found = Netlink::netfilter()?.dump(NetfilterMessage::new(header, query))?;
    Ok(found
        .into_iter()
        .filter_map(|message| chain_name(message, table))
        .collect())
}

fn chain_name(message: NetfilterMessage, wanted: &str) -> Option<String> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) = message.inner else {
        return None;
    };
    let (mut of_table, mut name) = (false, None);
    for attribute in chain.attributes {
        match attribute {
            ChainAttribute::Table(table) => of_table = table == wanted,
            ChainAttribute::Name(text) => name = Some(text),
            _ => {}
        }
    }
    name.filter(|_| of_table)
}

fn table_name(message: NetfilterMessage) -> Option<String> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) = message.inner else {
        return None;
    };
    table
        .attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            TableAttribute::Name(name) => Some(name),
            _ => None,
        })
}
