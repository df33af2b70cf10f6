//! Secrets and configs: content that becomes a file in a container.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::{Labels, Mapping};

/// A top-level secret or config.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct FileObject {
    /// The engine's name of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// File on the host that holds the content.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// Environment variable that holds the content.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// The content itself (configs; a secret's value is kept here and never printed).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// The content that was read for an engine that takes it, never printed.
    #[serde(skip)]
    pub delivered: Vec<u8>,
    /// What its content is told by, where a service wants to hear of changes; never printed.
    #[serde(skip)]
    pub mark: Option<super::ContentMark>,
    /// Made outside of this project.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Labels.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub labels: Labels,
    /// Driver (Swarm).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Driver options.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub driver_opts: Mapping,
    /// Template driver (Swarm).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub template_driver: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// A service's use of a secret or config.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct FileReference {
    /// Key of the secret or config.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Path or file name in the container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Owner.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gid: String,
    /// Permission bits, printed in octal with a leading zero.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "octal")]
    pub mode: Option<u32>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn octal<S: serde::Serializer>(mode: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("0{:o}", mode.unwrap_or_default()))
}
