//! Looking into a container's file system from outside, never led out of it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::Supervisor;
use super::container::Container;
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// The longest user file that is read.
const MOST_BYTES: u64 = 4 << 20;

impl Supervisor {
    /// Refuses a user that the container's own files do not know.
    pub(super) fn check_user(&self, container: &Container, user: &str) -> RuntimeResult<()> {
        let name = user.split(':').next().unwrap_or_default();
        if name.is_empty() || name.parse::<u32>().is_ok() {
            return Ok(());
        }
        let text = read_inside(container, "etc/passwd").unwrap_or_default();
        let known = text.lines().any(|line| line.split(':').next() == Some(name));
        if known {
            return Ok(());
        }
        Err(RuntimeError::invalid(format!(
            "unable to find user {name}: no matching entries in passwd file"
        )))
    }
}

/// The root of a running container, as an open folder.
pub(super) fn live_root(container: &Container) -> rustix::io::Result<OwnedFd> {
    let pid = container.with(|record| record.state.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())
}

fn read_inside(container: &Container, path: &str) -> std::io::Result<String> {
    let root = live_root(container)?;
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(openat2(root, path, flags, Mode::empty(), resolve)?);
    let mut text = String::new();
    if file.metadata()?.is_file() {
        file.take(MOST_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}
