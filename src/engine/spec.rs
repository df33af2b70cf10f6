//! What is wanted of an engine: complete, with nothing left to choose.

use bollard_stubs::models;
use serde::Serialize;

/// A container to create.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ContainerSpec {
    /// Its name.
    pub name: String,
    /// Platform, empty is the engine's own.
    pub platform: String,
    /// The body of the API's create call.
    pub body: models::ContainerCreateBody,
    /// Files to put into the container before each start: secrets and configs without a file on the host
    /// (behaviours.md B171).
    pub files: Vec<FileSpec>,
}

/// A file to put into a container.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct FileSpec {
    /// Absolute path in the container.
    pub path: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Content, never printed.
    #[serde(skip)]
    pub content: Vec<u8>,
}

impl std::fmt::Debug for FileSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSpec")
            .field("path", &self.path)
            .field("uid", &self.uid)
            .field("gid", &self.gid)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// Where a [`copier`] has the volume that it reads.
pub const COPY_FROM: &str = "/.hoist-copy/from";
/// Where a [`copier`] has the volume that it writes.
pub const COPY_TO: &str = "/.hoist-copy/to";

/// A container that copies everything from one volume into another and ends; where its image has no `cp`, it is there
/// for the archive calls of the API.
#[must_use]
pub fn copier(image: &str, from: &str, to: &str) -> ContainerSpec {
    let mount = |source: &str, target: &str, read_only: bool| models::Mount {
        typ: Some(models::MountType::VOLUME),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: read_only.then_some(true),
        volume_options: Some(models::MountVolumeOptions {
            no_copy: Some(true),
            ..models::MountVolumeOptions::default()
        }),
        ..models::Mount::default()
    };
    let script = format!("cp -a {COPY_FROM}/. {COPY_TO}/");
    let body = models::ContainerCreateBody {
        image: Some(image.to_owned()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        entrypoint: Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
        cmd: Some(Vec::new()),
        healthcheck: Some(models::HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..models::HealthConfig::default()
        }),
        host_config: Some(models::HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![
                mount(from, COPY_FROM, true),
                mount(to, COPY_TO, false),
            ]),
            ..models::HostConfig::default()
        }),
        ..models::ContainerCreateBody::default()
    };
    ContainerSpec {
        name: format!("{from}-to-{to}"),
        body,
        ..ContainerSpec::default()
    }
}

/// A network to create.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct NetworkSpec {
    /// The body of the API's create call, name included.
    pub body: models::NetworkCreateRequest,
    /// Whether its containers may ask for addresses.
    pub subnet: Subnet,
}

/// Where a network's subnet comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subnet {
    /// From the file, or from the engine.
    #[default]
    Any,
    /// From the engine, and then asked for as if it were the file's: only in such a network does every engine let a
    /// container keep its address.
    Settled,
}

/// A volume to create.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct VolumeSpec {
    /// The body of the API's create call, name included.
    pub body: models::VolumeCreateRequest,
}

/// A command to run in a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the API's own independent switches"
)]
pub struct ExecSpec {
    /// Command.
    pub command: Vec<String>,
    /// Environment, `KEY=value`.
    pub env: Vec<String>,
    /// User, empty is the container's.
    pub user: String,
    /// Working directory, empty is the container's.
    pub working_dir: String,
    /// With a terminal.
    pub tty: bool,
    /// With standard input.
    pub stdin: bool,
    /// With standard output and error.
    pub output: bool,
    /// With every capability.
    pub privileged: bool,
}

/// How a container is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RemoveContainer {
    /// Even while it runs.
    pub force: bool,
    /// With its anonymous volumes.
    pub volumes: bool,
}
