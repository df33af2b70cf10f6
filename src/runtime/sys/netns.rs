//! Work in another network namespace. A namespace belongs to a thread, so each piece of work gets a thread of its own
//! that ends with it: no thread of the caller ever changes its namespace.

#![expect(unsafe_code, reason = "unshare(2) has no safe wrapper")]

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

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
