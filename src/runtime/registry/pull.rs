//! Images from a registry.

use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::client::{Purpose, Repository};
use super::credential::Credential;
use super::event::PullEvent;
use super::transfer::FetchedManifest;
use super::{Registries, RegistryError};
use crate::runtime::image::{
    Descriptor, Digest, Document, ImageError, ImageStore, Manifest, Platform, Receipt, Reference,
};

/// Layers fetched at once.
const PARALLEL: usize = 4;
/// Indexes within indexes.
const DEPTH_MAX: usize = 8;
/// Times that a pull is tried again because another process removed a layer meanwhile.
const ATTEMPTS: usize = 3;

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Name with a tag, a digest, or both.
    pub reference: Reference,
    /// For which machine.
    pub platform: Platform,
    /// Who asks.
    pub credential: Option<Credential>,
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Id of the image.
    pub id: Digest,
    /// Digest of the manifest or index.
    pub digest: Digest,
    /// Whether the store had it by this name already.
    pub news: News,
}

/// Whether a pull changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The name stands for another image now.
    Newer,
    /// It was up to date.
    UpToDate,
}

/// Receives progress; called from several tasks.
pub(super) type Progress = Arc<Mutex<dyn FnMut(PullEvent) + Send>>;

pub(super) fn tell(progress: &Progress, event: PullEvent) {
    let mut progress = progress
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    (*progress)(event);
}

impl Registries {
    /// Pulls an image into the store.
    ///
    /// # Errors
    /// When it is not there or cannot be had; the store is as before then.
    pub async fn pull(
        &self,
        store: &ImageStore,
        request: &PullRequest,
        progress: impl FnMut(PullEvent) + Send + 'static,
    ) -> Result<Pulled, RegistryError> {
        let progress: Progress = Arc::new(Mutex::new(progress));
        let reference = &request.reference;
        let shown = reference.familiar();
        let repository = Arc::new(
            self.repository(reference, request.credential.as_ref(), Purpose::Pull)
                .await?,
        );
        let wanted = reference
            .digest()
            .map(Digest::to_string)
            .or_else(|| reference.tag().map(str::to_owned))
            .unwrap_or_else(|| "latest".to_owned());
        let first = repository.manifest(&wanted, &shown).await?;
        let digest = first.digest.clone();
        tell(
            &progress,
            PullEvent::of(&wanted, &format!("Pulling from {}", reference.path())),
        );
        let manifest = follow(&repository, first, &request.platform, &shown).await?;
        let (id, news) = self
            .take(store, request, &repository, &manifest, &progress)
            .await?;
        let naming = (store.clone(), reference.clone(), digest.clone(), id.clone());
        tokio::task::spawn_blocking(move || naming.0.name_digest(&naming.1, &naming.2, &naming.3))
            .await??;
        tell(&progress, PullEvent::plain(format!("Digest: {digest}")));
        let status = if news == News::Newer {
            "Downloaded newer image for"
        } else {
            "Image is up to date for"
        };
        tell(
            &progress,
            PullEvent::plain(format!("Status: {status} {shown}")),
        );
        Ok(Pulled { id, digest, news })
    }

    /// Takes what the store lacks of an image, and names it.
    async fn take(
        &self,
        store: &ImageStore,
        request: &PullRequest,
        repository: &Arc<Repository>,
        manifest: &Manifest,
        progress: &Progress,
    ) -> Result<(Digest, News), RegistryError> {
        let id = manifest.config.digest.clone();
        let name = (request.reference.digest().is_none()).then(|| request.reference.clone());
        let named = name.as_ref().unwrap_or(&request.reference).to_string();
        if store.has_image(&id)
            && store
                .resolve(&named)
                .is_ok_and(|image| image.id == id.to_string())
        {
            return Ok((id, News::UpToDate));
        }
        let config = repository.document_blob(&manifest.config).await?;
        let making = store.clone();
        let receipt =
            Arc::new(tokio::task::spawn_blocking(move || making.receive(config.to_vec())).await??);
        if receipt.diff_ids().len() != manifest.layers.len() {
            let message = format!(
                "the config has {} layers, the manifest {}",
                receipt.diff_ids().len(),
                manifest.layers.len()
            );
            return Err(ImageError::InvalidImage { message }.into());
        }
        for _ in 0..ATTEMPTS {
            fetch_layers(store, repository, manifest, &receipt, progress).await?;
            let (committing, name) = (Arc::clone(&receipt), name.clone());
            if let Some(id) =
                tokio::task::spawn_blocking(move || committing.commit(name.as_ref())).await??
            {
                self.remember(store, request, manifest, &receipt).await?;
                return Ok((id, News::Newer));
            }
        }
        Err(ImageError::InvalidImage {
            message: "its layers are being removed by others again and again".to_owned(),
        }
        .into())
    }

    /// A push to the same registry need not compress and send these layers.
    async fn remember(
        &self,
        store: &ImageStore,
        request: &PullRequest,
        manifest: &Manifest,
        receipt: &Arc<Receipt>,
    ) -> Result<(), RegistryError> {
        let (store, receipt, layers, repository) = (
            store.clone(),
            Arc::clone(receipt),
            manifest.layers.clone(),
            request.reference.repository(),
        );
        let work = move || {
            let gzip = |layer: &&Descriptor| layer.media_type.ends_with("gzip");
            let mut pairs = receipt
                .diff_ids()
                .iter()
                .zip(&layers)
                .filter(|(_, layer)| gzip(layer));
            pairs.try_for_each(|(diff_id, layer)| {
                store.remember_remote(diff_id, &layer.digest, layer.size, &repository)
            })
        };
        Ok(tokio::task::spawn_blocking(work).await??)
    }

    /// What a registry has under a name, without pulling: the manifest's descriptor and the platforms.
    ///
    /// # Errors
    /// When it is not there or cannot be had.
    pub async fn distribution(
        &self,
        reference: &Reference,
        credential: Option<&Credential>,
    ) -> Result<bollard_stubs::models::DistributionInspect, RegistryError> {
        let repository = self
            .repository(reference, credential, Purpose::Pull)
            .await?;
        let wanted = reference
            .digest()
            .map(Digest::to_string)
            .or_else(|| reference.tag().map(str::to_owned))
            .unwrap_or_else(|| "latest".to_owned());
        let first = repository.manifest(&wanted, &reference.familiar()).await?;
        let platforms = match Document::parse(&first.bytes)? {
            Document::Index(index) => index
                .manifests
                .into_iter()
                .filter_map(|entry| entry.platform)
                .collect(),
            Document::Manifest(manifest) => {
                let config = repository.document_blob(&manifest.config).await?;
                vec![
                    serde_json::from_slice(&config).map_err(|source| RegistryError::Json {
                        what: "the config of an image",
                        source,
                    })?,
                ]
            }
        };
        let descriptor = bollard_stubs::models::OciDescriptor {
            media_type: Some(first.media_type),
            digest: Some(first.digest.to_string()),
            size: Some((first.bytes.len() as u64).cast_signed()),
            ..Default::default()
        };
        Ok(bollard_stubs::models::DistributionInspect {
            descriptor,
            platforms: platforms.into_iter().map(oci_platform).collect(),
        })
    }
}

fn oci_platform(platform: Platform) -> bollard_stubs::models::OciPlatform {
    bollard_stubs::models::OciPlatform {
        architecture: Some(platform.architecture),
        os: Some(platform.os),
        variant: platform.variant.filter(|variant| !variant.is_empty()),
        ..Default::default()
    }
}

/// Follows indexes down to the manifest for a platform.
async fn follow(
    repository: &Repository,
    first: FetchedManifest,
    platform: &Platform,
    shown: &str,
) -> Result<Manifest, RegistryError> {
    let mut at = first;
    for _ in 0..DEPTH_MAX {
        match Document::parse(&at.bytes)? {
            Document::Manifest(manifest) => return Ok(manifest),
            Document::Index(index) => {
                let entry =
                    index
                        .select(platform)
                        .ok_or_else(|| RegistryError::ManifestUnknown {
                            reference: shown.to_owned(),
                            message: format!(
                                "no matching manifest for {}/{} in the manifest list entries",
                                platform.os, platform.architecture
                            ),
                        })?;
                at = repository
                    .manifest(&entry.digest.to_string(), shown)
                    .await?;
            }
        }
    }
    Err(ImageError::InvalidImage {
        message: "indexes are nested too deep".to_owned(),
    }
    .into())
}

async fn fetch_layers(
    store: &ImageStore,
    repository: &Arc<Repository>,
    manifest: &Manifest,
    receipt: &Arc<Receipt>,
    progress: &Progress,
) -> Result<(), RegistryError> {
    let missing = receipt.missing();
    for (index, layer) in manifest.layers.iter().enumerate() {
        let status = if missing.contains(&index) {
            "Pulling fs layer"
        } else {
            "Already exists"
        };
        tell(progress, PullEvent::of(layer.digest.short(), status));
    }
    let fetches = missing.into_iter().map(|index| {
        let (store, repository, receipt, progress) = (
            store.clone(),
            Arc::clone(repository),
            Arc::clone(receipt),
            Arc::clone(progress),
        );
        let layer = manifest.layers[index].clone();
        async move { fetch_layer(&store, &repository, index, &layer, receipt, &progress).await }
    });
    stream::iter(fetches)
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await
}

async fn fetch_layer(
    store: &ImageStore,
    repository: &Repository,
    index: usize,
    layer: &Descriptor,
    receipt: Arc<Receipt>,
    progress: &Progress,
) -> Result<(), RegistryError> {
    let id = layer.digest.short().to_owned();
    let making = store.clone();
    let file = Arc::new(tokio::task::spawn_blocking(move || making.scratch_file()).await??);
    let told = std::sync::atomic::AtomicU64::new(0);
    let step = (layer.size / 100).max(512 * 1024);
    let downloading = |current: u64| {
        let last = told.load(std::sync::atomic::Ordering::Relaxed);
        if current >= last + step || current == layer.size {
            told.store(current, std::sync::atomic::Ordering::Relaxed);
            tell(
                progress,
                PullEvent::at(&id, "Downloading", current, layer.size),
            );
        }
    };
    repository
        .download(layer, Arc::clone(&file), &downloading)
        .await?;
    tell(progress, PullEvent::of(&id, "Verifying Checksum"));
    tell(progress, PullEvent::of(&id, "Download complete"));
    tell(
        progress,
        PullEvent::at(&id, "Extracting", layer.size, layer.size),
    );
    let digest = layer.digest.clone();
    let unpacking = move || receipt.layer(index, FromStart { file, at: 0 }, &digest);
    tokio::task::spawn_blocking(unpacking).await??;
    tell(progress, PullEvent::of(&id, "Pull complete"));
    Ok(())
}

/// Reads a shared file from its start.
struct FromStart {
    file: Arc<std::fs::File>,
    at: u64,
}

impl std::io::Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
