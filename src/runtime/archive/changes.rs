//! What an overlay's upper directory changed: `docker diff`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::ArchiveError;
use super::pack::is_whiteout;
use super::root::{Root, file_error, names_in};

/// Kind of a change, with the API's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// 0
    Modified = 0,
    /// 1
    Added = 1,
    /// 2
    Deleted = 2,
}

/// A changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute, in the container.
    pub path: PathBuf,
    /// How it changed.
    pub kind: ChangeKind,
}

/// Lists the changes of `upper` over `lower` directories (highest first). `mount_points` are absolute paths of the
/// container that only exist because something is mounted there; they do not count.
///
/// # Errors
/// When a directory cannot be read.
pub fn changes(
    upper: &Path,
    lower: &[PathBuf],
    mount_points: &[String],
) -> Result<Vec<Change>, ArchiveError> {
    let top = Root::open(upper)?;
    let mut search = Search {
        lower: lower
            .iter()
            .map(|path| Root::open(path))
            .collect::<Result<_, _>>()?,
        ignored: mount_points
            .iter()
            .map(|path| PathBuf::from(path.trim_start_matches('/').trim_end_matches('/')))
            .collect(),
        changes: Vec::new(),
    };
    search.directory(top.fd(), Path::new(""))?;
    search.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(search.changes)
}

struct Search {
    lower: Vec<Root>,
    ignored: HashSet<PathBuf>,
    changes: Vec<Change>,
}

impl Search {
    /// Returns how many names in it were left out as mount points.
    fn directory(&mut self, directory: BorrowedFd<'_>, path: &Path) -> Result<usize, ArchiveError> {
        let open = rustix::fs::openat(
            directory,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| file_error("open", path, errno))?;
        let mut ignored = 0;
        for name in names_in(&open).map_err(|errno| file_error("list", path, errno))? {
            ignored += self.object(open.as_fd(), &name, &path.join(&name))?;
        }
        Ok(ignored)
    }

    fn object(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> Result<usize, ArchiveError> {
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(0),
            result => result.map_err(|errno| file_error("look at", path, errno))?,
        };
        let below = self.below(path);
        if self.ignored.contains(path) {
            return Ok(1);
        }
        if is_whiteout(&stat) {
            self.push(path, ChangeKind::Deleted);
            return Ok(0);
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            self.push(
                path,
                if below.is_some() {
                    ChangeKind::Modified
                } else {
                    ChangeKind::Added
                },
            );
            return Ok(0);
        }
        self.changed_directory(parent, name, path, &stat, below.as_ref())
    }

    fn changed_directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        stat: &Stat,
        below: Option<&Stat>,
    ) -> Result<usize, ArchiveError> {
        let before = self.changes.len();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|errno| file_error("open", path, errno))?;
        let ignored = self.directory(open.as_fd(), path)?;
        let has_changes = self.changes.len() > before;
        // Making a mount point touches its directory; that alone is no change of the container.
        let untouched = match below {
            Some(below) => {
                same_attributes(stat, below) && (ignored > 0 || stat.st_mtime == below.st_mtime)
            }
            None => ignored > 0,
        };
        if has_changes || !untouched {
            self.push(
                path,
                if below.is_some() {
                    ChangeKind::Modified
                } else {
                    ChangeKind::Added
                },
            );
            return Ok(0);
        }
        Ok(ignored)
    }

    /// The object that the layers below have at the path.
    fn below(&self, path: &Path) -> Option<Stat> {
        for layer in &self.lower {
            match layer.open_at(path, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(fd) => {
                    let stat = rustix::fs::fstat(&fd).ok()?;
                    return (!is_whiteout(&stat)).then_some(stat);
                }
                // A layer may replace a directory of those below by a file.
                Err(Errno::NOTDIR) => return None,
                Err(_) => {}
            }
        }
        None
    }

    fn push(&mut self, path: &Path, kind: ChangeKind) {
        self.changes.push(Change {
            path: Path::new("/").join(path),
            kind,
        });
    }
}

fn same_attributes(a: &Stat, b: &Stat) -> bool {
    (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid)
}
