//! Digests of files and trees, for the keys of the cache. Callers: the steps that copy.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rustix::fs::{FileType, OFlags, Stat};
use sha2::{Digest as _, Sha256};

use super::BuildError;
use super::files::{
    Changes, Fate, Source, SourceOwner, Trail, check_depth, entries_in, failed, on_all_processors,
    open_directory, open_file, stat_at,
};
use super::remembered::Stamp;

/// Bytes read at once; a walk without contents needs none of them.
const BUFFER: usize = 128 * 1024;

impl Source {
    /// A digest of a path and all below it: names, kinds, modes, contents; owners only where they are kept.
    ///
    /// # Errors
    /// When something cannot be read.
    pub(super) fn sum(&self, path: &Path, changes: &Changes) -> Result<[u8; 32], BuildError> {
        Ok(self.digest(path, changes, Contents::Read)?.0)
    }

    /// Adds a digest that changes whenever a file of the tree does, without reading them: inodes, sizes and times.
    ///
    /// # Errors
    /// When something cannot be looked at.
    pub(super) fn stamp(
        &self,
        path: &Path,
        changes: &Changes,
        stamp: &mut Stamp,
    ) -> Result<(), BuildError> {
        let (digest, newest) = self.digest(path, changes, Contents::Stamped)?;
        stamp.add(path, digest, newest);
        Ok(())
    }

    fn digest(
        &self,
        path: &Path,
        changes: &Changes,
        contents: Contents,
    ) -> Result<([u8; 32], i64), BuildError> {
        let newest = AtomicI64::new(0);
        let walk = Walk {
            source: self,
            changes,
            contents,
            newest: &newest,
        };
        let mut sum = Sum::of(walk);
        let fd = self
            .root
            .open_at(path, OFlags::PATH)
            .map_err(failed("open", path))?;
        let stat = rustix::fs::fstat(&fd).map_err(failed("look at", path))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let fd = self.root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY);
            sum.attributes(Path::new(""), &stat);
            let fd = fd.map_err(failed("open", path))?;
            let trail = Trail::new(self, path);
            sum.hash
                .update(on_all_processors(|| walk.directory(&fd, &trail))?);
        } else {
            let fd = self.root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK);
            let fd = fd.map_err(failed("open", path))?;
            sum.file(|| Ok(fd), Path::new(""), &stat)?;
        }
        let digest = sum.hash.finalize().into();
        Ok((digest, newest.into_inner()))
    }
}

/// What stands for a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contents {
    /// Their own digest.
    Read,
    /// What changes with them.
    Stamped,
}

/// What holds for a whole tree.
#[derive(Clone, Copy)]
struct Walk<'a> {
    contents: Contents,
    source: &'a Source,
    changes: &'a Changes,
    /// The last change of a file, in seconds since the epoch.
    newest: &'a AtomicI64,
}

impl Walk<'_> {
    /// A digest of what is in a directory; those below it are digested side by side.
    fn directory(self, fd: &OwnedFd, at: &Trail) -> Result<[u8; 32], BuildError> {
        check_depth(&at.path)?;
        let mut sum = Sum::of(self);
        let mut directories = Vec::new();
        for entry in entries_in(fd, &at.path)? {
            let (child, fate) = at.child(self.source, self.changes, &entry);
            if fate == Fate::Left {
                continue;
            }
            let stat = stat_at(fd.as_fd(), &entry.name, &at.path)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                sum.entry(fd, &entry.name, &child, &stat)?;
                continue;
            }
            if fate == Fate::Taken {
                sum.attributes(&child.below, &stat);
            }
            directories.push((entry.name, child));
        }
        let digests: Vec<[u8; 32]> = directories
            .into_par_iter()
            .map(|(name, child)| {
                self.directory(&open_directory(fd.as_fd(), &name, &child.path)?, &child)
            })
            .collect::<Result<_, _>>()?;
        for digest in digests {
            sum.hash.update(digest);
        }
        Ok(sum.hash.finalize().into())
    }
}

struct Sum<'a> {
    walk: Walk<'a>,
    hash: Sha256,
    buffer: Vec<u8>,
}

impl<'a> Sum<'a> {
    fn of(walk: Walk<'a>) -> Self {
        Self {
            walk,
            hash: Sha256::new(),
            buffer: Vec::new(),
        }
    }

    fn attributes(&mut self, name: &Path, stat: &Stat) {
        let name = name.as_os_str().as_bytes();
        self.hash
            .update(u64::try_from(name.len()).unwrap_or(0).to_le_bytes());
        self.hash.update(name);
        self.hash.update(stat.st_mode.to_le_bytes());
        if self.walk.source.owner == SourceOwner::Original {
            self.hash.update(stat.st_uid.to_le_bytes());
            self.hash.update(stat.st_gid.to_le_bytes());
        }
    }

    fn entry(
        &mut self,
        fd: &OwnedFd,
        name: &OsStr,
        child: &Trail,
        stat: &Stat,
    ) -> Result<(), BuildError> {
        let (path, below) = (&child.path, &child.below);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(|| open_file(fd.as_fd(), name, path), below, stat),
            FileType::Symlink => {
                self.attributes(below, stat);
                let target = rustix::fs::readlinkat(fd, name, Vec::new());
                self.hash
                    .update(target.map_err(failed("read link", path))?.as_bytes());
                Ok(())
            }
            FileType::Directory
            | FileType::Fifo
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Socket
            | FileType::Unknown => {
                self.attributes(below, stat);
                Ok(())
            }
        }
    }

    fn file(
        &mut self,
        open: impl FnOnce() -> Result<OwnedFd, BuildError>,
        name: &Path,
        stat: &Stat,
    ) -> Result<(), BuildError> {
        self.attributes(name, stat);
        if self.walk.contents == Contents::Stamped {
            self.walk.newest.fetch_max(stat.st_ctime, Ordering::Relaxed);
            self.hash.update(stat.st_dev.to_le_bytes());
            self.hash.update(stat.st_ino.to_le_bytes());
            self.hash.update(stat.st_size.to_le_bytes());
            for time in [stat.st_mtime, stat.st_ctime] {
                self.hash.update(time.to_le_bytes());
            }
            for part in [stat.st_mtime_nsec, stat.st_ctime_nsec] {
                self.hash.update(part.to_le_bytes());
            }
            return Ok(());
        }
        let sum = self.content(open()?, name)?;
        self.hash.update(sum);
        Ok(())
    }

    fn content(&mut self, fd: OwnedFd, name: &Path) -> Result<[u8; 32], BuildError> {
        let mut hash = Sha256::new();
        self.buffer.resize(BUFFER, 0);
        let mut file = File::from(fd);
        loop {
            let n = file
                .read(&mut self.buffer)
                .map_err(|source| BuildError::File {
                    action: "read",
                    path: name.to_owned(),
                    source,
                })?;
            if n == 0 {
                return Ok(hash.finalize().into());
            }
            hash.update(&self.buffer[..n]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::archive::Root;
    use crate::runtime::build::sample::{example, source};
    use rustix::fs::Mode;
    use std::fs;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

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

    #[test]
    fn the_stamp_changes_with_every_change_of_a_file() -> Outcome {
        let folder = example()?;
        let changes = Changes::default();
        let stamp = || -> Result<Stamp, Box<dyn std::error::Error>> {
            let mut stamp = Stamp::default();
            source(folder.path(), "")?.stamp(Path::new("d"), &changes, &mut stamp)?;
            Ok(stamp)
        };
        let before = stamp()?;
        assert_eq!(stamp()?, before);
        fs::write(folder.path().join("d/x"), "longer")?;
        assert_ne!(stamp()?, before);
        Ok(())
    }

    #[test]
    fn a_tree_as_deep_as_allowed_is_summed_and_one_that_is_deeper_is_refused() -> Outcome {
        let folder = tempfile::tempdir()?;
        let changes = Changes::default();
        let sum = || source(folder.path(), "").map(|s| s.sum(Path::new(""), &changes));
        let mut at = Root::open(folder.path())?.into_fd();
        for depth in 0..600 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU)?;
            rustix::fs::mkdirat(&at, "e", Mode::RWXU)?;
            at = open_directory(at.as_fd(), OsStr::new("d"), Path::new(""))?;
            if depth == 500 {
                sum()??;
            }
        }
        let error = sum()?.err().ok_or("summed")?;
        assert!(error.to_string().contains("512"), "{error}");
        Ok(())
    }
}
