//! `runtime:`: the same container by an installed OCI runtime (crun, runc …).
//!
//! ```text
//! keeper --fork--> monitor --`crun create`--> init (waits) --`crun start`--> program
//!    ^                |  hands over the terminal and init's pidfd             |
//!    |                +<------------------ reaps, `crun delete` --------------+
//!    +--- ends with the program's code
//! ```
//!
//! The monitor is the runtime's and the program's parent, for a keeper may not wait. It mounts the root and opens the
//! sources of mounts in a mount namespace of its own, writes [`specification`] to `config.json`, and calls the runtime in
//! the way that containerd does. Streams, log and exit record stay the keeper's. An exec is the same with one call.
//! The container's cgroup and its limits are made before, as always; the runtime gets them to know.

pub(crate) mod find;
mod init;
mod monitor;
mod program;
mod specification;

use std::path::Path;

pub(crate) use init::run_if_requested;
pub(crate) use monitor::OOM_MARK;

use super::cgroup::{CgroupHandle, CgroupHost};
use super::channel::channel;
use super::failure::Failure;
use super::launch::Launched;
use super::request::{ContainerRequest, ExecRequest, OciRuntime};
use crate::runtime::sys::process::{self, Forked};
use std::os::fd::OwnedFd;

/// Whether the runtime is told limits: only those that took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is.
    Limits,
    /// Only the rules for devices.
    Devices,
}

/// Starts a container whose cgroup is made.
pub(crate) fn start(
    request: &ContainerRequest,
    runtime: &OciRuntime,
    cgroups: (&CgroupHost, &CgroupHandle),
    told: Told,
    stdio: [OwnedFd; 3],
) -> Result<Launched, Failure> {
    fork(|sender| monitor::start(request, runtime, cgroups, told, (sender, stdio)))
}

/// Starts a further process in the container whose first one is `pid`.
pub(crate) fn exec(
    request: &ExecRequest,
    runtime: &OciRuntime,
    run_dir: &Path,
    pid: i32,
    stdio: [OwnedFd; 3],
) -> Result<Launched, Failure> {
    fork(|sender| monitor::exec(request, runtime, run_dir, pid, (sender, stdio)))
}

fn fork(child: impl FnOnce(super::channel::Sender) -> i32) -> Result<Launched, Failure> {
    let (sender, receiver) =
        channel().map_err(|error| Failure::step("cannot make a channel", error))?;
    let forked = process::fork_with(0, None)
        .map_err(|error| Failure::step("cannot make the process", error))?;
    match forked {
        Forked::Child => {
            drop(receiver);
            process::exit_now(child(sender))
        }
        Forked::Parent { pid, pidfd } => Ok(Launched {
            pid,
            pidfd,
            receiver,
            helper: None,
            warnings: Vec::new(),
        }),
    }
}
