//! Which image has which names: `names.json`, and a record beside each config.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::config::ConfigFile;
use super::staging::{file_error, write_whole};
use super::store::ImageStore;
use super::{Digest, ImageError, Reference};

/// Names with tags or digests, normalised, and the ids they stand for.
pub(super) type Names = BTreeMap<String, Digest>;

/// What is known of an image besides its config.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// The image that this one was built on, here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<Digest>,
    /// When it was named last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tagged_at: Option<String>,
    /// Removed by force while a container used it: no longer shown, kept for that container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) removed: bool,
}

/// A stored image.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) id: Digest,
    pub(super) file: ConfigFile,
    pub(super) record: Record,
}

impl ImageStore {
    /// Excludes other changers, of this process and of others, until dropped.
    pub(super) fn lock(&self) -> Result<File, ImageError> {
        let path = self.images_dir().join("lock");
        let lock = File::create(&path).map_err(file_error("open", &path))?;
        lock.lock().map_err(file_error("lock", &path))?;
        Ok(lock)
    }

    pub(super) fn names(&self) -> Result<Names, ImageError> {
        let path = self.images_dir().join("names.json");
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Names::new()),
            result => serde_json::from_slice(&result.map_err(file_error("read", &path))?).map_err(
                |source| ImageError::Json {
                    what: "the names of images".to_owned(),
                    source,
                },
            ),
        }
    }

    /// The caller holds the lock.
    pub(super) fn set_names(&self, names: &Names) -> Result<(), ImageError> {
        write_whole(
            &self.images_dir().join("names.json"),
            &serde_json::to_vec_pretty(names).expect("plain values"),
        )
    }

    /// Gives an image a name. The caller holds the lock.
    pub(super) fn set_name(&self, reference: &Reference, id: &Digest) -> Result<(), ImageError> {
        let mut names = self.names()?;
        names.insert(reference.to_string(), id.clone());
        self.set_names(&names)?;
        let mut record = self.record(id);
        record.tagged_at = Some(super::config::now());
        record.removed = false;
        self.set_record(id, &record)
    }

    fn record_path(&self, id: &Digest) -> PathBuf {
        self.images_dir()
            .join("record")
            .join(format!("{}.json", id.hex()))
    }

    pub(super) fn config_path(&self, id: &Digest) -> PathBuf {
        self.images_dir().join("config").join(id.hex())
    }

    pub(super) fn record(&self, id: &Digest) -> Record {
        fs::read(self.record_path(id))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    pub(super) fn set_record(&self, id: &Digest, record: &Record) -> Result<(), ImageError> {
        write_whole(
            &self.record_path(id),
            &serde_json::to_vec(record).expect("plain values"),
        )
    }

    /// The stored bytes of a config.
    pub(super) fn config_bytes(&self, id: &Digest) -> Result<Vec<u8>, ImageError> {
        let path = self.config_path(id);
        fs::read(&path).map_err(file_error("read", &path))
    }

    pub(super) fn stored(&self, id: &Digest) -> Result<Stored, ImageError> {
        Ok(Stored {
            id: id.clone(),
            file: ConfigFile::parse(&self.config_bytes(id)?)?,
            record: self.record(id),
        })
    }

    /// Ids of all images, those removed by force too.
    pub(super) fn all_ids(&self) -> Result<Vec<Digest>, ImageError> {
        let path = self.images_dir().join("config");
        let entries = fs::read_dir(&path).map_err(file_error("list", &path))?;
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names
            .filter_map(|hex| Digest::parse(&format!("sha256:{hex}")).ok())
            .collect())
    }

    /// All images that are shown.
    pub(super) fn all(&self) -> Result<Vec<Stored>, ImageError> {
        let stored = self
            .all_ids()?
            .into_iter()
            .filter_map(|id| match self.stored(&id) {
                // Another process removed it since.
                Err(ImageError::File { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    None
                }
                result => Some(result),
            });
        let mut all = stored.collect::<Result<Vec<_>, _>>()?;
        all.retain(|image| !image.record.removed);
        Ok(all)
    }

    /// Removes a config, its record, and the layers that no image needs any more. The caller holds the lock. Returns
    /// the chain ids that went.
    pub(super) fn delete_image(&self, id: &Digest) -> Result<Vec<Digest>, ImageError> {
        let chains = self.stored(id)?.file.chain_ids();
        let path = self.config_path(id);
        fs::remove_file(&path).map_err(file_error("remove", &path))?;
        let record = self.record_path(id);
        if record.exists() {
            fs::remove_file(&record).map_err(file_error("remove", &record))?;
        }
        Ok(self.let_go(chains.into_iter().rev())?.0)
    }
}

/// The names of one image: with tags, and with digests; as people write them.
pub(super) fn names_of(names: &Names, id: &Digest) -> (Vec<String>, Vec<String>) {
    let mut tags = Vec::new();
    let mut digests = Vec::new();
    for name in names
        .iter()
        .filter(|(_, of)| *of == id)
        .map(|(name, _)| name)
    {
        if let Ok(reference) = Reference::parse(name) {
            let list = if reference.digest().is_some() {
                &mut digests
            } else {
                &mut tags
            };
            list.push(reference.familiar());
        }
    }
    (tags, digests)
}
