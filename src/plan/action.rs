//! Actions and their causes: each action is complete, leaves nothing to choose, and says why it exists.

use std::fmt;

use bollard_stubs::models::EndpointSettings;
use indexmap::IndexMap;
use serde::Serialize;

use super::{Change, NodeId, RollingUpdate};
use crate::engine::spec::FileSpec;
use crate::engine::{ContainerSpec, NetworkSpec, ObservedContainer, VolumeSpec};
use crate::model::{Build, DependencyCondition, Hook, Service};

/// A container that exists, or will exist once a node of the plan is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum ContainerRef {
    /// It exists.
    Existing {
        /// Identity.
        id: String,
        /// Name at the time of planning.
        name: String,
    },
    /// A node of the plan makes it.
    Planned {
        /// The node.
        #[serde(rename = "made_by")]
        node: NodeId,
        /// The name it will have in the end.
        name: String,
    },
}

impl ContainerRef {
    /// The name to show.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Existing { name, .. } | Self::Planned { name, .. } => name,
        }
    }
}

impl From<&ObservedContainer> for ContainerRef {
    fn from(container: &ObservedContainer) -> Self {
        Self::Existing {
            id: container.id.clone(),
            name: container.name.clone(),
        }
    }
}

/// Whether an action is news to the user, or a step of a larger one that is reported as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Shown {
    /// Reported on its own.
    Yes,
    /// Part of a recreation.
    Within,
}

/// A container to create.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CreateContainer {
    /// Service it belongs to.
    pub service: String,
    /// The name to report: of the container it replaces, or its own.
    #[serde(rename = "container")]
    pub display: String,
    /// Everything the engine is told.
    pub spec: ContainerSpec,
    /// The container it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ContainerRef>,
    /// What is only known once other containers exist.
    #[serde(skip)]
    pub late: Option<Box<LateBinding>>,
}

/// Containers whose namespaces or volumes a new container shares, and that are made by the same plan.
#[derive(Debug, Clone, PartialEq)]
pub struct LateBinding {
    /// The service as it is hashed, with `service:NAME` still to be replaced.
    pub service: Service,
    /// Services by name, with the container that stands for each.
    pub references: IndexMap<String, ContainerRef>,
}

/// What a wait looks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// Service whose containers are waited for.
    pub service: String,
    /// What they must reach.
    pub until: WaitUntil,
    /// The containers.
    pub containers: Vec<ContainerRef>,
    /// Whether failure is failure, or only a warning.
    pub required: bool,
    /// Limit in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_millis: Option<u64>,
}

/// States that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitUntil {
    /// Healthy; a container without a probe is an error.
    Healthy,
    /// Exited with 0.
    Completed,
    /// Healthy, or running where there is no probe.
    RunningOrHealthy,
    /// The same, or ended with 0: a job that is done (`up --wait`).
    Settled,
}

impl WaitUntil {
    /// What a dependency's condition asks for; a started dependency needs no wait.
    #[must_use]
    pub fn from_condition(condition: DependencyCondition) -> Option<Self> {
        match condition {
            DependencyCondition::ServiceStarted => None,
            DependencyCondition::ServiceHealthy => Some(Self::Healthy),
            DependencyCondition::ServiceCompletedSuccessfully => Some(Self::Completed),
        }
    }
}

/// Which hook a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// After the start, in the container.
    PostStart,
    /// Before the stop, in the container.
    PreStop,
}

/// One step: at most one change of the engine's state.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Fetches an image.
    PullImage {
        /// Service that needs it.
        service: String,
        /// Reference.
        image: String,
        /// Platform, may be empty.
        platform: String,
    },
    /// Builds an image.
    BuildImage(Box<BuildImage>),
    /// Removes an image.
    RemoveImage {
        /// Reference.
        image: String,
    },
    /// Makes a network.
    CreateNetwork(Box<NetworkSpec>),
    /// Removes a network.
    RemoveNetwork {
        /// Identity.
        id: String,
        /// Name.
        name: String,
        /// Whether it is reported.
        #[serde(skip)]
        shown: Shown,
    },
    /// Connects a container to a network.
    ConnectNetwork {
        /// Network's name.
        network: String,
        /// Container.
        container: ContainerRef,
        /// How.
        endpoint: Box<EndpointSettings>,
    },
    /// Disconnects a container from a network.
    DisconnectNetwork {
        /// Network's name.
        network: String,
        /// Container.
        container: ContainerRef,
    },
    /// Makes a volume.
    CreateVolume(Box<VolumeSpec>),
    /// Removes a volume.
    RemoveVolume {
        /// Name.
        name: String,
        /// Whether it is reported.
        #[serde(skip)]
        shown: Shown,
    },
    /// Copies everything from one volume into another.
    CopyVolume(Box<CopyVolume>),
    /// Makes a container.
    CreateContainer(Box<CreateContainer>),
    /// Gives a new container its final name.
    RenameContainer {
        /// Container.
        container: ContainerRef,
        /// New name.
        name: String,
    },
    /// Replaces the replicas of a service in groups.
    RollingUpdate(Box<RollingUpdate>),
    /// Runs a one-time container before the service's first one starts.
    PreStart(Box<PreStart>),
    /// Starts a container.
    StartContainer {
        /// Service it belongs to.
        service: String,
        /// Container.
        container: ContainerRef,
        /// Files to put into it first.
        files: Vec<FileSpec>,
    },
    /// Stops a container.
    StopContainer {
        /// Container.
        container: ContainerRef,
        /// Seconds until it is killed; the container's own where absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<i64>,
        /// Whether it is reported.
        #[serde(skip)]
        shown: Shown,
    },
    /// Puts changed files into a container that runs, then sends it a signal.
    SignalContainer {
        /// Service it belongs to.
        service: String,
        /// Container.
        container: ContainerRef,
        /// Files to put into it first.
        files: Vec<FileSpec>,
        /// Name of the signal.
        signal: String,
    },
    /// Stops and starts a container.
    RestartContainer {
        /// Container.
        container: ContainerRef,
        /// Seconds until it is killed.
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<i64>,
    },
    /// Removes a container.
    RemoveContainer {
        /// Container.
        container: ContainerRef,
        /// With its anonymous volumes.
        volumes: bool,
        /// Even while it runs.
        force: bool,
        /// Whether it is reported.
        #[serde(skip)]
        shown: Shown,
    },
    /// Runs a command in a container.
    RunHook {
        /// Service it belongs to.
        service: String,
        /// Container.
        container: ContainerRef,
        /// When it runs.
        kind: HookKind,
        /// The command.
        hook: Box<Hook>,
    },
    /// Waits for containers.
    Wait(Wait),
    /// Starts or stops what an external provider keeps.
    Provide {
        /// Service.
        service: String,
        /// `up` or `down`.
        verb: &'static str,
    },
}

/// An image to build.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildImage {
    /// Service that has the `build` section.
    pub service: String,
    /// Name of the image.
    pub image: String,
    /// Platform, may be empty.
    pub platform: String,
    /// How.
    pub build: Build,
    /// Labels of the image, docker compose's own included.
    pub labels: IndexMap<String, String>,
}

impl BuildImage {
    /// The image's name, then its further ones.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        let further = self.build.tags.iter().filter(|tag| **tag != self.image);
        std::iter::once(&self.image)
            .chain(further)
            .cloned()
            .collect()
    }

    /// The platforms to build for; none is the engine's own.
    #[must_use]
    pub fn platforms(&self) -> Vec<String> {
        match (self.build.platforms.as_slice(), self.platform.as_str()) {
            ([], "") => Vec::new(),
            ([], platform) => vec![platform.to_owned()],
            (platforms, _) => platforms.to_vec(),
        }
    }
}

/// A copy from one volume into another, made by a container that has both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CopyVolume {
    /// Service whose image the container has.
    pub service: String,
    /// Volume that is read.
    pub from: String,
    /// Volume that is written.
    pub to: String,
    /// The container.
    pub helper: ContainerSpec,
}

/// A `pre_start` hook: a container of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreStart {
    /// Service.
    pub service: String,
    /// Place of the hook in the list.
    pub index: usize,
    /// The container; the first replica's volumes are filled in when it is known.
    pub spec: ContainerSpec,
    /// First replica.
    pub replica: ContainerRef,
    /// Containers of earlier runs, to be removed first.
    pub stale: Vec<String>,
}

/// Why an action is in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Cause {
    /// What the file asks for does not exist.
    Missing,
    /// The object was made from another configuration.
    ConfigChanged {
        /// The changed fields, where they are known.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        changes: Vec<Change>,
    },
    /// Secrets and configs have another content, which the service wants to hear of.
    ContentChanged {
        /// Which, and where they come from.
        contents: Vec<String>,
    },
    /// The image is another one now.
    ImageChanged {
        /// Reference.
        image: String,
    },
    /// An image mounted as a volume is another one now.
    ImageVolumeChanged,
    /// The container is not attached to a network.
    NotAttached {
        /// Network's name.
        network: String,
    },
    /// The container lacks a volume.
    NotMounted {
        /// Volume's name.
        volume: String,
    },
    /// A service whose namespace or volumes it shares is recreated.
    ParentRecreated {
        /// The service.
        service: String,
    },
    /// A dependency with `restart: true` is recreated or restarted.
    DependencyRestarted {
        /// The dependency.
        service: String,
    },
    /// A network it is attached to is recreated.
    NetworkRecreated {
        /// Network's name.
        network: String,
    },
    /// A volume it uses is recreated.
    VolumeRecreated {
        /// Volume's name.
        volume: String,
    },
    /// The data of a volume moves into its new configuration.
    VolumeMigrated {
        /// Volume's name.
        volume: String,
    },
    /// The migration of a volume was cut short.
    MigrationCutShort {
        /// Volume's name.
        volume: String,
    },
    /// Asked for by an option.
    Requested {
        /// The option or command.
        option: &'static str,
    },
    /// More containers are wanted.
    ScaleUp {
        /// Wanted number.
        wanted: usize,
        /// The option that says so, where it is not the file.
        #[serde(skip_serializing_if = "Option::is_none")]
        option: Option<&'static str>,
    },
    /// Fewer containers are wanted.
    ScaleDown {
        /// Service.
        service: String,
        /// Wanted number.
        wanted: usize,
        /// The option that says so, where it is not the file.
        #[serde(skip_serializing_if = "Option::is_none")]
        option: Option<&'static str>,
    },
    /// No service of the file owns it.
    Orphan,
    /// It does not run.
    NotRunning {
        /// Its state.
        state: String,
    },
    /// It was just made.
    Created,
    /// It is a step of the replacement of a container.
    Replacement,
    /// A replacement that was cut short left two containers for one place; this is the one too many.
    Leftover,
    /// It still has the passing name of a replacement that was cut short.
    Unnamed,
    /// A dependant waits for it.
    NeededBy {
        /// The dependant.
        service: String,
    },
    /// A hook of the service.
    Hook,
    /// The pull policy says so.
    PullPolicy {
        /// The policy.
        policy: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::ConfigChanged { changes } if changes.is_empty() => {
                f.write_str("configuration changed")
            }
            Self::ConfigChanged { changes } => {
                let texts: Vec<_> = changes.iter().map(Change::to_string).collect();
                f.write_str(&texts.join("; "))
            }
            Self::ContentChanged { contents } => {
                write!(f, "content of {} changed", contents.join(" and "))
            }
            Self::ImageChanged { image } => write!(f, "image `{image}` changed"),
            Self::ImageVolumeChanged => f.write_str("an image mounted as a volume changed"),
            Self::NotAttached { network } => write!(f, "not attached to network `{network}`"),
            Self::NotMounted { volume } => write!(f, "volume `{volume}` is not mounted"),
            Self::ParentRecreated { service } => {
                write!(f, "shares with `{service}`, which is recreated")
            }
            Self::DependencyRestarted { service } => write!(f, "`{service}` is restarted"),
            Self::NetworkRecreated { network } => write!(f, "network `{network}` is recreated"),
            Self::VolumeRecreated { volume } => write!(f, "volume `{volume}` is recreated"),
            Self::VolumeMigrated { volume } => {
                write!(f, "the data of volume `{volume}` is taken along")
            }
            Self::MigrationCutShort { volume } => {
                write!(f, "the migration of volume `{volume}` was cut short")
            }
            Self::Requested { option } => write!(f, "asked for by `{option}`"),
            Self::ScaleUp { wanted, option } | Self::ScaleDown { wanted, option, .. } => {
                write!(f, "{wanted} wanted")?;
                option.map_or(Ok(()), |option| write!(f, " by `{option}`"))
            }
            Self::Orphan => f.write_str("no service of the file owns it"),
            Self::NotRunning { state } => write!(f, "is {state}"),
            Self::Created => f.write_str("just created"),
            Self::Replacement => f.write_str("step of the replacement"),
            Self::Leftover => f.write_str("left by a replacement that was cut short"),
            Self::Unnamed => f.write_str("has a passing name still"),
            Self::NeededBy { service } => write!(f, "`{service}` waits for it"),
            Self::Hook => f.write_str("hook of the service"),
            Self::PullPolicy { policy } => write!(f, "pull policy `{policy}`"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullImage { image, .. } => write!(f, "pull image {image}"),
            Self::BuildImage(build) => write!(f, "build image {}", build.image),
            Self::RemoveImage { image } => write!(f, "remove image {image}"),
            Self::CreateNetwork(spec) => write!(f, "create network {}", spec.body.name),
            Self::RemoveNetwork { name, .. } => write!(f, "remove network {name}"),
            Self::ConnectNetwork {
                network, container, ..
            } => {
                write!(
                    f,
                    "connect container {} to network {network}",
                    container.name()
                )
            }
            Self::DisconnectNetwork { network, container } => {
                write!(
                    f,
                    "disconnect container {} from network {network}",
                    container.name()
                )
            }
            Self::CreateVolume(spec) => {
                write!(
                    f,
                    "create volume {}",
                    spec.body.name.as_deref().unwrap_or_default()
                )
            }
            Self::RemoveVolume { name, .. } => write!(f, "remove volume {name}"),
            Self::CopyVolume(copy) => write!(f, "copy volume {} to {}", copy.from, copy.to),
            Self::CreateContainer(create) => write!(f, "create container {}", create.spec.name),
            Self::RenameContainer { name, .. } => write!(f, "rename container to {name}"),
            Self::RollingUpdate(update) => {
                let old: Vec<_> = update.steps.iter().map(|step| step.old.name()).collect();
                write!(f, "update service {} ({})", update.service, old.join(", "))
            }
            Self::PreStart(hook) => write!(f, "run pre_start[{}] of {}", hook.index, hook.service),
            Self::StartContainer { container, .. } => {
                write!(f, "start container {}", container.name())
            }
            Self::StopContainer { container, .. } => {
                write!(f, "stop container {}", container.name())
            }
            Self::SignalContainer {
                container, signal, ..
            } => {
                write!(f, "send {signal} to container {}", container.name())
            }
            Self::RestartContainer { container, .. } => {
                write!(f, "restart container {}", container.name())
            }
            Self::RemoveContainer { container, .. } => {
                write!(f, "remove container {}", container.name())
            }
            Self::RunHook {
                container, kind, ..
            } => {
                let when = match kind {
                    HookKind::PostStart => "post_start",
                    HookKind::PreStop => "pre_stop",
                };
                write!(f, "run {when} in container {}", container.name())
            }
            Self::Wait(wait) => {
                let until = match wait.until {
                    WaitUntil::Healthy => "healthy",
                    WaitUntil::Completed => "completed",
                    WaitUntil::RunningOrHealthy | WaitUntil::Settled => "running or healthy",
                };
                write!(f, "wait until {} is {until}", wait.service)
            }
            Self::Provide { service, verb } => write!(f, "provider {verb} of {service}"),
        }
    }
}

impl Action {
    /// Where the file asks for the action, where that is known: `services.web.image`.
    #[must_use]
    pub fn model_path(&self) -> Option<String> {
        let service = self.service()?;
        let attribute = match self {
            Self::PullImage { .. } => ".image",
            Self::BuildImage(_) => ".build",
            Self::Provide { .. } => ".provider",
            _ => "",
        };
        Some(format!("services.{service}{attribute}"))
    }

    /// Whether the action is nothing by itself where all that comes after it is held back. What starts or makes
    /// something is worth doing for its own sake.
    #[must_use]
    pub fn is_preparation(&self) -> bool {
        match self {
            Self::CreateContainer(create) => create.replaces.is_some(),
            Self::CreateNetwork(_)
            | Self::RemoveNetwork { .. }
            | Self::ConnectNetwork { .. }
            | Self::DisconnectNetwork { .. }
            | Self::CreateVolume(_)
            | Self::RemoveVolume { .. }
            | Self::CopyVolume(_)
            | Self::RenameContainer { .. }
            | Self::StopContainer { .. }
            | Self::RemoveContainer { .. }
            | Self::Wait(_) => true,
            Self::RunHook { kind, .. } => *kind == HookKind::PreStop,
            Self::PullImage { .. }
            | Self::BuildImage(_)
            | Self::RemoveImage { .. }
            | Self::RollingUpdate(_)
            | Self::PreStart(_)
            | Self::StartContainer { .. }
            | Self::SignalContainer { .. }
            | Self::RestartContainer { .. }
            | Self::Provide { .. } => false,
        }
    }

    /// The container that the action is about; none where it makes one, or is about several.
    #[must_use]
    pub fn container(&self) -> Option<&ContainerRef> {
        match self {
            Self::ConnectNetwork { container, .. }
            | Self::DisconnectNetwork { container, .. }
            | Self::RenameContainer { container, .. }
            | Self::StartContainer { container, .. }
            | Self::StopContainer { container, .. }
            | Self::SignalContainer { container, .. }
            | Self::RestartContainer { container, .. }
            | Self::RemoveContainer { container, .. }
            | Self::RunHook { container, .. } => Some(container),
            _ => None,
        }
    }

    /// The service the action is for, where there is one.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::PullImage { service, .. }
            | Self::StartContainer { service, .. }
            | Self::SignalContainer { service, .. }
            | Self::RunHook { service, .. }
            | Self::Provide { service, .. } => Some(service),
            Self::CreateContainer(create) => Some(&create.service),
            Self::BuildImage(build) => Some(&build.service),
            Self::RollingUpdate(update) => Some(&update.service),
            Self::PreStart(hook) => Some(&hook.service),
            Self::Wait(wait) => Some(&wait.service),
            Self::RemoveImage { .. }
            | Self::CreateNetwork(_)
            | Self::RemoveNetwork { .. }
            | Self::ConnectNetwork { .. }
            | Self::DisconnectNetwork { .. }
            | Self::CreateVolume(_)
            | Self::RemoveVolume { .. }
            | Self::CopyVolume(_)
            | Self::RenameContainer { .. }
            | Self::StopContainer { .. }
            | Self::RestartContainer { .. }
            | Self::RemoveContainer { .. } => None,
        }
    }
}
