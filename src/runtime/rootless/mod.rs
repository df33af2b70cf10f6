//! The engine of an ordinary user: it re-executes itself once into a user namespace, in which it is root of what the
//! user has and of nothing else.
//!
//! ```text
//! client ── `hoist engine` ──exec──> `hoist nest engine` ── is a keeper of this user there?
//!                                        │ no                          │ yes
//!                                        v                             v
//!                     new user and mount namespace,         joins the keeper's namespaces
//!                     newuidmap and newgidmap beside it                │
//!                                        └──────exec──> `hoist engine` in the nest, HOIST_ROOTLESS=UID
//! ```
//!
//! The engine stays in the host's network namespace: it pulls images, resolves names, listens at published ports and runs
//! containers with `network_mode: host` as the user could. Bridges, links and rules stand in a network namespace of
//! their own, the ground, which belongs to the nest.
//!
//! Called by `main` ([`run_if_requested`]), by `cli::engine` ([`enter`]), by [`super::launch`] ([`check`]) and by the
//! supervisor.

mod ground;
mod ids;
mod nest;
mod obstacle;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub use ground::{Outlet, leave_ground, stand_on_ground};
pub use obstacle::Obstacle;

use super::sys::userns;

/// The hidden first argument.
const NEST: &str = "nest";
/// The user outside, for whoever runs in the nest.
const VARIABLE: &str = "HOIST_ROOTLESS";

/// Enters the nest when the arguments ask for that; comes back only with the exit code of a failure.
#[must_use]
pub fn run_if_requested(arguments: &[OsString]) -> Option<i32> {
    (arguments.get(1)? == NEST).then(|| nest::main(arguments.get(2..).unwrap_or_default()))
}

/// Runs this process's own command line again, in the nest. Comes back only when that is impossible.
///
/// # Errors
/// When the program cannot be run again.
pub fn enter() -> io::Result<Infallible> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(NEST).args(std::env::args_os().skip(1));
    Err(command.exec())
}

/// The user outside, when this process runs in a nest.
#[must_use]
pub fn user_outside() -> Option<u32> {
    // Somebody else's variable makes no nest.
    if userns::is_first() || !rustix::process::geteuid().is_root() {
        return None;
    }
    std::env::var(VARIABLE).ok()?.parse().ok()
}

/// What keeps the calling user from having an engine, as far as it can be seen before it is tried.
///
/// # Errors
/// With the way out.
pub fn check() -> Result<(), Obstacle> {
    nest::look_around().map(drop)
}
