//! Images to a registry.

use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::client::{Purpose, Repository};
use super::credential::Credential;
use super::event::PullEvent;
use super::pull::{Progress, tell};
use super::transfer::Upload;
use super::{Registries, RegistryError};
use crate::runtime::image::{Descriptor, Digest, ImageStore, LayerOf, Manifest, Reference, media};

/// Layers sent at once.
const PARALLEL: usize = 4;

/// What to push.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// Name with or without a tag; without one, all tags of the repository that the store has.
    pub reference: Reference,
    /// Who asks.
    pub credential: Option<Credential>,
}

impl Registries {
    /// Pushes an image, or all tags of a repository. Gives the digest of the last manifest.
    ///
    /// # Errors
    /// When there is none of that name, or the registry refuses it.
    pub async fn push(
        &self,
        store: &ImageStore,
        request: &PushRequest,
        progress: impl FnMut(PullEvent) + Send + 'static,
    ) -> Result<Digest, RegistryError> {
        let progress: Progress = Arc::new(Mutex::new(progress));
        let reference = &request.reference;
        tell(
            &progress,
            PullEvent::plain(format!(
                "The push refers to repository [{}]",
                reference.repository()
            )),
        );
        let tags = store.tags_of(reference)?;
        let nothing = || RegistryError::NothingToPush {
            reference: reference.familiar(),
        };
        if tags.is_empty() {
            return Err(nothing());
        }
        let repository = Arc::new(
            self.repository(reference, request.credential.as_ref(), Purpose::Push)
                .await?,
        );
        let mut pushed = Err(nothing());
        for (name, id) in tags {
            pushed = Ok(push_one(store, &repository, &name, &id, &progress).await?);
        }
        pushed
    }
}

async fn push_one(
    store: &ImageStore,
    repository: &Arc<Repository>,
    name: &Reference,
    id: &Digest,
    progress: &Progress,
) -> Result<Digest, RegistryError> {
    let (reading, of) = (store.clone(), id.clone());
    let (config, layers) = tokio::task::spawn_blocking(move || reading.pieces_of(&of)).await??;
    let layers = push_layers(store, repository, name, layers, progress).await?;
    let config_descriptor = descriptor(media::DOCKER_CONFIG, id.clone(), config.len() as u64);
    repository.upload_bytes(Bytes::from(config), id).await?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: media::DOCKER_MANIFEST.to_owned(),
        config: config_descriptor,
        layers,
    };
    let bytes = Bytes::from(serde_json::to_vec_pretty(&manifest).map_err(|source| {
        RegistryError::Json {
            what: "a manifest",
            source,
        }
    })?);
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    let tag = name.tag().unwrap_or("latest").to_owned();
    repository
        .put_manifest(&tag, media::DOCKER_MANIFEST, bytes)
        .await?;
    let naming = (store.clone(), name.clone(), digest.clone(), id.clone());
    tokio::task::spawn_blocking(move || naming.0.name_digest(&naming.1, &naming.2, &naming.3))
        .await??;
    tell(
        progress,
        PullEvent::plain(format!("{tag}: digest: {digest} size: {size}")),
    );
    tell(
        progress,
        PullEvent {
            aux: Some((tag, digest.to_string(), size)),
            ..PullEvent::default()
        },
    );
    Ok(digest)
}

pub(super) async fn push_layers(
    store: &ImageStore,
    repository: &Arc<Repository>,
    name: &Reference,
    layers: Vec<LayerOf>,
    progress: &Progress,
) -> Result<Vec<Descriptor>, RegistryError> {
    for layer in &layers {
        tell(progress, PullEvent::of(layer.diff_id.short(), "Preparing"));
    }
    let pushes = layers.into_iter().map(|layer| {
        let push = LayerPush {
            store: store.clone(),
            repository: Arc::clone(repository),
            to: name.repository(),
            layer,
            progress: Arc::clone(progress),
        };
        async move { push.run().await }
    });
    stream::iter(pushes).buffered(PARALLEL).try_collect().await
}

/// One layer on its way.
struct LayerPush {
    store: ImageStore,
    repository: Arc<Repository>,
    to: String,
    layer: LayerOf,
    progress: Progress,
}

impl LayerPush {
    async fn run(self) -> Result<Descriptor, RegistryError> {
        let (known, size) = match self.already_there().await? {
            Some(known) => known,
            None => self.send().await?,
        };
        let (store, diff_id, digest, to) = (self.store, self.layer.diff_id, known.clone(), self.to);
        tokio::task::spawn_blocking(move || store.remember_remote(&diff_id, &digest, size, &to))
            .await??;
        Ok(descriptor(media::DOCKER_LAYER, known, size))
    }

    fn say(&self, status: &str) {
        tell(
            &self.progress,
            PullEvent::of(self.layer.diff_id.short(), status),
        );
    }

    /// The repository has the layer, or takes it from another one of the same registry.
    async fn already_there(&self) -> Result<Option<(Digest, u64)>, RegistryError> {
        let Some(remote) = self.store.remote_layer(&self.layer.diff_id) else {
            return Ok(None);
        };
        if self.repository.has_blob(&remote.digest).await? {
            self.say("Layer already exists");
            return Ok(Some((remote.digest, remote.size)));
        }
        let domain = self.to.split('/').next().unwrap_or_default();
        let sources = remote
            .repositories
            .iter()
            .filter_map(|repository| repository.split_once('/'))
            .filter(|(host, _)| *host == domain);
        for (_, path) in sources {
            self.repository.read_also(path).await;
            // A registry that cannot mount starts an upload, which is left to run out.
            if let Ok(Upload::Mounted) = self
                .repository
                .start_upload(Some((&remote.digest, path)))
                .await
            {
                self.say(&format!(
                    "Mounted from {}",
                    path.strip_prefix("library/").unwrap_or(path)
                ));
                return Ok(Some((remote.digest, remote.size)));
            }
        }
        Ok(None)
    }

    async fn send(&self) -> Result<(Digest, u64), RegistryError> {
        let (store, chain) = (self.store.clone(), self.layer.chain.clone());
        let compressing = move || {
            let mut file = store.scratch_file()?;
            store.compress_layer(&chain, &mut file)?;
            digest_of(&file)
                .map(|(digest, size)| (file, digest, size))
                .map_err(|source| RegistryError::File {
                    action: "read",
                    source,
                })
        };
        let (file, digest, size) = tokio::task::spawn_blocking(compressing).await??;
        if self.repository.has_blob(&digest).await? {
            self.say("Layer already exists");
            return Ok((digest, size));
        }
        let Upload::Wanted(location) = self.repository.start_upload(None).await? else {
            return Ok((digest, size));
        };
        let pushing = |current| {
            tell(
                &self.progress,
                PullEvent::at(self.layer.diff_id.short(), "Pushing", current, size),
            );
        };
        self.repository
            .upload(Arc::new(file), size, &digest, location, &pushing)
            .await?;
        self.say("Pushed");
        Ok((digest, size))
    }
}

fn digest_of(file: &std::fs::File) -> std::io::Result<(Digest, u64)> {
    let mut hashing = crate::runtime::image::Hashing::new(std::io::sink());
    let mut buffer = vec![0; 128 * 1024];
    let mut at = 0;
    loop {
        let n = file.read_at(&mut buffer, at)?;
        if n == 0 {
            return Ok(hashing.finish());
        }
        std::io::Write::write_all(&mut hashing, &buffer[..n])?;
        at += n as u64;
    }
}

pub(super) fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        urls: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
        platform: None,
    }
}
