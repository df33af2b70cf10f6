//! Clocks of a container's own: a time namespace, with its offsets. Called by the child of a start.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};

use super::request::TimeOffset;
use crate::runtime::sys::process;

/// Goes into a new time namespace. A namespace takes its offsets only until somebody is in it, and its maker is not:
/// so it is made, written to, and joined.
pub(super) fn own_clocks(offsets: &[TimeOffset]) -> io::Result<()> {
    process::unshare(libc::CLONE_NEWTIME)?;
    std::fs::write("/proc/self/timens_offsets", text(offsets))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open("/proc/self/ns/time_for_children", flags, Mode::empty())?;
    process::join_namespaces(namespace.as_fd(), libc::CLONE_NEWTIME)
}

fn text(offsets: &[TimeOffset]) -> String {
    let lines = offsets.iter().map(|offset| {
        format!(
            "{} {} {}\n",
            offset.clock, offset.seconds, offset.nanoseconds
        )
    });
    lines.collect()
}
