//! Names of images with the digest that their registry has under them now: `nginx:1` is
//! `docker.io/library/nginx:1@sha256:…`.
//!
//! Called by `config` and `publish`. Asks the registry itself, as the user that `docker login` left: no engine is
//! needed.

use hoist::runtime::image::{ImageError, Reference};
use hoist::runtime::registry::{CredentialSources, Registries, RegistryError, RegistrySettings};
use thiserror::Error;

use crate::cli::{CommandError, Context};

/// Finds the digests of images.
pub(super) struct Pinner {
    registries: Registries,
    credentials: CredentialSources,
}

/// The digest of an image cannot be told.
#[derive(Debug, Error)]
pub(super) enum PinError {
    #[error("`{image}` is not the name of an image")]
    Name { image: String, source: ImageError },
    #[error("cannot resolve the digest of `{image}`")]
    Registry {
        image: String,
        source: RegistryError,
    },
}

impl Pinner {
    pub(super) fn new(
        context: &Context,
        insecure: impl IntoIterator<Item = String>,
    ) -> Result<Self, CommandError> {
        let mut settings = RegistrySettings::read().map_err(CommandError::user)?;
        let told = context.global().insecure_registry.iter().cloned();
        settings.insecure.extend(told.chain(insecure));
        Ok(Self {
            registries: Registries::new(settings).map_err(CommandError::user)?,
            credentials: context.credential_sources(),
        })
    }

    /// Writes an image with its digest. One that has a digest keeps it and loses its tag, as docker compose has it.
    pub(super) async fn pin(&self, image: &str) -> Result<String, PinError> {
        let reference = Reference::parse(image).map_err(|source| PinError::Name {
            image: image.to_owned(),
            source,
        })?;
        if let Some(digest) = reference.digest() {
            return Ok(reference.with_digest(digest.clone()).to_string());
        }
        let digest = self.digest(&reference).await;
        let digest = digest.map_err(|source| PinError::Registry {
            image: reference.to_string(),
            source,
        })?;
        Ok(format!("{reference}@{digest}"))
    }

    async fn digest(&self, image: &Reference) -> Result<String, RegistryError> {
        let credential = self.credentials.find(image.domain())?;
        let found = self
            .registries
            .distribution(image, credential.as_ref())
            .await?;
        Ok(found.descriptor.digest.unwrap_or_default())
    }
}
