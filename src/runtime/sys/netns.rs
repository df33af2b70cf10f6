//! Work in another network namespace. A namespace belongs to a thread, so each piece of work gets a thread of its own
//! that ends with it: no thread of the caller ever changes its namespace.

#![expect(unsafe_code, reason = "unshare(2) has no safe wrapper")]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Where bridges, links and rules of the host's side stand, when that is not the process's own namespace.
static GROUND: OnceLock<OwnedFd> = OnceLock::new();

thread_local! {
    /// Whether the thread has gone to a namespace on purpose.
    static AWAY: Cell<bool> = const { Cell::new(false) };
}

/// From now on [`on_ground`] leads to this namespace.
///
/// # Errors
/// When it leads somewhere already.
pub fn set_ground(namespace: OwnedFd) -> io::Result<()> {
    GROUND
        .set(namespace)
        .map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))
}

/// Whether [`on_ground`] leads elsewhere.
#[must_use]
pub fn has_ground() -> bool {
    GROUND.get().is_some()
}

/// Runs work where the host's side of networks stands: right here, but for an engine in a user namespace. Within
/// [`inside`] that other namespace stays.
///
/// # Errors
/// When the thread cannot be started or the namespace not entered.
pub fn on_ground<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    match GROUND.get() {
        Some(ground) if !AWAY.get() => inside(ground.as_fd(), work),
        _ => Ok(work()),
    }
}

/// Runs work in a namespace that exists.
///
/// # Errors
/// When the thread cannot be started or the namespace not entered.
pub fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    on_own_thread(|| {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        AWAY.set(true);
        Ok(work())
    })
}

/// Runs work in a new namespace; the namespace ends with the work unless the work pins it.
///
/// # Errors
/// When the thread cannot be started or the kernel makes no namespace.
pub fn inside_new<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_own_thread(|| {
        // SAFETY: a new network namespace changes no memory and no descriptor table; only this thread moves, and it
        // is ours and ends after the work.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        AWAY.set(true);
        Ok(work())
    })
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(256 * 1024)
            .spawn_scoped(scope, work)?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}
