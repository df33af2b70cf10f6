//! An image that arrives piece by piece: for the registry client.
//!
//! ```text
//! receive(config) -> missing layers -> file(), layer(index, file) each -> commit(names)
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::config::{ConfigFile, chain_ids};
use super::layer::StagedLayer;
use super::load::stage_compressed;
use super::staging::{Staging, file_error, write_whole};
use super::store::{ImageStore, LayerSource};
use super::{Digest, ImageError, Reference};

/// An image on its way into the store; dropped, it leaves nothing.
#[derive(Debug)]
pub struct Receipt {
    store: ImageStore,
    staging: Staging,
    config: Vec<u8>,
    diff_ids: Vec<Digest>,
    staged: Mutex<Vec<Option<StagedLayer>>>,
}

/// A layer of a stored image.
#[derive(Debug, Clone)]
pub struct LayerOf {
    /// Digest of the plain archive.
    pub diff_id: Digest,
    /// The layer with all below it.
    pub chain: Digest,
}

/// What registries are known to have of a layer: its compressed form and where that is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoteLayer {
    /// Digest of the compressed layer.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Repositories (`host/path`) that have it.
    pub repositories: BTreeSet<String>,
}

impl ImageStore {
    /// Starts to take an image in.
    ///
    /// # Errors
    /// When its config cannot be read.
    pub fn receive(&self, config: Vec<u8>) -> Result<Receipt, ImageError> {
        let diff_ids = ConfigFile::parse(&config)?.rootfs.diff_ids;
        let staged = Mutex::new(diff_ids.iter().map(|_| None).collect());
        Ok(Receipt {
            store: self.clone(),
            staging: self.stage()?,
            config,
            diff_ids,
            staged,
        })
    }

    /// The config of an image and its layers, lowest first.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn pieces_of(&self, id: &Digest) -> Result<(Vec<u8>, Vec<LayerOf>), ImageError> {
        let config = self.config_bytes(id)?;
        let diff_ids = ConfigFile::parse(&config)?.rootfs.diff_ids;
        let chains = chain_ids(&diff_ids);
        Ok((
            config,
            diff_ids
                .into_iter()
                .zip(chains)
                .map(|(diff_id, chain)| LayerOf { diff_id, chain })
                .collect(),
        ))
    }

    /// The tags of a repository with their images; only one, if the reference has a tag.
    ///
    /// # Errors
    /// When the names cannot be read.
    pub fn tags_of(&self, reference: &Reference) -> Result<Vec<(Reference, Digest)>, ImageError> {
        let wanted = |name: &Reference| {
            name.digest().is_none()
                && name.repository() == reference.repository()
                && (reference.tag().is_none() || name.tag() == reference.tag())
        };
        let names = self.names()?;
        Ok(names
            .into_iter()
            .filter_map(|(name, id)| Some((Reference::parse(&name).ok()?, id)))
            .filter(|(name, _)| wanted(name))
            .collect())
    }

    /// Whether an image is stored, by id.
    #[must_use]
    pub fn has_image(&self, id: &Digest) -> bool {
        self.config_path(id).exists() && !self.record(id).removed
    }

    /// What is known of a layer in registries.
    #[must_use]
    pub fn remote_layer(&self, diff_id: &Digest) -> Option<RemoteLayer> {
        serde_json::from_slice(&fs::read(self.remote_path(diff_id)).ok()?).ok()
    }

    /// Remembers that a repository has a layer in compressed form.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember_remote(
        &self,
        diff_id: &Digest,
        digest: &Digest,
        size: u64,
        repository: &str,
    ) -> Result<(), ImageError> {
        let _lock = self.lock()?;
        let known = self
            .remote_layer(diff_id)
            .filter(|known| known.digest == *digest);
        let mut remote = known.unwrap_or_else(|| RemoteLayer {
            digest: digest.clone(),
            size,
            repositories: BTreeSet::new(),
        });
        remote.repositories.insert(repository.to_owned());
        let path = self.remote_path(diff_id);
        fs::create_dir_all(self.images_dir().join("remote"))
            .map_err(file_error("make directory", &path))?;
        write_whole(&path, &serde_json::to_vec(&remote).expect("plain values"))
    }

    fn remote_path(&self, diff_id: &Digest) -> PathBuf {
        self.images_dir().join("remote").join(diff_id.hex())
    }

    /// Names an image by a manifest's digest in a repository.
    ///
    /// # Errors
    /// When the names cannot be written.
    pub fn name_digest(
        &self,
        reference: &Reference,
        digest: &Digest,
        id: &Digest,
    ) -> Result<(), ImageError> {
        let _lock = self.lock()?;
        self.set_name(&reference.with_digest(digest.clone()), id)
    }

    /// A directory of its own and the plain archive of a layer, compressed with gzip into a file there.
    ///
    /// # Errors
    /// When the layer or the file cannot be processed.
    pub fn compress_layer(&self, chain: &Digest, into: &mut File) -> Result<(), ImageError> {
        let mut compressed = flate2::write::GzEncoder::new(
            std::io::BufWriter::with_capacity(128 * 1024, into),
            flate2::Compression::default(),
        );
        self.write_layer(chain, &mut compressed)?;
        let failed = |source| ImageError::Stream {
            action: "compress a layer",
            source,
        };
        std::io::Write::flush(&mut compressed.finish().map_err(failed)?).map_err(failed)
    }

    /// A file for work in progress that has no name and goes with its descriptor.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch_file(&self) -> Result<File, ImageError> {
        let staging = self.stage()?;
        let path = staging.unique();
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(file_error("create", &path))
    }
}

impl Receipt {
    /// The layers that the store does not have yet, lowest first.
    #[must_use]
    pub fn missing(&self) -> Vec<usize> {
        let chains = chain_ids(&self.diff_ids);
        (0..chains.len())
            .filter(|index| !self.store.has_layer(&chains[*index]))
            .collect()
    }

    /// Digests of the plain layers.
    #[must_use]
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// Unpacks a layer whose bytes, as they come, have a promised digest.
    ///
    /// # Errors
    /// When the archive is refused or is another one.
    pub fn layer(
        &self,
        index: usize,
        compressed: impl std::io::Read + Send,
        promised: &Digest,
    ) -> Result<(), ImageError> {
        let staged = stage_compressed(&self.staging, compressed, Some(promised))?;
        let expected = self
            .diff_ids
            .get(index)
            .ok_or_else(|| ImageError::invalid("a layer that the config does not have"))?;
        if staged.diff_id != *expected {
            return Err(ImageError::DigestMismatch {
                what: format!("layer {index}"),
                expected: expected.clone(),
                found: staged.diff_id,
            });
        }
        self.staged
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)[index] = Some(staged);
        Ok(())
    }

    /// Puts the image in place. `None` when a layer that the store had has gone meanwhile: ask for what is missing
    /// again.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn commit(&self, name: Option<&Reference>) -> Result<Option<Digest>, ImageError> {
        let mut staged = self
            .staged
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let layers: Vec<LayerSource> = staged
            .iter_mut()
            .map(|layer| {
                layer
                    .take()
                    .map_or(LayerSource::Present, LayerSource::Staged)
            })
            .collect();
        let result = self
            .store
            .put(&self.config, &layers, &self.diff_ids, None, name);
        for (place, layer) in staged.iter_mut().zip(layers) {
            if let LayerSource::Staged(layer) = layer {
                *place = Some(layer);
            }
        }
        result
    }
}
