//! What can go wrong with a build.

use std::path::PathBuf;

use super::HostError;
use crate::runtime::archive::ArchiveError;
use crate::runtime::image::ImageError;

/// A failed build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The Dockerfile is not in the context.
    #[error("Cannot locate specified Dockerfile: {name}")]
    NoDockerfile {
        /// Its path.
        name: String,
    },
    /// The Dockerfile has no instruction.
    #[error("the Dockerfile ({name}) cannot be empty")]
    EmptyDockerfile {
        /// Its path.
        name: String,
    },
    /// The Dockerfile cannot be read as one.
    #[error("dockerfile parse error on line {line}: {message}")]
    Parse {
        /// Line of the instruction.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The target is no stage.
    #[error("target stage `{name}` could not be found")]
    UnknownTarget {
        /// The target.
        name: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// An instruction could not be done.
    #[error("line {line}: {instruction}: {message}")]
    Step {
        /// Line of the Dockerfile.
        line: usize,
        /// The instruction.
        instruction: String,
        /// What is wrong.
        message: String,
    },
    /// A RUN step ended with another code than 0.
    #[error("The command '{command}' returned a non-zero code: {code}")]
    Exit {
        /// The command line.
        command: String,
        /// The exit code.
        code: i64,
        /// Line of the Dockerfile.
        line: usize,
    },
    /// The image store.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Files of the context or of a layer.
    #[error("cannot copy files")]
    Archive(#[from] ArchiveError),
    /// The host could not run or pull.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file of the builder.
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
