//! A snapshot of what exists: everything a plan is made from, collected before anything is decided.

use bollard_stubs::models;
use indexmap::IndexMap;
use serde::Serialize;

use super::label;

/// Everything on an engine that belongs to one project.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ObservedState {
    /// The project's containers, sorted by name; one-offs and stopped ones too.
    pub containers: Vec<ObservedContainer>,
    /// Networks by name: the project's, and those asked for by name.
    pub networks: IndexMap<String, ObservedNetwork>,
    /// Volumes by name: the project's, and those asked for by name.
    pub volumes: IndexMap<String, ObservedVolume>,
    /// Images by the reference they were asked for.
    pub images: IndexMap<String, ObservedImage>,
}

/// A container as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ObservedContainer {
    /// Identity.
    pub id: String,
    /// Name, without the leading slash.
    pub name: String,
    /// `created`, `running`, `paused`, `restarting`, `exited`, `dead`, `removing`.
    pub state: String,
    /// `healthy`, `unhealthy`, `starting`, or empty without a probe.
    pub health: String,
    /// Exit code of the last run.
    pub exit_code: i64,
    /// Reference of the image.
    pub image: String,
    /// Id of the image.
    pub image_id: String,
    /// Labels.
    pub labels: IndexMap<String, String>,
    /// Names of attached networks with the network's id.
    pub networks: IndexMap<String, String>,
    /// Mounts.
    pub mounts: Vec<models::MountPoint>,
    /// Creation, seconds since the epoch.
    pub created: i64,
}

impl ObservedContainer {
    fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// The service it belongs to.
    #[must_use]
    pub fn service(&self) -> &str {
        self.label(label::SERVICE)
    }

    /// Its number within the service; one-offs have none.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.label(label::CONTAINER_NUMBER).parse().ok()
    }

    /// Whether it was made by `run`.
    #[must_use]
    pub fn is_one_off(&self) -> bool {
        self.label(label::ONE_OFF) == "True"
    }

    /// The hash of the configuration it was made from.
    #[must_use]
    pub fn config_hash(&self) -> &str {
        self.label(label::CONFIG_HASH)
    }

    /// Whether its main process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}

/// A network as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ObservedNetwork {
    /// Identity.
    pub id: String,
    /// Name.
    pub name: String,
    /// Driver.
    pub driver: String,
    /// Labels.
    pub labels: IndexMap<String, String>,
}

/// A volume as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ObservedVolume {
    /// Name.
    pub name: String,
    /// Driver.
    pub driver: String,
    /// Labels.
    pub labels: IndexMap<String, String>,
}

/// An image as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ObservedImage {
    /// Identity (`sha256:…`): what the container's image label is compared with.
    pub id: String,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// Last time it was tagged, seconds since the epoch.
    pub tagged: i64,
    /// Paths of the image's anonymous volumes.
    pub volumes: Vec<String>,
    /// Labels of the image.
    pub labels: IndexMap<String, String>,
}
