//! Names that are not ours: the host's resolvers are asked, each over a socket of its own, so that answers cannot be
//! guessed.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::Transport;
use super::directory::Upstream;
use super::peer;

/// How long one resolver may take; a container's own resolver gives up after five seconds.
const PATIENCE: Duration = Duration::from_secs(2);
const PORT: u16 = 53;
/// Bytes before the question.
const HEADER: usize = 12;
/// Where systemd-resolved names the real resolvers behind its own stub.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// What `/etc/resolv.conf` of the host says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostConfiguration {
    /// `nameserver` lines.
    pub(crate) servers: Vec<IpAddr>,
    /// `search` words.
    pub(crate) search: Vec<String>,
    /// `options` words.
    pub(crate) options: Vec<String>,
}

/// Reads the host's configuration; it is read anew each time because it changes with the host's networks.
pub(crate) fn host_configuration() -> HostConfiguration {
    fs::read_to_string("/etc/resolv.conf")
        .map(|text| parse(&text))
        .unwrap_or_default()
}

impl HostConfiguration {
    /// The resolvers that a container can reach by itself: a stub on the host's loopback is replaced by those behind
    /// it.
    pub(crate) fn reachable_servers(&self) -> Vec<IpAddr> {
        let outside = |servers: &[IpAddr]| -> Vec<IpAddr> {
            servers
                .iter()
                .copied()
                .filter(|server| !server.is_loopback())
                .collect()
        };
        let direct = outside(&self.servers);
        if !direct.is_empty() {
            return direct;
        }
        fs::read_to_string(BEHIND_STUB)
            .map(|text| outside(&parse(&text).servers))
            .unwrap_or_default()
    }
}

fn parse(text: &str) -> HostConfiguration {
    let mut configuration = HostConfiguration::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                // A scope as in `fe80::1%eth0` has no meaning elsewhere.
                let address: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
                configuration.servers.extend(address);
            }
            Some("search" | "domain") => {
                configuration.search = words.map(ToOwned::to_owned).collect();
            }
            Some("options") => configuration.options.extend(words.map(ToOwned::to_owned)),
            _ => {}
        }
    }
    configuration
}

/// A query that is passed on.
#[derive(Debug)]
pub(crate) struct Question {
    /// Whom to ask.
    pub(crate) upstream: Upstream,
    /// The query as it came.
    pub(crate) query: Vec<u8>,
    /// The way it came.
    pub(crate) transport: Transport,
}

/// Asks one resolver after the other; the first real answer counts.
pub(crate) async fn ask(question: &Question) -> Option<Vec<u8>> {
    let servers = match &question.upstream {
        Upstream::Nobody => Vec::new(),
        Upstream::Host => host_configuration().servers,
        Upstream::Servers(servers) => servers.clone(),
        Upstream::Peers(beyond) => {
            return peer::ask(beyond, &question.query, question.transport).await;
        }
    };
    for server in servers.into_iter().take(3) {
        let address = SocketAddr::new(server, PORT);
        let asked = async {
            match question.transport {
                Transport::Udp => by_packet(address, &question.query).await,
                Transport::Tcp => by_stream(address, &question.query).await,
            }
        };
        if let Ok(Ok(answer)) = timeout(PATIENCE, asked).await {
            return Some(answer);
        }
    }
    None
}

async fn by_packet(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    // A number of our own towards the resolver: the container may choose guessable ones.
    let own = rand_number();
    let mut outgoing = query.to_vec();
    outgoing[..2].copy_from_slice(&own);
    socket.send(&outgoing).await?;
    let mut packet = vec![0; 65536];
    loop {
        let length = socket.recv(&mut packet).await?;
        if packet[..length].starts_with(&own) && answers(&packet[..length], query) {
            packet.truncate(length);
            packet[..2].copy_from_slice(&query[..2]);
            return Ok(packet);
        }
    }
}

/// Whether a packet is an answer to the question of a query, whatever its number; a resolver that cannot read the
/// question may leave it out.
fn answers(packet: &[u8], query: &[u8]) -> bool {
    let is_answer = packet.len() >= HEADER && packet[2] & 0x80 != 0;
    if !is_answer || packet[4..6] == [0, 0] {
        return is_answer && packet[6..8] == [0, 0];
    }
    let Some(end) = end_of_question(query) else {
        return false;
    };
    packet.len() >= end
        && packet[4..6] == query[4..6]
        // Resolvers may give the letters back in another case.
        && packet[HEADER..end].eq_ignore_ascii_case(&query[HEADER..end])
}

/// Where the first question of a query ends: after its labels, type and class.
fn end_of_question(query: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match usize::from(*query.get(at)?) {
            0 => break,
            length @ 1..64 => at += length + 1,
            _ => return None, // a name in a question is whole
        }
    }
    let end = at + 5;
    (end <= query.len()).then_some(end)
}

pub(super) fn rand_number() -> [u8; 2] {
    let mut number = [0; 2];
    // Where the kernel has no randomness yet, the random port of the socket remains.
    let _ = rustix::rand::getrandom(&mut number, rustix::rand::GetRandomFlags::NONBLOCK);
    number
}

async fn by_stream(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(std::io::Error::other)?;
    stream.write_u16(length).await?;
    stream.write_all(query).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_another_question_is_none() {
        let packet = |flags: u8, name: &str, kind: u8| {
            let mut packet = vec![7, 7, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in name.split('.') {
                packet.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
                packet.extend(label.as_bytes());
            }
            packet.extend([0, 0, kind, 0, 1]);
            packet
        };
        let query = packet(1, "example.com", 1);
        assert!(answers(&packet(0x81, "example.com", 1), &query));
        assert!(answers(&packet(0x81, "eXample.COM", 1), &query));
        assert!(!answers(&packet(1, "example.com", 1), &query), "a query");
        assert!(!answers(&packet(0x81, "example.org", 1), &query));
        assert!(!answers(&packet(0x81, "example.com", 28), &query));
        assert!(!answers(&query[..12], &query));
        // A refusal may come without the question, an address may not.
        let mut bare = vec![7, 7, 0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(answers(&bare, &query));
        bare[7] = 1;
        assert!(!answers(&bare, &query));
        assert!(!answers(&packet(0x81, "example.com", 1), &[0; 12]));
    }

    #[test]
    fn reads_the_hosts_configuration() {
        let text = "# made by hand\nnameserver 192.0.2.1 # first\nnameserver fe80::1%eth0\nnameserver ::1\n\
                    search a.test b.test\noptions ndots:2 edns0\n";
        let configuration = parse(text);
        assert_eq!(configuration.servers.len(), 2);
        assert_eq!(configuration.search, ["a.test", "b.test"]);
        assert_eq!(configuration.options, ["ndots:2", "edns0"]);
        assert_eq!(configuration.reachable_servers().len(), 1);
    }
}
