//! Wanted mounts, out of the four places where the Docker API keeps them.
//!
//! [`wanted_mounts`] is called by the engine, which gives volumes their host path, and hands the result to
//! [`super::resolve`].

use std::path::PathBuf;

use super::request::{Access, Propagation, Recursion};

/// A mount as asked for: a volume has only a name (or none) yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedMount {
    /// Absolute path in the container.
    pub target: String,
    /// What is mounted.
    pub source: WantedSource,
    /// Whether it may be written.
    pub access: Access,
    /// Propagation of binds.
    pub propagation: Propagation,
    /// Whether mounts below come along.
    pub recursion: Recursion,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedSource {
    /// A path of the host.
    Bind {
        /// The path.
        path: PathBuf,
        /// Whether a folder is made where nothing is.
        missing: MissingSource,
    },
    /// A volume.
    Volume {
        /// Its name; `None` is an anonymous one.
        name: Option<String>,
        /// Whether the image's content at the target is copied into a new volume.
        content: ImageContent,
        /// Path below the volume's root.
        subpath: Option<String>,
    },
    /// A folder in memory.
    Tmpfs {
        /// Mount options.
        options: String,
    },
    /// A path of another image.
    Image {
        /// Reference of the image.
        reference: String,
        /// Path below the image's root.
        subpath: Option<String>,
    },
}

/// What happens where the source of a bind is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingSource {
    /// A folder is made (short syntax).
    Create,
    /// An error.
    Refuse,
}

/// Whether a new volume starts with the image's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageContent {
    /// It does.
    Copy,
    /// `nocopy`.
    Skip,
}
