//! The store: where things are, and how a reference finds an image.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::{Names, Stored, names_of};
use super::layer::StagedLayer;
use super::record::{ImageRecord, ImageSource};
use super::staging::{Staging, file_error, remove_tree, write_whole};
use super::{Digest, ImageError, Reference};

const ROOTFS: &str = "rootfs:";
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The images below one state root. Cheap to clone; safe with other threads and processes.
#[derive(Debug, Clone)]
pub struct ImageStore {
    root: Arc<PathBuf>,
}

/// A layer of an image that is about to be stored.
#[derive(Debug)]
pub(super) enum LayerSource {
    /// It was in the store when last looked.
    Present,
    /// It was unpacked for this image.
    Staged(StagedLayer),
}

impl ImageStore {
    /// Opens the store below a state root, makes its directories, sweeps what dead processes left.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        let store = Self {
            root: Arc::new(root.to_owned()),
        };
        for directory in [
            store.images_dir().join("config"),
            store.images_dir().join("record"),
            store.staging_dir(),
            store.empty_dir(),
        ] {
            fs::create_dir_all(&directory).map_err(file_error("make directory", &directory))?;
        }
        for private in [store.images_dir(), store.layers_dir(), store.staging_dir()] {
            fs::set_permissions(
                &private,
                std::os::unix::fs::PermissionsExt::from_mode(0o700),
            )
            .map_err(file_error("set the mode of", &private))?;
        }
        let _lock = store.lock()?;
        Staging::sweep(&store.staging_dir());
        store.sweep_layers()?;
        Ok(store)
    }

    pub(super) fn images_dir(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn layers_dir(&self) -> PathBuf {
        self.root.join("layers")
    }

    fn staging_dir(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// The lower directory of images without layers.
    fn empty_dir(&self) -> PathBuf {
        self.layers_dir().join("empty")
    }

    pub(super) fn stage(&self) -> Result<Staging, ImageError> {
        let _lock = self.lock()?;
        Staging::new(&self.staging_dir())
    }

    /// Takes a layer away: out of sight at once, then removed. The caller holds the lock.
    pub(super) fn discard_layer(&self, chain: &Digest) {
        if let Ok(staging) = Staging::new(&self.staging_dir()) {
            // When the rename fails, the tree is removed in its place.
            if fs::rename(self.layer_dir(chain), staging.path().join("layer")).is_ok() {
                return;
            }
        }
        remove_tree(&self.layer_dir(chain));
    }

    /// Finds an image by name, id, unique prefix of an id, name with digest, or `rootfs:/PATH`.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], or an invalid reference.
    pub fn resolve(&self, reference: &str) -> Result<ImageRecord, ImageError> {
        if let Some(path) = reference.strip_prefix(ROOTFS) {
            return rootfs_record(reference, Path::new(path));
        }
        let names = self.names()?;
        let stored = self.find(reference, &names)?;
        Ok(record_of(&stored, &names))
    }

    /// The directories of the image's layers for an overlay mount, **highest first** as `lowerdir=` wants them.
    #[must_use]
    pub fn lower_dirs(&self, image: &ImageRecord) -> Vec<PathBuf> {
        match &image.source {
            ImageSource::HostDirectory(path) => vec![path.clone()],
            ImageSource::Stored if image.layers.is_empty() => vec![self.empty_dir()],
            ImageSource::Stored => image
                .layers
                .iter()
                .rev()
                .map(|chain| self.layer_dir(chain).join("diff"))
                .collect(),
        }
    }

    /// Ids of the images whose uppermost layer is in a directory.
    #[must_use]
    pub fn images_with_top(&self, directory: &Path) -> Vec<Digest> {
        let is_top = |image: &Stored| {
            let chains = image.file.chain_ids();
            chains
                .last()
                .is_some_and(|top| self.layer_dir(top).join("diff") == directory)
        };
        let all = self.all().unwrap_or_default().into_iter();
        all.filter(is_top).map(|image| image.id).collect()
    }

    /// The id that a reference of a stored image stands for.
    pub(super) fn find_id(&self, reference: &str, names: &Names) -> Result<Digest, ImageError> {
        if let Ok(id) = Digest::parse(reference) {
            return self.existing(&id, reference);
        }
        if let Ok(id) = Digest::parse(&format!("sha256:{reference}")) {
            return self.existing(&id, reference);
        }
        if let Some(prefix) = reference.strip_prefix("sha256:") {
            return self.by_prefix(prefix, reference);
        }
        let parsed = Reference::parse(reference)?;
        let by_digest = parsed
            .digest()
            .and_then(|digest| names.get(&parsed.with_digest(digest.clone()).to_string()));
        match by_digest.or_else(|| names.get(&parsed.to_string())) {
            Some(id) => self.existing(id, reference),
            None => self.by_prefix(reference, reference),
        }
    }

    pub(super) fn find(&self, reference: &str, names: &Names) -> Result<Stored, ImageError> {
        self.stored(&self.find_id(reference, names)?)
    }

    fn existing(&self, id: &Digest, reference: &str) -> Result<Digest, ImageError> {
        if self.config_path(id).exists() {
            Ok(id.clone())
        } else {
            Err(ImageError::not_found(reference))
        }
    }

    fn by_prefix(&self, prefix: &str, reference: &str) -> Result<Digest, ImageError> {
        if prefix.is_empty()
            || prefix.len() > 64
            || !prefix
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(ImageError::not_found(reference));
        }
        let mut fitting = self
            .all()?
            .into_iter()
            .map(|image| image.id)
            .filter(|id| id.hex().starts_with(prefix));
        match (fitting.next(), fitting.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => Err(ImageError::not_found(reference)),
            (Some(_), Some(_)) => Err(ImageError::AmbiguousId {
                prefix: prefix.to_owned(),
            }),
        }
    }

    /// Stores an image: its new layers, config, and name, in this order, so that a name never leads nowhere. Returns
    /// `None` when a layer that was present has gone meanwhile: then it has to be staged and this be tried again.
    pub(super) fn put(
        &self,
        config: &[u8],
        layers: &[LayerSource],
        diff_ids: &[Digest],
        parent: Option<&Digest>,
        name: Option<&Reference>,
    ) -> Result<Option<Digest>, ImageError> {
        let chains = super::config::chain_ids(diff_ids);
        let id = Digest::of(config);
        let _lock = self.lock()?;
        let gone = |(chain, source): (&Digest, &LayerSource)| {
            matches!(source, LayerSource::Present) && !self.has_layer(chain)
        };
        if chains.iter().zip(layers).any(gone) {
            return Ok(None);
        }
        for (index, (chain, source)) in chains.iter().zip(layers).enumerate() {
            if let LayerSource::Staged(staged) = source {
                self.commit_layer(
                    staged,
                    chain,
                    index.checked_sub(1).and_then(|below| chains.get(below)),
                )?;
            }
        }
        let mut record = self.record(&id);
        record.removed = false;
        record.parent = record.parent.or_else(|| parent.cloned());
        self.set_record(&id, &record)?;
        write_whole(&self.config_path(&id), config)?;
        if let Some(name) = name {
            self.set_name(name, &id)?;
        }
        Ok(Some(id))
    }
}

pub(super) fn record_of(stored: &Stored, names: &Names) -> ImageRecord {
    let (repo_tags, repo_digests) = names_of(names, &stored.id);
    ImageRecord {
        id: stored.id.to_string(),
        config: stored.file.config.clone().unwrap_or_default(),
        layers: stored.file.chain_ids(),
        repo_tags,
        repo_digests,
        architecture: stored.file.architecture.clone(),
        os: stored.file.os.clone(),
        created: stored.file.created.clone(),
        source: ImageSource::Stored,
    }
}

fn rootfs_record(reference: &str, path: &Path) -> Result<ImageRecord, ImageError> {
    let missing = || ImageError::RootfsMissing {
        path: path.to_owned(),
    };
    if !path.is_absolute() {
        return Err(missing());
    }
    let directory = fs::canonicalize(path).map_err(|_| missing())?;
    if !directory.is_dir() {
        return Err(missing());
    }
    let config = bollard_stubs::models::ImageConfig {
        env: Some(vec![DEFAULT_PATH.to_owned()]),
        ..Default::default()
    };
    Ok(ImageRecord {
        id: reference.to_owned(),
        config,
        layers: Vec::new(),
        repo_tags: vec![reference.to_owned()],
        repo_digests: Vec::new(),
        architecture: super::config::architecture().to_owned(),
        os: "linux".to_owned(),
        created: None,
        source: ImageSource::HostDirectory(directory),
    })
}
