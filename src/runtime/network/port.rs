//! Published ports: the wishes of a request, and the sockets on the host that hold what was granted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bollard_stubs::models::{PortBinding, PortMap};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::background::{Background, Serving};
use super::error::NetworkError;
use super::forward::{self, Aim};
use super::owner;
use super::record::{Protocol, PublishedPort};
use crate::runtime::sys::netns;

/// A container port that is wanted on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// `80/tcp`, as in the request.
    pub(crate) key: String,
    container_port: u16,
    protocol: Protocol,
    bindings: Vec<Binding>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Binding {
    host_ip: Option<IpAddr>,
    /// None: any free port.
    host_ports: Option<RangeInclusive<u16>>,
}

/// The container's addresses that ports lead to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    /// The address of IPv4.
    pub(crate) v4: Option<Ipv4Addr>,
    /// The address of IPv6.
    pub(crate) v6: Option<Ipv6Addr>,
}

impl Targets {
    fn text(self, port: u16) -> String {
        let address = self.v4.map(IpAddr::V4).or(self.v6.map(IpAddr::V6));
        address.map_or_else(
            || port.to_string(),
            |address| SocketAddr::new(address, port).to_string(),
        )
    }
}

/// Reads the wishes of a request.
pub(crate) fn parse(map: &PortMap) -> Result<Vec<Wish>, NetworkError> {
    let mut wishes = map
        .iter()
        .map(|(key, bindings)| parse_wish(key, bindings.as_deref().unwrap_or_default()))
        .collect::<Result<Vec<_>, _>>()?;
    wishes.sort_by_key(|wish| (wish.container_port, wish.protocol));
    Ok(wishes)
}

fn parse_wish(key: &str, bindings: &[PortBinding]) -> Result<Wish, NetworkError> {
    let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    let protocol = Protocol::find(&protocol.to_ascii_lowercase())
        .ok_or_else(|| NetworkError::Invalid(format!("invalid protocol: {protocol}")))?;
    let container_port = port
        .parse()
        .map_err(|_| NetworkError::Invalid(format!("invalid port: {port}")))?;
    let bindings = bindings
        .iter()
        .map(parse_binding)
        .collect::<Result<_, _>>()?;
    Ok(Wish {
        key: key.to_owned(),
        container_port,
        protocol,
        bindings,
    })
}

fn parse_binding(binding: &PortBinding) -> Result<Binding, NetworkError> {
    let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    let host_ip = text(&binding.host_ip)
        .map(|ip| {
            let plain = ip.trim_start_matches('[').trim_end_matches(']');
            plain
                .parse()
                .map_err(|_| NetworkError::Invalid(format!("invalid host IP address: {ip}")))
        })
        .transpose()?;
    let host_ports = text(&binding.host_port)
        .map(|ports| parse_range(&ports))
        .transpose()?;
    let any = host_ports.as_ref().is_none_or(|range| *range == (0..=0));
    Ok(Binding {
        host_ip,
        host_ports: if any { None } else { host_ports },
    })
}

fn parse_range(text: &str) -> Result<RangeInclusive<u16>, NetworkError> {
    let wrong = || NetworkError::Invalid(format!("invalid port range: {text}"));
    let number = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
    match text.split_once('-') {
        None => number(text).map(|port| port..=port),
        Some((first, last)) => {
            let range = number(first)?..=number(last)?;
            if range.is_empty() {
                Err(wrong())
            } else {
                Ok(range)
            }
        }
    }
}

/// One wish of one container, ready to be granted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// The wish.
    pub(crate) wish: &'a Wish,
    /// The container's name, for messages.
    pub(crate) endpoint: &'a str,
    /// The container's addresses.
    pub(crate) targets: Targets,
}

/// Says which container of this engine holds a port.
pub(crate) type TakenBy<'a> = dyn Fn(&PublishedPort) -> Option<String> + 'a;

/// Takes the host ports of one wish.
pub(crate) fn claim(claim: &Claim<'_>, taken: &TakenBy<'_>) -> Result<Vec<Holder>, NetworkError> {
    let mut holders: Vec<Holder> = Vec::new();
    for binding in &claim.wish.bindings {
        let addresses = addresses_of(binding);
        let own = |port: &PublishedPort, held: &[Holder]| {
            held.iter()
                .any(|holder| holder.port == *port)
                .then(|| claim.endpoint.to_owned())
        };
        let new = match &binding.host_ports {
            Some(range) => first_free(range.clone(), |port| {
                take_all(claim, &addresses, port, &|port| {
                    own(port, &holders).or_else(|| taken(port))
                })
            })?,
            None => any_free(claim, &addresses, taken)?,
        };
        holders.extend(new);
    }
    Ok(holders)
}

fn addresses_of(binding: &Binding) -> Vec<IpAddr> {
    match binding.host_ip {
        Some(address) => vec![address],
        None if has_ipv6() => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        None => vec![Ipv4Addr::UNSPECIFIED.into()],
    }
}

/// A kernel without IPv6 has no such file, one with IPv6 switched off an empty one.
fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/thread-self/net/if_inet6").is_ok_and(|text| !text.is_empty())
}

fn first_free(
    range: RangeInclusive<u16>,
    take: impl Fn(u16) -> Result<Vec<Holder>, NetworkError>,
) -> Result<Vec<Holder>, NetworkError> {
    let mut failure = NetworkError::NoFreePort(format!("{}-{}", range.start(), range.end()));
    for port in range {
        match take(port) {
            Ok(holders) => return Ok(holders),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The kernel picks a port of the first address; the others must have it too, so it may take a few tries.
fn any_free(
    claim: &Claim<'_>,
    addresses: &[IpAddr],
    taken: &TakenBy<'_>,
) -> Result<Vec<Holder>, NetworkError> {
    let mut failure = NetworkError::NoFreePort("the host's ephemeral ports".to_owned());
    for _ in 0..64 {
        let picked = pick_port(claim.wish.protocol, addresses[0]).map_err(NetworkError::kernel(
            format!("find a free port of {}", addresses[0]),
        ))?;
        match take_all(claim, addresses, picked, taken) {
            Ok(holders) => return Ok(holders),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn pick_port(protocol: Protocol, address: IpAddr) -> io::Result<u16> {
    match protocol {
        Protocol::Tcp | Protocol::Sctp => Ok(TcpListener::bind(SocketAddr::new(address, 0))?
            .local_addr()?
            .port()),
        Protocol::Udp => Ok(UdpSocket::bind(SocketAddr::new(address, 0))?
            .local_addr()?
            .port()),
    }
}

fn take_all(
    claim: &Claim<'_>,
    addresses: &[IpAddr],
    host_port: u16,
    taken: &TakenBy<'_>,
) -> Result<Vec<Holder>, NetworkError> {
    addresses
        .iter()
        .map(|address| {
            let port = PublishedPort {
                protocol: claim.wish.protocol,
                container_port: claim.wish.container_port,
                host_ip: *address,
                host_port,
            };
            take_one(claim, port, taken)
        })
        .collect()
}

fn take_one(
    claim: &Claim<'_>,
    port: PublishedPort,
    taken: &TakenBy<'_>,
) -> Result<Holder, NetworkError> {
    let address = SocketAddr::new(port.host_ip, port.host_port);
    if let Some(holder) = taken(&port) {
        return Err(NetworkError::PortAllocated {
            endpoint: claim.endpoint.to_owned(),
            address: address.to_string(),
            holder: format!("held by container `{holder}`"),
        });
    }
    Holder::take(port.clone(), claim.targets).map_err(|source| {
        if source.kind() == io::ErrorKind::PermissionDenied && netns::has_ground() {
            return NetworkError::kernel(format!(
                "bind host port {address}/{}, which needs root: publish one from 1024 on, or allow it with `sudo sysctl -w net.ipv4.ip_unprivileged_port_start={}`",
                port.protocol.name(),
                port.host_port
            ))(source);
        }
        if source.raw_os_error() != Some(Errno::ADDRINUSE.raw_os_error()) {
            return NetworkError::kernel(format!(
                "bind host port {address}/{}",
                port.protocol.name()
            ))(source);
        }
        let target = claim.targets.text(port.container_port);
        let holder = owner::port_owner(port.protocol, port.host_port);
        NetworkError::PortInUse {
            endpoint: claim.endpoint.to_owned(),
            address: address.to_string(),
            target: format!("{target}/{}", port.protocol.name()),
            holder: holder
                .map(|holder| format!(" (held by {holder})"))
                .unwrap_or_default(),
        }
    })
}

/// A socket of the host that holds a published port.
#[derive(Debug)]
pub(crate) struct Holder {
    /// What it holds.
    pub(crate) port: PublishedPort,
    socket: Option<Socket>,
    aim: Arc<Aim>,
    serving: Option<Serving>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
    /// Only holds the port: SCTP goes by rules alone.
    Sctp {
        _descriptor: OwnedFd,
    },
}

impl Holder {
    /// Binds the socket.
    pub(crate) fn take(port: PublishedPort, targets: Targets) -> io::Result<Self> {
        let socket = bind(&port)?;
        Ok(Self {
            port,
            socket,
            aim: Aim::at(targets),
            serving: None,
        })
    }

    /// Starts to serve what comes to the socket in spite of the rules.
    pub(crate) fn forward(&mut self, background: &Background) {
        let aim = Arc::clone(&self.aim);
        let port = self.port.container_port;
        self.serving = match self.socket.take() {
            Some(Socket::Tcp(socket)) => {
                Some(Serving::start(background, forward::tcp(socket, aim, port)))
            }
            Some(Socket::Udp(socket)) => {
                Some(Serving::start(background, forward::udp(socket, aim, port)))
            }
            other => {
                self.socket = other;
                None
            }
        };
    }

    /// Leads to another address from now on.
    pub(crate) fn aim(&self, targets: Targets) {
        self.aim.set(targets);
    }
}

/// Whether this kernel has SCTP; asking loads its module where there is one.
#[must_use]
pub fn has_sctp() -> bool {
    let opened = net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::SCTP),
    );
    !matches!(opened, Err(error) if is_unknown(error))
}

/// What the kernel says of a protocol that it does not have.
fn is_unknown(error: Errno) -> bool {
    matches!(error, Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT)
}

fn bind(port: &PublishedPort) -> io::Result<Option<Socket>> {
    let (kind, protocol) = match port.protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let family = if port.host_ip.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = match net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol)) {
        Ok(socket) => socket,
        // No SCTP in this kernel: then no process of the host can hold the port either. The client was warned.
        Err(error) if port.protocol == Protocol::Sctp && is_unknown(error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if port.protocol == Protocol::Tcp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    net::bind(&socket, &SocketAddr::new(port.host_ip, port.host_port))?;
    if port.protocol == Protocol::Tcp {
        net::listen(&socket, 1024)?;
    }
    Ok(Some(match port.protocol {
        Protocol::Tcp => Socket::Tcp(socket.into()),
        Protocol::Udp => Socket::Udp(socket.into()),
        Protocol::Sctp => Socket::Sctp {
            _descriptor: socket,
        },
    }))
}

/// What was granted, by the keys of the wishes; a port that is only exposed has nothing.
pub(crate) fn to_map(wishes: &[Wish], published: &[PublishedPort]) -> PortMap {
    let mut map = published_map(published);
    for wish in wishes {
        let canonical = key_of(wish.container_port, wish.protocol);
        if canonical != wish.key
            && let Some(bindings) = map.remove(&canonical)
        {
            map.insert(wish.key.clone(), bindings);
        }
        map.entry(wish.key.clone()).or_insert(None);
    }
    map
}

/// Published ports by container port.
pub(crate) fn published_map(published: &[PublishedPort]) -> PortMap {
    let mut map = PortMap::new();
    for port in published {
        let binding = PortBinding {
            host_ip: Some(port.host_ip.to_string()),
            host_port: Some(port.host_port.to_string()),
        };
        let key = key_of(port.container_port, port.protocol);
        map.entry(key)
            .or_insert(None)
            .get_or_insert_default()
            .push(binding);
    }
    map
}

fn key_of(port: u16, protocol: Protocol) -> String {
    format!("{port}/{}", protocol.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn wish(key: &str, ip: &str, port: &str) -> PortMap {
        let binding = PortBinding {
            host_ip: Some(ip.to_owned()),
            host_port: Some(port.to_owned()),
        };
        PortMap::from([(key.to_owned(), Some(vec![binding]))])
    }

    fn grant(map: &PortMap, taken: &TakenBy<'_>) -> Result<Vec<Holder>, NetworkError> {
        let wishes = parse(map)?;
        let targets = Targets {
            v4: Some(Ipv4Addr::new(172, 18, 0, 2)),
            v6: None,
        };
        claim(
            &Claim {
                wish: &wishes[0],
                endpoint: "web",
                targets,
            },
            taken,
        )
    }

    #[test]
    fn an_empty_or_zero_port_is_given_a_free_one() -> TestResult {
        for port in ["", "0"] {
            let holders = grant(&wish("80/tcp", "127.0.0.1", port), &|_| None)?;
            assert_eq!(holders.len(), 1);
            assert!(holders[0].port.host_port > 1023);
        }
        Ok(())
    }

    #[test]
    fn a_range_gives_its_first_free_port() -> TestResult {
        let range = wish("80/udp", "127.0.0.1", "40000-40900");
        let first = grant(&range, &|_| None)?;
        let taken = first[0].port.host_port;
        let second = grant(&range, &|port| {
            (port.host_port <= taken).then(|| "other".to_owned())
        })?;
        assert!(second[0].port.host_port > taken);
        Ok(())
    }

    #[test]
    fn a_port_of_another_container_is_refused_by_name() {
        let error = grant(&wish("80/tcp", "127.0.0.1", "40000"), &|_| {
            Some("db".to_owned())
        });
        let text = error
            .map(drop)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(text.contains("Bind for 127.0.0.1:40000 failed: port is already allocated"));
        assert!(text.contains("`db`"));
    }

    #[test]
    fn a_port_of_a_process_of_the_host_is_refused() -> TestResult {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        let error = grant(&wish("80/tcp", "127.0.0.1", &port), &|_| None);
        let text = error
            .map(drop)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        let wanted = format!(
            "failed to bind host port for 127.0.0.1:{port}:172.18.0.2:80/tcp: address already in use"
        );
        assert!(text.contains(&wanted), "{text}");
        Ok(())
    }

    #[test]
    fn wrong_ports_are_named() {
        for (key, port) in [
            ("x/tcp", "1"),
            ("80/icmp", "1"),
            ("80/tcp", "9-1"),
            ("80/tcp", "x"),
        ] {
            assert!(parse(&wish(key, "", port)).is_err(), "{key} {port}");
        }
    }

    #[test]
    fn an_exposed_port_has_no_binding() -> TestResult {
        let wishes = parse(&PortMap::from([("80/tcp".to_owned(), None)]))?;
        assert_eq!(
            to_map(&wishes, &[]),
            PortMap::from([("80/tcp".to_owned(), None)])
        );
        Ok(())
    }
}
