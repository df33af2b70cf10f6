//! The config file of an image, whose digest is the image's id.

use bollard_stubs::models::ImageConfig;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Digest, ImageError};

/// Layers that an image may have.
const LAYERS_MAX: usize = 500;

/// An image's config file, as far as it is understood here; the stored bytes keep the rest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Machine architecture, in Go's names.
    #[serde(default)]
    pub architecture: String,
    /// Author.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Comment of images of old kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Defaults for containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ImageConfig>,
    /// The container of a commit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// When it was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The steps, oldest first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub history: Vec<HistoryEntry>,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// The layers.
    #[serde(default)]
    pub rootfs: RootFiles,
    /// Variant of the architecture.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// The layers of a config file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RootFiles {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Digests of the plain layer archives, lowest first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<Digest>,
}

/// One step of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    value: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(value)?.unwrap_or_default())
}

impl ConfigFile {
    /// Reads a config file.
    ///
    /// # Errors
    /// When it is no JSON of an image, or has too many layers.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let config: Self = serde_json::from_slice(bytes).map_err(|source| ImageError::Json {
            what: "the config of an image".to_owned(),
            source,
        })?;
        if config.rootfs.diff_ids.len() > LAYERS_MAX {
            return Err(ImageError::invalid(format!(
                "{} layers, at most {LAYERS_MAX} are possible",
                config.rootfs.diff_ids.len()
            )));
        }
        Ok(config)
    }

    /// The bytes to store: the keys of all objects sorted, so that equal configs have equal ids.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut value = serde_json::to_value(self).expect("a config has string keys only");
        sort_keys(&mut value);
        value.to_string().into_bytes()
    }

    /// The chain ids of the layers, lowest first.
    #[must_use]
    pub fn chain_ids(&self) -> Vec<Digest> {
        chain_ids(&self.rootfs.diff_ids)
    }

    /// A file for this machine with nothing in it.
    #[must_use]
    pub fn for_this_machine() -> Self {
        Self {
            architecture: architecture().to_owned(),
            os: "linux".to_owned(),
            rootfs: RootFiles {
                kind: "layers".to_owned(),
                diff_ids: Vec::new(),
            },
            ..Self::default()
        }
    }
}

/// Each layer with all below it: `sha256("<chain of those below> <diff id>")`.
#[must_use]
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff in diff_ids {
        let chain = match chains.last() {
            None => diff.clone(),
            Some(below) => {
                let whole = Sha256::digest(format!("{below} {diff}"));
                Digest::parse(&format!("sha256:{}", hex::encode(whole)))
                    .expect("a digest has 64 digits")
            }
        };
        chains.push(chain);
    }
    chains
}

/// This machine's architecture in Go's names.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn sort_keys(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.sort_keys();
            map.values_mut().for_each(sort_keys);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(sort_keys),
        _ => {}
    }
}

/// Now, RFC 3339 with nanoseconds.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Seconds since 1970 of an RFC 3339 time, 0 when there is none.
pub(crate) fn seconds(time: Option<&str>) -> i64 {
    time.and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map_or(0, jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::{ConfigFile, Digest, chain_ids};

    #[test]
    fn a_chain_id_covers_the_layers_below() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let chains = chain_ids(&[a.clone(), b.clone()]);
        assert_eq!(chains[0], a);
        assert_eq!(chains[1], Digest::of(format!("{a} {b}").as_bytes()));
    }

    #[test]
    fn a_config_with_nulls_is_read() -> Result<(), Box<dyn std::error::Error>> {
        let config = ConfigFile::parse(br#"{"architecture":"amd64","os":"linux","history":null,"config":{"Cmd":null,"Volumes":null},"rootfs":{"type":"layers","diff_ids":null}}"#)?;
        assert!(config.rootfs.diff_ids.is_empty());
        assert!(ConfigFile::parse(br#"{"rootfs":{"diff_ids":["../../etc"]}}"#).is_err());
        Ok(())
    }
}
