//! What became of a plan.

use crate::apply::{ApplyError, Evidence};
use crate::plan::NodeId;

/// An action that failed.
#[derive(Debug)]
pub struct Failure {
    /// The node.
    pub node: NodeId,
    /// The action in words.
    pub action: String,
    /// The service it was for.
    pub service: Option<String>,
    /// Where the file asks for it: `services.web.image`.
    pub path: Option<String>,
    /// Why.
    pub error: ApplyError,
    /// What the container has to say about it.
    pub evidence: Option<Evidence>,
}

/// An action that was not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The service it was for.
    pub service: Option<String>,
    /// The action in words.
    pub action: String,
}

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct ApplyReport {
    /// Number of actions that are done.
    pub done: usize,
    /// Actions that failed, in the order they did.
    pub failures: Vec<Failure>,
    /// Actions that were not begun because of a failure or the cancellation; steps of a replacement are told by it.
    pub skipped: Vec<Skipped>,
    /// Whether the run was ended early.
    pub cancelled: bool,
    /// The containers that were made: (node, id).
    pub created: Vec<(NodeId, String)>,
}

impl ApplyReport {
    /// Whether everything was done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && !self.cancelled
    }
}
