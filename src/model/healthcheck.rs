//! Health probes.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::Duration;

/// How the engine finds out whether a container works.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", text]` or `["NONE"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Limit of one probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Time between probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// Time in which failures do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Duration>,
    /// Time between probes in the start period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<Duration>,
    /// Switches the image's probe off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable: bool,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}
