//! Mounts of a service.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::{ByteSize, Labels};

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A named or anonymous volume.
    #[default]
    Volume,
    /// Memory.
    Tmpfs,
    /// The file system of an image.
    Image,
    /// A Windows named pipe.
    Npipe,
    /// A Swarm cluster volume.
    Cluster,
}

/// One entry of `volumes`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Mount {
    /// Kind of mount.
    #[serde(rename = "type")]
    pub kind: MountKind,
    /// Host path, volume key or image; empty is an anonymous volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Path in the container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Without write access.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Consistency wish (macOS); kept, without effect on Linux.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    /// Options of a bind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<BindOptions>,
    /// Options of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeOptions>,
    /// Options of a tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<TmpfsOptions>,
    /// Options of an image mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageMountOptions>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Options of a bind mount.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct BindOptions {
    /// `z` or `Z`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selinux: String,
    /// Mount propagation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    /// Makes the source directory where it is missing.
    #[serde(skip_serializing_if = "made_by_default")]
    pub create_host_path: Option<bool>,
    /// `enabled`, `disabled`, `writable` or `readonly`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub recursive: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Options of a volume mount.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct VolumeOptions {
    /// Labels of an anonymous volume.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub labels: Labels,
    /// Without the image's content on first use.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nocopy: bool,
    /// Directory inside the volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Options of a tmpfs mount.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TmpfsOptions {
    /// Size limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Options of an image mount.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ImageMountOptions {
    /// Directory inside the image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// docker compose writes only the unusual value.
#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn made_by_default(create: &Option<bool>) -> bool {
    *create != Some(false)
}
