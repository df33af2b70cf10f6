//! What can go wrong with images.

use std::path::PathBuf;

use super::Digest;
use crate::runtime::archive::ArchiveError;

/// How a failure is answered by a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The named thing does not exist (404).
    NotFound,
    /// The request cannot be right (400).
    Invalid,
    /// Something else uses the thing (409).
    Conflict,
    /// The registry refused the credentials (401 of the registry).
    Denied,
    /// Anything else (500).
    Internal,
}

/// A failure of the image store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The reference cannot be parsed.
    #[error("invalid reference format{detail}")]
    InvalidReference {
        /// What is wrong, with its separator in front, or empty.
        detail: String,
    },
    /// No image answers to the reference.
    #[error("No such image: {reference}")]
    NotFound {
        /// The reference in the form in which Docker repeats it.
        reference: String,
    },
    /// More than one image has an id with this prefix.
    #[error("ambiguous image id prefix `{prefix}`")]
    AmbiguousId {
        /// The prefix.
        prefix: String,
    },
    /// An image cannot be removed because of what uses it.
    #[error("conflict: unable to delete {image} ({forcing}) - {reason}")]
    InUse {
        /// Short id of the image.
        image: String,
        /// `must be forced` or `cannot be forced`.
        forcing: &'static str,
        /// What uses it.
        reason: String,
    },
    /// The only name of an image that a container uses.
    #[error(
        "conflict: unable to remove repository reference \"{reference}\" (must force) - container {container} is using its referenced image {image}"
    )]
    NameInUse {
        /// The reference, as asked.
        reference: String,
        /// Short id of a container.
        container: String,
        /// Short id of the image.
        image: String,
    },
    /// A filter that this operation does not know, or a value that it cannot take.
    #[error("invalid filter '{name}{}'", value.as_ref().map(|v| format!("={v}")).unwrap_or_default())]
    InvalidFilter {
        /// Name of the filter.
        name: String,
        /// Its value, when that is what is wrong.
        value: Option<String>,
    },
    /// An instruction of `import` or `commit` that cannot be applied.
    #[error("{message}")]
    InvalidChange {
        /// What is wrong with it.
        message: String,
    },
    /// A manifest, index, config or archive that contradicts itself or a format.
    #[error("invalid image: {message}")]
    InvalidImage {
        /// What is wrong.
        message: String,
    },
    /// Content does not have the digest that was promised.
    #[error("{what} has digest {found}, expected {expected}")]
    DigestMismatch {
        /// What was read.
        what: String,
        /// The promised digest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The directory of a `rootfs:` reference cannot be used.
    #[error("root file system `{}` is not a directory of this host", path.display())]
    RootfsMissing {
        /// The directory.
        path: PathBuf,
    },
    /// An operation that only stored images have.
    #[error("`{reference}` is a directory of the host, not a stored image")]
    NotStored {
        /// The reference.
        reference: String,
    },
    /// A layer's archive was refused or could not be written.
    #[error("cannot process {what}")]
    Archive {
        /// Which archive.
        what: String,
        /// The cause.
        source: ArchiveError,
    },
    /// A file of the store.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A stream from or to a client broke.
    #[error("cannot {action}")]
    Stream {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A JSON document that cannot be read.
    #[error("cannot parse {what}")]
    Json {
        /// Which document.
        what: String,
        /// The cause.
        source: serde_json::Error,
    },
}

impl ImageError {
    /// How a server answers this.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::InvalidReference { .. }
            | Self::AmbiguousId { .. }
            | Self::InvalidFilter { .. }
            | Self::InvalidChange { .. }
            | Self::NotStored { .. }
            | Self::RootfsMissing { .. } => ErrorKind::Invalid,
            Self::InUse { .. } | Self::NameInUse { .. } => ErrorKind::Conflict,
            Self::InvalidImage { .. }
            | Self::DigestMismatch { .. }
            | Self::Archive { .. }
            | Self::File { .. }
            | Self::Stream { .. }
            | Self::Json { .. } => ErrorKind::Internal,
        }
    }

    /// The not-found error for a reference, with `:latest` added as Docker does.
    pub(crate) fn not_found(reference: &str) -> Self {
        let plain = !reference.contains('@')
            && !reference
                .rsplit('/')
                .next()
                .is_some_and(|last| last.contains(':'));
        let hexadecimal = reference.len() == 64 && reference.bytes().all(|b| b.is_ascii_hexdigit());
        let suffix = if plain && !hexadecimal { ":latest" } else { "" };
        Self::NotFound {
            reference: format!("{reference}{suffix}"),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidImage {
            message: message.into(),
        }
    }
}
