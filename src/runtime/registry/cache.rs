//! Build caches in a registry: a manifest over records and layers, under a tag. Called by the builder's host.

use std::fs::File;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::client::Purpose;
use super::credential::Credential;
use super::push::push_layers;
use super::{Registries, RegistryError};
use crate::runtime::image::{
    Descriptor, Digest, Document, ImageStore, LayerOf, Manifest, Reference, media,
};

/// What a cache's layers are, in the words of OCI.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

impl Registries {
    /// The manifest under a tag and the config that it names.
    ///
    /// # Errors
    /// When it is not there, is no manifest, or cannot be had.
    pub async fn cache_documents(
        &self,
        reference: &Reference,
        credential: Option<&Credential>,
    ) -> Result<(Vec<u8>, Vec<u8>), RegistryError> {
        let repository = self
            .repository(reference, credential, Purpose::Pull)
            .await?;
        let tag = reference.tag().unwrap_or("latest");
        let fetched = repository.manifest(tag, &reference.familiar()).await?;
        let config = match Document::parse(&fetched.bytes)? {
            Document::Manifest(manifest) => repository.document_blob(&manifest.config).await?,
            Document::Index(_) => Bytes::new(),
        };
        Ok((fetched.bytes.to_vec(), config.to_vec()))
    }

    /// A layer, in a file without a name.
    ///
    /// # Errors
    /// When it cannot be had whole.
    pub async fn cache_layer(
        &self,
        store: &ImageStore,
        reference: &Reference,
        credential: Option<&Credential>,
        layer: &Descriptor,
    ) -> Result<File, RegistryError> {
        let repository = self
            .repository(reference, credential, Purpose::Pull)
            .await?;
        let making = store.clone();
        let file = tokio::task::spawn_blocking(move || making.scratch_file()).await??;
        let file = Arc::new(file);
        repository
            .download(layer, Arc::clone(&file), &|_| {})
            .await?;
        let copy = file.try_clone();
        copy.map_err(|source| RegistryError::File {
            action: "open",
            source,
        })
    }

    /// Puts a cache under a tag.
    ///
    /// # Errors
    /// When the registry refuses it.
    pub async fn push_cache(
        &self,
        store: &ImageStore,
        reference: &Reference,
        credential: Option<&Credential>,
        (config_type, config): (&str, Vec<u8>),
        layers: Vec<LayerOf>,
    ) -> Result<(), RegistryError> {
        let repository = Arc::new(
            self.repository(reference, credential, Purpose::Push)
                .await?,
        );
        let progress: super::pull::Progress = Arc::new(Mutex::new(|_| {}));
        let mut layers = push_layers(store, &repository, reference, layers, &progress).await?;
        for layer in &mut layers {
            LAYER.clone_into(&mut layer.media_type);
        }
        let digest = Digest::of(&config);
        let manifest = Manifest {
            schema_version: 2,
            media_type: media::OCI_MANIFEST.to_owned(),
            config: super::push::descriptor(config_type, digest.clone(), config.len() as u64),
            layers,
        };
        repository
            .upload_bytes(Bytes::from(config), &digest)
            .await?;
        let bytes = serde_json::to_vec(&manifest).map_err(|source| RegistryError::Json {
            what: "a manifest",
            source,
        })?;
        let tag = reference.tag().unwrap_or("latest");
        repository
            .put_manifest(tag, media::OCI_MANIFEST, Bytes::from(bytes))
            .await
    }
}
