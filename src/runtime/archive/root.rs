//! A directory below which all paths are resolved, whatever symlinks they meet.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::ArchiveError;

/// Times that a resolution is tried again because names changed meanwhile.
const RETRIES: usize = 64;

/// An open directory that is `/` for everything done through it.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// The directory that was used last: most entries lie beside their predecessor.
    last: Mutex<Option<(PathBuf, Arc<OwnedFd>)>>,
}

impl Root {
    /// Opens a directory of the host.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        rustix::fs::open(
            path,
            OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY,
            Mode::empty(),
        )
        .map(Self::from_fd)
        .map_err(|errno| file_error("open", path, errno))
    }

    /// Uses a directory that is open already, for instance of [`super::open_merged`].
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self {
            fd,
            last: Mutex::default(),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Gives the directory away.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Opens a path within the root; symlinks are followed within the root, the last one only without `NOFOLLOW`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open_at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let mut tries = 0;
        loop {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(
                &self.fd,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                Err(Errno::AGAIN | Errno::INTR) if tries < RETRIES => tries += 1,
                result => return result,
            }
        }
    }

    /// Opens a regular file within the root for reading. A device, a queue or a socket in its place is not opened at
    /// all: already that can do something.
    ///
    /// # Errors
    /// When it is not there, or no regular file.
    pub fn open_file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        reopen_file(&self.open_at(path, OFlags::PATH)?)
    }

    /// The directory that holds `path`, and the last part of the path. Missing directories are made.
    pub(super) fn parent_of<'p>(
        &self,
        path: &'p Path,
    ) -> Result<(Arc<OwnedFd>, &'p OsStr), ArchiveError> {
        let name = path
            .file_name()
            .ok_or_else(|| file_error("use", path, Errno::ISDIR))?;
        let parent = path.parent().unwrap_or(Path::new(""));
        if let Some((known, fd)) = &*self.last()
            && known == parent
        {
            return Ok((Arc::clone(fd), name));
        }
        let fd = match self.open_at(parent, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => self.make_directories(parent)?,
            result => result.map_err(|errno| file_error("open", parent, errno))?,
        };
        let fd = Arc::new(fd);
        *self.last() = Some((parent.to_owned(), Arc::clone(&fd)));
        Ok((fd, name))
    }

    /// Forgets what is known of directories, because one was replaced.
    pub(super) fn forget(&self) {
        *self.last() = None;
    }

    fn last(&self) -> MutexGuard<'_, Option<(PathBuf, Arc<OwnedFd>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_directories(&self, path: &Path) -> Result<OwnedFd, ArchiveError> {
        let mut at = self
            .open_at(Path::new(""), OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|errno| file_error("open", path, errno))?;
        let mut so_far = PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            at = match self.open_at(&so_far, OFlags::PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755))
                        .map_err(|errno| file_error("make directory", &so_far, errno))?;
                    rustix::fs::openat(
                        &at,
                        part.as_os_str(),
                        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                        Mode::empty(),
                    )
                }
                result => result,
            }
            .map_err(|errno| file_error("open", &so_far, errno))?;
        }
        Ok(at)
    }
}

/// Opens for reading what a descriptor (`O_PATH`) stands for, if that is a regular file.
pub(super) fn reopen_file(place: &OwnedFd) -> Result<OwnedFd, Errno> {
    let stat = rustix::fs::fstat(place)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let own = format!("/proc/self/fd/{}", place.as_raw_fd());
    rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// The sorted names in an open directory.
pub(super) fn names_in(directory: impl AsFd) -> Result<Vec<OsString>, Errno> {
    use std::os::unix::ffi::OsStringExt;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// What is told of each file before it is removed: its directory, its name, its path.
pub(super) type BeforeRemoval<'a> =
    dyn FnMut(BorrowedFd<'_>, &OsStr, &Path) -> Result<(), Errno> + 'a;

/// Removes a name and everything below it, without following links.
pub(super) fn remove_all(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
    before: &mut BeforeRemoval<'_>,
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => {
            for child in names_in(&directory)? {
                remove_all(directory.as_fd(), &child, &path.join(&child), before)?;
            }
            rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
        }
        Err(Errno::NOTDIR | Errno::LOOP) => {
            before(parent, name, path)?;
            rustix::fs::unlinkat(parent, name, AtFlags::empty())
        }
        Err(errno) => Err(errno),
    }
}

pub(super) fn file_error(action: &'static str, path: &Path, errno: Errno) -> ArchiveError {
    ArchiveError::File {
        action,
        path: path.to_owned(),
        source: io::Error::from(errno),
    }
}
