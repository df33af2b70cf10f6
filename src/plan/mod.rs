//! The plan: what must be done so that what exists becomes what the file says, and why.
//!
//! Pure: a function of a snapshot, without a call, a clock or a question in between; ties are broken by name. The
//! phases stand in the order in which docker compose has them (behaviours.md B130), because a plan that is read by
//! people should tell the same story: networks, volumes, containers, orphans, starts.
//!
//! ```text
//! Project ┐
//! Graph   ├─ plan() ──> Plan { DAG of (Action, Cause), unchanged, decisions, notices }
//! Observed┘
//! ```
//!
//! Callers: the commands. What runs it: `apply`.

mod action;
mod change;
mod container;
pub mod content;
mod dag;
mod derive;
mod down;
pub mod explain;
pub mod generate;
mod hash;
mod image;
mod lifecycle;
mod migrate;
mod network;
mod one_off;
mod options;
mod orphan;
pub mod preflight;
pub mod resolve;
mod rolling;
mod start;
mod volume;

use indexmap::{IndexMap, IndexSet};

use crate::engine::ObservedState;
use crate::graph::Graph;
use crate::model::{Project, Service};

pub use action::{
    Action, BuildImage, Cause, ContainerRef, CopyVolume, CreateContainer, HookKind, LateBinding,
    PreStart, Shown, Wait, WaitUntil,
};
pub use change::{Change, ChangeKind};
pub use dag::{Decision, Node, NodeId, Notice, Plan, Unchanged};
pub use derive::derive_project;
pub use down::down;
pub use hash::{network_hash, volume_hash};
pub use image::{
    BuildRule, ImageOptions, PullPolicy, build_action, image_references, plan_images,
    services_without,
};
pub use lifecycle::{remove, restart, start_existing, stop};
pub use one_off::{OneOff, one_off, post_start};
pub use options::{
    AnonymousVolumes, DownOptions, Goal, OrphanPolicy, PlanOptions, Recreate, RemoveImages,
    RemoveVolumes, Separator, VolumeChange,
};
pub use orphan::orphans;
pub use resolve::{Delivery, ResolveError};
pub use rolling::{FailureAction, RollingStep, RollingUpdate, UpdateOrder, UpdateRules};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A service cannot become a container.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A network outside of the project is not there.
    #[error("network {name} declared as external, but could not be found")]
    ExternalNetworkMissing {
        /// Name.
        name: String,
    },
    /// A volume outside of the project is not there.
    #[error("external volume \"{name}\" not found")]
    ExternalVolumeMissing {
        /// Name.
        name: String,
    },
    /// Two services want the same container name.
    #[error("services.{second}: container name \"{name}\" is already in use by service {first}")]
    ContainerNameTaken {
        /// Name.
        name: String,
        /// Service.
        first: String,
        /// Other service.
        second: String,
    },
    /// A service has no container that could be started.
    #[error("service \"{service}\" has no container to start")]
    NothingToStart {
        /// Service.
        service: String,
    },
    /// A service waits for one that has no container.
    #[error("{service} is missing dependency {dependency}")]
    MissingDependency {
        /// Service.
        service: String,
        /// Dependency.
        dependency: String,
    },
    /// A service that is not in the project.
    #[error("no such service: {service}")]
    NoSuchService {
        /// Service.
        service: String,
    },
}

/// Plans `up`, `create` and `scale`.
///
/// # Errors
/// When the file asks for what cannot be, or something outside of the project is missing.
pub fn plan(
    project: &Project,
    graph: &Graph,
    observed: &ObservedState,
    options: &PlanOptions,
) -> Result<Plan, PlanError> {
    container::check_names(project)?;
    let mut planner = Planner::new(project, graph, observed, options);
    network::plan_networks(&mut planner)?;
    volume::plan_volumes(&mut planner)?;
    container::plan_containers(&mut planner)?;
    orphan::plan_orphans(&mut planner);
    network::remove_renamed(&mut planner);
    if options.goal != Goal::Created {
        start::plan_starts(&mut planner)?;
    }
    Ok(planner.plan)
}

/// How many containers a service wants.
#[must_use]
pub fn wanted_replicas(service: &Service) -> usize {
    let wanted = service
        .scale
        .or(service.deploy.as_ref().and_then(|deploy| deploy.replicas))
        .unwrap_or(1);
    usize::try_from(wanted).unwrap_or(0)
}

/// The name of a service's container (behaviours.md B119).
#[must_use]
pub fn container_name(
    project: &Project,
    service: &Service,
    number: usize,
    separator: char,
) -> String {
    if service.container_name.is_empty() {
        format!(
            "{}{separator}{}{separator}{number}",
            project.name, service.name
        )
    } else {
        service.container_name.clone()
    }
}

/// A container of a service as it stands while the plan grows.
#[derive(Debug, Clone)]
struct Replica {
    /// The container.
    container: ContainerRef,
    /// Nodes that must be done before it can be started.
    ready: Vec<NodeId>,
    /// Why it must be started; `None` runs already.
    start: Option<Cause>,
}

/// What is known so far of a service.
#[derive(Debug, Clone, Default)]
struct Replicas {
    /// Its containers, by number.
    containers: Vec<Replica>,
    /// Whether one of them is replaced.
    recreated: bool,
    /// Replicas that a rolling update replaces when the service's turn to start comes: the steps, their cause, and the
    /// nodes they come after.
    rolling: Option<(Vec<RollingStep>, Cause, Vec<NodeId>)>,
}

/// The plan under construction.
#[derive(Debug)]
struct Planner<'a> {
    project: &'a Project,
    graph: &'a Graph,
    observed: &'a ObservedState,
    options: &'a PlanOptions,
    plan: Plan,
    /// Per network name: the node after which it can be used.
    networks: IndexMap<String, NodeId>,
    /// Per volume name: the node after which it can be used.
    volumes: IndexMap<String, NodeId>,
    /// Volumes that are recreated.
    recreated_volumes: IndexSet<String>,
    /// Existing containers that the network phase stopped and reconnected: (last node, network).
    reconnected: IndexMap<String, (Vec<NodeId>, String)>,
    /// Existing containers that the volume phase removed.
    removed: IndexMap<String, NodeId>,
    /// Containers that are too many: per id the node that removes it.
    surplus: IndexMap<String, NodeId>,
    /// Per service: the nodes that remove what a replacement that was cut short left, and that free its names.
    leftovers: IndexMap<String, Vec<NodeId>>,
    /// Per container id: the node that stops it for the sake of a dependency.
    stopped: IndexMap<String, (NodeId, String)>,
    /// Per service.
    services: IndexMap<String, Replicas>,
    /// Networks whose name changed: (id, old name, key).
    renamed_networks: Vec<(String, String, String)>,
}

impl<'a> Planner<'a> {
    fn new(
        project: &'a Project,
        graph: &'a Graph,
        observed: &'a ObservedState,
        options: &'a PlanOptions,
    ) -> Self {
        Self {
            project,
            graph,
            observed,
            options,
            plan: Plan::default(),
            networks: IndexMap::new(),
            volumes: IndexMap::new(),
            recreated_volumes: IndexSet::new(),
            reconnected: IndexMap::new(),
            removed: IndexMap::new(),
            surplus: IndexMap::new(),
            leftovers: IndexMap::new(),
            stopped: IndexMap::new(),
            services: IndexMap::new(),
            renamed_networks: Vec::new(),
        }
    }

    fn separator(&self) -> char {
        self.options.separator.as_char()
    }

    /// How a container of a service is to be, of which neither the hash nor what it replaces matters.
    fn request<'b>(
        &'b self,
        service: &'b Service,
        name: &'b str,
        role: resolve::Role,
    ) -> resolve::Request<'b> {
        resolve::Request {
            project: self.project,
            service,
            name,
            role,
            observed: self.observed,
            hash: "",
            inherit: None,
            replaces: None,
            separator: self.separator(),
            api: self.options.api,
            delivery: self.options.delivery,
        }
    }

    /// Whether the user named a service, or all of them.
    fn is_named(&self, service: &str) -> bool {
        self.options.named.is_empty() || self.options.named.iter().any(|name| name == service)
    }

    fn notice(&mut self, text: String) {
        self.plan.notices.push(Notice { text });
    }
}

#[cfg(test)]
mod tests;
