//! What goes wrong in the engine as its callers see it: a kind that decides the answer's status, and a message that
//! clients of the Docker Engine API know. Each part of `runtime` has an error of its own; the supervisor turns them
//! into this one, the API server turns this one into `{"message": …}`.

use std::error::Error;
use std::fmt;

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request makes no sense.
    Invalid,
    /// What is named is not there.
    NotFound,
    /// The state of the object does not allow it.
    Conflict,
    /// Nothing had to be done.
    NotModified,
    /// It is not allowed.
    Forbidden,
    /// Somebody has to say who they are first.
    Unauthorized,
    /// The engine cannot do it here.
    NotImplemented,
    /// It is switched off.
    Unavailable,
    /// Everything else.
    Internal,
}

/// A failure of the engine.
#[derive(Debug)]
pub struct RuntimeError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What the engine answers.
pub type RuntimeResult<T> = Result<T, RuntimeError>;

impl RuntimeError {
    /// A failure without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// What is named is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The state of the object does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// A failure of the system below, with its cause.
    pub fn internal(
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::new(ErrorKind::Internal, message).caused_by(source)
    }

    /// The same failure with a cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message with all causes, as one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next = Error::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for RuntimeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|cause| cause as &(dyn Error + 'static))
    }
}
