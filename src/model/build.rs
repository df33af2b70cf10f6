//! The `build` section.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::{ByteSize, Environment, FileReference, Labels, Mapping};

/// A build secret.
pub type BuildSecret = FileReference;

/// How an image is built.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Build {
    /// Context: a directory or a URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// Dockerfile, relative to the context.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dockerfile: String,
    /// The Dockerfile's text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dockerfile_inline: String,
    /// Entitlements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<String>,
    /// Build arguments.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub args: Environment,
    /// Provenance attestation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub provenance: String,
    /// SBOM attestation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sbom: String,
    /// SSH agents and keys, `id` or `id=path`.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "super::form::ssh"
    )]
    pub ssh: Vec<String>,
    /// Labels of the image.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub labels: Labels,
    /// Cache sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_from: Vec<String>,
    /// Cache destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_to: Vec<String>,
    /// Without cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
    /// Stages to build without cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_cache_filter: Vec<String>,
    /// Further contexts by name.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub additional_contexts: Mapping,
    /// Pulls base images afresh.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pull: bool,
    /// Host names of the build, `host` to addresses.
    #[serde(
        skip_serializing_if = "IndexMap::is_empty",
        serialize_with = "super::form::hosts"
    )]
    pub extra_hosts: IndexMap<String, Vec<String>>,
    /// Isolation technology (Windows).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub isolation: String,
    /// Network of the build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// Stage to build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Secrets of the build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<BuildSecret>,
    /// Size of `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<ByteSize>,
    /// Further tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Limits of the build's processes.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub ulimits: IndexMap<String, Ulimit>,
    /// Platforms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Privileged build.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// A resource limit: one value, or soft and hard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ulimit {
    /// Both limits.
    Single(i64),
    /// Different limits.
    Range {
        /// What the process starts with.
        soft: i64,
        /// What it may raise it to.
        hard: i64,
    },
}

impl Serialize for Ulimit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        match self {
            Self::Single(0) => serializer.serialize_map(None)?.end(),
            Self::Single(limit) => serializer.serialize_i64(*limit),
            Self::Range { soft, hard } => {
                let mut map = serializer.serialize_map(None)?;
                for (name, value) in [("soft", soft), ("hard", hard)] {
                    if *value != 0 {
                        map.serialize_entry(name, value)?;
                    }
                }
                map.end()
            }
        }
    }
}
