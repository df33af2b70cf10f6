//! One step's layer: a scratch directory, an overlay of the layers so far that exists only as a descriptor, and the
//! upper directory that the store takes afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};

use super::BuildError;
use super::cache::failed;
use super::files::failed as call_failed;
use super::shared::Shared;
use crate::runtime::archive::{Root, open_merged};
use crate::runtime::image::{Digest, ImageStore, Scratch};

/// A layer in the making.
#[derive(Debug)]
pub(super) struct LayerSpace {
    scratch: Scratch,
    lower: Vec<PathBuf>,
}

impl LayerSpace {
    /// On top of layers of the store.
    ///
    /// # Errors
    /// When its directories cannot be made.
    pub(super) fn new(store: &ImageStore, below: &[Digest]) -> Result<Self, BuildError> {
        let space = Self {
            scratch: store.scratch()?,
            lower: store.layer_paths(below),
        };
        for path in [space.upper(), space.work()] {
            fs::create_dir(&path).map_err(failed("make directory", &path))?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))
                .map_err(failed("set the mode of", &path))?;
        }
        Ok(space)
    }

    /// Directory for whatever the step needs; gone with it.
    #[must_use]
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The layers below, the uppermost first.
    #[must_use]
    pub(super) fn lower(&self) -> &[PathBuf] {
        &self.lower
    }

    /// What the step changes.
    #[must_use]
    pub(super) fn upper(&self) -> PathBuf {
        self.scratch.path().join("upper")
    }

    /// Scratch directory of the overlay.
    #[must_use]
    pub(super) fn work(&self) -> PathBuf {
        self.scratch.path().join("work")
    }

    /// The root as the step sees it; changes go to the upper directory.
    ///
    /// # Errors
    /// When the overlay cannot be mounted.
    pub(super) fn root(&self) -> Result<Root, BuildError> {
        let (upper, work) = (self.upper(), self.work());
        Ok(Root::from_fd(open_merged(
            &self.lower,
            Some((&upper, &work)),
        )?))
    }

    /// Gives the upper directory to the store as a layer.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub(super) fn keep(self, shared: &Shared<'_>, below: &[Digest]) -> Result<Digest, BuildError> {
        let upper = self.upper();
        if let Some(seconds) = shared.epoch {
            limit_times(&Root::open(&upper)?, Path::new(""), seconds)?;
        }
        Ok(shared.store.keep_layer(&upper, below, &shared.pin)?)
    }

    /// Removes what the set-up of a container left: places for mounts that the layers below have not, still empty.
    ///
    /// # Errors
    /// When the directories cannot be opened.
    pub(super) fn remove_mount_points(&self, targets: &[PathBuf]) -> Result<(), BuildError> {
        let upper = Root::open(&self.upper())?;
        let lower = view(&self.lower)?;
        for target in targets {
            let mut path = target.as_path();
            while remove_if_new_and_empty(&upper, lower.as_ref(), path) {
                match path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty())
                {
                    Some(parent) => path = parent,
                    None => break,
                }
            }
        }
        Ok(())
    }
}

/// Layers as one tree; `None` when there are none.
///
/// # Errors
/// When they cannot be merged.
pub(super) fn view(lower: &[PathBuf]) -> Result<Option<Root>, BuildError> {
    if lower.is_empty() {
        return Ok(None);
    }
    Ok(Some(Root::from_fd(open_merged(lower, None)?)))
}

fn remove_if_new_and_empty(upper: &Root, lower: Option<&Root>, path: &Path) -> bool {
    let nofollow = OFlags::PATH | OFlags::NOFOLLOW;
    if lower.is_some_and(|lower| lower.open_at(path, nofollow).is_ok()) {
        return false;
    }
    let parent = upper.open_at(
        path.parent().unwrap_or(Path::new("")),
        OFlags::PATH | OFlags::DIRECTORY,
    );
    let (Ok(parent), Some(name)) = (parent, path.file_name()) else {
        return false;
    };
    let Ok(stat) = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return true;
    };
    let removed = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR),
        FileType::RegularFile if stat.st_size == 0 => {
            rustix::fs::unlinkat(&parent, name, AtFlags::empty())
        }
        FileType::RegularFile
        | FileType::Symlink
        | FileType::Fifo
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Socket
        | FileType::Unknown => return false,
    };
    removed.is_ok()
}

/// Sets times that are later than `seconds` to it, in the whole tree.
fn limit_times(root: &Root, path: &Path, seconds: i64) -> Result<(), BuildError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = root
        .open_at(path, flags)
        .map_err(call_failed("open", path))?;
    for entry in rustix::fs::Dir::read_from(&directory).map_err(call_failed("list", path))? {
        let entry = entry.map_err(call_failed("list", path))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let child = path.join(std::ffi::OsStr::new(&*name.to_string_lossy()));
        let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(call_failed("look at", &child))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            limit_times(root, &child, seconds)?;
        }
        if stat.st_mtime > seconds {
            rustix::fs::utimensat(&directory, name, &at(seconds), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(call_failed("set the time of", &child))?;
        }
    }
    Ok(())
}

fn at(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// An empty file of the scratch directory, for what has to have a place.
///
/// # Errors
/// When it cannot be made.
pub(super) fn write_file(
    directory: &Path,
    name: &str,
    content: &[u8],
    mode: u32,
) -> Result<PathBuf, BuildError> {
    let root = Root::open(directory)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = directory.join(name);
    let fd = rustix::fs::openat(root.fd(), name, flags, Mode::from_raw_mode(mode))
        .map_err(call_failed("make", &path))?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))
        .map_err(call_failed("set the mode of", &path))?;
    let mut file = fs::File::from(fd);
    std::io::Write::write_all(&mut file, content).map_err(failed("write", &path))?;
    Ok(path)
}
