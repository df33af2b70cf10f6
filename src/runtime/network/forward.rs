//! The engine's forwarder: serves a published port where rules cannot (`::1`, an IPv6 port of a container without
//! IPv6) or have been flushed. Where rules work, no packet comes here; the sockets only hold the port. For an ordinary
//! user no rule reaches the host's network: there everything comes this way.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::connections;
use super::port::Targets;
use crate::runtime::sys::netns;

/// Where a port leads at the moment.
#[derive(Debug, Default)]
pub(crate) struct Aim {
    targets: Mutex<Targets>,
}

impl Aim {
    /// An aim at a container.
    pub(crate) fn at(targets: Targets) -> Arc<Self> {
        Arc::new(Self {
            targets: Mutex::new(targets),
        })
    }

    /// Leads elsewhere from now on.
    pub(crate) fn set(&self, targets: Targets) {
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
    }

    fn address(&self, prefer: IpAddr, port: u16) -> Option<SocketAddr> {
        let targets = *self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let v4 = targets.v4.map(IpAddr::V4);
        let v6 = targets.v6.map(IpAddr::V6);
        let address = if prefer.is_ipv6() {
            v6.or(v4)
        } else {
            v4.or(v6)
        };
        address.map(|address| SocketAddr::new(address, port))
    }
}

/// How many connections one port may have in the forwarder.
const CONNECTIONS: usize = 1024;
/// How long a connection to the container may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a UDP peer is remembered after its last packet.
const PEER_MEMORY: Duration = Duration::from_mins(1);

/// Passes TCP connections on until dropped.
pub(crate) async fn tcp(listener: std::net::TcpListener, aim: Arc<Aim>, port: u16) {
    let Ok(listener) = listen(listener) else {
        return;
    };
    connections::take(listener, CONNECTIONS, |client, peer| {
        let target = aim.address(peer.ip(), port)?;
        Some(pass(client, target))
    })
    .await;
}

fn listen(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn pass(mut client: TcpStream, target: SocketAddr) {
    let connected = tokio::time::timeout(CONNECT_PATIENCE, connect(target)).await;
    if let Ok(Ok(mut server)) = connected {
        // Either side may break off at any time; there is nobody to tell.
        drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
    }
}

/// From where the bridges stand, which is not where the port is held in the engine of an ordinary user.
async fn connect(target: SocketAddr) -> std::io::Result<TcpStream> {
    if !netns::has_ground() {
        return TcpStream::connect(target).await;
    }
    let socket = netns::on_ground(|| match target {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    })
    .flatten()?;
    socket.connect(target).await
}

/// Passes UDP packets on until dropped.
pub(crate) async fn udp(socket: std::net::UdpSocket, aim: Arc<Aim>, port: u16) {
    let Ok(socket) = socket
        .set_nonblocking(true)
        .and_then(|()| UdpSocket::from_std(socket))
    else {
        return;
    };
    let socket = Arc::new(socket);
    let mut peers: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut replies = JoinSet::new();
    let mut packet = vec![0; 65536];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut packet) => {
                let Ok((length, peer)) = received else { continue };
                if !peers.contains_key(&peer) && peers.len() < CONNECTIONS {
                    let Some(target) = aim.address(peer.ip(), port) else { continue };
                    let Ok(upstream) = open_peer(target).await else { continue };
                    peers.insert(peer, Arc::clone(&upstream));
                    replies.spawn(answer(upstream, Arc::clone(&socket), peer));
                }
                if let Some(upstream) = peers.get(&peer) {
                    // A lost packet is UDP's ordinary life.
                    drop(upstream.send(&packet[..length]).await);
                }
            }
            Some(ended) = replies.join_next() => {
                if let Ok(peer) = ended {
                    peers.remove(&peer);
                }
            }
        }
    }
}

async fn open_peer(target: SocketAddr) -> std::io::Result<Arc<UdpSocket>> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket =
        netns::on_ground(|| std::net::UdpSocket::bind(SocketAddr::new(any, 0))).flatten()?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    socket.connect(target).await?;
    Ok(Arc::new(socket))
}

/// Takes the container's answers back to a peer until it has been silent for long.
async fn answer(upstream: Arc<UdpSocket>, socket: Arc<UdpSocket>, peer: SocketAddr) -> SocketAddr {
    let mut packet = vec![0; 65536];
    while let Ok(Ok(length)) = tokio::time::timeout(PEER_MEMORY, upstream.recv(&mut packet)).await {
        drop(socket.send_to(&packet[..length], peer).await);
    }
    peer
}
