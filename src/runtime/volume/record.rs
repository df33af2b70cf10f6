//! A volume as it is stored, and as Docker shows it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bollard_stubs::models::{Volume, VolumeScopeEnum};
use serde::{Deserialize, Serialize};

pub(super) const DRIVER: &str = "local";
/// The label of volumes without a name of their own.
pub(super) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What `volume.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct VolumeRecord {
    pub(super) name: String,
    pub(super) created_at: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

impl VolumeRecord {
    pub(super) fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// As Docker shows it.
    pub(super) fn to_volume(&self, mountpoint: &Path) -> Volume {
        let map = |map: &BTreeMap<String, String>| {
            map.iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect::<HashMap<_, _>>()
        };
        Volume {
            name: self.name.clone(),
            driver: DRIVER.to_owned(),
            mountpoint: mountpoint.display().to_string(),
            created_at: Some(self.created_at.clone()),
            status: None,
            labels: map(&self.labels),
            scope: Some(VolumeScopeEnum::LOCAL),
            cluster_volume: None,
            options: map(&self.options),
            usage_data: None,
        }
    }
}

/// Now in seconds, RFC 3339.
pub(super) fn now() -> String {
    let seconds = jiff::Timestamp::now().as_second();
    jiff::Timestamp::from_second(seconds)
        .unwrap_or_default()
        .to_string()
}
