//! Errors of an engine: what was tried on what.

/// An engine call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} `{resource}`")]
pub struct EngineError {
    /// What was tried, as a verb phrase: `create container`.
    pub operation: &'static str,
    /// On what: a name, an id or an address.
    pub resource: String,
    /// What kind of failure it is.
    pub kind: EngineErrorKind,
    /// The engine's own words, or the failure below.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Kinds of failures that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineErrorKind {
    /// The engine does not answer.
    Unreachable,
    /// The object does not exist (404).
    NotFound,
    /// The object is in another state, or its name is taken (409).
    Conflict,
    /// The engine refuses the request (400).
    Invalid,
    /// The engine cannot do this.
    Unsupported,
    /// Anything else.
    Failed,
}

impl EngineError {
    /// Makes an error with a message of ours as its cause.
    #[must_use]
    pub fn new(
        operation: &'static str,
        resource: impl Into<String>,
        kind: EngineErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            operation,
            resource: resource.into(),
            kind,
            source: source.into(),
        }
    }

    /// Whether the object was not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == EngineErrorKind::NotFound
    }
}
