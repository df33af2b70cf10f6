//! `load`: docker-archives and OCI layouts into the store.
//!
//! The archive is first unpacked into staging, because its index may come last. Then each image: config and manifest
//! are read and compared, missing layers are unpacked side by side, digests verified, and all is put in place at once.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::OFlags;
use serde::Deserialize;

use super::config::{ConfigFile, chain_ids};
use super::digest::Hashing;
use super::layer::{StagedLayer, stage};
use super::manifest::{DOCUMENT_MAX, Descriptor, Document, Platform, follow};
use super::record::LoadProgress;
use super::staging::Staging;
use super::store::{ImageStore, LayerSource};
use super::{Digest, ImageError, Reference};
use crate::runtime::archive::{
    ArchiveError, Devices, NoRecorder, Owner, Root, UnpackOptions, clean_name, decompress,
    read_ahead, unpack,
};

/// Times that an image is tried again because another process removed a layer meanwhile.
const ATTEMPTS: usize = 5;

/// An entry of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ArchivedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An image found in an archive.
struct Found {
    config: Vec<u8>,
    layers: Vec<ArchivedLayer>,
    names: Vec<Reference>,
}

/// Where a layer is in the archive, and the digest of these bytes if promised.
struct ArchivedLayer {
    path: PathBuf,
    digest: Option<Digest>,
}

impl ImageStore {
    /// Loads a docker-archive or OCI layout (plain, gzip, zstd, bzip2, xz). Returns the ids of its images.
    ///
    /// # Errors
    /// When the archive is refused; nothing is left of the image that is wrong.
    pub fn load(
        &self,
        archive: impl Read + Send,
        progress: &mut (dyn FnMut(LoadProgress) + Send),
    ) -> Result<Vec<Digest>, ImageError> {
        let staging = self.stage()?;
        let root = unpack_archive(&staging, archive)?;
        let found = match read_optional(&root, "manifest.json")? {
            Some(manifest) => docker_archive(&root, &manifest)?,
            None => oci_layout(&root)?,
        };
        let mut ids = Vec::new();
        for image in found {
            let id = self.load_one(&staging, &root, &image, progress)?;
            announce(&image, &id, progress);
            ids.push(id);
        }
        Ok(ids)
    }

    fn load_one(
        &self,
        staging: &Staging,
        root: &Root,
        image: &Found,
        progress: &mut (dyn FnMut(LoadProgress) + Send),
    ) -> Result<Digest, ImageError> {
        let file = ConfigFile::parse(&image.config)?;
        let diff_ids = &file.rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() {
            return Err(ImageError::invalid(format!(
                "the config has {} layers, the manifest {}",
                diff_ids.len(),
                image.layers.len()
            )));
        }
        for _ in 0..ATTEMPTS {
            let layers = self.stage_missing(staging, root, image, diff_ids, progress)?;
            let Some(id) = self.put(&image.config, &layers, diff_ids, None, image.names.first())?
            else {
                continue;
            };
            let _lock = self.lock()?;
            for name in image.names.iter().skip(1) {
                self.set_name(name, &id)?;
            }
            return Ok(id);
        }
        Err(ImageError::invalid(
            "its layers are being removed by others again and again",
        ))
    }

    /// Unpacks the layers that the store does not have, on all processors.
    fn stage_missing(
        &self,
        staging: &Staging,
        root: &Root,
        image: &Found,
        diff_ids: &[Digest],
        progress: &mut (dyn FnMut(LoadProgress) + Send),
    ) -> Result<Vec<LayerSource>, ImageError> {
        let chains = chain_ids(diff_ids);
        let mut jobs = Vec::new();
        for (index, chain) in chains.iter().enumerate().rev() {
            if !self.has_layer(chain) {
                let file = open(root, &image.layers[index].path)?;
                jobs.push(Job {
                    index,
                    file,
                    promised: image.layers[index].digest.clone(),
                    diff_id: diff_ids[index].clone(),
                });
            }
        }
        let workers = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(jobs.len());
        let queue = Mutex::new(jobs);
        let done: Mutex<HashMap<usize, Result<StagedLayer, ImageError>>> = Mutex::default();
        let progress = Mutex::new(progress);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| work(staging, &queue, &done, &progress));
            }
        });
        let mut done = done
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        (0..chains.len())
            .map(|index| {
                done.remove(&index)
                    .map_or(Ok(LayerSource::Present), |staged| {
                        staged.map(LayerSource::Staged)
                    })
            })
            .collect()
    }
}

struct Job {
    index: usize,
    file: std::fs::File,
    promised: Option<Digest>,
    diff_id: Digest,
}

type Progress<'a> = Mutex<&'a mut (dyn FnMut(LoadProgress) + Send)>;

fn work(
    staging: &Staging,
    queue: &Mutex<Vec<Job>>,
    done: &Mutex<HashMap<usize, Result<StagedLayer, ImageError>>>,
    progress: &Progress<'_>,
) {
    loop {
        let job = queue
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .pop();
        let Some(job) = job else { return };
        let index = job.index;
        let staged = stage_verified(staging, job, progress);
        if staged.is_err() {
            queue
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .clear();
        }
        done.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(index, staged);
    }
}

fn stage_verified(
    staging: &Staging,
    job: Job,
    progress: &Progress<'_>,
) -> Result<StagedLayer, ImageError> {
    let total = job.file.metadata().map_or(0, |metadata| metadata.len());
    let diff_id = job.diff_id.clone();
    let mut tell = |current| {
        let mut progress = progress
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        (*progress)(LoadProgress::Layer {
            id: diff_id.clone(),
            current,
            total,
        });
    };
    let watched = Watched {
        inner: job.file,
        count: 0,
        told: 0,
        tell: &mut tell,
    };
    let staged = stage_compressed(staging, watched, job.promised.as_ref())?;
    tell(total);
    if staged.diff_id == job.diff_id {
        return Ok(staged);
    }
    Err(ImageError::DigestMismatch {
        what: format!("layer {}", job.index),
        expected: job.diff_id,
        found: staged.diff_id,
    })
}

/// Stages a layer whose bytes, as they come, have a promised digest.
pub(super) fn stage_compressed(
    staging: &Staging,
    stream: impl Read + Send,
    promised: Option<&Digest>,
) -> Result<StagedLayer, ImageError> {
    let mut hashing = Hashing::new(stream);
    let plain = decompress(&mut hashing).map_err(|source| ImageError::Archive {
        what: "a layer".to_owned(),
        source,
    })?;
    let staged = read_ahead(plain, |plain| stage(staging, plain))?;
    let Some(promised) = promised else {
        return Ok(staged);
    };
    // What follows the compressed data belongs to the digest too.
    std::io::copy(&mut hashing, &mut std::io::sink()).map_err(|source| ImageError::Stream {
        action: "read a layer",
        source,
    })?;
    let (found, _) = hashing.finish();
    if found == *promised {
        Ok(staged)
    } else {
        Err(ImageError::DigestMismatch {
            what: "a layer".to_owned(),
            expected: promised.clone(),
            found,
        })
    }
}

/// Tells about each megabyte that passes.
struct Watched<'a, R> {
    inner: R,
    count: u64,
    told: u64,
    tell: &'a mut (dyn FnMut(u64) + Send),
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count += n as u64;
        if self.count >= self.told + (1 << 20) {
            self.told = self.count;
            (self.tell)(self.count);
        }
        Ok(n)
    }
}

fn announce(image: &Found, id: &Digest, progress: &mut (dyn FnMut(LoadProgress) + Send)) {
    if image.names.is_empty() {
        progress(LoadProgress::Loaded {
            message: format!("Loaded image ID: {id}"),
            id: id.clone(),
            name: None,
        });
    }
    for name in image.names.iter().map(Reference::familiar) {
        progress(LoadProgress::Loaded {
            message: format!("Loaded image: {name}"),
            id: id.clone(),
            name: Some(name),
        });
    }
}

fn unpack_archive(staging: &Staging, archive: impl Read + Send) -> Result<Root, ImageError> {
    let failed = |source| ImageError::Archive {
        what: "the archive of images".to_owned(),
        source,
    };
    let directory = staging.path().join("archive");
    std::fs::create_dir(&directory)
        .map_err(super::staging::file_error("make directory", &directory))?;
    let root = Root::open(&directory).map_err(failed)?;
    let owner = Owner::Fixed(
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let options = UnpackOptions {
        owner,
        devices: Devices::Refuse,
        ..UnpackOptions::default()
    };
    let plain = decompress(archive).map_err(failed)?;
    read_ahead(plain, |plain| {
        unpack(plain, &root, &options, &mut NoRecorder)
    })
    .map_err(failed)?;
    Ok(root)
}

fn docker_archive(root: &Root, manifest: &[u8]) -> Result<Vec<Found>, ImageError> {
    let images: Vec<ArchivedImage> =
        serde_json::from_slice(manifest).map_err(|source| ImageError::Json {
            what: "`manifest.json`".to_owned(),
            source,
        })?;
    images
        .into_iter()
        .map(|image| {
            let names = image
                .repo_tags
                .unwrap_or_default()
                .iter()
                .map(|name| Reference::parse(name))
                .collect::<Result<_, _>>()?;
            let layers = image
                .layers
                .iter()
                .map(|path| {
                    Ok(ArchivedLayer {
                        path: archived(path)?,
                        digest: None,
                    })
                })
                .collect::<Result<_, ImageError>>()?;
            Ok(Found {
                config: read_document(root, &archived(&image.config)?)?,
                layers,
                names,
            })
        })
        .collect()
}

fn oci_layout(root: &Root) -> Result<Vec<Found>, ImageError> {
    let index = read_optional(root, "index.json")?.ok_or_else(|| {
        ImageError::invalid("the archive has neither `manifest.json` nor `index.json`")
    })?;
    let Document::Index(index) = Document::parse(&index)? else {
        return Err(ImageError::invalid("`index.json` is not an index"));
    };
    let mut found: Vec<Found> = Vec::new();
    let mut by_config: HashMap<Digest, usize> = HashMap::new();
    for entry in &index.manifests {
        let manifest = follow(entry, &Platform::this_machine(), &mut |descriptor| {
            read_blob(root, descriptor)
        })?;
        let names = layout_name(entry);
        if let Some(known) = by_config.get(&manifest.config.digest) {
            found[*known].names.extend(names);
            continue;
        }
        by_config.insert(manifest.config.digest.clone(), found.len());
        let layers = manifest.layers.iter().map(|layer| ArchivedLayer {
            path: blob_path(&layer.digest),
            digest: Some(layer.digest.clone()),
        });
        found.push(Found {
            config: read_blob(root, &manifest.config)?,
            layers: layers.collect(),
            names: names.into_iter().collect(),
        });
    }
    Ok(found)
}

/// containerd's whole name, or a `ref.name` that is one; a bare tag names nothing.
fn layout_name(entry: &Descriptor) -> Option<Reference> {
    let whole = entry.annotations.get("io.containerd.image.name");
    let name = entry
        .annotations
        .get("org.opencontainers.image.ref.name")
        .filter(|name| name.contains([':', '/']));
    whole.or(name).and_then(|name| Reference::parse(name).ok())
}

fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.hex())
}

fn read_blob(root: &Root, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
    let bytes = read_document(root, &blob_path(&descriptor.digest))?;
    let found = Digest::of(&bytes);
    if found != descriptor.digest {
        return Err(ImageError::DigestMismatch {
            what: "a document of the layout".to_owned(),
            expected: descriptor.digest.clone(),
            found,
        });
    }
    if bytes.len() as u64 != descriptor.size {
        return Err(ImageError::invalid(format!(
            "`{found}` has {} bytes, {} were promised",
            bytes.len(),
            descriptor.size
        )));
    }
    Ok(bytes)
}

fn archived(path: &str) -> Result<PathBuf, ImageError> {
    clean_name(path.as_bytes(), 4096).map_err(|source| ImageError::Archive {
        what: "`manifest.json`".to_owned(),
        source,
    })
}

fn read_optional(root: &Root, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
    match open_fd(root, Path::new(name)) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        _ => read_document(root, Path::new(name)).map(Some),
    }
}

fn read_document(root: &Root, path: &Path) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let read = open(root, path)?
        .take(DOCUMENT_MAX + 1)
        .read_to_end(&mut bytes);
    read.map_err(|source| ImageError::Stream {
        action: "read the archive of images",
        source,
    })?;
    if bytes.len() as u64 > DOCUMENT_MAX {
        return Err(ImageError::Archive {
            what: "the archive of images".to_owned(),
            source: ArchiveError::TooLarge {
                what: "bytes of a document",
                limit: DOCUMENT_MAX,
            },
        });
    }
    Ok(bytes)
}

/// Opens a regular file of the unpacked archive: never a pipe, which would wait for ever.
fn open(root: &Root, path: &Path) -> Result<std::fs::File, ImageError> {
    let missing = |_| ImageError::invalid(format!("`{}` is not in the archive", path.display()));
    let file = std::fs::File::from(open_fd(root, path).map_err(missing)?);
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        _ => Err(ImageError::invalid(format!(
            "`{}` of the archive is not a file",
            path.display()
        ))),
    }
}

fn open_fd(root: &Root, path: &Path) -> Result<OwnedFd, rustix::io::Errno> {
    root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK)
}
