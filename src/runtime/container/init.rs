//! The child of a start or exec: performs the steps and becomes the program. It never returns.
//!
//! Runs in a fork of the keeper, which has one thread, so ordinary code is safe here; but nothing may be left behind
//! that the program could use: descriptors are closed on exec and the process is not dumpable until then.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;

use super::channel::Sender;
use super::failure::Failure;
use super::finish;
use super::membership::Membership;
use super::operation::{Performer, mount_proc, own_keyring, terminal};
use super::remap;
use super::request::{ContainerRequest, ExecRequest};
use super::setup::SetupOp;
use crate::runtime::sys::{process, userns};

/// What the child of a start was given.
#[derive(Debug)]
pub(crate) struct Given {
    /// Its end of the channel.
    pub sender: Sender,
    /// Standard streams; replaced by a terminal where there is one.
    pub stdio: [OwnedFd; 3],
    /// How it gets into the cgroups of version 1.
    pub membership: Membership,
}

/// What an exec joins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joined {
    /// The namespaces, but for that of processes.
    pub namespaces: i32,
    /// User and group outside of the root of the container's own user namespace.
    pub root: Option<(u32, u32)>,
}

/// Runs a container's first process.
pub(crate) fn run(request: &ContainerRequest, steps: &[SetupOp], given: Given) -> ! {
    harden();
    let Given {
        sender,
        stdio,
        membership,
    } = given;
    let mut performer = Performer::new(request, &stdio, &sender, membership);
    let performed = performer.perform_all(steps);
    let terminal = performer.take_terminal();
    let failure = match performed {
        Err(failure) => failure,
        Ok(proc) => {
            let proc = proc.as_ref().map(AsFd::as_fd);
            finish::finish(&request.process, terminal.unwrap_or(stdio), proc, &sender)
        }
    };
    give_up(&sender, &failure)
}

/// Runs a further process in a container whose first one is behind `container`.
pub(crate) fn run_exec(
    request: &ExecRequest,
    container: &OwnedFd,
    joined: Joined,
    given: Given,
) -> ! {
    harden();
    let failure = match enter(request, container, joined, &given) {
        Err(failure) => failure,
        Ok((proc, tty)) => {
            let stdio = tty.unwrap_or(given.stdio);
            let proc = proc.as_ref().map(AsFd::as_fd);
            finish::finish(&request.process, stdio, proc, &given.sender)
        }
    };
    give_up(&given.sender, &failure)
}

type Entered = (Option<OwnedFd>, Option<[OwnedFd; 3]>);

fn enter(
    request: &ExecRequest,
    container: &OwnedFd,
    joined: Joined,
    given: &Given,
) -> Result<Entered, Failure> {
    given.membership.settle()?;
    // Of the container's processes already: a child is born in their namespace.
    let proc = mount_proc()
        .or_else(|error| proc_of_host().ok_or(error))
        .map_err(|error| Failure::step("cannot mount `proc`", error))?;
    let score = request.process.oom_score_adj.unwrap_or(0).to_string();
    match finish::write_below(proc.as_fd(), "self/oom_score_adj", score.as_bytes()) {
        // An ordinary user's engine cannot lower it, and has said so.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) && !userns::is_first() => {}
        written => {
            written.map_err(|error| Failure::step("cannot set the out-of-memory score", error))?;
        }
    }
    let joining = |error| Failure::step("cannot join the container's namespaces", error);
    if let Some(root) = joined.root {
        finish::with_privileges(&request.process, proc.as_fd())?;
        remap::give_streams(&given.stdio, root).map_err(joining)?;
    }
    process::join_namespaces(container.as_fd(), joined.namespaces).map_err(joining)?;
    if joined.root.is_some() {
        remap::become_root().map_err(joining)?;
    }
    rustix::process::setsid().map_err(|error| Failure::step("cannot start a session", error))?;
    // By its name: the one that the container's first process made.
    own_keyring(&request.container)
        .map_err(|error| Failure::step("cannot join the session keyring", error))?;
    let tty = match request.process.terminal {
        Some(size) => Some(terminal(size, &given.sender)?),
        None => None,
    };
    Ok((Some(proc).filter(|_| joined.root.is_none()), tty))
}

/// For an ordinary user, who can mount none for the host's processes: the host's own, before the container is entered.
fn proc_of_host() -> Option<OwnedFd> {
    if userns::is_first() {
        return None;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty()).ok()?;
    let is_proc = rustix::fs::fstatfs(&proc).ok()?.f_type == rustix::fs::PROC_SUPER_MAGIC;
    is_proc.then_some(proc)
}

/// Until the exec nobody in the container may look into this process: it is a copy of the keeper.
fn harden() {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
    rustix::process::umask(Mode::from_raw_mode(0o022));
}

fn give_up(sender: &Sender, failure: &Failure) -> ! {
    let sent = sender.failed(failure).is_ok();
    process::exit_now(if sent { failure.kind.exit_code() } else { 255 })
}
