//! Pins: layers that somebody stands on, which stay until he is done, whatever is removed and pruned meanwhile.
//!
//! ```text
//! images/pins/<random>   chain ids and `image <id>`, a line each; locked as long as the work lasts, so that a dead
//!                        process' pin counts for nothing and goes
//! images/deferred        stands while layers are there only because of pins
//! ```
//!
//! Callers: a build, for all layers that it found or made, and the creation of a container, for its image until the
//! container is recorded.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::config::chain_ids;
use super::record::{ImageUse, UseState};
use super::staging::{file_error, random_name};
use super::store::ImageStore;
use super::{Digest, ImageError};

/// Layers that stay as long as this lives; dropped, it takes away those that were removed meanwhile.
#[derive(Debug)]
pub struct Pin {
    store: ImageStore,
    path: PathBuf,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    file: File,
    chains: HashSet<Digest>,
}

/// Before the id of an image.
const IMAGE: &str = "image ";

/// Whether something is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is, and stays.
    Kept,
    /// It is not, or not whole.
    Gone,
}

impl ImageStore {
    /// A pin for work that begins.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn pin(&self) -> Result<Pin, ImageError> {
        let _lock = self.lock()?;
        let directory = self.pins_dir();
        fs::create_dir_all(&directory).map_err(file_error("make directory", &directory))?;
        let path = directory.join(random_name()?);
        let file = File::create(&path).map_err(file_error("create", &path))?;
        file.lock().map_err(file_error("lock", &path))?;
        let chains = HashSet::new();
        Ok(Pin {
            store: self.clone(),
            path,
            taken: Mutex::new(Taken { file, chains }),
        })
    }

    fn pins_dir(&self) -> PathBuf {
        self.images_dir().join("pins")
    }

    /// Uses of the images that containers are being created of. The caller holds the lock.
    pub(super) fn uses_by_pins(&self) -> Vec<ImageUse> {
        let lines = self.pin_lines();
        let ids = lines.iter().filter_map(|line| line.strip_prefix(IMAGE));
        ids.map(|id| ImageUse {
            container: "that is being created".to_owned(),
            image: id.to_owned(),
            state: UseState::Stopped,
        })
        .collect()
    }

    /// Chain ids of all pinned layers. The caller holds the lock.
    fn pinned(&self) -> HashSet<Digest> {
        let lines = self.pin_lines();
        let chains = lines.iter().filter_map(|line| Digest::parse(line).ok());
        chains.collect()
    }

    fn pin_lines(&self) -> Vec<String> {
        let mut found = Vec::new();
        let entries = fs::read_dir(self.pins_dir());
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(file) = File::open(entry.path()) else {
                continue;
            };
            if file.try_lock().is_ok() {
                // Its process has died.
                fs::remove_file(entry.path()).ok();
                continue;
            }
            found.extend(BufReader::new(file).lines().map_while(Result::ok));
        }
        found
    }

    /// Chain ids of all layers that an image has or the builder holds.
    fn needed(&self) -> Result<HashSet<Digest>, ImageError> {
        let mut needed = self.held();
        for id in self.all_ids()? {
            needed.extend(self.stored(&id)?.file.chain_ids());
        }
        Ok(needed)
    }

    /// Takes layers away that no image has, the builder does not hold and nobody pinned; the pinned ones go with their
    /// pin. The caller holds the lock. Returns those that went, and their bytes.
    pub(super) fn let_go(
        &self,
        chains: impl IntoIterator<Item = Digest>,
    ) -> Result<(Vec<Digest>, u64), ImageError> {
        let (needed, pinned) = (self.needed()?, self.pinned());
        let unneeded = chains.into_iter().filter(|chain| !needed.contains(chain));
        let (later, gone): (Vec<_>, Vec<_>) = unneeded.partition(|chain| pinned.contains(chain));
        if !later.is_empty() {
            let mark = self.deferred_path();
            fs::write(&mark, []).map_err(file_error("write", &mark))?;
        }
        let mut size = 0;
        for chain in &gone {
            size += self.layer_facts(chain).map_or(0, |facts| facts.size);
            self.discard_layer(chain);
        }
        Ok((gone, size))
    }

    /// Stands while layers are there only because of pins.
    fn deferred_path(&self) -> PathBuf {
        self.images_dir().join("deferred")
    }

    /// Takes the layers away that only pins kept that are no more. The caller holds the lock.
    pub(super) fn sweep_layers(&self) -> Result<(), ImageError> {
        let mark = self.deferred_path();
        if !mark.exists() {
            return Ok(());
        }
        let entries = fs::read_dir(self.layers_dir()).into_iter().flatten();
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let chains = names.filter_map(|hex| Digest::parse(&format!("sha256:{hex}")).ok());
        // Written anew where layers have to stay even now.
        fs::remove_file(&mark).map_err(file_error("remove", &mark))?;
        self.let_go(chains).map(drop)
    }
}

impl Pin {
    /// Keeps layers, from the lowest, if all are there.
    ///
    /// # Errors
    /// When the pin cannot be written.
    pub fn take(&self, diff_ids: &[Digest]) -> Result<Presence, ImageError> {
        let chains = chain_ids(diff_ids);
        let mut taken = self.taken();
        if chains.iter().all(|chain| taken.chains.contains(chain)) {
            return Ok(Presence::Kept);
        }
        let _lock = self.store.lock()?;
        if !chains.iter().all(|chain| self.store.has_layer(chain)) {
            return Ok(Presence::Gone);
        }
        self.write(&mut taken, &chains)?;
        Ok(Presence::Kept)
    }

    /// Has an image count as used, if it is there.
    ///
    /// # Errors
    /// When the pin cannot be written.
    pub fn take_image(&self, id: &Digest) -> Result<Presence, ImageError> {
        let mut taken = self.taken();
        let _lock = self.store.lock()?;
        if !self.store.has_image(id) {
            return Ok(Presence::Gone);
        }
        let written = writeln!(taken.file, "{IMAGE}{id}");
        written.map_err(file_error("write", &self.path))?;
        Ok(Presence::Kept)
    }

    /// Keeps layers that are about to be there. The caller holds the store's lock.
    pub(super) fn note(&self, chains: &[Digest]) -> Result<(), ImageError> {
        self.write(&mut self.taken(), chains)
    }

    fn write(&self, taken: &mut Taken, chains: &[Digest]) -> Result<(), ImageError> {
        let new: Vec<&Digest> = chains
            .iter()
            .filter(|chain| !taken.chains.contains(chain))
            .collect();
        let lines: Vec<String> = new.iter().map(|chain| format!("{chain}\n")).collect();
        let written = taken.file.write_all(lines.concat().as_bytes());
        written.map_err(file_error("write", &self.path))?;
        taken.chains.extend(new.into_iter().cloned());
        Ok(())
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let Ok(_lock) = self.store.lock() else {
            return;
        };
        // The file is locked until this pin has gone: it has to be out of sight before pins are counted.
        fs::remove_file(&self.path).ok();
        if let Err(error) = self.store.sweep_layers() {
            tracing::warn!(%error, "layers that nobody needs any more are left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::image::{Filters, Removal};
    use crate::runtime::image::{ImportRequest, Parents};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn image(store: &ImageStore, name: &str, text: &str) -> Result<Vec<Digest>, ImageError> {
        let mut header = tar_of(text);
        header.extend([0; 1024]);
        let id = store.import(
            header.as_slice(),
            &ImportRequest {
                repository: Some(name.to_owned()),
                ..ImportRequest::default()
            },
        )?;
        Ok(store.config_file(&id)?.rootfs.diff_ids)
    }

    fn tar_of(text: &str) -> Vec<u8> {
        let mut header = [0_u8; 512];
        header[..4].copy_from_slice(b"file");
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut tar = header.to_vec();
        tar.extend(text.as_bytes());
        tar.resize(1024, 0);
        tar
    }

    #[test]
    fn pinned_layers_outlive_their_image_and_go_with_the_pin() -> TestResult {
        let folder = tempfile::tempdir()?;
        let store = ImageStore::open(folder.path())?;
        let diff_ids = image(&store, "app", "files")?;
        let pin = store.pin()?;
        assert_eq!(pin.take(&diff_ids)?, Presence::Kept);
        store.remove("app", Removal::Plain, Parents::Prune, &Vec::new)?;
        assert!(store.has_layers(&diff_ids));
        drop(pin);
        assert!(!store.has_layers(&diff_ids));
        assert_eq!(store.pin()?.take(&diff_ids)?, Presence::Gone);
        Ok(())
    }

    #[test]
    fn what_an_image_or_another_pin_needs_stays() -> TestResult {
        let folder = tempfile::tempdir()?;
        let store = ImageStore::open(folder.path())?;
        let diff_ids = image(&store, "app", "files")?;
        let (first, second) = (store.pin()?, store.pin()?);
        first.take(&diff_ids)?;
        drop(first);
        assert!(store.has_layers(&diff_ids));
        second.take(&diff_ids)?;
        let third = store.pin()?;
        third.take(&diff_ids)?;
        let all = Filters::from([("dangling".to_owned(), vec!["false".to_owned()])]);
        store.prune(&all, &Vec::new)?;
        drop(second);
        assert!(store.has_layers(&diff_ids));
        Ok(())
    }

    #[test]
    fn the_image_of_a_container_that_is_being_created_is_used() -> TestResult {
        let folder = tempfile::tempdir()?;
        let store = ImageStore::open(folder.path())?;
        image(&store, "app", "files")?;
        let id = Digest::parse(&store.resolve("app")?.id)?;
        let pin = store.pin()?;
        assert_eq!(pin.take_image(&id)?, Presence::Kept);
        let all = Filters::from([("dangling".to_owned(), vec!["false".to_owned()])]);
        store.prune(&all, &Vec::new)?;
        assert!(store.has_image(&id));
        drop(pin);
        store.prune(&all, &Vec::new)?;
        assert!(!store.has_image(&id));
        Ok(())
    }

    #[test]
    fn the_pin_of_a_dead_process_keeps_nothing() -> TestResult {
        let folder = tempfile::tempdir()?;
        let store = ImageStore::open(folder.path())?;
        let diff_ids = image(&store, "app", "files")?;
        let left = store.pins_dir().join("left");
        fs::create_dir_all(store.pins_dir())?;
        let chains = chain_ids(&diff_ids);
        fs::write(&left, format!("{}\n", chains[0]))?;
        store.remove("app", Removal::Plain, Parents::Prune, &Vec::new)?;
        assert!(!store.has_layers(&diff_ids));
        assert!(!left.exists());
        Ok(())
    }
}
