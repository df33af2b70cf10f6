//! Starting a container: network, mounts, files, request, keeper; undone in reverse when a step fails.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use bollard_stubs::models::HostConfigLogConfig;
use jiff::Timestamp;
use rustix::fs::OFlags;
use tokio::task::block_in_place;

use super::Supervisor;
use super::container::Container;
use super::process::HeldProcess;
use super::propagation;
use super::record::{
    Content, HealthRecord, Intent, Missing, MountRecord, MountType, Record, write_json,
};
use super::status::{Operation, Status};
use crate::runtime::archive::{Root, open_merged};
use crate::runtime::container::request::{
    Access, Compression, ContainerRequest, ExtraFile, LogFile, Mount, MountKind, Rootfs,
};
use crate::runtime::container::{ResolveInput, resolve};
use crate::runtime::error::{ErrorKind, RuntimeError, RuntimeResult};
use crate::runtime::keeper::{FailureKind, KeeperError, Lent, Started};

/// Exit code of a container that could not be started.
const START_FAILED: i64 = 128;

/// Why a launch failed, with the exit code that it leaves.
#[derive(Debug)]
struct LaunchFailure {
    error: RuntimeError,
    code: i64,
}

impl<E: Into<RuntimeError>> From<E> for LaunchFailure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            code: START_FAILED,
        }
    }
}

/// Mounts with their host paths, and the descriptors that some of these paths name.
#[derive(Debug, Default)]
struct PreparedMounts {
    mounts: Vec<Mount>,
    held: Vec<OwnedFd>,
}

impl Supervisor {
    /// Starts a container at a client's wish.
    ///
    /// # Errors
    /// When it runs already, or cannot be started; it then says why in its state.
    pub async fn start(self: &Arc<Self>, container: &Arc<Container>) -> RuntimeResult<()> {
        let _operation = container.operation.lock().await;
        container.allows(Operation::Start)?;
        self.start_held(container).await
    }

    /// The same for a caller who holds the operation lock and has checked the status.
    pub(super) async fn start_held(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> RuntimeResult<()> {
        *container
            .delay
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        container.update(|record| {
            record.restart_count = 0;
            record.intent = Intent::Run;
        })?;
        self.launch(container).await
    }

    /// Runs a container's program once more, whoever wished it.
    pub(super) async fn launch(self: &Arc<Self>, container: &Arc<Container>) -> RuntimeResult<()> {
        let _transition = container.transition.lock().await;
        self.watch_exits().await?;
        match self.try_launch(container).await {
            Ok(()) => {
                self.publish(container, "start", []);
                self.presence.nudge();
                self.watch_health(container);
                self.watch_forward(container);
                self.refresh_linked(container);
                Ok(())
            }
            Err(failure) => {
                self.release(container);
                container.update(|record| note_failure(record, &failure))?;
                self.remove_if_asked(container);
                Err(failure.error)
            }
        }
    }

    /// A container that goes when it ends goes too when it cannot start; who waits for that must not wait for ever.
    fn remove_if_asked(self: &Arc<Self>, container: &Arc<Container>) {
        if container.with(|record| record.host_config.auto_remove != Some(true)) {
            return;
        }
        container.note_exit();
        let engine = Arc::clone(self);
        let container = Arc::clone(container);
        tokio::spawn(async move { engine.remove_by_itself(&container).await });
    }

    async fn try_launch(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), LaunchFailure> {
        let mut record = container.record();
        let request = block_in_place(|| self.prepare(container, &mut record))?;
        let (request, held) = request;
        self.check_forward(container).await?;
        let lent = self.lent_sockets(container.id());
        let mut started = self.keeper.start_lending(&request, lent.clone()).await;
        if started
            .as_ref()
            .is_err_and(|error| error.kind() == Some(FailureKind::AlreadyRunning))
        {
            // What runs there was never noted as started: see `end_stray`.
            self.end_in_keeper(container.id()).await;
            started = self.keeper.start_lending(&request, lent).await;
        }
        let started = started.map_err(|error| LaunchFailure {
            code: i64::from(error.kind().map_or(128, FailureKind::exit_code)),
            error: start_error(error),
        })?;
        drop(held);
        for warning in &started.warnings {
            tracing::warn!(container = container.id(), "{warning}");
        }
        container.update(|live| note_start(live, &record, &started))?;
        Ok(())
    }

    /// What the keeper is to hold for the engine after this one: the sockets of the container's name server.
    fn lent_sockets(&self, id: &str) -> Option<Lent> {
        Some(Lent {
            process: i32::try_from(std::process::id()).ok()?,
            sockets: self.networks().name_sockets(id)?.to_vec(),
        })
    }

    /// Everything before the keeper's part.
    fn prepare(
        self: &Arc<Self>,
        container: &Arc<Container>,
        record: &mut Record,
    ) -> RuntimeResult<(ContainerRequest, Vec<OwnedFd>)> {
        let folder_error =
            |source| RuntimeError::internal("cannot prepare the container's folder", source);
        match fs::remove_file(container.exit_record()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(folder_error(error));
            }
            _ => {}
        }
        let mut namespaces = Vec::new();
        let remap = self.remap_of(&record.host_config)?;
        let network = self.prepare_network(container, record, remap.as_ref(), &mut namespaces)?;
        let mut prepared = self.prepare_mounts(container, record)?;
        prepared.held.extend(namespaces);
        let owners = self.bind_owners(container, record)?.into_iter();
        let bind_owners = owners
            .map(|(target, namespace)| (target, hold(namespace, &mut prepared.held)))
            .collect();
        let mut files = self.write_files(container, record)?;
        files.extend(self.delivered(container)?);
        let peers = self.peers(record, &mut prepared.held)?;
        let image_config = None;
        let parent = self.cgroup_parent();
        let resolved = resolve(ResolveInput {
            id: container.id(),
            config: &record.config,
            host_config: &record.host_config,
            image: image_config,
            rootfs: Rootfs {
                lower: record.lower.clone(),
                upper: container.upper(),
                work: container.work(),
                access: match record.host_config.readonly_rootfs {
                    Some(true) => Access::ReadOnly,
                    _ => Access::ReadWrite,
                },
            },
            mounts: prepared.mounts,
            files,
            network,
            remap,
            peers,
            cgroup_parent: &parent,
            log: log_file(container, record.host_config.log_config.as_ref())?,
            run_dir: self.layout().container_run(container.id()),
            exit_record: container.exit_record(),
            runtime: self.oci_runtime(&record.host_config)?,
            bind_owners,
        })?;
        for warning in &resolved.warnings {
            tracing::warn!(container = container.id(), "{warning}");
        }
        write_json(&container.request_path(), &resolved.request).map_err(folder_error)?;
        Ok((resolved.request, prepared.held))
    }

    /// The parent cgroup of this engine's containers.
    pub(super) fn cgroup_parent(&self) -> String {
        match self.layout().instance() {
            "" => "hoist".to_owned(),
            instance => format!("hoist-{instance}"),
        }
    }

    /// The folders in `/proc` of the containers that this one shares namespaces with.
    fn peers(
        &self,
        record: &Record,
        held: &mut Vec<OwnedFd>,
    ) -> RuntimeResult<BTreeMap<String, PathBuf>> {
        let host = &record.host_config;
        let modes = [&host.pid_mode, &host.ipc_mode];
        let mut peers = BTreeMap::new();
        for mode in modes.into_iter().flatten() {
            let Some(reference) = mode.strip_prefix("container:") else {
                continue;
            };
            let peer = self.running_peer(reference)?;
            let ipc = peer.with(|peer| peer.host_config.ipc_mode.clone().unwrap_or_default());
            if Some(mode) == host.ipc_mode.as_ref()
                && !matches!(ipc.as_str(), "shareable" | "host")
                && !ipc.starts_with("container:")
            {
                return Err(RuntimeError::conflict(format!(
                    "cannot join IPC of container {reference}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
            let process = held_peer(&peer)?;
            peers.insert(reference.to_owned(), process.path());
            held.push(process.into_fd());
        }
        Ok(peers)
    }

    /// A container whose namespaces another one wants to share.
    pub(super) fn running_peer(&self, reference: &str) -> RuntimeResult<Arc<Container>> {
        let peer = self.container(reference)?;
        match peer.status() {
            Status::Running | Status::Paused => Ok(peer),
            Status::Restarting => Err(RuntimeError::conflict(format!(
                "container {} is restarting, wait until the container is running",
                peer.id()
            ))),
            _ => Err(RuntimeError::conflict(format!(
                "cannot join namespace of a non running container: {}",
                peer.id()
            ))),
        }
    }

    fn prepare_mounts(
        &self,
        container: &Container,
        record: &Record,
    ) -> RuntimeResult<PreparedMounts> {
        let mut prepared = PreparedMounts::default();
        for mount in &record.mounts {
            let kind = match mount.kind {
                MountType::Tmpfs => MountKind::Tmpfs {
                    // Docker's defaults; what is asked for comes after them and wins.
                    options: format!("noexec,nosuid,nodev,{}", mount.options),
                },
                MountType::Bind => {
                    let source = bind_source(mount)?;
                    propagation::check(&source, mount.propagation)?;
                    self.bind(mount, source)
                }
                MountType::Volume => {
                    let source =
                        self.volume_source(container, record, mount, &mut prepared.held)?;
                    self.bind(mount, source)
                }
                MountType::Image => {
                    let source = self.image_source(mount, &mut prepared.held)?;
                    self.bind(mount, source)
                }
            };
            prepared.mounts.push(Mount {
                target: mount.destination.clone(),
                kind,
                access: match mount.kind {
                    MountType::Image => Access::ReadOnly,
                    _ => mount.access,
                },
            });
        }
        Ok(prepared)
    }

    #[expect(clippy::unused_self, reason = "reads beside its siblings")]
    fn bind(&self, mount: &MountRecord, source: PathBuf) -> MountKind {
        MountKind::Bind {
            source,
            recursion: mount.recursion,
            propagation: mount.propagation,
        }
    }

    fn volume_source(
        &self,
        container: &Container,
        record: &Record,
        mount: &MountRecord,
        held: &mut Vec<OwnedFd>,
    ) -> RuntimeResult<PathBuf> {
        let name = mount.name.as_str();
        let source = self.volumes().mount(name)?;
        if mount.content == Content::Copy && mount.subpath.is_empty() {
            self.volumes()
                .copy_up(name, &record.lower, &mount.destination)?;
        }
        let driver = [
            ("container", container.id().to_owned()),
            ("destination", mount.destination.clone()),
            ("propagation", String::new()),
            (
                "read/write",
                (mount.access == Access::ReadWrite).to_string(),
            ),
        ];
        self.publish_volume(name, "mount", driver);
        if mount.subpath.is_empty() {
            return Ok(source);
        }
        let inner = self.volumes().open_subpath(name, &mount.subpath)?;
        Ok(hold(inner, held))
    }

    /// The merged layers of an image, or what lies below them; links of the image stay inside.
    fn image_source(&self, mount: &MountRecord, held: &mut Vec<OwnedFd>) -> RuntimeResult<PathBuf> {
        let image = self.images().resolve(&mount.name)?;
        let root = Root::from_fd(open_merged(&self.images().lower_dirs(&image), None)?);
        let subpath = mount.subpath.trim_start_matches('/');
        let inner = root.open_at(Path::new(subpath), OFlags::PATH);
        let inner = inner.map_err(|errno| {
            RuntimeError::invalid(format!(
                "cannot access path {subpath} of image {}",
                mount.name
            ))
            .caused_by(std::io::Error::from(errno))
        })?;
        Ok(hold(inner, held))
    }

    /// Writes `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`; those over which something is mounted stay out.
    fn write_files(&self, container: &Container, record: &Record) -> RuntimeResult<Vec<ExtraFile>> {
        let texts = self.file_texts(record)?;
        let access = match record.host_config.readonly_rootfs {
            Some(true) => Access::ReadOnly,
            _ => Access::ReadWrite,
        };
        let mut files = Vec::new();
        for (name, text) in texts {
            let target = format!("/etc/{name}");
            let source = container.folder().join(name);
            fs::write(&source, text).map_err(|cause| {
                RuntimeError::internal(format!("cannot write `{}`", source.display()), cause)
            })?;
            if record
                .mounts
                .iter()
                .all(|mount| mount.destination != target)
            {
                files.push(ExtraFile {
                    source,
                    target,
                    access,
                });
            }
        }
        Ok(files)
    }
}

/// A path of a descriptor for the keeper, good as long as it is held.
fn hold(object: OwnedFd, held: &mut Vec<OwnedFd>) -> PathBuf {
    let path = format!("/proc/{}/fd/{}", std::process::id(), object.as_raw_fd());
    held.push(object);
    PathBuf::from(path)
}

/// Another container's process, which must not have ended.
pub(super) fn held_peer(peer: &Container) -> RuntimeResult<HeldProcess> {
    HeldProcess::of(peer).map_err(|errno| {
        RuntimeError::conflict(format!(
            "cannot join namespace of a non running container: {}",
            peer.id()
        ))
        .caused_by(std::io::Error::from(errno))
    })
}

fn note_failure(record: &mut Record, failure: &LaunchFailure) {
    if record.state.status != Status::Created {
        record.state.status = Status::Exited;
        record.state.finished_at = Some(Timestamp::now());
    }
    record.state.pid = 0;
    record.state.exit_code = failure.code;
    record.state.error = failure.error.chain();
    record.ports.clear();
}

fn note_start(live: &mut Record, prepared: &Record, started: &Started) {
    let state = &mut live.state;
    state.status = Status::Running;
    state.pid = started.pid;
    state.start_time = started.start_time;
    state.exit_code = 0;
    state.error.clear();
    state.oom_killed = false;
    state.started_at = started
        .started_at
        .parse()
        .ok()
        .or_else(|| Some(Timestamp::now()));
    live.ports.clone_from(&prepared.ports);
    live.health = live.health.is_some().then(HealthRecord::starting);
}

fn start_error(error: KeeperError) -> RuntimeError {
    let kind = match error.kind() {
        Some(FailureKind::NotFound | FailureKind::NotExecutable | FailureKind::Refused) => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Internal,
    };
    let inner = RuntimeError::from(error);
    RuntimeError::new(
        kind,
        format!("failed to create task for container: {}", inner.chain()),
    )
}

fn bind_source(mount: &MountRecord) -> RuntimeResult<PathBuf> {
    let source = &mount.source;
    if source.exists() {
        return Ok(source.clone());
    }
    match mount.missing {
        Missing::Create => fs::create_dir_all(source).map_err(|cause| {
            RuntimeError::internal(
                format!(
                    "error while creating mount source path '{}'",
                    source.display()
                ),
                cause,
            )
        })?,
        Missing::Refuse => {
            return Err(RuntimeError::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                source.display()
            )));
        }
    }
    Ok(source.clone())
}

/// The log of a container, where its driver is one that the keeper writes.
fn log_file(
    container: &Container,
    log: Option<&HostConfigLogConfig>,
) -> RuntimeResult<Option<LogFile>> {
    let driver = log
        .and_then(|log| log.typ.as_deref())
        .unwrap_or("json-file");
    if driver == "none" {
        return Ok(None);
    }
    let option = |name: &str| {
        let options = log.and_then(|log| log.config.as_ref())?;
        options.get(name).map(String::as_str)
    };
    // Docker's limits of what it keeps itself beside another driver; and a bound for what Docker does not bound at all.
    let bounded = driver != "json-file";
    let max_size = match option("max-size") {
        Some("-1") => None,
        Some(text) => Some(
            parse_size(text)
                .ok_or_else(|| RuntimeError::invalid(format!("invalid size: '{text}'")))?,
        ),
        None if bounded => Some(20 << 20),
        None => Some(100 << 20),
    };
    let default_files = match option("max-size") {
        _ if bounded => 5,
        None => 3,
        Some(_) => 1,
    };
    let max_file = match option("max-file") {
        Some(text) => text
            .parse()
            .map_err(|_| RuntimeError::invalid(format!("invalid value for max-file: {text}")))?,
        None => default_files,
    };
    let compression = match option("compress") {
        Some("true") => Compression::Gzip,
        None if driver == "local" => Compression::Gzip,
        _ => Compression::Plain,
    };
    Ok(Some(LogFile {
        path: container.log_path(),
        max_size,
        max_file,
        compression,
    }))
}

fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..]
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    Some(digits.parse::<u64>().ok()? << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("20k"), Some(20 << 10));
        assert_eq!(parse_size("1m"), Some(1 << 20));
        assert_eq!(parse_size("7"), Some(7));
        assert_eq!(parse_size("x"), None);
    }
}
