//! What can go wrong with volumes.

use std::path::PathBuf;

use crate::runtime::archive::ArchiveError;

/// How a failure is answered by a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No such volume (404).
    NotFound,
    /// The request cannot be right (400).
    Invalid,
    /// A container uses it (409).
    Conflict,
    /// Anything else (500).
    Internal,
}

/// A failure of the volume store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// No volume has this name.
    #[error("get {name}: no such volume")]
    NotFound {
        /// The name.
        name: String,
    },
    /// A name with characters that names cannot have.
    #[error(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A one-letter name.
    #[error(
        "create {name}: volume name is too short, names should be at least two alphanumeric characters"
    )]
    ShortName {
        /// The name.
        name: String,
    },
    /// A driver other than `local`.
    #[error(
        "create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found"
    )]
    UnknownDriver {
        /// Name of the volume.
        name: String,
        /// Name of the driver.
        driver: String,
    },
    /// A driver option that `local` does not have.
    #[error("create {name}: invalid option: \"{option}\"")]
    InvalidOption {
        /// Name of the volume.
        name: String,
        /// The option.
        option: String,
    },
    /// Driver options that do not belong together.
    #[error("create {name}: {message}")]
    IncompleteOptions {
        /// Name of the volume.
        name: String,
        /// What is missing.
        message: String,
    },
    /// Containers use the volume.
    #[error("remove {name}: volume is in use - [{}]", containers.join(", "))]
    InUse {
        /// Name of the volume.
        name: String,
        /// Ids of the containers.
        containers: Vec<String>,
    },
    /// A filter that this operation does not know, or a value that it cannot take.
    #[error("invalid filter '{name}{}'", value.as_ref().map(|v| format!("={v}")).unwrap_or_default())]
    InvalidFilter {
        /// Name of the filter.
        name: String,
        /// Its value, when that is what is wrong.
        value: Option<String>,
    },
    /// A part of a volume that leads out of it or is not there.
    #[error("cannot access subpath `{subpath}` of volume `{name}`")]
    Subpath {
        /// Name of the volume.
        name: String,
        /// The path within.
        subpath: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file system of a volume with driver options cannot be mounted.
    #[error(
        "error while mounting volume '{}': failed to mount local volume: mount {device}:{}, data: {data}: {reason}",
        target.display(),
        target.display()
    )]
    Mount {
        /// What is mounted.
        device: String,
        /// Where.
        target: PathBuf,
        /// Options.
        data: String,
        /// The system's answer in Docker's words, which its clients look for.
        reason: String,
    },
    /// The files of an image cannot be copied into a new volume.
    #[error("cannot fill volume `{name}` from `{path}` of the image")]
    CopyUp {
        /// Name of the volume.
        name: String,
        /// Path in the container.
        path: String,
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
}

impl VolumeError {
    /// How a server answers this.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::UnknownDriver { .. } => ErrorKind::NotFound,
            Self::InvalidName { .. }
            | Self::ShortName { .. }
            | Self::InvalidOption { .. }
            | Self::IncompleteOptions { .. }
            | Self::InvalidFilter { .. } => ErrorKind::Invalid,
            Self::InUse { .. } => ErrorKind::Conflict,
            Self::Subpath { .. } | Self::Mount { .. } | Self::CopyUp { .. } | Self::File { .. } => {
                ErrorKind::Internal
            }
        }
    }
}
