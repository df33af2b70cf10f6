//! The small process that is the parent of all containers.
//!
//! `hoist keeper` is single-threaded, knows no tokio and keeps almost nothing in memory. It starts containers and
//! execs, reaps them, is the one writer of logs and exit records, and serves attached clients. It outlives the engine;
//! a new keeper re-adopts the containers of a dead one from the run directory, and brings back an engine that was
//! killed.
//!
//! ```text
//! engine --KeeperClient--> <run>/keeper.sock --> poll loop --clone3--> container init (or exec)
//!                                                   |  ^
//!                              log, exit record <---+  +--- stdout/stderr FIFOs, pty master, pidfd
//! ```
//!
//! One request per connection; `attach` and `exec` turn theirs into a stream of Docker frames.

mod begin;
mod boot;
mod client;
mod clock;
mod connection;
mod flow;
mod guard;
mod lend;
mod log;
pub mod protocol;
mod record;
mod revive;
mod server;
mod spool;
mod task;

pub use client::{Input, KeeperClient, KeeperError, Notices, Output, OutputItem, Session};
pub(crate) use lend::take as take_lent;
pub use protocol::{
    ExitNotice, Failure, FailureKind, KeeperPaths, Lent, Revival, Running, Started,
};
pub(crate) use record::living_processes;

use std::ffi::OsString;

use crate::runtime::container::oci;

/// Runs the keeper, or the init of a container, when the command line asks for it, and returns its exit code.
///
/// Called first in `main`, before any thread exists.
#[must_use]
pub fn run_if_requested(argv: &[OsString]) -> Option<i32> {
    if let Some(code) = oci::run_if_requested(argv) {
        return Some(code);
    }
    if argv.get(1)? != "keeper" {
        return None;
    }
    Some(boot::main(argv.get(2..)?))
}
