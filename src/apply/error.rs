//! Why an action failed.

use crate::apply::awaited::{self, Awaited};
use crate::apply::context::ContextError;
use crate::apply::evidence::Evidence;
use crate::engine::EngineError;
use crate::plan::preflight::Refusal;

/// Failure of one action.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The engine refused or did not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A dependency cannot become healthy.
    #[error("dependency failed to start: container {container} {reason}")]
    Unhealthy {
        /// Container.
        container: String,
        /// `is unhealthy`, `exited (1)`, `has no healthcheck configured`.
        reason: String,
    },
    /// A job ended badly.
    #[error("service \"{service}\" didn't complete successfully: exit {code}")]
    NotCompleted {
        /// Service.
        service: String,
        /// Exit code.
        code: i64,
    },
    /// A wait took too long.
    #[error("timeout waiting for dependencies{}", awaited::list(.0))]
    WaitTimeout(Vec<Awaited>),
    /// A hook in a container ended badly.
    #[error("{service} hook exited with status {code}{tail}")]
    Hook {
        /// Service.
        service: String,
        /// Exit code.
        code: i64,
        /// `: ` and the end of its output, or nothing.
        tail: String,
    },
    /// A hook's own container ended badly.
    #[error(
        "service \"{service}\" pre_start[{index}] exited with code {code} (hook container {container} retained for inspection){tail}"
    )]
    PreStart {
        /// Service.
        service: String,
        /// Place in the list.
        index: usize,
        /// Exit code.
        code: i64,
        /// Short id.
        container: String,
        /// `: ` and the end of its output, or nothing.
        tail: String,
    },
    /// The container that copies a volume ended badly.
    #[error("copy volume `{from}` to `{to}`: `cp` exited with code {code}{tail}")]
    CopyVolume {
        /// Volume that is read.
        from: String,
        /// Volume that is written.
        to: String,
        /// Exit code.
        code: i64,
        /// `: ` and the end of its output, or nothing.
        tail: String,
    },
    /// The engine could not fetch an image.
    #[error("pull image `{image}`: {message}")]
    Pull {
        /// Reference.
        image: String,
        /// The engine's words.
        message: String,
    },
    /// The engine could not build an image.
    #[error("build image `{image}`: {message}")]
    Build {
        /// Name.
        image: String,
        /// The builder's words.
        message: String,
    },
    /// The context of a build cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A rolling update failed.
    #[error("update of service `{service}` {outcome}")]
    Update {
        /// Service.
        service: String,
        /// What was done about it.
        outcome: UpdateOutcome,
        /// Why the new container did not prove itself.
        source: Box<ApplyError>,
        /// What that container had to say.
        evidence: Option<Box<Evidence>>,
    },
    /// A provider failed.
    #[error("provider of service `{service}`: {message}")]
    Provider {
        /// Service.
        service: String,
        /// Its words.
        message: String,
    },
    /// A file of the host that the engine is to be told cannot be read.
    #[error("read `{path}`")]
    ReadFile {
        /// Path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It was known beforehand that the action cannot succeed.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The container that an action is for was not made.
    #[error("container `{name}` was not created")]
    NoContainer {
        /// Name.
        name: String,
    },
    /// The run was ended early.
    #[error("cancelled")]
    Cancelled,
}

/// How a rolling update ended that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// What was replaced stays.
    Paused,
    /// Every replica has its old container back.
    RolledBack,
}

impl std::fmt::Display for UpdateOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Paused => "paused",
            Self::RolledBack => "rolled back",
        })
    }
}

impl ApplyError {
    /// Says the name of a container wherever an engine's error says its id.
    pub(super) fn named(self, id: &str, name: &str) -> Self {
        match self {
            Self::Engine(error) => Self::Engine(error.named(id, name)),
            Self::Update {
                service,
                outcome,
                source,
                evidence,
            } => Self::Update {
                service,
                outcome,
                source: Box::new(source.named(id, name)),
                evidence,
            },
            other => other,
        }
    }

    /// The message with its causes, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
