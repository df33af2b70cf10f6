//! `develop.watch`: which rules there are, which files changed, and what that sets off.
//!
//! Owns: the rules of a project, the operating system's news about files, and the copies into containers. Building and
//! recreating is the command's, which calls this layer; so is what the user sees.
//!
//! ```text
//! Project ──> Rule, Rule, …                        ┌─> sync     (here: tar into the containers, rm in them)
//! notify ──> Changes ──(500 ms of quiet)──> Batch ─┼─> exec     (here)
//!                                                  └─> rebuild, restart (the command)
//! ```

mod batch;
mod changes;
mod rule;
mod sync;

pub use batch::Batch;
pub use changes::{Changes, ChangesError};
pub use rule::{Action, Mapping, Rule, RuleError, Rules};
pub use sync::{SyncError, exec, initial, sync};
