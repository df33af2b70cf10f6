//! Digests of files and trees for the cache, and those of single files that are remembered from build to build.
//!
//! A context is read where it lies, so that its files may change between being summed up and being copied. A file
//! counts as the one that was summed up when device, inode, size and both times are the same; a copy of any other is
//! refused ([`BuildError::Changed`]), and the step begins again.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, OFlags, Stat};
use sha2::{Digest as _, Sha256};

use super::BuildError;
use super::cache::failed as file_failed;
use super::files::{
    Changes, Fate, Source, SourceOwner, Trail, check_depth, failed, names_in, open_directory,
    open_file, stat_at,
};

/// A file whose time of change is not older than this may change again without any trace.
const SETTLED: i64 = 2;
/// Bytes of a remembered sum.
const RECORD: usize = KEY + 32;
const KEY: usize = 56;
/// Most bytes of remembered sums that are read.
const REMEMBERED_MAX: u64 = 512 << 20;

type Key = [u8; KEY];

/// Sums of the files of one directory.
#[derive(Debug, Default)]
pub(super) struct FileSums {
    path: PathBuf,
    remembered: HashMap<Key, [u8; 32]>,
    seen: Mutex<HashMap<Key, [u8; 32]>>,
}

impl FileSums {
    /// What is remembered in a file.
    pub(super) fn open(path: PathBuf) -> Self {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(&path) {
            let whole = file.take(REMEMBERED_MAX).read_to_end(&mut bytes);
            if whole.is_err() {
                bytes.clear();
            }
        }
        let records = bytes.chunks_exact(RECORD).filter_map(|record| {
            let (key, sum) = record.split_at(KEY);
            Some((key.try_into().ok()?, sum.try_into().ok()?))
        });
        Self {
            remembered: records.collect(),
            path,
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<Key, [u8; 32]>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this very file was summed up in this build.
    pub(super) fn knows(&self, stat: &Stat) -> bool {
        self.seen().contains_key(&key_of(stat))
    }

    fn find(&self, key: &Key) -> Option<[u8; 32]> {
        let seen = self.seen().get(key).copied();
        seen.or_else(|| self.remembered.get(key).copied())
    }

    /// Writes down what this build has seen, for the next one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn keep(&self) -> Result<(), BuildError> {
        let newest = jiff::Timestamp::now().as_second() - SETTLED;
        let mut bytes = Vec::new();
        for (key, sum) in self.seen().iter() {
            let changed = i64::from_le_bytes(key[40..48].try_into().unwrap_or_default());
            if changed < newest {
                bytes.extend(key);
                bytes.extend(sum);
            }
        }
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(file_failed("make directory", parent))?;
        let temporary = self
            .path
            .with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&temporary, bytes).map_err(file_failed("write", &temporary))?;
        fs::rename(&temporary, &self.path).map_err(file_failed("rename into", &self.path))
    }
}

/// What tells one state of a file from another.
fn key_of(stat: &Stat) -> Key {
    let mut key = [0; KEY];
    let parts = [
        stat.st_dev.to_le_bytes(),
        stat.st_ino.to_le_bytes(),
        stat.st_size.to_le_bytes(),
        stat.st_mtime.to_le_bytes(),
        stat.st_mtime_nsec.to_le_bytes(),
        stat.st_ctime.to_le_bytes(),
        stat.st_ctime_nsec.to_le_bytes(),
    ];
    for (place, part) in key.chunks_exact_mut(8).zip(parts) {
        place.copy_from_slice(&part);
    }
    key
}

impl Source {
    /// A digest of a path and all below it: names, kinds, modes, contents; owners only where they are kept.
    ///
    /// # Errors
    /// When something cannot be read.
    pub(super) fn sum(&self, path: &Path, changes: &Changes) -> Result<[u8; 32], BuildError> {
        let mut sum = Sum {
            source: self,
            changes,
            hash: Sha256::new(),
            buffer: vec![0; 128 * 1024],
        };
        let fd = self
            .root
            .open_at(path, OFlags::PATH)
            .map_err(failed("open", path))?;
        let stat = rustix::fs::fstat(&fd).map_err(failed("look at", path))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let fd = self.root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY);
            sum.attributes(Path::new(""), &stat);
            sum.directory(&fd.map_err(failed("open", path))?, &Trail::new(self, path))?;
        } else {
            let fd = self.root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK);
            let fd = fd.map_err(failed("open", path))?;
            sum.file(|| Ok(fd), Path::new(""), &stat)?;
        }
        Ok(sum.hash.finalize().into())
    }
}

struct Sum<'a> {
    source: &'a Source,
    changes: &'a Changes,
    hash: Sha256,
    buffer: Vec<u8>,
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

    fn directory(&mut self, fd: &OwnedFd, at: &Trail) -> Result<(), BuildError> {
        check_depth(&at.path)?;
        for name in names_in(fd, &at.path)? {
            let stat = stat_at(fd.as_fd(), &name, &at.path)?;
            let (child, fate) = at.child(self.source, self.changes, &name, &stat);
            if fate == Fate::Left {
                continue;
            }
            let (path, below) = (&child.path, &child.below);
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    if fate == Fate::Taken {
                        self.attributes(below, &stat);
                    }
                    let fd = open_directory(fd.as_fd(), &name, path)?;
                    self.directory(&fd, &child)?;
                }
                FileType::RegularFile => {
                    self.file(|| open_file(fd.as_fd(), &name, path), below, &stat)?;
                }
                FileType::Symlink => {
                    self.attributes(below, &stat);
                    let target = rustix::fs::readlinkat(fd, &name, Vec::new());
                    self.hash
                        .update(target.map_err(failed("read link", path))?.as_bytes());
                }
                FileType::Fifo
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Socket
                | FileType::Unknown => self.attributes(below, &stat),
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        open: impl FnOnce() -> Result<OwnedFd, BuildError>,
        name: &Path,
        stat: &Stat,
    ) -> Result<(), BuildError> {
        self.attributes(name, stat);
        let key = key_of(stat);
        let sums = self.source.sums.clone();
        let known = sums.as_ref().and_then(|sums| sums.find(&key));
        let sum = match known {
            Some(sum) => sum,
            None => self.content(open()?, name)?,
        };
        if let Some(sums) = sums {
            sums.seen().insert(key, sum);
        }
        self.hash.update(sum);
        Ok(())
    }

    fn content(&mut self, fd: OwnedFd, name: &Path) -> Result<[u8; 32], BuildError> {
        let mut hash = Sha256::new();
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
    use crate::runtime::build::ignore::Ignore;
    use std::io;
    use std::os::unix::fs::{PermissionsExt, symlink};

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn source(path: &Path, ignore: &str) -> Result<Source, crate::runtime::archive::ArchiveError> {
        // Owners are kept, so that the test needs no rights.
        Ok(Source {
            root: Root::open(path)?,
            ignore: Ignore::parse(ignore),
            owner: SourceOwner::Original,
            sums: None,
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
    fn a_file_that_changes_after_its_sum_is_not_known() -> Outcome {
        let (folder, place) = (example()?, tempfile::tempdir()?);
        let sums = std::sync::Arc::new(FileSums::open(place.path().join("sums/x")));
        let mut source = source(folder.path(), "")?;
        source.sums = Some(std::sync::Arc::clone(&sums));
        let before = source.sum(Path::new("d"), &Changes::default())?;
        let stat = |name: &str| rustix::fs::stat(folder.path().join(name));
        assert!(sums.knows(&stat("d/x")?));
        fs::write(folder.path().join("d/x"), "longer")?;
        assert!(!sums.knows(&stat("d/x")?));
        sums.keep()?;
        assert_ne!(source.sum(Path::new("d"), &Changes::default())?, before);
        Ok(())
    }
}
