//! Tar archives: read with suspicion, unpacked below a root descriptor, written from a directory tree.
//!
//! Called by `image` (layers), `volume` (copy-up), `build` (contexts) and the API (copying in and out of containers).
//! Nothing here trusts a name, a link, a size or a mode that an archive states; every path is resolved below an open
//! directory by the kernel (`openat2`), so that a symlink can never lead out of it.
//!
//! ```text
//! bytes --compression--> plain tar --reader--> Entry --unpack--> files below a Root
//! files below a Root --pack--> Entry --writer--> plain tar
//! ```
//!
//! While an archive is unpacked or written, a [`Recorder`] sees every byte that is not the content of a file, so that
//! the very same archive can be written again from the files alone.

mod ahead;
mod changes;
mod compression;
mod copy;
mod entry;
mod error;
mod merged;
mod pack;
mod reader;
mod root;
mod unpack;
mod writer;

pub use ahead::{Ahead, read_ahead};
pub use changes::{Change, ChangeKind, changes};
pub use compression::{Compression, decompress};
pub use copy::{PathStat, PutOptions, export, get_path, put_path, stat_path};
pub use entry::{Entry, EntryKind, clean_name};
pub use error::ArchiveError;
pub use merged::open_merged;
pub use pack::{Mounts, PackOptions, TreeWhiteouts, pack};
pub use reader::{Limits, TarReader};
pub use root::Root;
pub use unpack::{
    ArchiveWhiteouts, Devices, Overwrite, Owner, UnpackOptions, Unpacked, opaque_attribute, unpack,
};
pub use writer::TarWriter;

/// Sees what an archive has besides the contents of files.
pub trait Recorder {
    /// Bytes of headers, padding, and contents that are kept nowhere else.
    ///
    /// # Errors
    /// When they cannot be recorded.
    fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()>;

    /// Here stands the content of the file at `path`, which is entry number `entry` of the archive.
    ///
    /// # Errors
    /// When it cannot be recorded.
    fn content(&mut self, entry: u64, path: &std::path::Path, size: u64) -> std::io::Result<()>;
}

/// Records nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {
    fn raw(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }

    fn content(&mut self, _: u64, _: &std::path::Path, _: u64) -> std::io::Result<()> {
        Ok(())
    }
}
