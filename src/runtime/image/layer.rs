//! Layers: staged by unpacking, then renamed to their chain id.
//!
//! ```text
//! layers/<chain id>/diff         the files, a lower directory of overlays
//!                  /layer.json   diff id, the layer below, size
//!                  /split.gz     the rest of the archive
//!                  /replaced/    files that a later entry of the same archive took the place of
//! ```

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ImageError;
use super::digest::{Digest, Hashing};
use super::split::{Contents, SplitRecorder, assemble};
use super::staging::{Staging, file_error, remove_tree, write_whole};
use super::store::ImageStore;
use crate::runtime::archive::{
    ArchiveError, ArchiveWhiteouts, PackOptions, Root, TarWriter, TreeWhiteouts, UnpackOptions,
    pack, unpack,
};

/// What `layer.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LayerFacts {
    pub(super) diff_id: Digest,
    pub(super) below: Option<Digest>,
    /// Bytes of the files.
    pub(super) size: u64,
    /// Bytes of the plain archive.
    pub(super) archive_size: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) replaced: Vec<(PathBuf, u64)>,
}

/// A layer that is unpacked but not in the store yet.
#[derive(Debug)]
pub(super) struct StagedLayer {
    directory: PathBuf,
    pub(super) diff_id: Digest,
    pub(super) size: u64,
    archive_size: u64,
    replaced: Vec<(PathBuf, u64)>,
}

/// Unpacks a plain layer archive into staging.
pub(super) fn stage(staging: &Staging, plain: impl Read) -> Result<StagedLayer, ImageError> {
    let failed = |source| ImageError::Archive {
        what: "a layer".to_owned(),
        source,
    };
    let directory = prepare(staging)?;
    let replaced = directory.join("replaced");
    fs::create_dir(&replaced).map_err(file_error("make directory", &replaced))?;
    let keep = Root::open(&replaced).map_err(failed)?;
    let options = UnpackOptions {
        whiteouts: ArchiveWhiteouts::Overlay,
        keep_replaced: Some(Arc::new(keep.into_fd())),
        ..UnpackOptions::default()
    };
    let split = directory.join("split.gz");
    let mut recorder = SplitRecorder::create(&split).map_err(file_error("create", &split))?;
    let root = Root::open(&directory.join("diff")).map_err(failed)?;
    let mut hashing = Hashing::new(plain);
    let unpacked = unpack(&mut hashing, &root, &options, &mut recorder).map_err(failed)?;
    recorder.finish().map_err(file_error("write", &split))?;
    let (diff_id, archive_size) = hashing.finish();
    Ok(StagedLayer {
        directory,
        diff_id,
        archive_size,
        size: unpacked.bytes,
        replaced: unpacked.replaced,
    })
}

/// Takes an overlay's upper directory, which nothing uses any more, as a layer: only read, then renamed.
pub(super) fn adopt(staging: &Staging, upper: &Path) -> Result<StagedLayer, ImageError> {
    let failed = |source| ImageError::Archive {
        what: "a layer".to_owned(),
        source,
    };
    let directory = staging.unique();
    fs::create_dir(&directory).map_err(file_error("make directory", &directory))?;
    let split = directory.join("split.gz");
    let mut recorder = Counting {
        inner: SplitRecorder::create(&split).map_err(file_error("create", &split))?,
        size: 0,
    };
    let options = PackOptions {
        whiteouts: TreeWhiteouts::Overlay,
        ..PackOptions::default()
    };
    let root = Root::open(upper).map_err(failed)?;
    let mut writer = TarWriter::new(Hashing::new(std::io::sink()), &mut recorder);
    pack(&root, Path::new(""), Path::new(""), &options, &mut writer).map_err(failed)?;
    let (diff_id, archive_size) = writer.finish().map_err(failed)?.finish();
    recorder
        .inner
        .finish()
        .map_err(file_error("write", &split))?;
    let diff = directory.join("diff");
    fs::rename(upper, &diff).map_err(file_error("rename into", &diff))?;
    Ok(StagedLayer {
        directory,
        diff_id,
        archive_size,
        size: recorder.size,
        replaced: Vec::new(),
    })
}

/// Adds up the contents.
struct Counting {
    inner: SplitRecorder,
    size: u64,
}

impl crate::runtime::archive::Recorder for Counting {
    fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.inner.raw(bytes)
    }

    fn content(&mut self, entry: u64, path: &Path, size: u64) -> std::io::Result<()> {
        self.size += size;
        self.inner.content(entry, path, size)
    }
}

fn prepare(staging: &Staging) -> Result<PathBuf, ImageError> {
    let directory = staging.unique();
    let diff = directory.join("diff");
    fs::create_dir_all(&diff).map_err(file_error("make directory", &diff))?;
    fs::set_permissions(&diff, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(file_error("set the mode of", &diff))?;
    Ok(directory)
}

impl ImageStore {
    pub(super) fn layer_dir(&self, chain: &Digest) -> PathBuf {
        self.layers_dir().join(chain.hex())
    }

    pub(super) fn has_layer(&self, chain: &Digest) -> bool {
        self.layer_dir(chain).join("layer.json").exists()
    }

    pub(super) fn layer_facts(&self, chain: &Digest) -> Result<LayerFacts, ImageError> {
        let path = self.layer_dir(chain).join("layer.json");
        let bytes = fs::read(&path).map_err(file_error("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|source| ImageError::Json {
            what: format!("`{}`", path.display()),
            source,
        })
    }

    /// Moves a staged layer to its chain id. The caller holds the lock.
    pub(super) fn commit_layer(
        &self,
        staged: &StagedLayer,
        chain: &Digest,
        below: Option<&Digest>,
    ) -> Result<(), ImageError> {
        if self.has_layer(chain) {
            return Ok(());
        }
        let facts = LayerFacts {
            diff_id: staged.diff_id.clone(),
            below: below.cloned(),
            size: staged.size,
            archive_size: staged.archive_size,
            replaced: staged.replaced.clone(),
        };
        let json = serde_json::to_vec(&facts).expect("plain values");
        write_whole(&staged.directory.join("layer.json"), &json)?;
        let place = self.layer_dir(chain);
        if place.exists() {
            remove_tree(&place);
        }
        fs::rename(&staged.directory, &place).map_err(file_error("rename into", &place))
    }

    /// Writes the archive of a layer as it was, and verifies that it is.
    pub(super) fn write_layer(
        &self,
        chain: &Digest,
        mut archive: &mut dyn Write,
    ) -> Result<u64, ImageError> {
        let facts = self.layer_facts(chain)?;
        let directory = self.layer_dir(chain);
        let diff = Root::open(&directory.join("diff")).map_err(|source| ImageError::Archive {
            what: "a layer".to_owned(),
            source,
        })?;
        let contents = Contents {
            diff: &diff,
            replaced_dir: directory.join("replaced"),
            replaced: &facts.replaced,
        };
        let mut hashing = Hashing::new(&mut archive);
        assemble(&directory.join("split.gz"), &contents, &mut hashing).map_err(|source| {
            ImageError::Archive {
                what: format!("layer `{}`", facts.diff_id),
                source: ArchiveError::Write(source),
            }
        })?;
        let (found, count) = hashing.finish();
        if found == facts.diff_id {
            return Ok(count);
        }
        Err(ImageError::DigestMismatch {
            what: "a layer of the store".to_owned(),
            expected: facts.diff_id,
            found,
        })
    }
}
