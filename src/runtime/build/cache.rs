//! What steps led to, by a digest of all that they depend on.
//!
//! `<root>/build/cache/<key>` holds the config file after a step; its layers are held in the image store. A key covers
//! the key before, the instruction, the variables that it sees and the sums of the files that it takes. A record whose
//! layers have gone counts as none.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::BuildError;
use crate::runtime::image::{ConfigFile, Digest, ImageStore, Pin, Presence};

/// A digest that is filled piece by piece; pieces cannot run into each other.
#[derive(Debug, Clone)]
pub(super) struct KeyMaker(Sha256);

impl KeyMaker {
    /// Begins after another key, or from nothing.
    #[must_use]
    pub(super) fn after(key: &str) -> Self {
        let mut maker = Self(Sha256::new());
        maker.add(key.as_bytes());
        maker
    }

    /// Adds a piece.
    pub(super) fn add(&mut self, piece: &[u8]) {
        self.0.update((piece.len() as u64).to_le_bytes());
        self.0.update(piece);
    }

    /// The key: 64 hexadecimal digits.
    #[must_use]
    pub(super) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// The records below a directory.
#[derive(Debug, Clone)]
pub(super) struct StepCache {
    directory: PathBuf,
}

impl StepCache {
    /// The cache below the builder's directory.
    #[must_use]
    pub(super) fn at(root: &Path) -> Self {
        Self {
            directory: root.join("cache"),
        }
    }

    /// The config file after a step, when all its layers are there; they stay as long as the pin.
    #[must_use]
    pub(super) fn find(&self, key: &str, pin: &Pin) -> Option<ConfigFile> {
        let bytes = fs::read(self.directory.join(key)).ok()?;
        let file = ConfigFile::parse(&bytes).ok()?;
        let presence = pin.take(&file.rootfs.diff_ids).ok()?;
        (presence == Presence::Kept).then_some(file)
    }

    /// Records what a step led to.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(super) fn put(&self, key: &str, file: &ConfigFile) -> Result<(), BuildError> {
        fs::create_dir_all(&self.directory).map_err(failed("make directory", &self.directory))?;
        let path = self.directory.join(key);
        // Builds may come to the same step at once.
        let own = format!(
            "{key}.{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let temporary = self.directory.join(own);
        fs::write(&temporary, file.to_bytes()).map_err(failed("write", &temporary))?;
        match fs::rename(&temporary, &path) {
            // The cache was pruned just now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            renamed => renamed.map_err(failed("rename into", &path)),
        }
    }

    /// Forgets all records, the cache mounts too, and lets go of their layers. Returns the keys and the bytes that
    /// went.
    ///
    /// # Errors
    /// When the store cannot be changed.
    pub(super) fn prune(&self, store: &ImageStore) -> Result<(Vec<String>, u64), BuildError> {
        let entries = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry.path();
            match fs::remove_file(&path) {
                // It got its own name since.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(failed("remove", &path))?,
            }
            keys.push(entry.file_name().to_string_lossy().into_owned());
        }
        keys.sort();
        let size = store.release_layers(&HashSet::<Digest>::new())?;
        Ok((keys, size))
    }
}

/// An error of a file of the builder.
pub(super) fn failed<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl FnOnce(std::io::Error) -> BuildError + use<'p> {
    move |source| BuildError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_key_do_not_run_together() {
        let key = |pieces: &[&str]| {
            let mut maker = KeyMaker::after("");
            for piece in pieces {
                maker.add(piece.as_bytes());
            }
            maker.finish()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
    }

    #[test]
    fn builds_record_the_same_step_at_once() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = ImageStore::open(folder.path())?;
        let cache = StepCache::at(folder.path());
        let file = ConfigFile::for_this_machine();
        let failed = std::thread::scope(|scope| {
            let put = || (0..50).find_map(|_| cache.put("k", &file).err());
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(put)).collect();
            let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            ended.filter_map(Result::ok).flatten().next()
        });
        assert!(failed.is_none(), "{failed:?}");
        assert!(cache.find("k", &store.pin()?).is_some());
        Ok(())
    }

    #[test]
    fn a_record_is_found_again() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = ImageStore::open(folder.path())?;
        let pin = store.pin()?;
        let cache = StepCache::at(folder.path());
        let file = ConfigFile::for_this_machine();
        cache.put("k", &file)?;
        let found = cache.find("k", &pin).ok_or("not found")?;
        assert_eq!(found.to_bytes(), file.to_bytes());
        assert!(cache.find("other", &pin).is_none());
        assert_eq!(cache.prune(&store)?.0, ["k"]);
        assert!(cache.find("k", &pin).is_none());
        Ok(())
    }
}
