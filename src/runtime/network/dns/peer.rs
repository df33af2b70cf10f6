//! Names across overlay networks: the engines of the hosts ask each other, over the way that the overlay's packets go.
//!
//! ```text
//! container ── web? ──> its engine ── web.NUMBER.overlay.hoist? ──UDP 4788──> the engine of each peer
//!                                  <── addresses in the overlay's subnet ────
//! ```
//!
//! No more is trusted than VXLAN trusts: a question is answered to the peers of that overlay only, with its own members
//! only, and is never passed on; an answer counts from the peer that was asked, to that very question, with addresses
//! inside of the overlay's subnets.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::{self, Transport};
use super::directory::Directory;
use super::upstream::rand_number;
use crate::runtime::network::subnet::Subnet;

/// Beside the one of VXLAN.
const PORT: u16 = 4788;
/// How long a peer may take for each try; one that is down costs their sum for a name that nobody has.
const TRIES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(400)];
/// The end of names between engines.
const SUFFIX: [&str; 2] = ["overlay", "hoist"];

/// An overlay network with other hosts, and what a name is called on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// The overlay's number.
    pub(crate) number: u32,
    /// The other hosts.
    pub(crate) peers: Vec<IpAddr>,
    /// Where its addresses lie.
    pub(crate) subnets: Vec<Subnet>,
    /// The name, without the network's.
    pub(crate) name: String,
}

/// The socket on which peers ask, in the namespace of the calling thread.
pub(super) fn socket() -> io::Result<UdpSocket> {
    let any: IpAddr = Ipv6Addr::UNSPECIFIED.into();
    let socket = UdpSocket::bind(SocketAddr::new(any, PORT))
        .or_else(|_| UdpSocket::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Answers peers until dropped.
pub(super) async fn run(socket: UdpSocket, directory: Arc<Directory>) {
    let Ok(socket) = tokio::net::UdpSocket::from_std(socket) else {
        return;
    };
    let mut packet = [0; 512];
    loop {
        let Ok((length, asker)) = socket.recv_from(&mut packet).await else {
            continue;
        };
        let reply = reply(&packet[..length], asker.ip().to_canonical(), &directory);
        if let Some(reply) = reply {
            // A peer that is gone has asked for nothing.
            drop(socket.send_to(&reply, asker).await);
        }
    }
}

/// The answer to a peer; strangers get none.
fn reply(packet: &[u8], asker: IpAddr, directory: &Directory) -> Option<Vec<u8>> {
    let query = Message::from_vec(packet).ok()?;
    let is_query = query.metadata.message_type == MessageType::Query
        && query.metadata.op_code == OpCode::Query;
    let [question] = query.queries.as_slice() else {
        return None;
    };
    if !is_query || question.query_class() != DNSClass::IN {
        return None;
    }
    let (name, number) = read_name(question.name())?;
    let members = directory.members_for_peer(asker, number, &name)?;
    let mut response = answer::respond(&query);
    if members.is_empty() {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    response.add_answers(answer::records(
        question.name(),
        question.query_type(),
        &members,
    ));
    let encoded = response.to_vec().ok()?;
    if encoded.len() > packet.len().max(512) {
        return response.truncate().to_vec().ok();
    }
    Some(encoded)
}

/// Asks all peers of all overlays; an answer to the container where one of them knows the name.
pub(super) async fn ask(beyond: &[Beyond], query: &[u8], way: Transport) -> Option<Vec<u8>> {
    let asked = Message::from_vec(query).ok()?;
    let kind = asked.queries.first()?.query_type();
    let mut exchanges = JoinSet::new();
    for overlay in beyond {
        for peer in &overlay.peers {
            exchanges.spawn(exchange(*peer, overlay.clone(), kind));
        }
    }
    let mut known = false;
    let mut addresses = BTreeSet::new();
    while let Some(answer) = exchanges.join_next().await {
        if let Ok(Some(found)) = answer {
            known = true;
            addresses.extend(found);
        }
    }
    known.then(|| answer::with_addresses(&asked, &addresses, way))?
}

/// What one peer knows; `None` where it knows no such name.
async fn exchange(peer: IpAddr, overlay: Beyond, kind: RecordType) -> Option<Vec<IpAddr>> {
    let question = Query::query(write_name(&overlay.name, overlay.number)?, kind);
    let number = u16::from_be_bytes(rand_number());
    let mut query = Message::query();
    query.metadata.id = number;
    query.add_query(question.clone());
    let query = query.to_vec().ok()?;
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A socket for each question: its port cannot be guessed, and it hears the peer only.
    let socket = tokio::net::UdpSocket::bind(SocketAddr::new(any, 0))
        .await
        .ok()?;
    socket.connect(SocketAddr::new(peer, PORT)).await.ok()?;
    let mut packet = [0; 4096];
    for patience in TRIES {
        socket.send(&query).await.ok()?;
        let heard = async {
            loop {
                let length = socket.recv(&mut packet).await.ok()?;
                if let Some(answer) = matching(&packet[..length], number, &question) {
                    return Some(answer);
                }
            }
        };
        match timeout(patience, heard).await {
            Ok(Some(answer)) => return addresses(&answer, &overlay.subnets),
            Ok(None) => return None,
            Err(_) => {}
        }
    }
    None
}

/// The answer to a question of ours; anything else was not asked for.
fn matching(packet: &[u8], number: u16, question: &Query) -> Option<Message> {
    let answer = Message::from_vec(packet).ok()?;
    let fits = answer.metadata.id == number
        && answer.metadata.message_type == MessageType::Response
        && answer.queries.as_slice() == std::slice::from_ref(question);
    fits.then_some(answer)
}

/// The addresses of an answer that lie in the overlay; `None` where the name is unknown.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only addresses were asked for"
)]
fn addresses(answer: &Message, subnets: &[Subnet]) -> Option<Vec<IpAddr>> {
    if answer.metadata.response_code != ResponseCode::NoError {
        return None;
    }
    let found = answer
        .answers
        .iter()
        .filter_map(|record| match record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
    let inside = |address: &IpAddr| subnets.iter().any(|subnet| subnet.contains(*address));
    Some(found.filter(inside).collect())
}

fn write_name(name: &str, number: u32) -> Option<Name> {
    let number = number.to_string();
    let labels = name.split('.').chain([number.as_str()]).chain(SUFFIX);
    let mut name = Name::from_labels(labels.map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn read_name(name: &Name) -> Option<(String, u32)> {
    let text = answer::text_of(name);
    let text = text.strip_suffix(&format!(".{}", SUFFIX.join(".")))?;
    let (name, number) = text.rsplit_once('.')?;
    Some((name.to_owned(), number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn a_name_travels_with_the_number_of_its_overlay() -> TestResult {
        let name = write_name("my_db.alias", 77).ok_or("no name")?;
        assert_eq!(read_name(&name), Some(("my_db.alias".to_owned(), 77)));
        assert_eq!(read_name(&Name::from_ascii("web.77.overlay.other.")?), None);
        assert_eq!(write_name("", 77), None);
        Ok(())
    }

    #[test]
    fn only_the_answer_to_the_very_question_counts_and_only_inside_of_the_overlay() -> TestResult {
        let question = Query::query(write_name("web", 77).ok_or("no name")?, RecordType::A);
        let mut answer = Message::response(5, OpCode::Query);
        answer.add_query(question.clone());
        let other = Query::query(write_name("db", 77).ok_or("no name")?, RecordType::A);
        let packet = answer.to_vec()?;
        assert!(matching(&packet, 5, &question).is_some());
        assert!(matching(&packet, 6, &question).is_none());
        assert!(matching(&packet, 5, &other).is_none());
        let subnet = Subnet::around(Ipv4Addr::new(10, 98, 0, 0).into(), 24);
        for last in ["10.98.0.7", "10.97.0.7"] {
            let data = RData::A(hickory_proto::rr::rdata::A(last.parse()?));
            answer.add_answer(hickory_proto::rr::Record::from_rdata(
                question.name().clone(),
                0,
                data,
            ));
        }
        let expected: IpAddr = "10.98.0.7".parse()?;
        assert_eq!(addresses(&answer, &[subnet]), Some(vec![expected]));
        answer.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(addresses(&answer, &[subnet]), None);
        Ok(())
    }
}
