//! Self-repair: the kernel tells when somebody changes rules or links, and what of ours is gone is made anew.
//!
//! ```text
//! nftables group, link group ──event──> a short wait (changes come in bursts) ──> look, and repair what is missing
//! ```
//!
//! Our own changes are told too; looking then finds everything in its place. The task runs on the thread of the
//! forwarders, so it never waits for the service's lock: an owner of the lock may be waiting for that thread.

use std::io;
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use tokio::io::unix::AsyncFd;

use super::State;
use super::restore::repair;

/// The kernel's multicast group for changes of nftables.
const GROUP_NFTABLES: u32 = 7;
/// The kernel's multicast group for changes of links.
const GROUP_LINK: u32 = 1;
/// A flush of rules comes as many messages; ours come in bursts too.
const BURST: Duration = Duration::from_millis(50);
/// Until the next try where the service is at work.
const BUSY: Duration = Duration::from_millis(20);
/// Between two looks: each holds the service up, and every change of ours is news that asks for one.
const REST: Duration = Duration::from_millis(250);

/// Sockets that hear of changes in the namespace of the calling thread.
#[derive(Debug)]
pub(super) struct Ears {
    rules: Socket,
    links: Socket,
}

impl Ears {
    /// Opens the sockets.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            rules: subscribe(NETLINK_NETFILTER, GROUP_NFTABLES)?,
            links: subscribe(NETLINK_ROUTE, GROUP_LINK)?,
        })
    }
}

fn subscribe(protocol: isize, group: u32) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.add_membership(group)?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Repairs until the service is gone.
pub(super) async fn run(ears: Ears, state: Weak<Mutex<State>>, instance: String) {
    let (Ok(rules), Ok(links)) = (register(ears.rules), register(ears.links)) else {
        return;
    };
    loop {
        let heard = tokio::select! {
            heard = hear(&rules) => heard,
            heard = hear(&links) => heard,
        };
        if heard.is_err() {
            return; // the runtime ends
        }
        tokio::time::sleep(BURST).await;
        loop {
            let Some(state) = state.upgrade() else { return };
            if look(&state, &instance) {
                break;
            }
            drop(state);
            tokio::time::sleep(BUSY).await;
        }
        tokio::time::sleep(REST).await;
    }
}

fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    #[expect(
        deprecated,
        reason = "the new constructor is unsafe; a `Socket` owns its descriptor for life"
    )]
    AsyncFd::new(socket)
}

/// Waits for news and empties the socket: what they say does not matter. An overrun is news as well.
async fn hear(socket: &AsyncFd<Socket>) -> io::Result<()> {
    let mut ready = socket.readable().await?;
    for _ in 0..1024 {
        let read = ready.try_io(|socket| socket.get_ref().recv_from_full().map(drop));
        if read.is_err() {
            break; // nothing more
        }
    }
    Ok(())
}

/// Whether the state could be looked at.
fn look(state: &Arc<Mutex<State>>, instance: &str) -> bool {
    let mut state = match state.try_lock() {
        Ok(state) => state,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    match repair(&mut state, instance) {
        Ok(super::Repair::NotNeeded) => {}
        Ok(super::Repair::Done) => {
            tracing::warn!("rules or links of this engine had been removed: they stand again");
        }
        Err(error) => tracing::warn!(%error, "cannot repair the networks"),
    }
    true
}
