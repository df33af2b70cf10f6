//! Published ports.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

/// One published port; ranges of equal length are expanded (behaviours.md B095).
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Port {
    /// A label for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `ingress` or `host`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Host address to bind; empty is every address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
    /// Port in the container.
    #[serde(skip_serializing_if = "is_zero")]
    pub target: u32,
    /// Port or range on the host; empty lets the engine choose.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub published: String,
    /// `tcp`, `udp` or `sctp`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Application protocol, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_protocol: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
