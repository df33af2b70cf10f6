//! Layers that the builder makes and keeps: held as long as its cache knows them, whether an image has them or not.
//!
//! ```text
//! Scratch{upper, work} --keep_layer--> layers/<chain id>, images/held/<chain id>
//!                                      put_image: a config on top of held layers, and its names
//! release_layers: marks gone, and the layers that no image has
//! ```

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::config::{ConfigFile, chain_ids};
use super::layer::{StagedLayer, adopt};
use super::load::stage_compressed;
use super::pin::Pin;
use super::staging::{Staging, file_error};
use super::store::{ImageStore, LayerSource};
use super::{Digest, ImageError, Reference};

/// A directory on the store's file system, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    _staging: Staging,
    path: PathBuf,
}

impl Scratch {
    /// Its path; nothing but what the caller puts there is in it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ImageStore {
    /// A directory for work in progress.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self) -> Result<Scratch, ImageError> {
        let staging = self.stage()?;
        let path = staging.unique();
        fs::create_dir(&path).map_err(file_error("make directory", &path))?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(file_error("set the mode of", &path))?;
        Ok(Scratch {
            _staging: staging,
            path,
        })
    }

    /// The config file of a stored image.
    ///
    /// # Errors
    /// When it is not stored, or cannot be read.
    pub fn config_file(&self, id: &Digest) -> Result<ConfigFile, ImageError> {
        self.stored(id).map(|stored| stored.file)
    }

    /// Takes an overlay's upper directory, which nothing uses any more, as a layer on others, holds it, and
    /// pins it for who made it.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn keep_layer(
        &self,
        upper: &Path,
        below: &[Digest],
        pin: &Pin,
    ) -> Result<Digest, ImageError> {
        let staging = self.stage()?;
        let staged = adopt(&staging, upper)?;
        self.hold(&staged, below, pin)?;
        Ok(staged.diff_id)
    }

    /// Takes a layer's archive, of a promised digest and with promised contents, as a layer on others, and holds it.
    ///
    /// # Errors
    /// When the archive is refused, or is another one.
    pub fn keep_archive(
        &self,
        compressed: impl std::io::Read + Send,
        promised: &Digest,
        diff_id: &Digest,
        below: &[Digest],
        pin: &Pin,
    ) -> Result<(), ImageError> {
        let staging = self.stage()?;
        let staged = stage_compressed(&staging, compressed, Some(promised))?;
        if staged.diff_id != *diff_id {
            return Err(ImageError::DigestMismatch {
                what: "a layer".to_owned(),
                expected: diff_id.clone(),
                found: staged.diff_id,
            });
        }
        self.hold(&staged, below, pin)
    }

    fn hold(&self, staged: &StagedLayer, below: &[Digest], pin: &Pin) -> Result<(), ImageError> {
        let chains = chain_ids(&[below, std::slice::from_ref(&staged.diff_id)].concat());
        let chain = chains.last().expect("there is at least one layer");
        let _lock = self.lock()?;
        pin.note(std::slice::from_ref(chain))?;
        self.commit_layer(staged, chain, chains.iter().rev().nth(1))?;
        let mark = self.held_dir().join(chain.hex());
        fs::create_dir_all(self.held_dir()).map_err(file_error("make directory", &mark))?;
        fs::write(&mark, []).map_err(file_error("write", &mark))
    }

    /// Whether all layers are in the store.
    #[must_use]
    pub fn has_layers(&self, diff_ids: &[Digest]) -> bool {
        chain_ids(diff_ids)
            .iter()
            .all(|chain| self.has_layer(chain))
    }

    /// The directories of layers, **highest first**.
    #[must_use]
    pub fn layer_paths(&self, diff_ids: &[Digest]) -> Vec<PathBuf> {
        let chains = chain_ids(diff_ids);
        let paths = chains.iter().rev();
        paths
            .map(|chain| self.layer_dir(chain).join("diff"))
            .collect()
    }

    /// Stores a config on top of layers that are in the store, and gives it names.
    ///
    /// # Errors
    /// When a layer has gone meanwhile.
    pub fn put_image(&self, file: &ConfigFile, names: &[Reference]) -> Result<Digest, ImageError> {
        let diff_ids = &file.rootfs.diff_ids;
        let layers: Vec<_> = diff_ids.iter().map(|_| LayerSource::Present).collect();
        let stored = self.put(&file.to_bytes(), &layers, diff_ids, None, None)?;
        let id = stored.ok_or_else(|| ImageError::invalid("a layer has gone meanwhile"))?;
        let _lock = self.lock()?;
        for name in names {
            self.set_name(name, &id)?;
        }
        Ok(id)
    }

    /// Lets go of all held layers but those that are `kept`, by chain id. Returns the bytes of the layers that went.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn release_layers(&self, kept: &HashSet<Digest>) -> Result<u64, ImageError> {
        let _lock = self.lock()?;
        let mut released = self.held();
        released.retain(|chain| !kept.contains(chain));
        for chain in &released {
            let mark = self.held_dir().join(chain.hex());
            fs::remove_file(&mark).map_err(file_error("remove", &mark))?;
        }
        Ok(self.let_go(released)?.1)
    }

    fn held_dir(&self) -> PathBuf {
        self.images_dir().join("held")
    }

    /// Chain ids of the layers that the builder holds.
    pub(super) fn held(&self) -> HashSet<Digest> {
        let entries = fs::read_dir(self.held_dir())
            .into_iter()
            .flatten()
            .flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter_map(|hex| Digest::parse(&format!("sha256:{hex}")).ok())
            .collect()
    }
}
