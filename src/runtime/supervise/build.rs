//! The engine as the host of builds: a RUN step is a container that nobody lists, started by the keeper on the
//! layers so far, gone with its network when it ends.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use bollard_stubs::models::{ContainerConfig, EndpointSettings, HostConfig, ResourcesUlimits};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::Supervisor;
use crate::runtime::build::{
    BuildError, BuildEvent, BuildHost, BuildRequest, Builder, BuiltImage, CACHE_CONFIG, Downloaded,
    HostError, Network, OutputStream, RunStep, Security, StepMount, StepMountKind, build,
};
use crate::runtime::container::request::{
    Access, ContainerRequest, ExtraFile, Mount, MountKind, Namespace, Propagation, Recursion,
    Rootfs,
};
use crate::runtime::container::{ResolveInput, resolve};
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::image::{Descriptor, LayerOf, Platform, Reference};
use crate::runtime::keeper::{Notices, OutputItem, Session};
use crate::runtime::network::{
    AttachRequest, ContainerNames, HostsRequest, NameService, ResolvRequest,
};
use crate::runtime::registry::{Credential, PullEvent, PullRequest, RegistryError};

/// Credentials of a build by registry, for its base images.
pub type Credentials = HashMap<String, Credential>;

const HOSTNAME: &str = "buildkitsandbox";
const SIGKILL: i32 = 9;

impl Supervisor {
    /// What outlives a build.
    #[must_use]
    pub fn builder(&self) -> Builder {
        Builder {
            store: self.images().clone(),
            root: self.layout().root().join("build"),
        }
    }

    /// Builds an image. Blocks; call it on a thread that may.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn build_image(
        self: &Arc<Self>,
        request: &BuildRequest,
        cancelled: CancellationToken,
        credentials: Credentials,
        progress: &(dyn Fn(BuildEvent) + Sync),
    ) -> Result<BuiltImage, BuildError> {
        let host = StepHost {
            engine: Arc::clone(self),
            runtime: Handle::current(),
            cancelled,
            credentials,
        };
        build(&self.builder(), &host, request, progress)
    }
}

struct StepHost {
    engine: Arc<Supervisor>,
    runtime: Handle,
    cancelled: CancellationToken,
    credentials: Credentials,
}

impl BuildHost for StepHost {
    fn run(
        &self,
        step: &RunStep,
        output: &mut dyn FnMut(OutputStream, &[u8]),
    ) -> Result<i64, HostError> {
        let ended = self.run_step(step, output);
        if let Err(error) = self.engine.networks().release(&step.id) {
            tracing::warn!(%error, step = step.id, "cannot release the network of a build step");
        }
        remove_folder(&self.engine.layout().container_run(&step.id));
        ended.map_err(|error| HostError(error.chain()))
    }

    fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        progress: &mut dyn FnMut(serde_json::Value),
    ) -> Result<(), HostError> {
        let pulled = self.pull_image(reference, platform, progress);
        pulled.map_err(|error| HostError(error.chain()))
    }

    fn download(&self, url: &str, to: &Path) -> Result<Downloaded, HostError> {
        let ended = self.runtime.block_on(async {
            tokio::select! {
                ended = self.engine.registries().download(url, to) => ended.map(Some),
                () = self.cancelled.cancelled() => Ok(None),
            }
        });
        let failed =
            |error| RuntimeError::invalid(format!("cannot download `{url}`")).caused_by(error);
        match ended
            .map_err(failed)
            .map_err(|error| HostError(error.chain()))?
        {
            Some(facts) => Ok(Downloaded {
                modified: facts.modified,
                name: facts.name,
            }),
            None => Err(HostError("the build was cancelled".to_owned())),
        }
    }

    fn run_program(&self, command: Command) -> Result<ExitStatus, HostError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let ended = self.runtime.block_on(async {
            let mut child = tokio::process::Command::from(command)
                .kill_on_drop(true)
                .spawn()?;
            tokio::select! {
                status = child.wait() => status.map(Some),
                () = self.cancelled.cancelled() => child.kill().await.map(|()| None),
            }
        });
        match ended {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(HostError("the build was cancelled".to_owned())),
            Err(error) => Err(HostError(format!("cannot run `{name}`: {error}"))),
        }
    }

    fn cache_documents(&self, reference: &str) -> Result<(Vec<u8>, Vec<u8>), HostError> {
        let (reference, credential) = self.named(reference)?;
        let registries = self.engine.registries();
        self.in_time(registries.cache_documents(&reference, credential))
    }

    fn cache_layer(&self, reference: &str, layer: &Descriptor) -> Result<File, HostError> {
        let (reference, credential) = self.named(reference)?;
        let (registries, store) = (self.engine.registries(), self.engine.images());
        self.in_time(registries.cache_layer(store, &reference, credential, layer))
    }

    fn push_cache(
        &self,
        reference: &str,
        config: Vec<u8>,
        layers: Vec<LayerOf>,
    ) -> Result<(), HostError> {
        let (reference, credential) = self.named(reference)?;
        let (registries, store) = (self.engine.registries(), self.engine.images());
        let config = (CACHE_CONFIG, config);
        self.in_time(registries.push_cache(store, &reference, credential, config, layers))
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }
}

impl StepHost {
    /// A reference and who asks for it.
    fn named(&self, reference: &str) -> Result<(Reference, Option<&Credential>), HostError> {
        let parsed = Reference::parse(reference)
            .map_err(|error| HostError(RuntimeError::from(error).chain()))?;
        let credential = self.credentials.get(parsed.domain());
        Ok((parsed, credential))
    }

    /// The end of a call to a registry, unless the build is cancelled before.
    fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, HostError> {
        let ended = self.runtime.block_on(async {
            tokio::select! {
                ended = call => Some(ended),
                () = self.cancelled.cancelled() => None,
            }
        });
        let Some(ended) = ended else {
            return Err(HostError("the build was cancelled".to_owned()));
        };
        ended.map_err(|error| HostError(RuntimeError::internal("the build cache", error).chain()))
    }

    /// Each wait is a call into the runtime of its own, so that `output` may block.
    fn run_step(
        &self,
        step: &RunStep,
        output: &mut dyn FnMut(OutputStream, &[u8]),
    ) -> RuntimeResult<i64> {
        let request = self.request(step)?;
        let (notices, mut session) = self.runtime.block_on(self.start(&request))?;
        while let Some(item) = self
            .runtime
            .block_on(self.next_output(&mut session, &step.id))?
        {
            match item {
                OutputItem::Stdout(bytes) => output(OutputStream::Stdout, &bytes),
                OutputItem::Stderr(bytes) => output(OutputStream::Stderr, &bytes),
                OutputItem::Exit(_) => {}
            }
        }
        self.runtime.block_on(exit_code(notices, &step.id))
    }

    async fn start(&self, request: &ContainerRequest) -> RuntimeResult<(Notices, Session)> {
        let keeper = self.engine.keeper();
        let notices = keeper.subscribe().await?;
        let session = keeper.attach(&request.id).await?;
        keeper.start(request).await?;
        Ok((notices, session))
    }

    /// The next piece of output; nothing more when the step has ended or the build was cancelled, which ends the step.
    async fn next_output(
        &self,
        session: &mut Session,
        id: &str,
    ) -> RuntimeResult<Option<OutputItem>> {
        tokio::select! {
            item = session.output.next() => Ok(item?),
            () = self.cancelled.cancelled() => {
                self.engine.keeper().kill(id, SIGKILL).await?;
                Ok(None)
            }
        }
    }

    fn pull_image(
        &self,
        reference: &str,
        platform: Option<&str>,
        progress: &mut dyn FnMut(serde_json::Value),
    ) -> RuntimeResult<()> {
        let failed = |source: RegistryError| {
            RuntimeError::internal(format!("cannot pull `{reference}`"), source)
        };
        let parsed = Reference::parse(reference)?;
        let request = PullRequest {
            platform: Platform::parse(platform.unwrap_or_default())?,
            credential: self.credentials.get(parsed.domain()).cloned(),
            reference: parsed,
        };
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let (engine, cancelled) = (Arc::clone(&self.engine), self.cancelled.clone());
        let pull = self.runtime.spawn(async move {
            let tell = move |event: PullEvent| {
                // The receiver goes with the build.
                let _gone = sender.send(event.to_json());
            };
            tokio::select! {
                pulled = engine.registries().pull(engine.images(), &request, tell) => pulled.map(Some),
                () = cancelled.cancelled() => Ok(None),
            }
        });
        while let Some(message) = receiver.blocking_recv() {
            progress(message);
        }
        let pulled = self.runtime.block_on(pull);
        match pulled
            .map_err(|error| RuntimeError::internal("the pull broke off", error))?
            .map_err(failed)?
        {
            Some(_) => Ok(()),
            None => Err(RuntimeError::invalid("the build was cancelled")),
        }
    }

    fn request(&self, step: &RunStep) -> RuntimeResult<ContainerRequest> {
        let network = self.namespace(step)?;
        let config = ContainerConfig {
            hostname: Some(HOSTNAME.to_owned()),
            cmd: Some(step.argv.clone()),
            env: Some(step.env.clone()),
            user: step.config.user.clone(),
            working_dir: step.config.working_dir.clone(),
            ..ContainerConfig::default()
        };
        let host_config = HostConfig {
            privileged: Some(step.security == Security::Insecure),
            shm_size: step.shm_size.and_then(|size| i64::try_from(size).ok()),
            ulimits: ulimits(&step.ulimits),
            ..HostConfig::default()
        };
        let parent = self.engine.cgroup_parent();
        let resolved = resolve(ResolveInput {
            remap: None,
            runtime: None,
            bind_owners: BTreeMap::new(),
            id: &step.id,
            config: &config,
            host_config: &host_config,
            image: None,
            rootfs: Rootfs {
                lower: step.lower.clone(),
                upper: step.upper.clone(),
                work: step.work.clone(),
                access: Access::ReadWrite,
            },
            mounts: step.mounts.iter().map(mount).collect(),
            files: self.files(step)?,
            network,
            peers: BTreeMap::new(),
            cgroup_parent: &parent,
            log: None,
            run_dir: self.engine.layout().container_run(&step.id),
            exit_record: step.scratch.join("exit.json"),
        })?;
        Ok(resolved.request)
    }

    fn namespace(&self, step: &RunStep) -> RuntimeResult<Namespace> {
        let network = match &step.network {
            Network::Host => return Ok(Namespace::Host),
            Network::Named(name) if name.starts_with("container:") => {
                let peer = self
                    .engine
                    .running_peer(name.trim_start_matches("container:"))?;
                let pid = peer.with(|record| record.state.pid);
                return Ok(Namespace::Path(PathBuf::from(format!(
                    "/proc/{pid}/ns/net"
                ))));
            }
            Network::None => None,
            Network::Default => Some("bridge"),
            Network::Named(name) => Some(name.as_str()),
        };
        let path = self.engine.networks().new_namespace(&step.id)?;
        if let Some(network) = network {
            self.engine.networks().attach(&AttachRequest {
                container: ContainerNames {
                    id: step.id.clone(),
                    name: step.id.clone(),
                    ..ContainerNames::default()
                },
                network: network.to_owned(),
                settings: EndpointSettings::default(),
            })?;
        }
        Ok(Namespace::Path(path))
    }

    /// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of the step.
    fn files(&self, step: &RunStep) -> RuntimeResult<Vec<ExtraFile>> {
        let networks = self.engine.networks();
        let hosts = networks.hosts_file(&HostsRequest {
            container: step.id.clone(),
            hostname: HOSTNAME.to_owned(),
            extra_hosts: step
                .extra_hosts
                .iter()
                .map(|(host, address)| format!("{host}:{address}"))
                .collect(),
            ..HostsRequest::default()
        });
        let names = match step.network {
            Network::Named(_) => NameService::Engine,
            Network::Default | Network::None | Network::Host => NameService::Host,
        };
        let resolv = networks.resolv_conf(&ResolvRequest {
            names,
            ..ResolvRequest::default()
        });
        let texts = [
            ("hosts", hosts),
            ("hostname", format!("{HOSTNAME}\n")),
            ("resolv.conf", resolv),
        ];
        let file = |(name, text): (&str, String)| {
            let source = step.scratch.join(name);
            fs::write(&source, text).map_err(|cause| {
                RuntimeError::internal(format!("cannot write `{}`", source.display()), cause)
            })?;
            Ok(ExtraFile {
                source,
                target: format!("/etc/{name}"),
                access: Access::ReadWrite,
            })
        };
        texts.into_iter().map(file).collect()
    }
}

async fn exit_code(mut notices: Notices, id: &str) -> RuntimeResult<i64> {
    loop {
        let notice = notices.next().await?;
        if notice.id == id {
            return Ok(i64::from(notice.code));
        }
    }
}

fn mount(mount: &StepMount) -> Mount {
    let bind = |source: &PathBuf| MountKind::Bind {
        source: source.clone(),
        recursion: Recursion::Recursive,
        propagation: Propagation::RecursivePrivate,
    };
    let (kind, access) = match &mount.kind {
        StepMountKind::ReadWrite(path) => (bind(path), Access::ReadWrite),
        StepMountKind::ReadOnly(path) => (bind(path), Access::ReadOnly),
        StepMountKind::Tmpfs(size) => {
            let options = size.map(|size| format!("size={size}")).unwrap_or_default();
            (MountKind::Tmpfs { options }, Access::ReadWrite)
        }
    };
    Mount {
        target: mount.target.clone(),
        kind,
        access,
    }
}

/// `nofile=1024:2048` as the API has it.
fn ulimits(texts: &[String]) -> Option<Vec<ResourcesUlimits>> {
    let parsed = texts.iter().filter_map(|text| {
        let (name, limits) = text.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        Some(ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: soft.parse().ok(),
            hard: hard.parse().ok(),
        })
    });
    Some(parsed.collect::<Vec<_>>()).filter(|limits| !limits.is_empty())
}

fn remove_folder(path: &std::path::Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove the run folder of a build step");
    }
}
