//! What any container engine can do: the trait, and the words that `plan`, `apply` and the commands share.
//!
//! The vocabulary is the Docker Engine API's, as plain data (`bollard_stubs::models`): Docker, Podman and the built-in
//! engine all speak it, so a specification made by the planner is what travels, without a second model in between.
//! What is ours on top is small: identifiers, labels, the snapshot [`ObservedState`], and errors that say what was
//! tried on what.
//!
//! Callers: `plan` reads [`ObservedState`] and makes the specs; `apply` and the commands call the trait.
//! Implementations: `docker` (any engine behind a Docker API socket), `fake` (tests), `dry_run` (answers reads
//! from an engine and acts on nothing).

pub mod connect;
pub mod docker;
pub mod dry_run;
pub mod endpoint;
pub mod error;
pub mod fake;
pub mod keyring;
pub mod label;
pub mod member;
pub mod observed;
pub mod spec;
pub mod stream;

use async_trait::async_trait;
use bollard_stubs::models;

pub use error::{EngineError, EngineErrorKind};
pub use observed::{
    ObservedContainer, ObservedImage, ObservedNetwork, ObservedState, ObservedVolume,
};
pub use spec::{ContainerSpec, ExecSpec, FileSpec, NetworkSpec, RemoveContainer, VolumeSpec};
pub use stream::{ExecSession, LogLine, LogOptions, LogStream, RawStream, Stream};

/// What an engine answers.
pub type EngineResult<T> = Result<T, EngineError>;

/// Who the engine is and what it can do: differences are handled by capability, never by name.
#[derive(Debug, Clone, Default)]
pub struct EngineInfo {
    /// `Docker`, `Podman` or `hoist`.
    pub product: String,
    /// Version of the engine.
    pub version: String,
    /// Negotiated API version, as (major, minor).
    pub api: (u32, u32),
}

impl EngineInfo {
    /// Whether it is hoist's own engine, which has routes beyond Docker's.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.product == "hoist"
    }

    /// Whether it leaves health checks to timers of systemd, which may not be there; it runs one when it is told to.
    #[must_use]
    pub fn leaves_checks(&self) -> bool {
        self.product == "Podman"
    }
}

/// Which containers to list.
#[derive(Debug, Clone, Default)]
pub struct ContainerFilter {
    /// Stopped ones too.
    pub all: bool,
    /// Labels they must have: `key` or `key=value`.
    pub labels: Vec<String>,
}

/// A container engine.
///
/// Each method is one call of the engine's API and is idempotent where the API allows: starting what runs and
/// removing what is gone are successes.
#[async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// Who answers.
    fn info(&self) -> &EngineInfo;

    /// Takes one snapshot of everything that belongs to a project: containers (one-offs and stopped ones too),
    /// networks, volumes, and the images in `images` with those of the containers.
    async fn observe(&self, request: &ObserveRequest) -> EngineResult<ObservedState>;

    /// Lists containers.
    async fn list_containers(
        &self,
        filter: &ContainerFilter,
    ) -> EngineResult<Vec<models::ContainerSummary>>;
    /// Inspects a container.
    async fn inspect_container(&self, id: &str) -> EngineResult<models::ContainerInspectResponse>;
    /// Creates a container; answers its id and the engine's warnings.
    async fn create_container(&self, spec: &ContainerSpec) -> EngineResult<(String, Vec<String>)>;
    /// Starts a container.
    async fn start_container(&self, id: &str) -> EngineResult<()>;
    /// Stops a container; `timeout` in seconds, `None` is the container's own.
    async fn stop_container(&self, id: &str, timeout: Option<i64>) -> EngineResult<()>;
    /// Restarts a container.
    async fn restart_container(&self, id: &str, timeout: Option<i64>) -> EngineResult<()>;
    /// Sends a signal to a container.
    async fn kill_container(&self, id: &str, signal: &str) -> EngineResult<()>;
    /// Freezes a container.
    async fn pause_container(&self, id: &str) -> EngineResult<()>;
    /// Thaws a container.
    async fn unpause_container(&self, id: &str) -> EngineResult<()>;
    /// Renames a container.
    async fn rename_container(&self, id: &str, name: &str) -> EngineResult<()>;
    /// Removes a container.
    async fn remove_container(&self, id: &str, how: RemoveContainer) -> EngineResult<()>;
    /// Waits until a container is not running, and answers its exit code.
    async fn wait_container(&self, id: &str) -> EngineResult<i64>;
    /// The processes of a container: titles and rows.
    async fn top_container(&self, id: &str) -> EngineResult<models::ContainerTopResponse>;
    /// One reading of the usage of a container.
    async fn stats_container(&self, id: &str) -> EngineResult<models::ContainerStatsResponse>;
    /// Makes an image of a container; answers its id.
    async fn commit_container(&self, id: &str, options: &CommitOptions) -> EngineResult<String>;
    /// The file system of a container, as a tar.
    async fn export_container(&self, id: &str) -> EngineResult<RawStream>;
    /// A path of a container, as a tar.
    async fn download(&self, id: &str, path: &str) -> EngineResult<RawStream>;
    /// Unpacks a tar below a path of a container.
    async fn upload(&self, id: &str, path: &str, tar: Vec<u8>) -> EngineResult<()>;
    /// Unpacks a tar that comes over time below a path of a container.
    async fn upload_stream(&self, id: &str, path: &str, tar: RawStream) -> EngineResult<()>;
    /// Runs the health check of a container once, where the engine leaves them to others
    /// ([`EngineInfo::leaves_checks`]); any other runs them by itself.
    async fn check_health(&self, _id: &str) -> EngineResult<()> {
        Ok(())
    }
    /// Puts secrets and configs into a container before its start: into its root, or on hoist's own engine into memory.
    async fn put_files(&self, id: &str, files: &[FileSpec]) -> EngineResult<()>;
    /// The kind and link target of a path in a container, as the API's JSON; `None` where it does not exist.
    async fn stat_path(&self, id: &str, path: &str) -> EngineResult<Option<serde_json::Value>>;

    /// Follows or reads a container's log.
    async fn logs(&self, id: &str, options: &LogOptions) -> EngineResult<LogStream>;
    /// Attaches to a container's streams.
    async fn attach(&self, id: &str, options: &AttachOptions) -> EngineResult<ExecSession>;
    /// Prepares a command in a container; answers the id of the exec.
    async fn create_exec(&self, id: &str, spec: &ExecSpec) -> EngineResult<String>;
    /// Starts a prepared command with its streams.
    async fn start_exec(&self, exec: &str, spec: &ExecSpec) -> EngineResult<ExecSession>;
    /// Starts a prepared command and leaves it alone.
    async fn start_exec_detached(&self, exec: &str) -> EngineResult<()>;
    /// The state of a command: (running, exit code).
    async fn inspect_exec(&self, exec: &str) -> EngineResult<(bool, i64)>;
    /// Changes the size of a command's terminal.
    async fn resize_exec(&self, exec: &str, columns: u16, rows: u16) -> EngineResult<()>;
    /// Changes the size of a container's terminal.
    async fn resize_container(&self, id: &str, columns: u16, rows: u16) -> EngineResult<()>;

    /// Lists networks that have all of these labels (`key=value`); without labels, all.
    async fn list_networks(&self, labels: &[String]) -> EngineResult<Vec<models::Network>>;
    /// Inspects a network by name or id.
    async fn inspect_network(&self, name: &str) -> EngineResult<models::NetworkInspect>;
    /// Creates a network; answers its id.
    async fn create_network(&self, spec: &NetworkSpec) -> EngineResult<String>;
    /// Removes a network.
    async fn remove_network(&self, id: &str) -> EngineResult<()>;
    /// Connects a container to a network.
    async fn connect_network(
        &self,
        network: &str,
        container: &str,
        endpoint: models::EndpointSettings,
    ) -> EngineResult<()>;
    /// Disconnects a container from a network.
    async fn disconnect_network(&self, network: &str, container: &str) -> EngineResult<()>;

    /// Lists volumes that have all of these labels (`key=value`); without labels, all.
    async fn list_volumes(&self, labels: &[String]) -> EngineResult<Vec<models::Volume>>;
    /// Inspects a volume.
    async fn inspect_volume(&self, name: &str) -> EngineResult<models::Volume>;
    /// Creates a volume.
    async fn create_volume(&self, spec: &VolumeSpec) -> EngineResult<()>;
    /// Removes a volume.
    async fn remove_volume(&self, name: &str) -> EngineResult<()>;

    /// Lists images; `labels` as for networks.
    async fn list_images(&self, labels: &[String]) -> EngineResult<Vec<models::ImageSummary>>;
    /// Inspects an image by reference or id; `None` where it is not there.
    async fn inspect_image(&self, reference: &str) -> EngineResult<Option<models::ImageInspect>>;
    /// Pulls an image; each item of the stream is one JSON progress message.
    async fn pull_image(
        &self,
        reference: &str,
        platform: Option<&str>,
    ) -> EngineResult<Stream<serde_json::Value>>;
    /// Pushes an image.
    async fn push_image(&self, reference: &str) -> EngineResult<Stream<serde_json::Value>>;
    /// Tags an image.
    async fn tag_image(&self, source: &str, target: &str) -> EngineResult<()>;
    /// The steps that made an image, newest first.
    async fn image_history(
        &self,
        reference: &str,
    ) -> EngineResult<Vec<models::ImageHistoryResponseItem>>;
    /// Images as one archive (docker-archive, and OCI layout on newer engines).
    async fn save_images(&self, references: &[String]) -> EngineResult<RawStream>;
    /// Removes the images that no container uses: those without a name, or all.
    async fn prune_images(&self, all: bool) -> EngineResult<models::ImagePruneResponse>;
    /// Removes an image.
    async fn remove_image(&self, reference: &str) -> EngineResult<()>;
    /// Loads a docker-archive or OCI archive.
    async fn load_image(&self, tar: RawStream) -> EngineResult<Stream<serde_json::Value>>;
    /// Makes an image of a root file system in a tar; answers its id.
    async fn import_image(
        &self,
        tar: RawStream,
        reference: &str,
        changes: &[String],
    ) -> EngineResult<String>;
    /// Builds an image from a context in a tar; each item is one JSON progress message.
    async fn build_image(&self, request: &BuildRequest) -> EngineResult<Stream<serde_json::Value>>;

    /// Builds what a description says, with all that the classic builder has no words for; only hoist's own engine can
    /// (`POST /hoist/build`). Each item is one JSON message of that route.
    async fn build_described(
        &self,
        _description: &serde_json::Value,
    ) -> EngineResult<Stream<serde_json::Value>> {
        Err(EngineError::new(
            "build image",
            &self.info().product,
            EngineErrorKind::Unsupported,
            "the engine has no route for described builds",
        ))
    }

    /// Follows the engine's events that carry all of these labels.
    async fn events(&self, request: &EventRequest) -> EngineResult<Stream<models::EventMessage>>;
    /// The engine's own description of itself (`GET /info`).
    async fn system_info(&self) -> EngineResult<models::SystemInfo>;
}

/// What to take a snapshot of.
#[derive(Debug, Clone, Default)]
pub struct ObserveRequest {
    /// Project name.
    pub project: String,
    /// Names of networks the project's file speaks of, external ones too.
    pub networks: Vec<String>,
    /// Names of volumes the project's file speaks of, external ones too.
    pub volumes: Vec<String>,
    /// References of images the project's file speaks of.
    pub images: Vec<String>,
}

/// How to attach.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the API's own independent switches"
)]
pub struct AttachOptions {
    /// With standard input.
    pub stdin: bool,
    /// With standard output and error.
    pub output: bool,
    /// With what was printed before.
    pub logs: bool,
    /// The container has a terminal, so the stream is not framed.
    pub tty: bool,
    /// Keys that detach, empty is the engine's own (`ctrl-p,ctrl-q`).
    pub detach_keys: String,
}

/// How to commit a container.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Name of the new image, may be empty.
    pub reference: String,
    /// Comment.
    pub message: String,
    /// Author.
    pub author: String,
    /// Dockerfile instructions to apply.
    pub changes: Vec<String>,
    /// Freezes the container meanwhile.
    pub pause: bool,
}

/// Which events to follow.
#[derive(Debug, Clone, Default)]
pub struct EventRequest {
    /// Labels (`key` or `key=value`).
    pub labels: Vec<String>,
    /// From this time on (engine syntax).
    pub since: Option<String>,
    /// Up to this time (engine syntax).
    pub until: Option<String>,
}

/// What to build: the classic builder's vocabulary, which every engine has.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// The context as a tar.
    pub context: Vec<u8>,
    /// Dockerfile inside the context.
    pub dockerfile: String,
    /// Names of the image.
    pub tags: Vec<String>,
    /// Build arguments.
    pub args: indexmap::IndexMap<String, Option<String>>,
    /// Labels.
    pub labels: indexmap::IndexMap<String, String>,
    /// Stage.
    pub target: String,
    /// Platform.
    pub platform: String,
    /// Network of the steps.
    pub network: String,
    /// Host names, `host:address`.
    pub extra_hosts: Vec<String>,
    /// Cache sources.
    pub cache_from: Vec<String>,
    /// Size of `/dev/shm`.
    pub shm_size: Option<i64>,
    /// Without cache.
    pub no_cache: bool,
    /// Pulls base images afresh.
    pub pull: bool,
    /// Bytes that a step may use.
    pub memory: Option<i64>,
}
