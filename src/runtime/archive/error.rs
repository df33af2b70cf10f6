//! What can go wrong with archives.

use std::path::PathBuf;

/// A failure to read, unpack or write an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The stream broke or cannot be decompressed.
    #[error("cannot read the archive")]
    Read(#[source] std::io::Error),
    /// The stream of the archive cannot be written.
    #[error("cannot write the archive")]
    Write(#[source] std::io::Error),
    /// What was read is not a tar archive, or breaks its rules.
    #[error("invalid tar archive: {0}")]
    Malformed(String),
    /// An entry would leave the directory, or is something that is not unpacked.
    #[error("refused archive entry `{name}`: {reason}")]
    Refused {
        /// Name of the entry.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The archive is larger than allowed.
    #[error("archive exceeds the limit of {limit} {what}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// A folder would be replaced by something else, or the reverse.
    #[error("cannot overwrite {existing} `{name}` with {new}")]
    Overwrite {
        /// Name of the entry.
        name: String,
        /// What is there.
        existing: &'static str,
        /// What would come.
        new: &'static str,
    },
    /// Nothing can be written there.
    #[error("`{}` is marked read-only", path.display())]
    ReadOnly {
        /// The path.
        path: PathBuf,
    },
    /// A system call on a file of the tree.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which path, relative to the root.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl ArchiveError {
    /// Kind of the system's answer, where that is the cause.
    #[must_use]
    pub fn io_kind(&self) -> Option<std::io::ErrorKind> {
        match self {
            Self::Read(source) | Self::Write(source) | Self::File { source, .. } => {
                Some(source.kind())
            }
            Self::Malformed(_)
            | Self::Refused { .. }
            | Self::TooLarge { .. }
            | Self::Overwrite { .. }
            | Self::ReadOnly { .. } => None,
        }
    }
}
