//! Files on a network: who brings them is the caller's business, because the loader reads local files only.

use std::{fmt, path::PathBuf};

/// Brings what a reference such as `https://HOST/PATH.git#REF:FOLDER` or `oci://REGISTRY/PATH` names to this machine.
pub trait Fetch: fmt::Debug + Send + Sync {
    /// Answers the main file of what was fetched.
    ///
    /// # Errors
    /// Fails where it cannot be had.
    fn fetch(&self, reference: &str) -> Result<PathBuf, FetchError>;
}

/// Why something could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl FetchError {
    /// Makes one.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
