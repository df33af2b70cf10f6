//! The files of volumes: first-use copy-up, parts of volumes, sizes.

use std::fs::File;
use std::io::BufWriter;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::VolumeError;
use super::store::{VolumeStore, file_error};
use crate::runtime::archive::{
    ArchiveError, NoRecorder, PackOptions, Root, TarWriter, UnpackOptions, open_merged, pack,
    unpack,
};

impl VolumeStore {
    /// A directory or file within the mounted volume, resolved without leaving it. The descriptor stays valid whatever
    /// happens to the names; bind `/proc/self/fd/N`.
    ///
    /// # Errors
    /// When it is not there, or leads out.
    pub fn open_subpath(&self, name: &str, subpath: &str) -> Result<OwnedFd, VolumeError> {
        let root = self.path(name)?;
        let failed = |source| VolumeError::Subpath {
            name: name.to_owned(),
            subpath: subpath.to_owned(),
            source,
        };
        let relative = Path::new(subpath);
        // A path that leaves the volume is refused here; the kernel keeps symlinks in.
        let leaves = relative.is_absolute()
            || relative
                .components()
                .any(|part| matches!(part, std::path::Component::ParentDir));
        if leaves {
            return Err(failed(std::io::Error::other(
                "it is not a relative path within the volume",
            )));
        }
        let root = rustix::fs::open(
            &root,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .map_err(|errno| failed(errno.into()))?;
        Root::from_fd(root)
            .open_at(relative, OFlags::PATH)
            .map_err(|errno| failed(errno.into()))
    }

    /// First use: an empty volume gets what the image has at `path`, with owners, modes, links and extended
    /// attributes; the volume's own root takes over owner and mode. `lower_dirs` are the image's, highest first.
    /// Volumes with content are left alone. A volume with driver options must be mounted.
    ///
    /// # Errors
    /// When the files cannot be copied.
    pub fn copy_up(
        &self,
        name: &str,
        lower_dirs: &[PathBuf],
        path: &str,
    ) -> Result<(), VolumeError> {
        let _lock = self.lock(name)?;
        let target = self.path(name)?;
        let mut entries = std::fs::read_dir(&target).map_err(file_error("list", &target))?;
        if entries.next().is_some() {
            return Ok(());
        }
        let failed = |source| VolumeError::CopyUp {
            name: name.to_owned(),
            path: path.to_owned(),
            source,
        };
        let image = Root::from_fd(open_merged(lower_dirs, None).map_err(failed)?);
        let source = match image.open_at(
            Path::new(path.trim_start_matches('/')),
            OFlags::RDONLY | OFlags::DIRECTORY,
        ) {
            Ok(source) => Root::from_fd(source),
            // Nothing there, or a file: the volume stays empty.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => {
                return Err(failed(ArchiveError::File {
                    action: "open",
                    path: path.into(),
                    source: errno.into(),
                }));
            }
        };
        let target = Root::open(&target).map_err(failed)?;
        copy_tree(source, &target).map_err(failed)
    }
}

/// Copies a tree with all that an archive can hold.
fn copy_tree(source: Root, target: &Root) -> Result<(), ArchiveError> {
    let (reader, writer) = std::io::pipe().map_err(ArchiveError::Read)?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let mut nothing = NoRecorder;
            let mut writer =
                TarWriter::new(BufWriter::with_capacity(64 * 1024, writer), &mut nothing);
            pack(
                &source,
                Path::new(""),
                Path::new("."),
                &PackOptions::default(),
                &mut writer,
            )?;
            writer.finish().map(drop)
        });
        let unpacked = unpack(reader, target, &UnpackOptions::default(), &mut NoRecorder);
        packing.join().unwrap_or_else(|_| {
            Err(ArchiveError::Malformed(
                "the packing thread panicked".to_owned(),
            ))
        })?;
        unpacked.map(drop)
    })
}

/// Bytes of all files of a directory.
pub(super) fn size_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// The lock of a volume: one fills, mounts or removes it at a time.
pub(super) fn lock_file(directory: &Path) -> Result<File, VolumeError> {
    let path = directory.join("lock");
    let lock = File::create(&path).map_err(file_error("open", &path))?;
    lock.lock().map_err(file_error("lock", &path))?;
    Ok(lock)
}
