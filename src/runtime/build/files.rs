//! Trees of files below a root descriptor: chosen by patterns, summed up for the cache, copied into another tree.
//!
//! Nothing here follows a link out of a root: names are resolved by the kernel within it (`openat2`), and below a
//! directory every step is taken with `O_NOFOLLOW` on the directory's descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::BuildError;
use super::glob::Glob;
use super::ignore::Ignore;
use super::owner::{ModeChange, Owner};
use crate::runtime::archive::Root;

/// Directories deeper than this are not entered.
const DEPTH_MAX: usize = 512;
const OPEN_DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Where files come from.
#[derive(Debug)]
pub(super) struct Source {
    /// The tree.
    pub root: Root,
    /// What of it cannot be seen.
    pub ignore: Ignore,
    /// Who owns the copies when `--chown` does not say.
    pub owner: SourceOwner,
}

/// Who owns copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceOwner {
    /// Root: files of a context.
    Root,
    /// Whoever owns the original: files of images.
    Original,
}

/// How files are changed on the way.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// `--chown`.
    pub owner: Option<Owner>,
    /// `--chmod`.
    pub mode: Option<ModeChange>,
    /// `--exclude`, relative to the copied directory.
    pub exclude: Ignore,
}

/// An error of a system call on a path.
pub(super) fn failed<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl FnOnce(Errno) -> BuildError + use<'p> {
    move |errno| BuildError::File {
        action,
        path: path.to_owned(),
        source: io::Error::from(errno),
    }
}

/// A path within a root: no leading slash, no `.` and `..`.
#[must_use]
pub(super) fn within(path: &str) -> PathBuf {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.iter().collect()
}

impl Source {
    /// The paths that a pattern stands for, sorted.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn select(&self, pattern: &str) -> Result<Vec<PathBuf>, BuildError> {
        let clean = within(pattern);
        let text = clean.to_string_lossy();
        let found = if Glob::is_special(&text) {
            self.select_pattern(&text)?
        } else {
            let seen = self.root.open_at(&clean, OFlags::PATH).is_ok() && self.sees(&clean);
            seen.then_some(clean.clone()).into_iter().collect()
        };
        if found.is_empty() {
            return Err(BuildError::Invalid(format!(
                "file not found in build context or excluded by .dockerignore: stat {pattern}: file does not exist"
            )));
        }
        Ok(found)
    }

    /// Whether a path is not left out as a whole.
    fn sees(&self, path: &Path) -> bool {
        !self.ignore.leaves_out(&path.to_string_lossy()) || self.ignore.has_exceptions()
    }

    fn select_pattern(&self, pattern: &str) -> Result<Vec<PathBuf>, BuildError> {
        let mut found = vec![PathBuf::new()];
        for part in pattern.split('/') {
            let mut next = Vec::new();
            for directory in &found {
                if Glob::is_special(part) {
                    next.extend(self.names_that_fit(directory, &Glob::new(part))?);
                } else {
                    next.push(directory.join(part));
                }
            }
            found = next;
        }
        found.retain(|path| {
            self.root.open_at(path, OFlags::PATH).is_ok()
                && !self.ignore.leaves_out(&path.to_string_lossy())
        });
        Ok(found)
    }

    fn names_that_fit(&self, directory: &Path, glob: &Glob) -> Result<Vec<PathBuf>, BuildError> {
        let Ok(fd) = self
            .root
            .open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY)
        else {
            return Ok(Vec::new());
        };
        let names = names_in(&fd, directory)?;
        let fitting = names
            .iter()
            .filter(|name| glob.matches(&name.to_string_lossy()));
        Ok(fitting.map(|name| directory.join(name)).collect())
    }

    /// A digest of a path and all below it: names, kinds, modes, contents; owners only where they are kept.
    ///
    /// # Errors
    /// When something cannot be read.
    pub(super) fn sum(&self, path: &Path, changes: &Changes) -> Result<[u8; 32], BuildError> {
        let mut sum = Sum {
            source: self,
            changes,
            hash: Sha256::new(),
        };
        let fd = self
            .root
            .open_at(path, OFlags::PATH)
            .map_err(failed("open", path))?;
        let stat = rustix::fs::fstat(&fd).map_err(failed("look at", path))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let fd = self.root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY);
            sum.attributes(Path::new(""), &stat);
            sum.directory(&fd.map_err(failed("open", path))?, path, Path::new(""))?;
        } else {
            let fd = self.root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK);
            sum.file(fd.map_err(failed("open", path))?, Path::new(""), &stat)?;
        }
        Ok(sum.hash.finalize().into())
    }

    /// Whether a path below a copied directory is left out of the copy.
    fn leaves_out(&self, path: &Path, below: &Path, changes: &Changes, is_directory: bool) -> bool {
        let hidden = |ignore: &Ignore, path: &Path| {
            !ignore.is_empty()
                && ignore.leaves_out(&path.to_string_lossy())
                && !(is_directory && ignore.has_exceptions())
        };
        hidden(&self.ignore, path) || hidden(&changes.exclude, below)
    }

    /// Whether a directory is only entered for what an exception takes.
    fn is_only_passed(&self, path: &Path, below: &Path, changes: &Changes) -> bool {
        self.ignore.leaves_out(&path.to_string_lossy())
            || changes.exclude.leaves_out(&below.to_string_lossy())
    }
}

struct Sum<'a> {
    source: &'a Source,
    changes: &'a Changes,
    hash: Sha256,
}

impl Sum<'_> {
    fn attributes(&mut self, name: &Path, stat: &Stat) {
        let name = name.as_os_str().as_bytes();
        self.hash
            .update(u64::try_from(name.len()).unwrap_or(0).to_le_bytes());
        self.hash.update(name);
        self.hash.update(stat.st_mode.to_le_bytes());
        if self.source.owner == SourceOwner::Original {
            self.hash.update(stat.st_uid.to_le_bytes());
            self.hash.update(stat.st_gid.to_le_bytes());
        }
    }

    fn directory(&mut self, fd: &OwnedFd, path: &Path, below: &Path) -> Result<(), BuildError> {
        check_depth(path)?;
        for name in names_in(fd, path)? {
            let (path, below) = (path.join(&name), below.join(&name));
            let stat = stat_at(fd.as_fd(), &name, &path)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let is_directory = kind == FileType::Directory;
            if self
                .source
                .leaves_out(&path, &below, self.changes, is_directory)
            {
                continue;
            }
            match kind {
                FileType::Directory => {
                    self.attributes(&below, &stat);
                    let child = open_directory(fd.as_fd(), &name, &path)?;
                    self.directory(&child, &path, &below)?;
                }
                FileType::RegularFile => {
                    let file = open_file(fd.as_fd(), &name, &path)?;
                    self.file(file, &below, &stat)?;
                }
                FileType::Symlink => {
                    self.attributes(&below, &stat);
                    let target = rustix::fs::readlinkat(fd, &name, Vec::new());
                    self.hash
                        .update(target.map_err(failed("read link", &path))?.as_bytes());
                }
                FileType::Fifo
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Socket
                | FileType::Unknown => self.attributes(&below, &stat),
            }
        }
        Ok(())
    }

    fn file(&mut self, fd: OwnedFd, name: &Path, stat: &Stat) -> Result<(), BuildError> {
        self.attributes(name, stat);
        self.hash.update(stat.st_size.to_le_bytes());
        let mut file = File::from(fd);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let n = file.read(&mut buffer).map_err(|source| BuildError::File {
                action: "read",
                path: name.to_owned(),
                source,
            })?;
            if n == 0 {
                return Ok(());
            }
            self.hash.update(&buffer[..n]);
        }
    }
}

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
                let target = self.directory_for(to, Some((&fd, &stat)))?;
                self.children(&fd, &target, path, Path::new(""))
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
        Ok((self.directory_for(directory, None)?, name.to_owned()))
    }

    /// Opens a directory of the target; what is missing is made, the last one like `model`.
    fn directory_for(
        &self,
        path: &Path,
        model: Option<(&OwnedFd, &Stat)>,
    ) -> Result<OwnedFd, BuildError> {
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
            result => return result.map_err(failed("open", path)),
        }
        make_directories(
            self.target,
            path,
            self.changes.owner.unwrap_or(super::owner::ROOT),
        )?;
        let fd = self
            .target
            .open_at(path, OFlags::RDONLY | OFlags::DIRECTORY);
        let fd = fd.map_err(failed("open", path))?;
        if let Some((source, stat)) = model {
            self.attributes(source.as_fd(), fd.as_fd(), stat, path)?;
        }
        Ok(fd)
    }

    fn children(
        &self,
        from: &OwnedFd,
        to: &OwnedFd,
        path: &Path,
        below: &Path,
    ) -> Result<(), BuildError> {
        check_depth(path)?;
        for name in names_in(from, path)? {
            let (path, below) = (path.join(&name), below.join(&name));
            let stat = stat_at(from.as_fd(), &name, &path)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let is_directory = kind == FileType::Directory;
            if self
                .source
                .leaves_out(&path, &below, self.changes, is_directory)
            {
                continue;
            }
            match kind {
                FileType::Directory => {
                    self.child_directory((from, to), &name, &stat, (&path, &below))?;
                }
                FileType::RegularFile => {
                    let file = File::from(open_file(from.as_fd(), &name, &path)?);
                    self.file(file, &stat, to.as_fd(), &name, &path)?;
                }
                FileType::Symlink => self.symlink((from, to), &name, &stat, &path)?,
                FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                    self.special(to, &name, &stat, &path)?;
                }
                FileType::Socket | FileType::Unknown => {}
            }
        }
        Ok(())
    }

    fn child_directory(
        &self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &OsStr,
        stat: &Stat,
        (path, below): (&Path, &Path),
    ) -> Result<(), BuildError> {
        let child = open_directory(from.as_fd(), name, path)?;
        if self.source.is_only_passed(path, below, self.changes)
            && !has_seen(self, &child, path, below)?
        {
            return Ok(());
        }
        match rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("make directory", path)(errno)),
        }
        let target = rustix::fs::openat(to, name, OPEN_DIRECTORY, Mode::empty());
        let target = target.map_err(|_| {
            BuildError::Invalid(format!("cannot copy to non-directory: {}", path.display()))
        })?;
        self.children(&child, &target, path, below)?;
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
        remove_present(directory, name, path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600));
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

/// Makes a directory and those above it, for an owner.
///
/// # Errors
/// When one cannot be made.
pub(super) fn make_directories(root: &Root, path: &Path, owner: Owner) -> Result<(), BuildError> {
    let mut so_far = PathBuf::new();
    for part in path.components() {
        let parent = root.open_at(&so_far, OFlags::RDONLY | OFlags::DIRECTORY);
        let parent = parent.map_err(failed("open", &so_far))?;
        so_far.push(part);
        if root
            .open_at(&so_far, OFlags::PATH | OFlags::DIRECTORY)
            .is_ok()
        {
            continue;
        }
        let name = part.as_os_str();
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
            .map_err(failed("make directory", &so_far))?;
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        rustix::fs::chownat(
            &parent,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(failed("set the owner of", &so_far))?;
        // The process's mask does not hold for images.
        let made = open_directory(parent.as_fd(), name, &so_far)?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))
            .map_err(failed("set the mode of", &so_far))?;
    }
    Ok(())
}

/// Whether anything below a directory that is left out is taken by an exception.
fn has_seen(
    copier: &Copier<'_>,
    fd: &OwnedFd,
    path: &Path,
    below: &Path,
) -> Result<bool, BuildError> {
    check_depth(path)?;
    for name in names_in(fd, path)? {
        let (path, below) = (path.join(&name), below.join(&name));
        if !copier.source.is_only_passed(&path, &below, copier.changes) {
            return Ok(true);
        }
        let stat = stat_at(fd.as_fd(), &name, &path)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let child = open_directory(fd.as_fd(), &name, &path)?;
            if has_seen(copier, &child, &path, &below)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn check_depth(path: &Path) -> Result<(), BuildError> {
    if path.components().count() > DEPTH_MAX {
        return Err(BuildError::Invalid(format!(
            "directories nest deeper than {DEPTH_MAX}"
        )));
    }
    Ok(())
}

fn stat_at(fd: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Stat, BuildError> {
    rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("look at", path))
}

fn open_directory(fd: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd, BuildError> {
    rustix::fs::openat(fd, name, OPEN_DIRECTORY, Mode::empty()).map_err(failed("open", path))
}

fn open_file(fd: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd, BuildError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(fd, name, flags, Mode::empty()).map_err(failed("open", path))
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

/// The sorted names in an open directory.
fn names_in(fd: &OwnedFd, path: &Path) -> Result<Vec<OsString>, BuildError> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(fd).map_err(failed("list", path))? {
        let entry = entry.map_err(failed("list", path))?;
        let name = entry.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
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
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn source(path: &Path, ignore: &str) -> Result<Source, crate::runtime::archive::ArchiveError> {
        // Owners are kept, so that the test needs no rights.
        Ok(Source {
            root: Root::open(path)?,
            ignore: Ignore::parse(ignore),
            owner: SourceOwner::Original,
        })
    }

    fn example() -> io::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("d/sub"))?;
        fs::write(at("a.txt"), "a")?;
        fs::write(at("b.txt"), "b")?;
        fs::write(at("d/x"), "x")?;
        fs::set_permissions(at("d/x"), fs::Permissions::from_mode(0o755))?;
        fs::write(at("d/sub/y"), "y")?;
        symlink("x", at("d/link"))?;
        symlink("/etc/passwd", at("out"))?;
        Ok(folder)
    }

    #[test]
    fn patterns_choose_paths() -> Outcome {
        let folder = example()?;
        let source = source(folder.path(), "b.txt")?;
        assert_eq!(source.select("*.txt")?, [PathBuf::from("a.txt")]);
        assert_eq!(source.select("/../d/./x")?, [PathBuf::from("d/x")]);
        assert_eq!(source.select("d/*")?.len(), 3);
        assert!(source.select("b.txt").is_err() && source.select("nope").is_err());
        Ok(())
    }

    #[test]
    fn a_link_out_of_the_root_leads_nowhere() -> Outcome {
        let folder = example()?;
        let source = source(folder.path(), "")?;
        assert!(source.select("out").is_err());
        Ok(())
    }

    #[test]
    fn a_directory_is_copied_with_modes_and_links() -> Outcome {
        let (folder, target) = (example()?, tempfile::tempdir()?);
        let (source, root) = (source(folder.path(), "")?, Root::open(target.path())?);
        let changes = Changes {
            exclude: Ignore::from_patterns(["sub"].into_iter()),
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

    #[test]
    fn the_sum_changes_with_content_and_mode_only() -> Outcome {
        let folder = example()?;
        let changes = Changes::default();
        let sum = || source(folder.path(), "").map(|s| s.sum(Path::new("d"), &changes));
        let before = sum()??;
        fs::write(folder.path().join("d/x"), "x")?;
        assert_eq!(sum()??, before);
        fs::write(folder.path().join("d/x"), "z")?;
        assert_ne!(sum()??, before);
        Ok(())
    }
}
