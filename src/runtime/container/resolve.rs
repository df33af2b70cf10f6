//! Docker's words for a container, turned into a [`ContainerRequest`] without a choice left.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bollard_stubs::models::{ContainerConfig, ExecConfig, HostConfig, ImageConfig};

use super::request::{ContainerRequest, ExecRequest, ExtraFile, LogFile, Mount, Namespace, Rootfs};

/// What the engine knows about a container that is about to start.
#[derive(Debug)]
pub struct ResolveInput<'a> {
    /// Id of the container.
    pub id: &'a str,
    /// What the client asked for.
    pub config: &'a ContainerConfig,
    /// The part of it that concerns the host.
    pub host_config: &'a HostConfig,
    /// Configuration of the image.
    pub image: Option<&'a ImageConfig>,
    /// The root file system.
    pub rootfs: Rootfs,
    /// All mounts with their host paths (see [`super::mount::wanted_mounts`]); tmpfs included.
    pub mounts: Vec<Mount>,
    /// `/etc/hosts` and the like.
    pub files: Vec<ExtraFile>,
    /// The network namespace.
    pub network: Namespace,
    /// Pids of the containers that `container:ID` modes name, by the name or id used there.
    pub peers: BTreeMap<String, i32>,
    /// Cgroup of the instance, without a leading slash (`hoist`); `cgroup_parent` replaces it.
    pub cgroup_parent: &'a str,
    /// The log, when the driver is one that the keeper writes.
    pub log: Option<LogFile>,
    /// Folder of the container in the run directory.
    pub run_dir: PathBuf,
    /// Where the exit record goes.
    pub exit_record: PathBuf,
}

/// A request, and what of it could not be honoured.
#[derive(Debug)]
pub struct Resolved<T> {
    /// The request.
    pub request: T,
    /// Warnings for the client.
    pub warnings: Vec<String>,
}

/// Why a container cannot be resolved; each is the client's mistake (status 400).
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Neither the client nor the image names a program.
    #[error("no command specified")]
    NoCommand,
    /// An option that is not known.
    #[error("invalid {what} `{value}`")]
    Invalid {
        /// What was read.
        what: &'static str,
        /// Its text.
        value: String,
    },
    /// A file that an option names cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Resolves a container.
///
/// # Errors
/// When an option is not known or contradicts another.
pub fn resolve(input: ResolveInput<'_>) -> Result<Resolved<ContainerRequest>, ResolveError> {
    drop(input);
    Err(ResolveError::NoCommand)
}

/// Resolves a process to run in a container that was started from `container`.
///
/// # Errors
/// When an option is not known.
pub fn resolve_exec(
    id: &str,
    exec: &ExecConfig,
    container: &ContainerRequest,
) -> Result<ExecRequest, ResolveError> {
    let _ = (id, exec, container);
    Err(ResolveError::NoCommand)
}
