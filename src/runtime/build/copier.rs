//! Copies what a source has into another tree: owners, modes, times, links, extended attributes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::BuildError;
use super::files::{
    Changes, Fate, Source, SourceOwner, Trail, check_depth, entries_in, failed, make_directories,
    on_all_processors, open_directory, open_file, stat_at,
};
use super::owner::Owner;
use crate::runtime::archive::Root;

/// Where files go, and how.
#[derive(Debug)]
pub(super) struct Copier<'a> {
    /// Where they come from.
    pub source: &'a Source,
    /// The tree that they go to.
    pub target: &'a Root,
    /// How they change.
    pub changes: &'a Changes,
}

/// When a directory of the target was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Before,
    Now,
}

impl Copier<'_> {
    /// Copies a file or the content of a directory to a path of the target. With [`Shape::Directory`] a file goes
    /// into the directory of that path.
    ///
    /// # Errors
    /// When something cannot be read or made.
    pub(super) fn copy(&self, path: &Path, to: &Path, shape: Shape) -> Result<(), BuildError> {
        let fd = self
            .source
            .root
            .open_at(path, OFlags::PATH)
            .map_err(failed("open", path))?;
        let stat = rustix::fs::fstat(&fd).map_err(failed("look at", path))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let fd = self
                    .source
                    .root
                    .open_at(path, OFlags::RDONLY | OFlags::DIRECTORY);
                let fd = fd.map_err(failed("open", path))?;
                let (target, made) = self.directory_for(to)?;
                let trail = Trail::new(self.source, path);
                on_all_processors(|| self.children(&fd, &target, &trail))?;
                if made == Made::Now {
                    // Only its time is the source's: owner and mode are those of any directory that is made.
                    let result = rustix::fs::futimens(&target, &times(&stat));
                    result.map_err(failed("set the time of", to))?;
                }
                Ok(())
            }
            FileType::RegularFile => {
                let fd = self
                    .source
                    .root
                    .open_at(path, OFlags::RDONLY | OFlags::NONBLOCK);
                let (directory, name) = self.place(path, to, shape)?;
                let file = File::from(fd.map_err(failed("open", path))?);
                self.file(file, &stat, directory.as_fd(), &name, to)
            }
            FileType::Symlink
            | FileType::Fifo
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Socket
            | FileType::Unknown => Err(BuildError::Invalid(format!(
                "cannot copy `{}`: it is neither a file nor a directory",
                path.display()
            ))),
        }
    }

    /// Makes the directories `below` the target that `--parents` keeps of a path, each like the source's own.
    ///
    /// # Errors
    /// When one cannot be read or made.
    pub(super) fn parents(&self, path: &Path, below: &Path, to: &Path) -> Result<(), BuildError> {
        let inner = if path.ends_with(below) {
            Some(path)
        } else {
            path.parent()
        };
        let pivot = inner.and_then(|inner| inner.ancestors().nth(below.components().count()));
        let (mut from, mut to) = (pivot.unwrap_or(Path::new("")).to_owned(), to.to_owned());
        for part in below.components() {
            from.push(part);
            to.push(part);
            let (target, made) = self.directory_for(&to)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            if made == Made::Before {
                continue;
            }
            let source = self.source.root.open_at(&from, flags);
            let source = source.map_err(failed("open", &from))?;
            let stat = rustix::fs::fstat(&source).map_err(failed("look at", &from))?;
            self.attributes(source.as_fd(), target.as_fd(), &stat, &to)?;
        }
        Ok(())
    }

    /// The directory and name where a file goes.
    fn place(
        &self,
        path: &Path,
        to: &Path,
        shape: Shape,
    ) -> Result<(OwnedFd, OsString), BuildError> {
        let is_directory = shape == Shape::Directory
            || self
                .target
                .open_at(to, OFlags::PATH | OFlags::DIRECTORY)
                .is_ok();
        let (directory, name) = match (is_directory, to.file_name()) {
            (false, Some(name)) => (to.parent().unwrap_or(Path::new("")), name),
            _ => (to, path.file_name().unwrap_or(OsStr::new("file"))),
        };
        Ok((self.directory_for(directory)?.0, name.to_owned()))
    }

    /// Opens a directory of the target; what is missing is made.
    fn directory_for(&self, path: &Path) -> Result<(OwnedFd, Made), BuildError> {
        match self
            .target
            .open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)
        {
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR) => {
                return Err(BuildError::Invalid(format!(
                    "cannot copy to non-directory: /{}",
                    path.display()
                )));
            }
            result => {
                let fd = result.map_err(failed("open", path))?;
                return Ok((fd, Made::Before));
            }
        }
        make_directories(
            self.target,
            path,
            self.changes.owner.unwrap_or(super::owner::ROOT),
            self.changes.mode_of_new(),
        )?;
        let fd = self
            .target
            .open_at(path, OFlags::RDONLY | OFlags::DIRECTORY);
        Ok((fd.map_err(failed("open", path))?, Made::Now))
    }

    fn children(&self, from: &OwnedFd, to: &OwnedFd, at: &Trail) -> Result<(), BuildError> {
        check_depth(&at.path)?;
        let mut directories = Vec::new();
        for entry in entries_in(from, &at.path)? {
            let (child, fate) = at.child(self.source, self.changes, &entry);
            if fate == Fate::Left {
                continue;
            }
            let (name, path) = (entry.name, &child.path);
            let stat = stat_at(from.as_fd(), &name, &at.path)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => directories.push((name, stat, child, fate)),
                FileType::RegularFile => {
                    let file = File::from(open_file(from.as_fd(), &name, path)?);
                    self.file(file, &stat, to.as_fd(), &name, path)?;
                }
                FileType::Symlink => self.symlink((from, to), &name, &stat, path)?,
                FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                    self.special(to, &name, &stat, path)?;
                }
                FileType::Socket | FileType::Unknown => {}
            }
        }
        directories
            .into_par_iter()
            .try_for_each(|(name, stat, child, fate)| {
                self.child_directory((from, to), &name, &stat, (&child, fate))
            })
    }

    fn child_directory(
        &self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &OsStr,
        stat: &Stat,
        (at, fate): (&Trail, Fate),
    ) -> Result<(), BuildError> {
        let path = &at.path;
        let child = open_directory(from.as_fd(), name, path)?;
        if fate == Fate::Passed && !has_taken(self, &child, at)? {
            return Ok(());
        }
        match rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("make directory", path)(errno)),
        }
        let target = open_directory(to.as_fd(), name, path).map_err(|_| {
            BuildError::Invalid(format!("cannot copy to non-directory: {}", path.display()))
        })?;
        self.children(&child, &target, at)?;
        self.attributes(child.as_fd(), target.as_fd(), stat, path)
    }

    fn file(
        &self,
        mut file: File,
        stat: &Stat,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), BuildError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600));
        let made = match make() {
            Err(Errno::EXIST) => {
                remove_present(directory, name, path)?;
                make()
            }
            made => made,
        };
        let mut target = File::from(made.map_err(failed("make", path))?);
        io::copy(&mut file, &mut target).map_err(|source| BuildError::File {
            action: "write",
            path: path.to_owned(),
            source,
        })?;
        self.attributes(file.as_fd(), target.as_fd(), stat, path)
    }

    fn symlink(
        &self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &OsStr,
        stat: &Stat,
        path: &Path,
    ) -> Result<(), BuildError> {
        let target =
            rustix::fs::readlinkat(from, name, Vec::new()).map_err(failed("read link", path))?;
        remove_present(to.as_fd(), name, path)?;
        rustix::fs::symlinkat(target, to, name).map_err(failed("make link", path))?;
        self.attributes_at(to, name, stat, path)
    }

    fn special(
        &self,
        to: &OwnedFd,
        name: &OsStr,
        stat: &Stat,
        path: &Path,
    ) -> Result<(), BuildError> {
        remove_present(to.as_fd(), name, path)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev).map_err(failed("make", path))?;
        self.attributes_at(to, name, stat, path)
    }

    fn attributes_at(
        &self,
        to: &OwnedFd,
        name: &OsStr,
        stat: &Stat,
        path: &Path,
    ) -> Result<(), BuildError> {
        let (uid, gid) = self.owner(stat);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(to, name, Some(uid), Some(gid), nofollow)
            .map_err(failed("set the owner of", path))?;
        rustix::fs::utimensat(to, name, &times(stat), nofollow)
            .map_err(failed("set the time of", path))
    }

    /// Owner, then mode (a change of owner clears set-id bits), extended attributes, time.
    fn attributes(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        stat: &Stat,
        path: &Path,
    ) -> Result<(), BuildError> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::fchown(to, Some(uid), Some(gid)).map_err(failed("set the owner of", path))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mode = stat.st_mode & 0o7777;
        let mode = self
            .changes
            .mode
            .as_ref()
            .map_or(mode, |change| change.apply(mode, is_directory));
        rustix::fs::fchmod(to, Mode::from_raw_mode(mode))
            .map_err(failed("set the mode of", path))?;
        copy_extended(from, to, path)?;
        rustix::fs::futimens(to, &times(stat)).map_err(failed("set the time of", path))
    }

    fn owner(&self, stat: &Stat) -> (Uid, Gid) {
        let owner = match (self.changes.owner, self.source.owner) {
            (Some(owner), _) => owner,
            (None, SourceOwner::Root) => super::owner::ROOT,
            (None, SourceOwner::Original) => Owner {
                uid: stat.st_uid,
                gid: stat.st_gid,
            },
        };
        (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid))
    }
}

/// Whether the last part of a target is a directory in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It ends with a slash, or several files go there.
    Directory,
    /// What is there decides; where nothing is, it is the file's name.
    Open,
}

/// Whether an exception takes anything below a directory that is left out.
fn has_taken(copier: &Copier<'_>, fd: &OwnedFd, at: &Trail) -> Result<bool, BuildError> {
    check_depth(&at.path)?;
    for entry in entries_in(fd, &at.path)? {
        let (child, fate) = at.child(copier.source, copier.changes, &entry);
        match fate {
            Fate::Taken => return Ok(true),
            Fate::Left => {}
            Fate::Passed => {
                let fd = open_directory(fd.as_fd(), &entry.name, &child.path)?;
                if has_taken(copier, &fd, &child)? {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Takes away what is in the way of a file; a directory is an error.
fn remove_present(directory: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<(), BuildError> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(BuildError::Invalid(format!(
            "cannot overwrite directory with file: {}",
            path.display()
        ))),
        Err(errno) => Err(failed("replace", path)(errno)),
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Copies capabilities and `user.` attributes; file systems without them are no failure.
fn copy_extended(from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &Path) -> Result<(), BuildError> {
    let mut names = [0u8; 4096];
    let Ok(length) = rustix::fs::flistxattr(from, &mut names) else {
        return Ok(());
    };
    let names = names[..length].split(|b| *b == 0);
    let wanted = |name: &&str| {
        *name == "security.capability"
            || (name.starts_with("user.") && !name.starts_with("user.overlay."))
    };
    for name in names
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(wanted)
    {
        let mut value = vec![0u8; 64 * 1024];
        let Ok(length) = rustix::fs::fgetxattr(from, name, &mut value[..]) else {
            continue;
        };
        match rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(failed("set an extended attribute of", path)(errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::build::ignore::Ignore;
    use crate::runtime::build::sample::{example, source};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn a_directory_is_copied_with_modes_and_links() -> Outcome {
        let (folder, target) = (example()?, tempfile::tempdir()?);
        let (source, root) = (source(folder.path(), "")?, Root::open(target.path())?);
        let changes = Changes {
            exclude: Ignore::from_patterns(["sub"].into_iter()),
            // An ordinary user can give files to itself only.
            owner: Some(Owner {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            }),
            ..Changes::default()
        };
        let copier = Copier {
            source: &source,
            target: &root,
            changes: &changes,
        };
        copier.copy(Path::new("d"), Path::new("new/place"), Shape::Open)?;
        copier.copy(Path::new("a.txt"), Path::new("new/place"), Shape::Open)?;
        let place = target.path().join("new/place");
        assert_eq!(
            fs::metadata(place.join("x"))?.permissions().mode() & 0o777,
            0o755
        );
        assert_eq!(fs::read_link(place.join("link"))?, Path::new("x"));
        assert_eq!(fs::read_to_string(place.join("a.txt"))?, "a");
        assert!(!place.join("sub").exists());
        Ok(())
    }

    #[test]
    fn exceptions_below_a_hidden_directory_are_copied() -> Outcome {
        let (folder, target) = (example()?, tempfile::tempdir()?);
        let (source, root) = (
            source(folder.path(), "*\n!d/sub/y")?,
            Root::open(target.path())?,
        );
        let changes = Changes::default();
        let copier = Copier {
            source: &source,
            target: &root,
            changes: &changes,
        };
        copier.copy(Path::new(""), Path::new(""), Shape::Directory)?;
        assert_eq!(fs::read_to_string(target.path().join("d/sub/y"))?, "y");
        assert!(!target.path().join("d/x").exists() && !target.path().join("a.txt").exists());
        Ok(())
    }

    #[test]
    fn a_target_link_stays_within_the_root() -> Outcome {
        let (folder, target) = (example()?, tempfile::tempdir()?);
        symlink("/real", target.path().join("alias"))?;
        fs::create_dir(target.path().join("real"))?;
        let (source, root) = (source(folder.path(), "")?, Root::open(target.path())?);
        let changes = Changes::default();
        let copier = Copier {
            source: &source,
            target: &root,
            changes: &changes,
        };
        copier.copy(Path::new("a.txt"), Path::new("alias"), Shape::Directory)?;
        assert!(target.path().join("real/a.txt").exists());
        Ok(())
    }
}
