//! Tar archives: read with suspicion, unpacked below a root descriptor, written from a directory tree.
//!
//! Called by `image` (layers), `volume` (copy-up), `build` (contexts) and the API (copying in and out of containers).
//! Nothing here trusts a name, a link, a size or a mode that an archive states; every path is resolved below an open
//! directory by the kernel, so that a symlink can never lead out of it.

mod error;

pub use error::ArchiveError;
