//! Sums of trees that were read before, by the stamp that the tree had then: a build of an unchanged context looks at
//! its files and reads none. Callers: the steps that copy or mount.
//!
//! `<root>/build/sums/<key>` holds the sums; a file that cannot be read or written costs a walk, never a build.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

/// Sums that are kept; with more than these, all go.
const KEPT: usize = 2000;
/// A file that changed within this time could change again without another time of change.
const SETTLED: Duration = Duration::from_secs(2);

/// What changes whenever a file of some trees does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    digests: Vec<u8>,
    /// The last change of any of the files, in seconds since the epoch.
    newest: i64,
}

impl Stamp {
    /// Adds a tree.
    pub(super) fn add(&mut self, path: &Path, digest: [u8; 32], newest: i64) {
        self.digests.extend(path.as_os_str().as_encoded_bytes());
        self.digests.extend(digest);
        self.newest = self.newest.max(newest);
    }

    /// Adds the trees of another stamp.
    pub(super) fn extend(&mut self, other: &Self) {
        self.digests.extend(&other.digests);
        self.newest = self.newest.max(other.newest);
    }

    /// The name of the sums; none while a file is so new that a change may not show.
    fn key(&self, now: SystemTime) -> Option<String> {
        let settled = now
            .checked_sub(SETTLED)?
            .duration_since(SystemTime::UNIX_EPOCH);
        let is_settled = u64::try_from(self.newest)
            .is_ok_and(|newest| settled.is_ok_and(|settled| newest < settled.as_secs()));
        is_settled.then(|| hex::encode(Sha256::digest(&self.digests)))
    }
}

/// The sums below the builder's directory.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    directory: PathBuf,
}

impl Remembered {
    /// Those of a builder.
    #[must_use]
    pub(super) fn at(root: &Path) -> Self {
        Self {
            directory: root.join("sums"),
        }
    }

    /// The sums of trees with a stamp: remembered, or what `read` finds.
    ///
    /// # Errors
    /// When `read` fails.
    pub(super) fn sums<E>(
        &self,
        stamp: &Stamp,
        read: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let Some(path) = stamp
            .key(SystemTime::now())
            .map(|key| self.directory.join(key))
        else {
            return read();
        };
        if let Ok(sums) = fs::read(&path) {
            return Ok(sums);
        }
        let sums = read()?;
        self.put(&path, &sums).ok(); // a full disk costs the next build a walk
        Ok(sums)
    }

    fn put(&self, path: &Path, sums: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        if fs::read_dir(&self.directory)?.count() > KEPT {
            self.forget();
            fs::create_dir_all(&self.directory)?;
        }
        // Stages of a build, and builds of other processes, may remember the same tree at once.
        let own = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        let temporary = path.with_extension(own);
        fs::write(&temporary, sums)?;
        fs::rename(&temporary, path)
    }

    /// Forgets all.
    pub(super) fn forget(&self) {
        fs::remove_dir_all(&self.directory).ok(); // nothing to forget, or nothing that can be
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn stamp(newest: i64) -> Stamp {
        let mut stamp = Stamp::default();
        stamp.add(Path::new("src"), [7; 32], newest);
        stamp
    }

    fn ask(remembered: &Remembered, stamp: &Stamp, found: &[u8]) -> Result<Vec<u8>, Infallible> {
        remembered.sums(stamp, || Ok(found.to_vec()))
    }

    #[test]
    fn sums_are_read_once_for_a_stamp() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let remembered = Remembered::at(folder.path());
        assert_eq!(ask(&remembered, &stamp(1000), b"first")?, b"first");
        assert_eq!(ask(&remembered, &stamp(1000), b"second")?, b"first");
        let mut other = stamp(1000);
        other.add(Path::new("lib"), [8; 32], 0);
        assert_eq!(ask(&remembered, &other, b"other")?, b"other");
        remembered.forget();
        assert_eq!(ask(&remembered, &stamp(1000), b"third")?, b"third");
        Ok(())
    }

    #[test]
    fn a_file_that_changed_just_now_is_read_again() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let remembered = Remembered::at(folder.path());
        let fresh = stamp(jiff::Timestamp::now().as_second());
        assert_eq!(ask(&remembered, &fresh, b"first")?, b"first");
        assert_eq!(ask(&remembered, &fresh, b"second")?, b"second");
        Ok(())
    }
}
