//! `oci://REGISTRY/PATH[:TAG|@DIGEST]`: what `publish` put there.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Remote, cache};
use crate::load::FetchError;
use crate::runtime::image::Reference;
use crate::runtime::registry::{FetchedArtifact, Part, Registries, RegistrySettings};

const PROJECT_TYPE: &str = "application/vnd.docker.compose.project";
const EMPTY_CONFIG_TYPE: &str = "application/vnd.docker.compose.config.empty.v1+json";
const FILE_TYPE: &str = "application/vnd.docker.compose.file+yaml";
const ENV_FILE_TYPE: &str = "application/vnd.docker.compose.envfile";
const MAIN_FILE: &str = "compose.yaml";

impl Remote {
    /// Fetches an artifact; answers the main file of the project in it.
    pub(super) fn fetch_artifact(&self, name: &str) -> Result<PathBuf, FetchError> {
        let failed = |error: &dyn std::error::Error| {
            FetchError::new(format!(
                "cannot fetch `oci://{name}`: {}",
                with_causes(error)
            ))
        };
        let reference = Reference::parse(name).map_err(|error| failed(&error))?;
        let mut settings = RegistrySettings::read().map_err(|error| failed(&error))?;
        settings
            .insecure
            .extend(self.insecure_registries.iter().cloned());
        let credential = (self.credential)(reference.domain()).map_err(FetchError::new)?;
        let registries = Registries::new(settings).map_err(|error| failed(&error))?;
        let artifact = apart(async move {
            registries
                .fetch_artifact(&reference, credential.as_ref())
                .await
        });
        let artifact = artifact?.map_err(|error| failed(&error))?;
        if artifact.artifact_type != PROJECT_TYPE && artifact.config_type != EMPTY_CONFIG_TYPE {
            return Err(FetchError::new(format!(
                "oci://{name} is not a compose project OCI artifact, but {}",
                artifact.kind()
            ))
            .hint("`hoist publish` makes one"));
        }
        let cache = self.cache()?;
        let folder = cache::folder(&cache, artifact.digest.hex(), |making| {
            write_artifact(&artifact, making)
        })?;
        cache::main_file(&folder, MAIN_FILE)
    }
}

/// Runs a task to its end on a thread of its own: the caller may stand in another one.
fn apart<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> Result<T, FetchError> {
    let failed =
        |error: &dyn std::fmt::Display| FetchError::new(format!("cannot start a thread: {error}"));
    let thread = std::thread::Builder::new().spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.map(|runtime| runtime.block_on(task))
    });
    match thread.map_err(|error| failed(&error))?.join() {
        Ok(result) => result.map_err(|error| failed(&error)),
        Err(_) => Err(FetchError::new("the fetch ended in a panic")),
    }
}

fn write_artifact(artifact: &FetchedArtifact, folder: &Path) -> Result<(), FetchError> {
    for (index, part) in artifact.parts.iter().enumerate() {
        let note = |key: &str| part.annotations.get(key).map(String::as_str);
        match part.media_type.as_str() {
            FILE_TYPE => {
                let extended = note("com.docker.compose.extends").is_some();
                let name = note("com.docker.compose.file").filter(|_| extended);
                let apart = index > 0 && note("com.docker.compose.file").is_some();
                write_part(folder, name.unwrap_or(MAIN_FILE), part, apart)?;
            }
            ENV_FILE_TYPE => {
                let name = note("com.docker.compose.envfile");
                let name = name.ok_or_else(|| {
                    FetchError::new("the artifact has an env file without a name")
                })?;
                write_part(folder, name, part, false)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes a part into a file, behind what is there: several files of a project become documents of one.
fn write_part(folder: &Path, name: &str, part: &Part, apart: bool) -> Result<(), FetchError> {
    let path = cache::within(folder, name)?;
    let write = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        if apart && file.metadata()?.len() > 0 {
            file.write_all(b"\n---\n")?;
        }
        file.write_all(&part.data)
    };
    write().map_err(|error| FetchError::new(format!("cannot write `{}`: {error}", path.display())))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
