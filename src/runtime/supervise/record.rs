//! What is known of a container, as it lies on disk: `<root>/containers/<id>/config.json`.
//!
//! Read at the engine's start, written whole (tmp and rename) at each change of state. A folder without a readable
//! record is a half-made container and is removed at the next start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bollard_stubs::models::{ContainerConfig, EndpointSettings, HostConfig, PortMap};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::status::Status;
use crate::runtime::container::request::{Access, Propagation, Recursion};

/// The time that Docker writes where there is none.
pub const NO_TIME: &str = "0001-01-01T00:00:00Z";

const RECORD_FILE: &str = "config.json";

/// A container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without a leading slash.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Id of its image, or the `rootfs:` reference.
    pub image: String,
    /// The image's layers, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// What was asked for, the image's part merged in.
    pub config: ContainerConfig,
    /// What was asked of the host, with defaults.
    pub host_config: HostConfig,
    /// Networks by name, with the wishes; what was given lies with the network service.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// Its mounts.
    pub mounts: Vec<MountRecord>,
    /// Where it is in its life.
    pub state: State,
    /// How often the policy has restarted it.
    pub restart_count: i64,
    /// Whether the user stopped it.
    pub intent: Intent,
    /// Its health, where there is a check.
    pub health: Option<HealthRecord>,
    /// The ports that were given, while it runs.
    #[serde(default)]
    pub ports: PortMap,
}

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// That it runs, as far as its policy says.
    Run,
    /// That it stays stopped.
    Stay,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The status.
    pub status: Status,
    /// Pid of its first process; 0 when it does not run.
    pub pid: i32,
    /// The pid's start time: with it, its identity.
    pub start_time: u64,
    /// How it ended last.
    pub exit_code: i64,
    /// Why it did not start.
    pub error: String,
    /// Whether memory ran out.
    pub oom_killed: bool,
    /// When it started last.
    pub started_at: Option<Timestamp>,
    /// When it ended last.
    pub finished_at: Option<Timestamp>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            status: Status::Created,
            pid: 0,
            start_time: 0,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started_at: None,
            finished_at: None,
        }
    }
}

/// What kind of thing is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountType {
    /// A path of the host.
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
    /// The files of an image.
    Image,
}

impl MountType {
    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Image => "image",
        }
    }
}

/// Whether a volume belongs to its container alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeOwner {
    /// It has a name of the user's.
    Named,
    /// It was made for this container and goes with it (`rm -v`, `--rm`).
    Anonymous,
}

/// What happens where the source of a bind is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// A folder is made.
    Create,
    /// An error.
    Refuse,
}

/// Whether a new volume starts with the image's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// It does.
    Copy,
    /// `nocopy`.
    Skip,
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRecord {
    /// What kind of thing.
    pub kind: MountType,
    /// Absolute path in the container.
    pub destination: String,
    /// Path on the host; empty for tmpfs.
    pub source: PathBuf,
    /// Name of a volume, reference of an image.
    pub name: String,
    /// The mode as written.
    pub mode: String,
    /// Whether it may be written.
    pub access: Access,
    /// Propagation of later mounts.
    pub propagation: Propagation,
    /// Whether mounts below come along.
    pub recursion: Recursion,
    /// What happens where the source is not there.
    pub missing: Missing,
    /// Whether the volume is filled.
    pub content: Content,
    /// Path below the source.
    pub subpath: String,
    /// Options of a tmpfs.
    pub options: String,
    /// Whether the volume is the container's own.
    pub owner: VolumeOwner,
}

impl MountRecord {
    /// A mount with defaults.
    #[must_use]
    pub fn new(kind: MountType, destination: &str) -> Self {
        Self {
            kind,
            destination: destination.to_owned(),
            source: PathBuf::new(),
            name: String::new(),
            mode: String::new(),
            access: Access::ReadWrite,
            propagation: Propagation::RecursivePrivate,
            recursion: Recursion::Recursive,
            missing: Missing::Refuse,
            content: Content::Copy,
            subpath: String::new(),
            options: String::new(),
            owner: VolumeOwner::Named,
        }
    }
}

/// The health of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthRecord {
    /// The status.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: i64,
    /// The last probes.
    pub log: Vec<ProbeRecord>,
}

/// How a container feels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthStatus {
    /// Not known yet.
    Starting,
    /// Well.
    Healthy,
    /// Not well.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One probe.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its exit code; -1 when it took too long.
    pub exit_code: i64,
    /// The beginning of what it wrote.
    pub output: String,
}

impl Record {
    /// Short id.
    #[must_use]
    pub fn short_id(&self) -> &str {
        &self.id[..12]
    }

    /// Writes the record into the container's folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        write_json(&folder.join(RECORD_FILE), self)
    }

    /// Reads the record of a container's folder.
    ///
    /// # Errors
    /// When it is not there or not a record.
    pub fn load(folder: &Path) -> io::Result<Self> {
        read_json(&folder.join(RECORD_FILE))
    }

    /// The program with its arguments: what runs.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let part = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let mut argv = part(&self.config.entrypoint);
        argv.extend(part(&self.config.cmd));
        argv
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = self.config.labels.as_ref()?;
        labels.get(key).map(String::as_str)
    }

    /// The network mode; `bridge` where none is given.
    #[must_use]
    pub fn network_mode(&self) -> &str {
        self.host_config.network_mode.as_deref().unwrap_or("bridge")
    }

    /// The container whose network this one shares.
    #[must_use]
    pub fn network_peer(&self) -> Option<&str> {
        self.network_mode().strip_prefix("container:")
    }

    /// Whether it has a terminal.
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        self.config.tty == Some(true)
    }
}

/// Writes JSON whole: into a neighbour, then renamed.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let tmp = path.with_extension("tmp");
    fs::write(&tmp, bytes)?;
    fs::rename(&tmp, path)
}

/// Reads JSON.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
