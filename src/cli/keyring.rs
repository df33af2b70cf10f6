//! The user's credentials for registries, as `docker login` and `podman login` left them, for the engine's pulls,
//! pushes and builds.

use hoist::engine::keyring::{Keyring, RegistryKey};
use hoist::runtime::image::Reference;
use hoist::runtime::registry::{Credential, CredentialSources, RegistryError};

use crate::cli::Context;

/// How configuration files call the registry that needs no name.
const HUB: &str = "https://index.docker.io/v1/";

/// The credentials of this machine's configuration files.
#[derive(Debug)]
pub(super) struct UserKeys(pub(super) CredentialSources);

impl Keyring for UserKeys {
    fn key(&self, image: &str) -> Result<Option<RegistryKey>, String> {
        // What is wrong with a reference is the engine's to say.
        let Ok(reference) = Reference::parse(image) else {
            return Ok(None);
        };
        let domain = reference.domain();
        let server = if domain == "docker.io" { HUB } else { domain };
        let found = self.0.find(domain).map_err(|error| text(&error))?;
        Ok(found.map(|credential| to_key(server.to_owned(), credential)))
    }

    fn all(&self) -> Result<Vec<RegistryKey>, String> {
        let found = self.0.all().map_err(|error| text(&error))?;
        let keys = found.into_iter();
        Ok(keys.map(|(server, it)| to_key(server, it)).collect())
    }
}

fn to_key(server: String, credential: Credential) -> RegistryKey {
    RegistryKey {
        username: credential.username,
        password: credential.password,
        identity_token: credential.identitytoken,
        server,
    }
}

fn text(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

impl Context {
    /// Where the user keeps credentials: what the environment says, docker's file, podman's file.
    pub(super) fn credential_sources(&self) -> CredentialSources {
        let podman = self
            .variable("REGISTRY_AUTH_FILE")
            .map(std::path::PathBuf::from)
            .or_else(|| {
                let runtime = std::path::PathBuf::from(self.variable("XDG_RUNTIME_DIR")?);
                Some(runtime.join("containers/auth.json"))
            });
        let docker = self
            .docker_folder()
            .map(|folder| folder.join("config.json"));
        CredentialSources {
            inline: self.variable("DOCKER_AUTH_CONFIG").map(str::to_owned),
            files: docker.into_iter().chain(podman).collect(),
        }
    }
}
