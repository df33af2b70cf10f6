//! Runs a plan: everything that can run at once does, in the plan's order, and every step is news.
//!
//! Owns: order, concurrency, cancellation, events and the report. Decides nothing: an action is one engine call, or a
//! wait that ends with an engine's event. Callers: the commands.
//!
//! ```text
//! Plan ──> scheduler ──(ready nodes, at most `parallel`)──> dispatch ──> Engine
//!             │  ^── done / failed / skipped                   └──> ApplyEvent ──> ui
//!             └──> ApplyReport
//! ```
//!
//! A failure stops only what comes after it. When cancelled, nothing new is begun except the rest of a replacement, so
//! that no container is left under a passing name.

mod agent;
pub mod awaited;
mod bake;
mod build;
mod build_lines;
mod context;
mod copy;
mod described;
mod dispatch;
mod error;
mod event;
mod evidence;
mod explain;
mod hook;
mod hub;
mod image;
mod news;
mod overdue;
pub mod preflight;
mod provider;
mod report;
mod rolling;
mod scheduler;
mod wait;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::engine::endpoint::Endpoint;
use crate::model::Project;
use crate::plan::Plan;
use indexmap::IndexMap;

pub use bake::bake_definition;
pub use context::{ContextError, Ignore, context_tar};
pub use error::{ApplyError, UpdateOutcome};
pub use event::{ApplyEvent, Progress, ResourceEvent, Status};
pub use evidence::Evidence;
pub use explain::answers;
pub use provider::{ProviderEnvironment, run_provider};
pub use report::{ApplyReport, Failure, Skipped};

/// Where news go.
pub type EventSender = UnboundedSender<ApplyEvent>;

/// Someone who must act before a container starts: `up` attaches to it.
#[async_trait]
pub trait StartWatcher: Send + Sync + std::fmt::Debug {
    /// Called before each start.
    async fn before_start(&self, service: &str, id: &str, name: &str);
}

/// How to run a plan.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// Project, for the filter of the engine's events.
    pub project: String,
    /// Engine calls at once; `None` takes the default.
    pub parallel: Option<usize>,
    /// Ends the run early.
    pub cancel: CancellationToken,
    /// Acts before each start.
    pub watcher: Option<Arc<dyn StartWatcher>>,
    /// Pulls whose failure is tolerated, because the image can be built.
    pub optional_pulls: Vec<String>,
    /// The engine's address, for programs that talk to it themselves.
    pub engine_address: Option<Endpoint>,
    /// The project, for the providers of its services and the environment of its builds.
    pub model: Arc<Project>,
    /// Further settings of builds.
    pub build: BuildSettings,
    /// Pulls are told without the progress of their layers.
    pub quiet_pulls: bool,
}

/// Settings of the `build` command.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub struct BuildSettings {
    /// `--build-arg`, over those of the file.
    pub args: IndexMap<String, Option<String>>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--pull`.
    pub pull: bool,
    /// `--quiet`: without the builder's output.
    pub quiet: bool,
    /// `--check`: the build is looked over, nothing is built.
    pub check: bool,
    /// `--builder`: one of buildx's.
    pub builder: Option<String>,
    /// `--memory`, in bytes.
    pub memory: Option<i64>,
}

/// Runs a plan to its end, to the end of what a failure leaves possible, or to its cancellation.
pub async fn apply(
    engine: Arc<dyn Engine>,
    plan: Plan,
    options: ApplyOptions,
    events: EventSender,
) -> ApplyReport {
    scheduler::run(engine, plan, options, events).await
}

#[cfg(test)]
mod tests;
