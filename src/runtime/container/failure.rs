//! Why a container or exec did not start: the text for the user, and the kind that decides its exit code.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In words of Docker where it has some.
    pub message: String,
    /// Which kind it is.
    pub kind: FailureKind,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The container or exec is not running.
    NotRunning,
    /// The container runs already.
    AlreadyRunning,
    /// The program was not found (exit code 127).
    NotFound,
    /// The program cannot be run (exit code 126).
    NotExecutable,
    /// The request cannot be honoured: a user that is not there, a bad path (exit code 128).
    Refused,
    /// The system refused a step.
    System,
}

impl FailureKind {
    /// The exit code that Docker gives a container that failed so.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Self::NotFound => 127,
            Self::NotExecutable => 126,
            Self::NotRunning | Self::AlreadyRunning | Self::Refused | Self::System => 128,
        }
    }
}

impl Failure {
    /// A refusal in words of Docker.
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            kind,
        }
    }

    /// The system refused a step.
    pub(crate) fn step(what: impl Display, error: impl Display) -> Self {
        Self::new(FailureKind::System, format!("{what}: {error}"))
    }
}
