//! The child of a start or exec: performs the steps and becomes the program. It never returns.
//!
//! Runs in a fork of the keeper, which has one thread, so ordinary code is safe here; but nothing may be left behind
//! that the program could use: descriptors are closed on exec and the process is not dumpable until then.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::DumpableBehavior;

use super::channel::Sender;
use super::failure::Failure;
use super::finish;
use super::membership::Membership;
use super::operation::{Performer, mount_proc, own_keyring, terminal};
use super::request::{ContainerRequest, ExecRequest};
use super::setup::SetupOp;
use crate::runtime::sys::process;

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

/// Runs a container's first process.
pub(crate) fn run(request: &ContainerRequest, steps: &[SetupOp], given: Given) -> ! {
    harden();
    let Given {
        sender,
        stdio,
        membership,
    } = given;
    let mut performer = Performer::new(&request.id, &sender, membership);
    let failure = match performer.perform_all(steps) {
        Err(failure) => failure,
        Ok(proc) => {
            let stdio = performer.take_terminal().unwrap_or(stdio);
            finish::finish(&request.process, stdio, proc.as_fd(), &sender)
        }
    };
    give_up(&sender, &failure)
}

/// Runs a further process in a container whose first one is behind `container`.
pub(crate) fn run_exec(
    request: &ExecRequest,
    container: &OwnedFd,
    namespaces: i32,
    given: Given,
) -> ! {
    harden();
    let Given {
        sender,
        stdio,
        membership,
    } = given;
    let failure = match enter(request, container, namespaces, &membership, &sender) {
        Err(failure) => failure,
        Ok((proc, tty)) => {
            let stdio = tty.unwrap_or(stdio);
            finish::finish(&request.process, stdio, proc.as_fd(), &sender)
        }
    };
    give_up(&sender, &failure)
}

type Entered = (OwnedFd, Option<[OwnedFd; 3]>);

fn enter(
    request: &ExecRequest,
    container: &OwnedFd,
    namespaces: i32,
    membership: &Membership,
    sender: &Sender,
) -> Result<Entered, Failure> {
    membership.settle()?;
    process::join_namespaces(container.as_fd(), namespaces)
        .map_err(|error| Failure::step("cannot join the container's namespaces", error))?;
    rustix::process::setsid().map_err(|error| Failure::step("cannot start a session", error))?;
    // By its name: the one that the container's first process made.
    own_keyring(&request.container)
        .map_err(|error| Failure::step("cannot join the session keyring", error))?;
    let proc = mount_proc().map_err(|error| Failure::step("cannot mount `proc`", error))?;
    let score = request.process.oom_score_adj.unwrap_or(0).to_string();
    finish::write_below(proc.as_fd(), "self/oom_score_adj", score.as_bytes())
        .map_err(|error| Failure::step("cannot set the out-of-memory score", error))?;
    let tty = match request.process.terminal {
        Some(size) => Some(terminal(size, sender)?),
        None => None,
    };
    Ok((proc, tty))
}

/// Until the exec nobody in the container may look into this process: it is a copy of the keeper.
fn harden() {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
}

fn give_up(sender: &Sender, failure: &Failure) -> ! {
    let sent = sender.failed(failure).is_ok();
    process::exit_now(if sent { failure.kind.exit_code() } else { 255 })
}
