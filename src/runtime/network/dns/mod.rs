//! Names inside containers: a server at 127.0.0.11:53 in each container's namespace, answered by the engine.
//!
//! ```text
//! container ──127.0.0.11:53──> socket made in its namespace ──> server ── known name ──> directory
//!                                                                 ├─ on an overlay ──> the engines of its hosts
//!                                                                 └────── other ──────> the host's resolvers
//! ```
//!
//! The directory is changed by the service at each attach and detach; the next look-up sees it. Answers carry a time to
//! live of zero, so nobody remembers what may change.

mod answer;
mod directory;
mod peer;
mod server;
pub(crate) mod upstream;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::runtime::sys::netns;

use super::background::{Background, Serving};
use super::record::{Driver, NetworkRecord};
pub(crate) use directory::Directory;

/// Where the server is found inside.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const PORT: u16 = 53;

/// Whether members of a network find each other by name. The default bridge has no names, as in Docker.
pub(crate) fn has_names(network: &NetworkRecord) -> bool {
    network.name != "bridge" && !matches!(network.driver, Driver::Host | Driver::Null)
}

/// The name servers of all containers.
#[derive(Debug, Default)]
pub(crate) struct NameServer {
    directory: Arc<Directory>,
    serving: Mutex<HashMap<String, Served>>,
    /// What answers the engines of other hosts.
    meeting: Mutex<Option<Serving>>,
}

/// A running server, and the numbers of its sockets.
#[derive(Debug)]
struct Served {
    _serving: Serving,
    sockets: [RawFd; 2],
}

/// The sockets of a server.
pub type NameSockets = (UdpSocket, TcpListener);

impl NameServer {
    /// Who is called what.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether a container has its server.
    pub(crate) fn serves(&self, container: &str) -> bool {
        self.lock().contains_key(container)
    }

    /// Starts the server of a container in its namespace.
    pub(crate) fn serve(
        &self,
        container: &str,
        namespace: BorrowedFd<'_>,
        background: &Background,
    ) -> io::Result<()> {
        let sockets = netns::inside(namespace, sockets).and_then(|sockets| sockets)?;
        self.serve_on(container, sockets, background);
        Ok(())
    }

    /// Starts the server of a container on sockets that were made in its namespace.
    pub(crate) fn serve_on(
        &self,
        container: &str,
        (udp, tcp): NameSockets,
        background: &Background,
    ) {
        let sockets = [udp.as_raw_fd(), tcp.as_raw_fd()];
        let work = server::run(udp, tcp, Arc::clone(&self.directory), container.to_owned());
        let serving = Serving::start(background, work);
        let served = Served {
            _serving: serving,
            sockets,
        };
        self.lock().insert(container.to_owned(), served);
    }

    /// The numbers of the sockets of a container's server, as long as it is served.
    pub(crate) fn sockets_of(&self, container: &str) -> Option<[RawFd; 2]> {
        self.lock().get(container).map(|served| served.sockets)
    }

    /// Ends the server of a container.
    pub(crate) fn stop(&self, container: &str) {
        let serving = self.lock().remove(container);
        drop(serving); // not under the lock: it waits for the sockets to close
        self.directory.forget(container);
    }

    /// Answers the engines of the other hosts of overlay networks, from now on; to be called in the namespace that they
    /// reach.
    pub(crate) fn meet_peers(&self, background: &Background) -> io::Result<()> {
        let mut meeting = self.meeting.lock().unwrap_or_else(PoisonError::into_inner);
        if meeting.is_none() {
            let work = peer::run(peer::socket()?, Arc::clone(&self.directory));
            *meeting = Some(Serving::start(background, work));
        }
        Ok(())
    }

    /// Answers them no more.
    pub(crate) fn leave_peers(&self) {
        let mut meeting = self.meeting.lock().unwrap_or_else(PoisonError::into_inner);
        drop(meeting.take());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Served>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sockets of a server, made in the namespace of the calling thread.
pub(crate) fn sockets() -> io::Result<NameSockets> {
    let address = SocketAddr::new(ADDRESS.into(), PORT);
    let udp = UdpSocket::bind(address)?;
    let tcp = TcpListener::bind(address)?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}
