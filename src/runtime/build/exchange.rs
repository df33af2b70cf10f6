//! The cache of steps on its way between machines: `cache_from` and `cache_to`.
//!
//! ```text
//! manifest: config = {"version": 1, "records": {KEY: config file after the step}, "layers": [diff id, …]}
//!           layers = their archives, gzip, in the same order
//! local:    an OCI layout in a directory          registry: the same under a tag
//! ```
//!
//! Records are looked up by the same keys as the builder's own; the layers of one that is used are fetched then, the
//! others never. A source that cannot be read is a warning: the build only takes longer.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::cache::failed;
use super::shared::Shared;
use super::{BuildError, BuildHost};
use crate::runtime::image::{
    ConfigFile, Descriptor, Digest, Document, Hashing, ImageError, ImageStore, LayerOf, Manifest,
    Presence, chain_ids, media,
};

/// What the config of such a manifest is.
pub const CACHE_CONFIG: &str = "application/vnd.hoist.buildcache.v1+json";
const VERSION: u32 = 1;
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Most bytes of a document.
const DOCUMENT_MAX: u64 = 64 << 20;

/// Where a cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// Under a tag of a registry.
    Registry(String),
    /// In a directory of this machine.
    Local(PathBuf),
}

/// Where a cache goes, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTarget {
    /// Where.
    pub place: CachePlace,
    /// How much.
    pub mode: CacheMode,
}

/// How much of a cache goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// What led to the image's own layers.
    #[default]
    Min,
    /// Every step of every stage.
    Max,
}

/// What a config says.
#[derive(Debug, Serialize, Deserialize)]
struct Records {
    version: u32,
    records: BTreeMap<String, ConfigFile>,
    layers: Vec<Digest>,
}

/// Caches that a build may use.
#[derive(Debug, Default)]
pub(super) struct Imported(Vec<Source>);

#[derive(Debug)]
struct Source {
    place: CachePlace,
    records: BTreeMap<String, ConfigFile>,
    blobs: BTreeMap<Digest, Descriptor>,
}

impl Imported {
    /// Opens what can be opened; the rest is told with `warn`.
    pub(super) fn open(places: &[CachePlace], host: &dyn BuildHost, warn: &dyn Fn(String)) -> Self {
        let open = |place: &CachePlace| match Source::open(place, host) {
            Ok(source) => Some(source),
            Err(error) => {
                warn(format!(
                    "[Warning] cannot use the cache of {place}: {}",
                    error.chain()
                ));
                None
            }
        };
        Self(places.iter().filter_map(open).collect())
    }

    /// What a step led to, with its layers in the store.
    pub(super) fn find(
        &self,
        key: &str,
        shared: &Shared<'_>,
        warn: &dyn Fn(String),
    ) -> Option<ConfigFile> {
        self.0.iter().find_map(|source| {
            let file = source.records.get(key)?;
            match source.take_layers(file, shared) {
                Ok(()) => Some(file.clone()),
                Err(error) => {
                    let place = &source.place;
                    warn(format!(
                        "[Warning] cannot use the cache of {place}: {}",
                        error.chain()
                    ));
                    None
                }
            }
        })
    }
}

impl fmt::Display for CachePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(reference),
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

fn refused(message: impl Into<String>) -> BuildError {
    BuildError::Invalid(message.into())
}

impl Source {
    fn open(place: &CachePlace, host: &dyn BuildHost) -> Result<Self, BuildError> {
        let (manifest, config) = match place {
            CachePlace::Registry(reference) => host.cache_documents(reference)?,
            CachePlace::Local(directory) => local_documents(directory)?,
        };
        let Document::Manifest(manifest) = Document::parse(&manifest)? else {
            return Err(refused(
                "it is an index, not a build cache in this builder's own form; BuildKit's form is not read",
            ));
        };
        if manifest.config.media_type != CACHE_CONFIG {
            return Err(refused(format!(
                "it is no build cache in this builder's own form, but {}; BuildKit's form is not read",
                manifest.config.media_type
            )));
        }
        let records: Records = serde_json::from_slice(&config)
            .map_err(|error| refused(format!("its records cannot be read: {error}")))?;
        if records.version != VERSION || records.layers.len() != manifest.layers.len() {
            return Err(refused(
                "its records are of another version, or do not fit its layers",
            ));
        }
        Ok(Self {
            place: place.clone(),
            records: records.records,
            blobs: records.layers.into_iter().zip(manifest.layers).collect(),
        })
    }

    fn take_layers(&self, file: &ConfigFile, shared: &Shared<'_>) -> Result<(), BuildError> {
        let diff_ids = &file.rootfs.diff_ids;
        for (index, diff_id) in diff_ids.iter().enumerate() {
            if shared.pin.take(&diff_ids[..=index])? == Presence::Kept {
                continue;
            }
            let blob = self
                .blobs
                .get(diff_id)
                .ok_or_else(|| refused(format!("it has no layer {diff_id}")))?;
            let reader: Box<dyn Read + Send> = match &self.place {
                CachePlace::Registry(reference) => {
                    Box::new(shared.host.cache_layer(reference, blob)?)
                }
                CachePlace::Local(directory) => {
                    let path = blob_path(directory, &blob.digest);
                    Box::new(File::open(&path).map_err(failed("open", &path))?)
                }
            };
            let below = &diff_ids[..index];
            shared
                .store
                .keep_archive(reader, &blob.digest, diff_id, below, &shared.pin)?;
        }
        Ok(())
    }
}

fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs/sha256").join(digest.hex())
}

/// Manifest and config of a cache in a directory.
fn local_documents(directory: &Path) -> Result<(Vec<u8>, Vec<u8>), BuildError> {
    let index = read_document(&directory.join("index.json"))?;
    let Document::Index(index) = Document::parse(&index)? else {
        return Err(refused("index.json is no index"));
    };
    let first = index
        .manifests
        .first()
        .ok_or_else(|| refused("index.json is empty"))?;
    let manifest = read_blob(directory, &first.digest)?;
    let Document::Manifest(parsed) = Document::parse(&manifest)? else {
        return Err(refused(
            "it is an index, not a build cache in this builder's own form; BuildKit's form is not read",
        ));
    };
    let config = read_blob(directory, &parsed.config.digest)?;
    Ok((manifest, config))
}

fn read_document(path: &Path) -> Result<Vec<u8>, BuildError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(DOCUMENT_MAX).read_to_end(&mut bytes))
        .map_err(failed("read", path))?;
    Ok(bytes)
}

fn read_blob(directory: &Path, digest: &Digest) -> Result<Vec<u8>, BuildError> {
    let bytes = read_document(&blob_path(directory, digest))?;
    let found = Digest::of(&bytes);
    if found == *digest {
        return Ok(bytes);
    }
    Err(BuildError::Image(ImageError::DigestMismatch {
        what: "a document of the build cache".to_owned(),
        expected: digest.clone(),
        found,
    }))
}

/// The records of one build, noted as its steps are done or found.
#[derive(Debug, Default)]
pub(super) struct Noted(Mutex<BTreeMap<String, ConfigFile>>);

impl Noted {
    /// Notes what a step led to.
    pub(super) fn note(&self, key: &str, file: &ConfigFile) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.insert(key.to_owned(), file.clone());
    }

    /// Sends the records with their layers to a place.
    ///
    /// # Errors
    /// When they cannot be written there.
    pub(super) fn export(
        &self,
        target: &CacheTarget,
        image: &ConfigFile,
        store: &ImageStore,
        host: &dyn BuildHost,
    ) -> Result<(), BuildError> {
        let mut records = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if target.mode == CacheMode::Min {
            records.retain(|_, file| image.rootfs.diff_ids.starts_with(&file.rootfs.diff_ids));
        }
        let layers = layers_of(records.values());
        let config = Records {
            version: VERSION,
            records,
            layers: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        };
        let config = serde_json::to_vec(&config)
            .map_err(|error| refused(format!("the records cannot be written: {error}")))?;
        match &target.place {
            CachePlace::Registry(reference) => Ok(host.push_cache(reference, config, layers)?),
            CachePlace::Local(directory) => write_local(directory, &config, &layers, store),
        }
    }
}

/// The layers of records, each diff id once: what is the same archive is the same blob.
fn layers_of<'a>(files: impl Iterator<Item = &'a ConfigFile>) -> Vec<LayerOf> {
    let mut seen = HashSet::new();
    let mut layers = Vec::new();
    for file in files {
        let diff_ids = &file.rootfs.diff_ids;
        for (diff_id, chain) in diff_ids.iter().zip(chain_ids(diff_ids)) {
            if seen.insert(diff_id.clone()) {
                layers.push(LayerOf {
                    diff_id: diff_id.clone(),
                    chain,
                });
            }
        }
    }
    layers
}

/// An OCI layout: blobs first, the index last, so that a reader never finds half a cache.
fn write_local(
    directory: &Path,
    config: &[u8],
    layers: &[LayerOf],
    store: &ImageStore,
) -> Result<(), BuildError> {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(failed("make directory", &blobs))?;
    let mut descriptors = Vec::new();
    for layer in layers {
        descriptors.push(write_layer(&blobs, layer, store)?);
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: media::OCI_MANIFEST.to_owned(),
        config: write_document(&blobs, CACHE_CONFIG, config)?,
        layers: descriptors,
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|error| refused(error.to_string()))?;
    let manifest = write_document(&blobs, media::OCI_MANIFEST, &bytes)?;
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_INDEX,
        "manifests": [manifest],
    });
    replace(
        &directory.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    replace(&directory.join("index.json"), index.to_string().as_bytes())
}

fn write_layer(
    blobs: &Path,
    layer: &LayerOf,
    store: &ImageStore,
) -> Result<Descriptor, BuildError> {
    let temporary = blobs.join(format!("writing-{}", std::process::id()));
    let mut file = File::create(&temporary).map_err(failed("make", &temporary))?;
    store.compress_layer(&layer.chain, &mut file)?;
    let mut hashing = Hashing::new(File::open(&temporary).map_err(failed("open", &temporary))?);
    std::io::copy(&mut hashing, &mut std::io::sink()).map_err(failed("read", &temporary))?;
    let (digest, size) = hashing.finish();
    let path = blobs.join(digest.hex());
    fs::rename(&temporary, &path).map_err(failed("rename into", &path))?;
    Ok(descriptor(LAYER, digest, size))
}

fn write_document(blobs: &Path, media_type: &str, bytes: &[u8]) -> Result<Descriptor, BuildError> {
    let digest = Digest::of(bytes);
    replace(&blobs.join(digest.hex()), bytes)?;
    Ok(descriptor(media_type, digest, bytes.len() as u64))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let temporary = path.with_extension(format!("writing-{}", std::process::id()));
    fs::write(&temporary, bytes).map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("rename into", path))
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_no_cache_is_told_so() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        assert!(local_documents(folder.path()).is_err());
        fs::write(
            folder.path().join("index.json"),
            r#"{"schemaVersion":2,"manifests":[]}"#,
        )?;
        let refused = local_documents(folder.path()).map_err(|error| error.chain());
        assert_eq!(refused, Err("index.json is empty".to_owned()));
        Ok(())
    }

    #[test]
    fn a_document_that_was_changed_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let blobs = folder.path().join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let written = write_document(&blobs, CACHE_CONFIG, b"{}")?;
        assert_eq!(read_blob(folder.path(), &written.digest)?, b"{}");
        fs::write(blobs.join(written.digest.hex()), "[]")?;
        assert!(read_blob(folder.path(), &written.digest).is_err());
        Ok(())
    }
}
