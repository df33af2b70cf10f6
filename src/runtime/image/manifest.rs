//! Manifests and indexes, of OCI and of Docker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, ImageError};

/// Bytes that a manifest, an index or a config may have.
pub(super) const DOCUMENT_MAX: u64 = 16 << 20;
/// Indexes within indexes.
const DEPTH_MAX: usize = 8;
/// Entries of an index.
const ENTRIES_MAX: usize = 10_000;

/// Media types.
pub mod media {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI config.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, not compressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// Docker image manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, compressed with gzip.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
}

use media::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

/// Points to content.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Places outside of the registry; never followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// For which machine, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// A kind of machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Architecture, in Go's names.
    #[serde(default)]
    pub architecture: String,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// Variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine.
    #[must_use]
    pub fn this_machine() -> Self {
        Self {
            architecture: super::config::architecture().to_owned(),
            os: "linux".to_owned(),
            variant: None,
        }
    }

    /// Parses `os/architecture[/variant]` or an architecture; empty is this machine.
    ///
    /// # Errors
    /// When it has other parts.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let parts: Vec<&str> = text.split('/').collect();
        let this = Self::this_machine();
        match parts[..] {
            [""] => Ok(this),
            ["linux"] => Ok(this),
            [architecture] => Ok(Self {
                architecture: go_name(architecture),
                ..this
            }),
            [os, architecture] => Ok(Self {
                os: os.to_owned(),
                architecture: go_name(architecture),
                variant: None,
            }),
            [os, architecture, variant] => Ok(Self {
                os: os.to_owned(),
                architecture: go_name(architecture),
                variant: Some(variant.to_owned()),
            }),
            _ => Err(ImageError::InvalidReference {
                detail: format!(": \"{text}\" is an invalid platform"),
            }),
        }
    }

    fn fits(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.variant == wanted.variant)
    }
}

fn go_name(architecture: &str) -> String {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
    .to_owned()
}

/// An image manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default)]
    pub media_type: String,
    /// The config file.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// An index, or Docker's manifest list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default)]
    pub media_type: String,
    /// What it points to.
    pub manifests: Vec<Descriptor>,
}

/// A document that is either.
#[derive(Debug, Clone)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

impl Document {
    /// Tells by content, not by the promised media type, which is it. Both at once is refused: one party would see
    /// one image, another party another.
    ///
    /// # Errors
    /// When it is neither, both, or of the old schema 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let json = |source| ImageError::Json {
            what: "a manifest".to_owned(),
            source,
        };
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(json)?;
        let has = |key: &str| value.get(key).is_some();
        if value
            .get("schemaVersion")
            .and_then(serde_json::Value::as_u64)
            != Some(2)
        {
            return Err(ImageError::invalid(
                "a manifest of schema version 2 is needed",
            ));
        }
        match (has("manifests"), has("config") || has("layers")) {
            (true, false) => {
                let index: Index = serde_json::from_value(value).map_err(json)?;
                if index.manifests.len() > ENTRIES_MAX {
                    return Err(ImageError::invalid("an index with too many entries"));
                }
                Ok(Self::Index(index))
            }
            (false, true) => serde_json::from_value(value)
                .map(Self::Manifest)
                .map_err(json),
            _ => Err(ImageError::invalid(
                "a manifest that is neither an image's nor an index's",
            )),
        }
    }
}

impl Index {
    /// The entry for a platform; attestations are never one.
    #[must_use]
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        let images = || {
            self.manifests
                .iter()
                .filter(|entry| is_image_or_index(&entry.media_type) && !is_attestation(entry))
        };
        let fitting = images().find(|entry| {
            entry
                .platform
                .as_ref()
                .is_some_and(|platform| platform.fits(wanted))
        });
        fitting.or_else(|| images().find(|entry| entry.platform.is_none()))
    }
}

fn is_image_or_index(media_type: &str) -> bool {
    media_type.is_empty()
        || [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].contains(&media_type)
}

fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.contains_key("vnd.docker.reference.type")
}

/// Follows indexes down to the manifest for a platform. `fetch` gets a document and verifies its digest.
///
/// # Errors
/// When there is none, or indexes are nested too deep.
pub(super) fn follow(
    first: &Descriptor,
    wanted: &Platform,
    fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, ImageError>,
) -> Result<Manifest, ImageError> {
    let mut at = first.clone();
    for _ in 0..DEPTH_MAX {
        match Document::parse(&fetch(&at)?)? {
            Document::Manifest(manifest) => return Ok(manifest),
            Document::Index(index) => {
                at = index.select(wanted).cloned().ok_or_else(|| {
                    ImageError::invalid(format!(
                        "no matching manifest for {}/{} in the manifest list entries",
                        wanted.os, wanted.architecture
                    ))
                })?;
            }
        }
    }
    Err(ImageError::invalid("indexes are nested too deep"))
}

#[cfg(test)]
mod tests {
    use super::{Document, Platform};

    #[test]
    fn a_document_that_is_manifest_and_index_is_refused() {
        let both = br#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#;
        assert!(Document::parse(both).is_err());
        assert!(Document::parse(br#"{"schemaVersion":1}"#).is_err());
        assert!(Document::parse(b"{").is_err());
    }

    #[test]
    fn an_index_selects_by_platform() -> Result<(), Box<dyn std::error::Error>> {
        let digest = |c: &str| format!("sha256:{}", c.repeat(64));
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"digest":"{}","size":1,"platform":{{"os":"linux","architecture":"arm64"}}}},{{"digest":"{}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
            digest("a"),
            digest("b")
        );
        let Document::Index(index) = Document::parse(text.as_bytes())? else {
            return Err("no index".into());
        };
        let amd = Platform {
            os: "linux".into(),
            architecture: "amd64".into(),
            variant: None,
        };
        assert_eq!(
            index.select(&amd).map(|d| d.digest.to_string()),
            Some(digest("b"))
        );
        assert!(
            index
                .select(&Platform {
                    os: "plan9".into(),
                    ..amd
                })
                .is_none()
        );
        Ok(())
    }
}
