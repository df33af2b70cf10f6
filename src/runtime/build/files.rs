//! Trees of files below a root descriptor: chosen by patterns, walked with the rules that leave some of them out.
//!
//! ```text
//! pattern --select--> paths --sum--> key of the cache (sum.rs)
//!                           --copy--> another tree (copier.rs)
//! ```
//!
//! Nothing here follows a link out of a root: names are resolved by the kernel within it (`openat2`), and below a
//! directory every step is taken with `O_NOFOLLOW` on the directory's descriptor.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::BuildError;
use super::glob::Glob;
use super::ignore::{Ignore, Ruling};
use super::owner::{ModeChange, Owner};
use crate::runtime::archive::Root;

/// Directories deeper than this are not entered.
const DEPTH_MAX: usize = 512;
/// Bytes of a worker's stack, of which only what is used takes memory.
const STACK: usize = 256 << 20;
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

/// The mode of a directory that is made on the way to something.
pub(super) const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

impl Changes {
    /// The mode of the directories that are made for what is copied: of `--chmod`, where it is a number.
    #[must_use]
    pub(super) fn mode_of_new(&self) -> Mode {
        match self.mode {
            Some(ModeChange::Set(bits)) => Mode::from_raw_mode(bits & 0o777),
            Some(ModeChange::Clauses(_)) | None => DIRECTORY_MODE,
        }
    }
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
    /// The paths that a pattern stands for, sorted: a pattern may stand for none.
    ///
    /// # Errors
    /// When a path without pattern characters is not there.
    pub(super) fn select(&self, pattern: &str) -> Result<Vec<PathBuf>, BuildError> {
        let clean = within(pattern);
        let text = clean.to_string_lossy();
        if Glob::is_special(&text) {
            return self.select_pattern(&text);
        }
        if self.root.open_at(&clean, OFlags::PATH).is_err() || !self.sees(&clean) {
            return Err(BuildError::Invalid(format!(
                "file not found in build context or excluded by .dockerignore: stat {pattern}: file does not exist"
            )));
        }
        Ok(vec![clean])
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
        let entries = entries_in(&fd, directory)?;
        let fitting = entries
            .iter()
            .filter(|entry| glob.matches(&entry.name.to_string_lossy()));
        Ok(fitting.map(|entry| directory.join(&entry.name)).collect())
    }
}

/// A place of a walk, with the rules that hold there.
#[derive(Debug, Clone)]
pub(super) struct Trail {
    /// Path in the source.
    pub path: PathBuf,
    /// Path below what is copied.
    pub below: PathBuf,
    hidden: Ruling,
    excluded: Ruling,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is taken.
    Taken,
    /// It is a directory that is entered only for what an exception may take.
    Passed,
    /// It is left out, with all below it.
    Left,
}

impl Trail {
    /// At the path that is copied.
    pub(super) fn new(source: &Source, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            below: PathBuf::new(),
            hidden: source.ignore.ruling_of(&path.to_string_lossy()),
            excluded: Ruling::default(),
        }
    }

    /// An entry of the directory, and what becomes of it.
    pub(super) fn child(&self, source: &Source, changes: &Changes, entry: &Listed) -> (Self, Fate) {
        let (path, below) = (self.path.join(&entry.name), self.below.join(&entry.name));
        let is_directory = entry.kind == FileType::Directory;
        let (hidden, by_ignore) = fate(&source.ignore, &path, self.hidden, is_directory);
        let (excluded, by_flag) = fate(&changes.exclude, &below, self.excluded, is_directory);
        let child = Self {
            path,
            below,
            hidden,
            excluded,
        };
        let fate = match (by_ignore, by_flag) {
            (Fate::Left, _) | (_, Fate::Left) => Fate::Left,
            (Fate::Passed, _) | (_, Fate::Passed) => Fate::Passed,
            (Fate::Taken, Fate::Taken) => Fate::Taken,
        };
        (child, fate)
    }
}

fn fate(ignore: &Ignore, path: &Path, above: Ruling, is_directory: bool) -> (Ruling, Fate) {
    if ignore.is_empty() {
        return (above, Fate::Taken);
    }
    let text = path.to_string_lossy();
    let ruling = ignore.ruling(&text, above);
    let fate = if !ignore.is_left_out(ruling) {
        Fate::Taken
    } else if is_directory && ignore.may_take_below(&text) {
        Fate::Passed
    } else {
        Fate::Left
    };
    (ruling, fate)
}

/// Runs a walk over a tree on the processors that walks share.
///
/// A walk goes down one call per directory, and a worker that waits for one directory begins with another: the stacks
/// have room for trees as deep as [`DEPTH_MAX`] many times over.
pub(super) fn on_all_processors<T: Send>(
    walk: impl FnOnce() -> Result<T, BuildError> + Send,
) -> Result<T, BuildError> {
    static POOL: OnceLock<Result<rayon::ThreadPool, String>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let builder = rayon::ThreadPoolBuilder::new().stack_size(STACK);
        let pool = builder.thread_name(|_| "walk".to_owned()).build();
        pool.map_err(|error| error.to_string())
    });
    match pool {
        Ok(pool) => pool.install(walk),
        Err(error) => Err(BuildError::Invalid(format!(
            "cannot start the threads that read the context: {error}"
        ))),
    }
}

/// Makes a directory and those above it, for an owner.
///
/// # Errors
/// When one cannot be made.
pub(super) fn make_directories(
    root: &Root,
    path: &Path,
    owner: Owner,
    mode: Mode,
) -> Result<(), BuildError> {
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
        rustix::fs::mkdirat(&parent, name, mode).map_err(failed("make directory", &so_far))?;
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
        rustix::fs::fchmod(&made, mode).map_err(failed("set the mode of", &so_far))?;
    }
    Ok(())
}

pub(super) fn check_depth(path: &Path) -> Result<(), BuildError> {
    if path.components().count() > DEPTH_MAX {
        return Err(BuildError::Invalid(format!(
            "directories nest deeper than {DEPTH_MAX}"
        )));
    }
    Ok(())
}

pub(super) fn stat_at(fd: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Stat, BuildError> {
    rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("look at", path))
}

pub(super) fn open_directory(
    fd: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
) -> Result<OwnedFd, BuildError> {
    rustix::fs::openat(fd, name, OPEN_DIRECTORY, Mode::empty()).map_err(failed("open", path))
}

pub(super) fn open_file(
    fd: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
) -> Result<OwnedFd, BuildError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(fd, name, flags, Mode::empty()).map_err(failed("open", path))
}

/// An entry of a directory, as the listing tells it: what is left out by name and kind need not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub name: OsString,
    pub kind: FileType,
}

/// The entries of an open directory, sorted by name.
pub(super) fn entries_in(fd: &OwnedFd, path: &Path) -> Result<Vec<Listed>, BuildError> {
    let mut entries = Vec::new();
    for entry in rustix::fs::Dir::read_from(fd).map_err(failed("list", path))? {
        let entry = entry.map_err(failed("list", path))?;
        let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not tell.
            FileType::Unknown => FileType::from_raw_mode(stat_at(fd.as_fd(), &name, path)?.st_mode),
            kind => kind,
        };
        entries.push(Listed { name, kind });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::build::sample::{example, source};

    type Outcome = Result<(), Box<dyn std::error::Error>>;

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
}
