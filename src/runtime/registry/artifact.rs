//! Artifacts other than images: a manifest over small documents, and an index of images beside it.
//!
//! Called by `publish`. Generic: what the documents are is said by their media types and annotations.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::client::{Purpose, Repository};
use super::credential::Credential;
use super::transfer::{FetchedManifest, Upload};
use super::{Registries, RegistryError};
use crate::runtime::image::{Descriptor, Digest, Document, Reference, media};

/// The media type of `{}`, the config of an artifact that has none.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const EMPTY_JSON: &str = "{}";
/// What says that a manifest is an image's, whose layers are large.
const IMAGE_CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// A document of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub media_type: String,
    /// Notes.
    pub annotations: BTreeMap<String, String>,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// How an artifact says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactForm {
    /// OCI 1.0: by the media type of its config.
    V1_0,
    /// OCI 1.1: by `artifactType`.
    V1_1,
}

/// An artifact to push.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// `artifactType` (OCI 1.1).
    pub artifact_type: String,
    /// Media type of the config (OCI 1.0).
    pub config_type: String,
    /// Notes on the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Its documents, in order.
    pub parts: Vec<Part>,
}

/// An artifact as a registry has it.
#[derive(Debug, Clone)]
pub struct FetchedArtifact {
    /// The digest of its manifest.
    pub digest: Digest,
    /// `artifactType` (OCI 1.1); may be empty.
    pub artifact_type: String,
    /// Media type of the config (OCI 1.0).
    pub config_type: String,
    /// Its documents, in order; each is as long as a document may be.
    pub parts: Vec<Part>,
}

impl FetchedArtifact {
    /// What it says that it is.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self.artifact_type.as_str() {
            "" => &self.config_type,
            kind => kind,
        }
    }
}

/// What a pushed manifest is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
}

impl Pushed {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        }
    }

    fn to_json(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size })
    }
}

impl Artifact {
    fn manifest(&self, form: ArtifactForm) -> Value {
        let layers: Vec<Value> = self.parts.iter().map(Part::descriptor).collect();
        let config_type = match form {
            ArtifactForm::V1_0 => &self.config_type,
            ArtifactForm::V1_1 => EMPTY,
        };
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::OCI_MANIFEST,
            "config": Pushed::of(config_type, EMPTY_JSON.as_bytes()).to_json(),
            "layers": layers,
            "annotations": self.annotations,
        });
        if form == ArtifactForm::V1_1 {
            manifest["artifactType"] = self.artifact_type.as_str().into();
        }
        manifest
    }
}

impl Part {
    fn descriptor(&self) -> Value {
        let mut descriptor = Pushed::of(&self.media_type, &self.data).to_json();
        if !self.annotations.is_empty() {
            descriptor["annotations"] = json!(self.annotations);
        }
        descriptor
    }
}

impl Registries {
    /// Fetches an artifact whole, where it is one: of an image, only what it is.
    ///
    /// # Errors
    /// When it is not there, or cannot be had.
    pub async fn fetch_artifact(
        &self,
        reference: &Reference,
        credential: Option<&Credential>,
    ) -> Result<FetchedArtifact, RegistryError> {
        let repository = self
            .repository(reference, credential, Purpose::Pull)
            .await?;
        let digest = reference.digest().map(ToString::to_string);
        let tag = reference.tag().unwrap_or("latest");
        let wanted = digest.as_deref().unwrap_or(tag);
        let fetched = repository.manifest(wanted, &reference.familiar()).await?;
        let Document::Manifest(manifest) = Document::parse(&fetched.bytes)? else {
            return Ok(FetchedArtifact {
                digest: fetched.digest,
                artifact_type: fetched.media_type,
                config_type: String::new(),
                parts: Vec::new(),
            });
        };
        let json: Value = serde_json::from_slice(&fetched.bytes).unwrap_or_default();
        let artifact_type = json["artifactType"].as_str().unwrap_or_default();
        let mut artifact = FetchedArtifact {
            digest: fetched.digest,
            artifact_type: artifact_type.to_owned(),
            config_type: manifest.config.media_type.clone(),
            parts: Vec::new(),
        };
        if IMAGE_CONFIGS.contains(&artifact.config_type.as_str()) {
            return Ok(artifact);
        }
        for layer in &manifest.layers {
            let data = repository.document_blob(layer).await?;
            artifact.parts.push(Part {
                media_type: layer.media_type.clone(),
                annotations: layer.annotations.clone(),
                data: data.to_vec(),
            });
        }
        Ok(artifact)
    }

    /// Pushes an artifact; without a form, in the newer one, and where the registry refuses that, in the older one.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses it.
    pub async fn push_artifact(
        &self,
        reference: &Reference,
        credential: Option<&Credential>,
        artifact: &Artifact,
        form: Option<ArtifactForm>,
    ) -> Result<Pushed, RegistryError> {
        let repository = self
            .repository(reference, credential, Purpose::Push)
            .await?;
        let documents = artifact.parts.iter().map(|part| part.data.clone());
        for data in documents.chain([EMPTY_JSON.as_bytes().to_vec()]) {
            let digest = Digest::of(&data);
            repository.upload_bytes(Bytes::from(data), &digest).await?;
        }
        let tag = reference.tag().unwrap_or("latest");
        let put = |form| {
            put_json(
                &repository,
                tag,
                media::OCI_MANIFEST,
                artifact.manifest(form),
            )
        };
        match form {
            Some(form) => put(form).await,
            None => match put(ArtifactForm::V1_1).await {
                Err(RegistryError::Answer { status, .. })
                    if (400..500).contains(&status) && ![401, 403, 407].contains(&status) =>
                {
                    put(ArtifactForm::V1_0).await
                }
                result => result,
            },
        }
    }

    /// Copies an image, every platform of it, to another repository.
    ///
    /// # Errors
    /// When it is not there, or one of the registries cannot be reached or refuses.
    pub async fn copy_image(
        &self,
        (from, from_credential): (&Reference, Option<&Credential>),
        (to, to_credential): (&Reference, Option<&Credential>),
    ) -> Result<Pushed, RegistryError> {
        let source = self
            .repository(from, from_credential, Purpose::Pull)
            .await?;
        let target = self.repository(to, to_credential, Purpose::Push).await?;
        let copy = Copy {
            mounts: from.domain() == to.domain(),
            from,
            source,
            target,
        };
        let wanted = from
            .digest()
            .map(Digest::to_string)
            .or_else(|| from.tag().map(str::to_owned))
            .unwrap_or_else(|| "latest".to_owned());
        let top = copy.source.manifest(&wanted, &from.familiar()).await?;
        if let Document::Index(index) = Document::parse(&top.bytes)? {
            for entry in index.manifests {
                let digest = entry.digest.to_string();
                let inner = copy.source.manifest(&digest, &from.familiar()).await?;
                copy.manifest(inner).await?;
            }
            return copy.put(top).await;
        }
        copy.manifest(top).await
    }

    /// Pushes an index of manifests that the repository has, which refers to an artifact.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses it.
    pub async fn push_index(
        &self,
        reference: &Reference,
        credential: Option<&Credential>,
        subject: &Pushed,
        manifests: &[Pushed],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Pushed, RegistryError> {
        let repository = self
            .repository(reference, credential, Purpose::Push)
            .await?;
        let manifests: Vec<Value> = manifests.iter().map(Pushed::to_json).collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media::OCI_INDEX,
            "manifests": manifests,
            "subject": subject.to_json(),
            "annotations": annotations,
        });
        let digest = Digest::of(index.to_string().as_bytes()).to_string();
        put_json(&repository, &digest, media::OCI_INDEX, index).await
    }
}

async fn put_json(
    repository: &Repository,
    tag_or_digest: &str,
    media_type: &str,
    document: Value,
) -> Result<Pushed, RegistryError> {
    let bytes = Bytes::from(document.to_string());
    let pushed = Pushed::of(media_type, &bytes);
    repository
        .put_manifest(tag_or_digest, media_type, bytes)
        .await?;
    Ok(pushed)
}

/// An image on its way from one repository to another.
struct Copy<'a> {
    from: &'a Reference,
    source: Repository,
    target: Repository,
    /// The registry may take blobs from the one to the other itself.
    mounts: bool,
}

impl Copy<'_> {
    async fn manifest(&self, fetched: FetchedManifest) -> Result<Pushed, RegistryError> {
        if let Document::Manifest(manifest) = Document::parse(&fetched.bytes)? {
            for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                self.blob(blob).await?;
            }
        }
        self.put(fetched).await
    }

    async fn put(&self, fetched: FetchedManifest) -> Result<Pushed, RegistryError> {
        let pushed = Pushed::of(&fetched.media_type, &fetched.bytes);
        let digest = fetched.digest.to_string();
        self.target
            .put_manifest(&digest, &fetched.media_type, fetched.bytes)
            .await?;
        Ok(pushed)
    }

    async fn blob(&self, blob: &Descriptor) -> Result<(), RegistryError> {
        if self.target.has_blob(&blob.digest).await? {
            return Ok(());
        }
        let mount = if self.mounts {
            self.target.read_also(self.from.path()).await;
            Some((&blob.digest, self.from.path()))
        } else {
            None
        };
        let Upload::Wanted(location) = self.target.start_upload(mount).await? else {
            return Ok(());
        };
        let scratch = tokio::task::spawn_blocking(scratch_file).await?;
        let file = Arc::new(scratch.map_err(|source| RegistryError::File {
            action: "make",
            source,
        })?);
        self.source
            .download(blob, Arc::clone(&file), &|_| {})
            .await?;
        self.target
            .upload(file, blob.size, &blob.digest, location, &|_| {})
            .await
    }
}

/// A file without a name: it is gone with its descriptor.
fn scratch_file() -> std::io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR)?.into())
}

#[cfg(test)]
mod tests {
    use super::{Artifact, ArtifactForm, Part};
    use std::collections::BTreeMap;

    fn artifact() -> Artifact {
        Artifact {
            artifact_type: "application/x-thing".to_owned(),
            config_type: "application/x-thing.config".to_owned(),
            annotations: BTreeMap::new(),
            parts: vec![Part {
                media_type: "text/plain".to_owned(),
                annotations: BTreeMap::from([("name".to_owned(), "a".to_owned())]),
                data: b"hello".to_vec(),
            }],
        }
    }

    #[test]
    fn the_newer_form_says_what_it_is_by_its_type() {
        let manifest = artifact().manifest(ArtifactForm::V1_1);
        assert_eq!(manifest["artifactType"], "application/x-thing");
        assert_eq!(
            manifest["config"]["mediaType"],
            "application/vnd.oci.empty.v1+json"
        );
        assert_eq!(manifest["layers"][0]["annotations"]["name"], "a");
        assert_eq!(manifest["layers"][0]["size"], 5);
    }

    #[test]
    fn the_older_form_says_what_it_is_by_its_config() {
        let manifest = artifact().manifest(ArtifactForm::V1_0);
        assert_eq!(manifest.get("artifactType"), None);
        assert_eq!(
            manifest["config"]["mediaType"],
            "application/x-thing.config"
        );
    }
}
