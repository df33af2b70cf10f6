//! Docker's words for a container, turned into a [`ContainerRequest`] without a choice left.

mod cdi;
mod device;
mod limit;
mod namespace;
mod process;
mod security;
mod time;

pub(crate) use cdi::FOLDERS as DEVICE_FOLDERS;
pub use limit::limits;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bollard_stubs::models::{ContainerConfig, ExecConfig, HostConfig, ImageConfig};

use super::request::{
    Cgroup, ContainerRequest, ExecRequest, ExtraFile, LogFile, Mount, Namespace, OciRuntime,
    Rootfs, Stdin, Stdio,
};

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
    /// All mounts with their host paths; tmpfs included.
    pub mounts: Vec<Mount>,
    /// `/etc/hosts` and the like.
    pub files: Vec<ExtraFile>,
    /// The network namespace.
    pub network: Namespace,
    /// The maps of users and groups, where root of the container is to be nobody outside; the network namespace then
    /// belongs to the user namespace that has them.
    pub remap: Option<IdMaps>,
    /// Pids of the containers that `container:ID` modes name, by the name or id used there.
    pub peers: BTreeMap<String, PathBuf>,
    /// Cgroup of the instance, without a leading slash (`hoist`); `cgroup_parent` replaces it.
    pub cgroup_parent: &'a str,
    /// The log, when the driver is one that the keeper writes.
    pub log: Option<LogFile>,
    /// Folder of the container in the run directory.
    pub run_dir: PathBuf,
    /// Where the exit record goes.
    pub exit_record: PathBuf,
    /// User namespaces whose maps show the owners of a bind, by its destination.
    pub bind_owners: BTreeMap<String, PathBuf>,
    /// The OCI runtime that was asked for, without what the request adds to it.
    pub runtime: Option<OciRuntime>,
}

/// Ids inside, outside and their count, for users and for groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub users: Vec<(u32, u32, u32)>,
    /// Groups.
    pub groups: Vec<(u32, u32, u32)>,
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
    /// An exec without a program.
    #[error("No exec command specified")]
    NoExecCommand,
    /// A seccomp profile that cannot be used.
    #[error("opening seccomp profile failed")]
    Seccomp(#[source] super::seccomp::ProfileError),
    /// An option that is not known.
    #[error("invalid {what} `{value}`")]
    Invalid {
        /// What was read.
        what: &'static str,
        /// Its text.
        value: String,
    },
    /// A device that is asked for by name, and not there.
    #[error("{0}")]
    Device(String),
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
    let mut warnings = Vec::new();
    let host = input.host_config;
    let namespaces = namespace::resolve(&input)?;
    let folders = DEVICE_FOLDERS.map(PathBuf::from);
    let requests = host.device_requests.as_deref().unwrap_or_default();
    let added = cdi::additions(requests, &folders, &mut warnings)?;
    let mut process = process::first(&input, &mut warnings)?;
    process::overlay(&mut process.env, added.env.iter());
    process.group_add.extend(added.groups);
    let hostname = namespace::hostname(&input, &namespaces);
    let (mut devices, mut device_rules) = device::resolve(host)?;
    devices.extend(added.devices);
    if host.privileged != Some(true) {
        device_rules.extend(added.rules);
    }
    let runtime = told_to_runtime(&input, process.capabilities)?;
    let mut mounts = input.mounts.clone();
    mounts.extend(added.mounts);
    check_targets(&mounts)?;
    let request = ContainerRequest {
        id: input.id.to_owned(),
        hostname,
        domainname: input
            .config
            .domainname
            .clone()
            .filter(|name| !name.is_empty()),
        devices,
        shm_size: shm_size(host),
        paths: security::paths(host)?,
        sysctls: namespace::sysctls(host, &namespaces)?,
        cgroup: Cgroup {
            path: cgroup_path(&input),
            limits: limit::limits(host)?,
            devices: device_rules,
        },
        stdio: Stdio {
            stdin: stdin(input.config),
        },
        process,
        namespaces,
        rootfs: input.rootfs,
        mounts,
        files: input.files,
        log: input.log,
        run_dir: input.run_dir,
        exit_record: input.exit_record,
        bind_owners: input.bind_owners,
        runtime,
    };
    Ok(Resolved { request, warnings })
}

/// An OCI runtime makes its own filter, and may know annotations.
fn told_to_runtime(
    input: &ResolveInput<'_>,
    capabilities: u64,
) -> Result<Option<OciRuntime>, ResolveError> {
    let Some(runtime) = &input.runtime else {
        return Ok(None);
    };
    let annotations: BTreeMap<_, _> = input
        .host_config
        .annotations
        .iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(Some(OciRuntime {
        seccomp: security::runtime_filter(input.host_config, capabilities)?,
        annotations: annotations.into_iter().collect(),
        ..runtime.clone()
    }))
}

fn shm_size(host: &HostConfig) -> u64 {
    if host.ipc_mode.as_deref() == Some("none") {
        return 0;
    }
    host.shm_size
        .and_then(|size| u64::try_from(size).ok())
        .filter(|&size| size > 0)
        .unwrap_or(64 << 20)
}

fn stdin(config: &ContainerConfig) -> Stdin {
    match (config.open_stdin, config.stdin_once) {
        (Some(true), Some(true)) => Stdin::Once,
        (Some(true), _) => Stdin::Open,
        _ => Stdin::Closed,
    }
}

fn cgroup_path(input: &ResolveInput<'_>) -> String {
    let wished = input
        .host_config
        .cgroup_parent
        .as_deref()
        .map(|parent| parent.trim_matches('/'));
    // Only plain names: the path is joined to the root of each hierarchy.
    let parent = wished
        .filter(|parent| {
            !parent.is_empty()
                && parent
                    .split('/')
                    .all(|part| !matches!(part, "" | "." | ".."))
        })
        .unwrap_or(input.cgroup_parent);
    format!("{parent}/{}", input.id)
}

/// Nothing may be mounted over `/proc`, through which security is set up and judged; but for a few harmless files.
fn check_targets(mounts: &[Mount]) -> Result<(), ResolveError> {
    const HARMLESS: [&str; 11] = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/net/dev",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/sys/crypto/fips_enabled",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/uptime",
    ];
    for mount in mounts {
        let target = plain_path(&mount.target);
        let below_proc = target == "/proc" || target.starts_with("/proc/");
        if !mount.target.starts_with('/')
            || target == "/"
            || (below_proc && !HARMLESS.contains(&target.as_str()))
        {
            return Err(ResolveError::Invalid {
                what: "mount destination",
                value: mount.target.clone(),
            });
        }
    }
    Ok(())
}

/// A path without `.`, `..` and doubled slashes.
fn plain_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
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
    let stdin = if exec.attach_stdin == Some(true) {
        Stdin::Once
    } else {
        Stdin::Closed
    };
    Ok(ExecRequest {
        id: id.to_owned(),
        container: container.id.clone(),
        process: process::further(exec, &container.process)?,
        stdin,
        runtime: container.runtime.clone(),
    })
}

#[cfg(test)]
mod tests;
