//! Commands around a container's life, and the rules of `develop`.

use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Environment;

/// A lifecycle hook.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Hook {
    /// Command to run.
    #[serde(skip_serializing_if = "super::form::no_command")]
    pub command: Option<Vec<String>>,
    /// Image (`pre_start` only); empty is the service's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// User.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Every capability.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// Working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Environment.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub environment: Environment,
    /// Once for each replica (`pre_start` only).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub per_replica: bool,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// The `develop` section.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Develop {
    /// What to do when files change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watch: Vec<WatchRule>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// One rule of `develop.watch`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct WatchRule {
    /// Path on the host.
    pub path: String,
    /// `sync`, `rebuild`, `restart`, `sync+restart` or `sync+exec`.
    pub action: String,
    /// Path in the container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Command of `sync+exec`.
    #[serde(skip_serializing_if = "no_hook", serialize_with = "hook_or_default")]
    pub exec: Option<Hook>,
    /// Only these patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Not these patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Copies everything at the start.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub initial_sync: bool,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Command of a `sync+exec` rule.
pub type WatchExec = Hook;

#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn no_hook(hook: &Option<Hook>) -> bool {
    hook.is_none() && super::form::is_yaml()
}

/// docker compose writes a hook that is not there as an empty one.
#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn hook_or_default<S: Serializer>(hook: &Option<Hook>, serializer: S) -> Result<S::Ok, S::Error> {
    hook.clone().unwrap_or_default().serialize(serializer)
}
