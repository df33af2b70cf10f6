//! What can go wrong with registries.

use crate::runtime::image::{Digest, ErrorKind, ImageError};

/// A failed exchange with a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry has no such manifest.
    #[error("manifest for {reference} not found: manifest unknown: {message}")]
    ManifestUnknown {
        /// The reference.
        reference: String,
        /// What the registry says.
        message: String,
    },
    /// The registry refuses, or has no such repository: it does not say which.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login': {message}"
    )]
    Denied {
        /// The repository.
        repository: String,
        /// What the registry says.
        message: String,
    },
    /// The credentials are wrong.
    #[error("unauthorized: {message}")]
    Unauthorized {
        /// What the registry says.
        message: String,
    },
    /// No image of that name to push.
    #[error("An image does not exist locally with the tag: {reference}")]
    NothingToPush {
        /// The repository.
        reference: String,
    },
    /// Another answer than expected.
    #[error("unexpected answer of {url}: status {status}: {message}")]
    Answer {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// Nobody answers, or the connection breaks.
    #[error("cannot reach {url}: {reason}")]
    Connect {
        /// Where.
        url: String,
        /// Why, with all causes, because the API shows one line.
        reason: String,
    },
    /// An address that is none.
    #[error("invalid address `{0}` of a registry")]
    Address(String),
    /// What came is not what was promised.
    #[error("{what} has digest {found}, expected {expected}")]
    DigestMismatch {
        /// What came.
        what: String,
        /// The promised digest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// Something larger than allowed or than promised.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// How large it may be.
        limit: u64,
    },
    /// A registry that says of a blob another size than the manifest.
    #[error("the manifest says that {what} has {promised} bytes, the registry that it has {found}")]
    SizeMismatch {
        /// Which blob.
        what: Digest,
        /// The manifest's figure.
        promised: u64,
        /// The registry's.
        found: u64,
    },
    /// The credentials file or helper.
    #[error("cannot get credentials: {0}")]
    Credential(String),
    /// A certificate that cannot be used.
    #[error("cannot use the certificates: {0}")]
    Certificate(String),
    /// The store.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file on the way.
    #[error("cannot {action} a file of the transfer")]
    File {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A document of the registry that cannot be read.
    #[error("cannot parse {what}")]
    Json {
        /// Which.
        what: &'static str,
        /// The cause.
        source: serde_json::Error,
    },
    /// A task of this program died.
    #[error("a transfer ended early")]
    Task(#[from] tokio::task::JoinError),
}

impl RegistryError {
    /// How a server answers this.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ManifestUnknown { .. } | Self::Denied { .. } | Self::NothingToPush { .. } => {
                ErrorKind::NotFound
            }
            Self::Unauthorized { .. } => ErrorKind::Denied,
            Self::Address(_) => ErrorKind::Invalid,
            Self::Image(error) => error.kind(),
            Self::Answer { .. }
            | Self::Connect { .. }
            | Self::DigestMismatch { .. }
            | Self::TooLarge { .. }
            | Self::SizeMismatch { .. }
            | Self::Credential(_)
            | Self::Certificate(_)
            | Self::File { .. }
            | Self::Json { .. }
            | Self::Task(_) => ErrorKind::Internal,
        }
    }

    /// Whether the same might work a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Answer { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}
