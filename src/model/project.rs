//! The project: every resource by its key, and look-ups.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{FileObject, Network, Service, Volume, service::Model};

/// A whole Compose project after loading.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Project {
    /// The project's name, already normalised.
    #[serde(skip_serializing_if = "super::form::no_section")]
    pub name: String,
    /// The enabled services by name.
    pub services: IndexMap<String, Service>,
    /// Networks by key.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub networks: IndexMap<String, Network>,
    /// Volumes by key.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub volumes: IndexMap<String, Volume>,
    /// Secrets by key.
    #[serde(
        skip_serializing_if = "IndexMap::is_empty",
        serialize_with = "without_values"
    )]
    pub secrets: IndexMap<String, FileObject>,
    /// Configs by key.
    #[serde(
        skip_serializing_if = "IndexMap::is_empty",
        serialize_with = "without_found_values"
    )]
    pub configs: IndexMap<String, FileObject>,
    /// AI models by key.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub models: IndexMap<String, Model>,
    /// Top-level `x-` attributes.
    #[serde(flatten)]
    pub extensions: IndexMap<String, Value>,
    /// Services that are in the files but not enabled (profiles, or not selected): known, so never orphans.
    #[serde(skip)]
    pub disabled_services: IndexMap<String, Service>,
    /// Directory that relative paths were resolved against.
    #[serde(skip)]
    pub working_dir: PathBuf,
    /// The files that were read, absolute, in order (`-` for standard input).
    #[serde(skip)]
    pub compose_files: Vec<String>,
    /// The explicit `--env-file` paths.
    #[serde(skip)]
    pub env_files: Vec<String>,
    /// The environment that variables were taken from: process over dotenv.
    #[serde(skip)]
    pub environment: IndexMap<String, String>,
    /// The active profiles.
    #[serde(skip)]
    pub profiles: Vec<String>,
}

impl Project {
    /// Finds an enabled or a disabled service.
    #[must_use]
    pub fn find_service(&self, name: &str) -> Option<&Service> {
        self.services
            .get(name)
            .or_else(|| self.disabled_services.get(name))
    }
}

/// Writes secrets without their values.
fn without_values<S: Serializer>(
    secrets: &IndexMap<String, FileObject>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(secrets.iter().map(|(key, secret)| (key, bare(secret))))
}

/// Writes configs without the values that came from the environment.
fn without_found_values<S: Serializer>(
    configs: &IndexMap<String, FileObject>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(configs.iter().map(|(key, config)| {
        let shown = if config.environment.is_empty() {
            config.clone()
        } else {
            bare(config)
        };
        (key, shown)
    }))
}

fn bare(object: &FileObject) -> FileObject {
    FileObject {
        content: String::new(),
        ..object.clone()
    }
}
