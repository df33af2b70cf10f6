//! One query turned into an answer, or into the decision to ask elsewhere. Pure but for the directory.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::directory::{Directory, Member, Upstream};
use crate::runtime::network::subnet::Family;

/// Nobody remembers what may change at once.
const TIME_TO_LIVE: u32 = 0;
/// What an answer over UDP may measure where the asker does not say.
const PLAIN_LIMIT: usize = 512;

/// What is done about a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is answered.
    Answer(Vec<u8>),
    /// Others are asked; `refusal` is the answer where they do not answer.
    Ask {
        /// Who.
        upstream: Upstream,
        /// The answer in their place.
        refusal: Vec<u8>,
    },
    /// It is no query; nothing is said.
    Ignore,
}

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In one packet.
    Udp,
    /// In a stream.
    Tcp,
}

/// Decides about a query of a container.
pub(crate) fn decide(
    packet: &[u8],
    container: &str,
    directory: &Directory,
    transport: Transport,
) -> Decision {
    let Ok(query) = Message::from_vec(packet) else {
        return Decision::Ignore;
    };
    if query.metadata.message_type != MessageType::Query {
        return Decision::Ignore;
    }
    let mut response = respond(&query);
    let question = match query.queries.as_slice() {
        [question] if query.metadata.op_code == OpCode::Query => question,
        _ => {
            response.metadata.response_code = ResponseCode::NotImp;
            return encode(&response, transport, &query);
        }
    };
    let name = text_of(question.name());
    let family = if question.query_type() == RecordType::AAAA {
        Family::V6
    } else {
        Family::V4
    };
    if question.query_class() == DNSClass::IN {
        if let Some(members) = directory.find(container, &name, family) {
            response.add_answers(records(question.name(), question.query_type(), &members));
            return encode(&response, transport, &query);
        }
        if question.query_type() == RecordType::PTR
            && let Some(found) =
                reverse(&name).and_then(|address| directory.name_of(container, address))
            && let Ok(found) = Name::from_ascii(format!("{found}."))
        {
            response.add_answer(record(question.name(), RData::PTR(PTR(found))));
            return encode(&response, transport, &query);
        }
    }
    let kind = question.query_type();
    if question.query_class() == DNSClass::IN && matches!(kind, RecordType::A | RecordType::AAAA) {
        let beyond = directory.beyond(container, &name);
        if !beyond.is_empty() {
            response.metadata.response_code = ResponseCode::NXDomain;
            return response.to_vec().map_or(Decision::Ignore, |refusal| {
                let upstream = Upstream::Peers(beyond);
                Decision::Ask { upstream, refusal }
            });
        }
    }
    let upstream = directory.upstream(container);
    if upstream == Upstream::Nobody || !name.contains('.') && !name.is_empty() {
        // Names without a dot are ours alone: they are not told to the world.
        response.metadata.response_code = ResponseCode::NXDomain;
        return encode(&response, transport, &query);
    }
    response.metadata.response_code = ResponseCode::ServFail;
    match response.to_vec() {
        Ok(refusal) => Decision::Ask { upstream, refusal },
        Err(_) => Decision::Ignore,
    }
}

pub(super) fn respond(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    if let Some(edns) = &query.edns {
        let mut own = hickory_proto::op::Edns::new();
        own.set_max_payload(edns.max_payload().max(512));
        response.set_edns(own);
    }
    response
}

/// The answer to a query with addresses that others know; those of the other family are left out.
pub(super) fn with_addresses(
    query: &Message,
    addresses: &BTreeSet<IpAddr>,
    transport: Transport,
) -> Option<Vec<u8>> {
    let question = query.queries.first()?;
    let mut response = respond(query);
    for address in addresses {
        let data = match (address, question.query_type()) {
            (IpAddr::V4(address), RecordType::A) => RData::A(A(*address)),
            (IpAddr::V6(address), RecordType::AAAA) => RData::AAAA(AAAA(*address)),
            _ => continue,
        };
        response.add_answer(record(question.name(), data));
    }
    match encode(&response, transport, query) {
        Decision::Answer(answer) => Some(answer),
        Decision::Ask { .. } | Decision::Ignore => None,
    }
}

fn encode(response: &Message, transport: Transport, query: &Message) -> Decision {
    let limit = match (transport, &query.edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, Some(edns)) => usize::from(edns.max_payload()).max(PLAIN_LIMIT),
        (Transport::Udp, None) => PLAIN_LIMIT,
    };
    let encoded = match response.to_vec() {
        Ok(bytes) if bytes.len() > limit => response.truncate().to_vec(),
        other => other,
    };
    encoded.map_or(Decision::Ignore, Decision::Answer)
}

/// The name as the directory spells it: small letters, no dot at the end.
pub(super) fn text_of(name: &Name) -> String {
    let labels = name
        .iter()
        .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase());
    labels.collect::<Vec<_>>().join(".")
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a name of ours has addresses and no other records"
)]
pub(super) fn records(name: &Name, kind: RecordType, members: &[Member]) -> Vec<Record> {
    let list = members.iter().filter_map(|member| match kind {
        RecordType::A => member.v4.map(|address| RData::A(A(address))),
        RecordType::AAAA => member.v6.map(|address| RData::AAAA(AAAA(address))),
        _ => None, // a name of ours has no other records
    });
    list.map(|data| record(name, data)).collect()
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TIME_TO_LIVE, data)
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` means.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0u8; 4];
        let mut labels = digits.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = labels.next()?.parse().ok()?;
        }
        return labels
            .next()
            .is_none()
            .then(|| Ipv4Addr::from(octets).into());
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let mut number = 0u128;
    let mut count = 0;
    for label in digits.split('.').rev() {
        number = number << 4 | u128::from(u8::from_str_radix(label, 16).ok().filter(|d| *d < 16)?);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from(number).into())
}

#[cfg(test)]
mod tests;
