//! How a child gets into its cgroups of version 1.
//!
//! The kernel makes the first move wait for a grace period of several milliseconds. So a start is moved by a helper
//! process while the child mounts, and the child only waits for its word; an exec, which has nothing to do meanwhile,
//! moves itself. In version 2 a child is born in its cgroup.

use std::os::fd::OwnedFd;

use super::failure::Failure;

/// The way into the cgroups.
#[derive(Debug)]
pub(crate) enum Membership {
    /// By writing to these member files; none where it was born inside.
    Own(Vec<OwnedFd>),
    /// By a helper that writes here when it has moved the child.
    Helped(OwnedFd),
}

const DONE: &[u8] = b"+";

impl Membership {
    /// Comes back inside.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        match self {
            Self::Own(members) => join(members, "0"),
            Self::Helped(word) => {
                let mut answer = [0_u8; 256];
                let count = rustix::io::retry_on_intr(|| rustix::io::read(word, &mut answer))
                    .map_err(|error| Failure::step("cannot join a cgroup", error))?;
                match &answer[..count] {
                    DONE => Ok(()),
                    text => Err(Failure::step(
                        "cannot join a cgroup",
                        String::from_utf8_lossy(text),
                    )),
                }
            }
        }
    }
}

/// The helper's work: moves `pid`, and says so.
pub(super) fn help(members: &[OwnedFd], pid: i32, word: &OwnedFd) {
    let text = match join(members, &pid.to_string()) {
        Ok(()) => DONE.to_vec(),
        Err(failure) => failure.message.into_bytes(),
    };
    // A child that has died meanwhile needs no word.
    rustix::io::write(word, &text).unwrap_or_default();
}

fn join(members: &[OwnedFd], pid: &str) -> Result<(), Failure> {
    for file in members {
        rustix::io::write(file, pid.as_bytes())
            .map_err(|error| Failure::step("cannot join a cgroup", error))?;
    }
    Ok(())
}
