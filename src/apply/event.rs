//! News of a run: data only.

use serde::Serialize;

/// What happens while a plan runs.
#[derive(Debug, Clone, PartialEq)]
pub enum ApplyEvent {
    /// A resource changes.
    Resource(ResourceEvent),
    /// A line that a hook printed.
    Output {
        /// Who printed it.
        source: String,
        /// The line, without its end.
        line: String,
    },
    /// A line that a builder printed.
    BuildOutput {
        /// What is built; empty where one build makes several images.
        image: String,
        /// The line, without its end.
        line: String,
    },
    /// The engine or a condition has something to say.
    Warning(String),
}

/// State of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Status {
    /// Under way.
    Working,
    /// Done.
    Done,
    /// Done, with a remark.
    Warning,
    /// Failed.
    Error,
}

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Bytes so far.
    pub current: u64,
    /// Bytes in all.
    pub total: u64,
}

impl Progress {
    /// Hundredths.
    #[must_use]
    pub fn percent(self) -> u64 {
        (self.current * 100)
            .checked_div(self.total)
            .unwrap_or(0)
            .min(100)
    }
}

/// News of one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceEvent {
    /// `Container x`, `Network x`, `Volume x`, `Image x`.
    pub id: String,
    /// The resource it is a part of.
    pub parent: Option<String>,
    /// State.
    pub status: Status,
    /// `Creating`, `Created`, …
    pub text: String,
    /// More.
    pub details: String,
    /// How far it is.
    pub progress: Option<Progress>,
}

impl ResourceEvent {
    /// News without more.
    #[must_use]
    pub fn new(id: impl Into<String>, status: Status, text: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            parent: None,
            status,
            text: text.into(),
            details: String::new(),
            progress: None,
        }
    }

    /// With details.
    #[must_use]
    pub fn detailed(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }
}
