//! The way of an ordinary user's containers to the host, and out where no `pasta` carries their packets: the engine takes
//! their TCP connections and makes each anew on the host's network, as the user.
//!
//! ```text
//! container ──SYN to 203.0.113.7:443──> [ground] rule: 127.0.0.1:PORT ──accept──> engine ──connect──> 203.0.113.7:443
//! ```
//!
//! Only TCP of IPv4. Nothing that listens on the host's loopback alone is reached.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::background::{Background, Serving};
use super::connections;
use super::firewall::Doors;
use super::request::WayOut;
use crate::runtime::sys::netns;

/// How many connections there may be at once.
const CONNECTIONS: usize = 4096;
/// How long a connection to the outside may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A relay that serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    doors: Doors,
    _serving: Vec<Serving>,
}

/// Where a connection leads that comes in by a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Where the container wanted it to lead.
    Outside,
    /// To the same port of the host, by the address that the host has on the way out.
    Host,
}

impl Relay {
    /// Starts to serve, where bridges stand.
    ///
    /// # Errors
    /// When no socket can be made.
    pub(crate) fn start(background: &Background, way_out: WayOut) -> io::Result<Self> {
        let mut serving = Vec::new();
        let mut open = |door: Door| -> io::Result<u16> {
            let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
            let listener = netns::on_ground(|| std::net::TcpListener::bind(address)).flatten()?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            serving.push(Serving::start(background, serve(listener, door)));
            Ok(port)
        };
        let doors = Doors {
            host: open(Door::Host)?,
            outside: match way_out {
                WayOut::Relay => Some(open(Door::Outside)?),
                WayOut::Host | WayOut::Routes => None,
            },
        };
        Ok(Self {
            doors,
            _serving: serving,
        })
    }

    /// Where connections are to be led.
    pub(crate) fn doors(&self) -> Doors {
        self.doors
    }
}

async fn serve(listener: std::net::TcpListener, door: Door) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    connections::take(listener, CONNECTIONS, |client, _| {
        let mut wanted = rustix::net::sockopt::ip_original_dst(&client).map_err(io::Error::from);
        if door == Door::Host {
            wanted = wanted.and_then(|wanted| Ok(SocketAddrV4::new(host()?, wanted.port())));
        }
        // A connection that no rule has led here wants the relay itself: its destination is as forbidden.
        let target = wanted.ok().filter(|target| is_outside(*target.ip()))?;
        Some(pass(client, target))
    })
    .await;
}

/// The address that the host has on the way out: what listens at its loopback alone is not reached by it.
fn host() -> io::Result<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Sends nothing; an address of documentation, to find out where the default route leads.
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9))?;
    match socket.local_addr()? {
        SocketAddr::V4(own) => Ok(*own.ip()),
        SocketAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

/// Whether an address is not this host's own affair.
fn is_outside(address: Ipv4Addr) -> bool {
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.octets()[0] == 0)
}

async fn pass(mut client: TcpStream, target: SocketAddrV4) {
    let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(target)).await;
    match connected {
        Ok(Ok(mut server)) => {
            // Either side may break off at any time; there is nobody to tell.
            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
        }
        // A reset is what the client would have had from the target itself, more or less.
        _ => drop(client.set_zero_linger()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_host_alone_is_outside() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!address.parse().is_ok_and(is_outside), "{address}");
        }
        assert!(is_outside(Ipv4Addr::new(203, 0, 113, 7)));
    }
}
