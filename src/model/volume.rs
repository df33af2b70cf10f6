//! Named volumes.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::{Labels, Mapping};

/// A named volume of the project.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Volume {
    /// The engine's name of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Driver; empty is `local`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Driver options.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub driver_opts: Mapping,
    /// Made outside of this project.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Labels.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub labels: Labels,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}
