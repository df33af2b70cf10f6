//! User namespaces: one with a network namespace of its own, made by a process that does nothing else; which one owns
//! another namespace; and the ids under which a thread makes files.

#![expect(
    unsafe_code,
    reason = "clone3, setfsuid and the requests of namespaces have no safe wrapper"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::thread::CapabilitySets;

/// What a new user namespace is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owns {
    /// A network namespace that it owns.
    Network,
    /// Only its maps.
    Nothing,
}

/// A process that keeps a new user namespace, and a network namespace that it owns where there is to be one, until it is dropped.
#[derive(Debug)]
pub struct Holder {
    pid: i32,
    pidfd: OwnedFd,
}

impl Holder {
    /// Makes the namespaces, with the maps as `/proc/PID/uid_map` takes them.
    ///
    /// # Errors
    /// When the kernel makes no such namespace, or refuses a map.
    pub fn new(uid_map: &str, gid_map: &str, owns: Owns) -> io::Result<Self> {
        let mut pidfd: libc::c_int = -1;
        // SAFETY: all-zero bytes are a valid `clone_args`, a plain struct of integers.
        let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
        let network = match owns {
            Owns::Network => libc::CLONE_NEWNET,
            Owns::Nothing => 0,
        };
        let flags = libc::CLONE_NEWUSER | network | libc::CLONE_PIDFD;
        arguments.flags = u64::from(flags.unsigned_abs());
        arguments.pidfd = ptr::from_mut(&mut pidfd) as u64;
        arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
        // SAFETY: `arguments` lives across the call. Without CLONE_VM the child has a copy of the memory, in which a lock
        // may be held by a thread that is not there: it makes nothing but the two system calls below.
        let pid = unsafe {
            libc::syscall(
                libc::SYS_clone3,
                ptr::from_ref(&arguments),
                size_of::<libc::clone_args>(),
            )
        };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            // SAFETY: takes no pointer: the process is to end when its parent, the calling thread, does.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            loop {
                // SAFETY: takes no pointer.
                unsafe { libc::pause() };
            }
        }
        // SAFETY: the kernel has stored a new descriptor in `pidfd`, which nobody else owns.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let holder = Self {
            pid: i32::try_from(pid).map_err(io::Error::other)?,
            pidfd,
        };
        std::fs::write(format!("/proc/{}/uid_map", holder.pid), uid_map)?;
        std::fs::write(format!("/proc/{}/gid_map", holder.pid), gid_map)?;
        Ok(holder)
    }

    /// The user namespace, which stays as long as the descriptor.
    ///
    /// # Errors
    /// When the process was killed.
    pub fn users(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let path = format!("/proc/{}/ns/user", self.pid);
        Ok(rustix::fs::open(path, flags, Mode::empty())?)
    }

    /// The network namespace.
    #[must_use]
    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It can have ended only by being killed, and is reaped in either case.
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL).unwrap_or_default();
        let _reaped =
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
    }
}

/// Whether the process is in the first user namespace, where root is root of the machine.
#[must_use]
pub fn is_first() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// The highest group that this user namespace has in one piece from 0 on.
#[must_use]
pub fn last_group() -> u32 {
    let map = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    last_of(&map)
}

fn last_of(map: &str) -> u32 {
    let mut ranges: Vec<(u32, u32)> = map
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_ascii_whitespace();
            let first = numbers.next()?.parse().ok()?;
            Some((first, numbers.nth(1)?.parse().ok()?))
        })
        .collect();
    ranges.sort_unstable();
    let mut next = 0_u32;
    for (first, count) in ranges {
        if first != next {
            break;
        }
        next = next.saturating_add(count);
    }
    next.saturating_sub(1)
}

/// The user namespace that owns another namespace.
///
/// # Errors
/// When it is out of the caller's reach.
pub fn owner_of(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // NS_GET_USERNS = _IO(0xb7, 1)
    const NS_GET_USERNS: libc::c_ulong = (0xb7 << 8) | 1;
    // SAFETY: the request takes no argument.
    let fd = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes files as another user from now on, with all that the calling thread may do as before. Only this thread.
///
/// # Errors
/// When the kernel refuses to give the capabilities back.
pub fn make_files_as(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: takes no pointer; a refusal shows in the ids that follow.
    unsafe { libc::syscall(libc::SYS_setfsgid, gid) };
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_setfsuid, uid) };
    // Those of the file system went with root.
    let sets = rustix::thread::capabilities(None)?;
    Ok(rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: sets.permitted,
            ..sets
        },
    )?)
}

#[cfg(test)]
mod tests {
    use super::last_of;

    #[test]
    fn groups_are_counted_up_to_the_first_gap() {
        assert_eq!(last_of("0 1000 1\n1 100000 65536\n"), 65_536);
        assert_eq!(last_of("1 100000 9\n0 1000 1\n70000 5 1\n"), 9);
        assert_eq!(last_of(""), 0);
    }
}
