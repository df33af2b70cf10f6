//! Why a configuration is another one: what exists is compared with what the file says, field by field.
//!
//! The config hash says that something changed, never what. The old values are what the engine tells about the object;
//! nothing is written down for this, so objects that docker compose made are explained as well. Values of environment
//! variables and of driver options are never named, only their keys.
//!
//! ```text
//! Plan ── questions() ──> ids and names ── (engine: inspect) ──> Evidence ── explain() ──> Plan with changes and places
//! ```
//!
//! Called by `apply::explain`, which asks the engine, for `plan` and `up --dry-run`.

mod attribute;
mod container;
mod defaults;
mod place;
mod reading;
mod resource;

use bollard_stubs::models::{ContainerInspectResponse, ImageInspect, NetworkInspect, Volume};
use indexmap::{IndexMap, IndexSet};

use super::network::network_spec;
use super::volume::volume_spec;
use super::{Action, Cause, Change, ContainerRef, CreateContainer, Decision, Node, Plan};
use crate::model::Project;
pub use defaults::Defaults;
use place::Places;

/// Finds the `file:line` of a path in the model; `None` where no file says it.
pub type PlaceOf<'a> = dyn Fn(&[String]) -> Option<String> + 'a;

/// What has to be asked for before a plan can be explained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions {
    /// Ids of containers.
    pub containers: IndexSet<String>,
    /// Names of networks.
    pub networks: IndexSet<String>,
    /// Names of volumes.
    pub volumes: IndexSet<String>,
}

/// What the engine answered; what it could not say is absent.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Containers by id, with the image that each was made from.
    pub containers: IndexMap<String, (ContainerInspectResponse, Option<ImageInspect>)>,
    /// Networks by name.
    pub networks: IndexMap<String, NetworkInspect>,
    /// Volumes by name.
    pub volumes: IndexMap<String, Volume>,
    /// What the engine gives containers by itself.
    pub defaults: Defaults,
    /// What the files have beside what the project uses.
    pub mentioned: Mentioned,
}

/// Secrets and configs of the files by name, those too that no service uses any more, with the file of each; it is empty
/// where they are no files.
#[derive(Debug, Clone, Default)]
pub struct Mentioned {
    /// Secrets.
    pub secrets: IndexMap<String, String>,
    /// Configs.
    pub configs: IndexMap<String, String>,
}

/// What an explanation of a plan needs to know of existing objects.
#[must_use]
pub fn questions(plan: &Plan) -> Questions {
    let mut questions = Questions::default();
    for (_, node) in plan.nodes() {
        if !matches!(node.cause, Cause::ConfigChanged { .. }) {
            continue;
        }
        match &node.action {
            Action::CreateNetwork(spec) => {
                questions.networks.insert(spec.body.name.clone());
            }
            Action::CreateVolume(spec) => {
                questions.volumes.extend(spec.body.name.clone());
            }
            action => {
                let replaced = replacement(action).map(|(id, _)| id.to_owned());
                questions.containers.extend(replaced);
            }
        }
    }
    for Decision::RecreateVolume { volume, .. } in &plan.decisions {
        questions.volumes.insert(volume.clone());
    }
    questions
}

/// Fills in the changed fields of each cause, and the place of the file that each action goes back to.
pub fn explain(plan: &mut Plan, project: &Project, answers: &Answers, place: &PlaceOf<'_>) {
    let places = Places::new(project, place);
    let mut removals = IndexMap::new();
    for node in plan.nodes_mut() {
        explain_node(node, &places, answers);
        if let (Action::CreateNetwork(spec), Cause::ConfigChanged { .. }) =
            (&node.action, &node.cause)
        {
            removals.insert(format!("network {}", spec.body.name), node.cause.clone());
        }
        if let (Action::CreateVolume(spec), Cause::ConfigChanged { .. }) =
            (&node.action, &node.cause)
        {
            let name = spec.body.name.as_deref().unwrap_or_default();
            removals.insert(format!("volume {name}"), node.cause.clone());
        }
        node.place = places.of_node(node);
    }
    // What is removed to be made again goes for the same reason.
    for node in plan.nodes_mut() {
        let key = match &node.action {
            Action::RemoveNetwork { name, .. } => format!("network {name}"),
            Action::RemoveVolume { name, .. } => format!("volume {name}"),
            _ => continue,
        };
        if let (Cause::ConfigChanged { .. }, Some(cause)) = (&node.cause, removals.get(&key)) {
            node.cause = cause.clone();
        }
    }
    for Decision::RecreateVolume { volume, changes } in &mut plan.decisions {
        if let Some(found) = volume_changes(&places, answers, volume) {
            *changes = found;
        }
    }
}

fn explain_node(node: &mut Node, places: &Places<'_>, answers: &Answers) {
    let Cause::ConfigChanged { changes } = &mut node.cause else {
        return;
    };
    let found = match &node.action {
        Action::CreateNetwork(spec) => network_changes(places, answers, &spec.body.name),
        Action::CreateVolume(spec) => {
            let name = spec.body.name.as_deref().unwrap_or_default();
            volume_changes(places, answers, name)
        }
        action => replacement(action).and_then(|(id, create)| {
            let (container, image) = answers.containers.get(id)?;
            let seen = (container, image.as_ref());
            Some(container::changes(places, create, seen, answers))
        }),
    };
    *changes = found.unwrap_or_default();
}

/// The container that an action replaces, and what it makes; of a rolling update the first.
fn replacement(action: &Action) -> Option<(&str, &CreateContainer)> {
    let (old, create) = match action {
        Action::CreateContainer(create) => (create.replaces.as_ref()?, &**create),
        Action::RollingUpdate(update) => {
            let step = update.steps.first()?;
            (&step.old, &step.create)
        }
        _ => return None,
    };
    match old {
        ContainerRef::Existing { id, .. } => Some((id, create)),
        ContainerRef::Planned { .. } => None,
    }
}

fn network_changes(places: &Places<'_>, answers: &Answers, name: &str) -> Option<Vec<Change>> {
    let observed = answers.networks.get(name)?;
    let project = places.project();
    let (key, network) = project
        .networks
        .iter()
        .find(|(_, network)| network.name == name)?;
    let wanted = network_spec(project, key, network);
    Some(resource::network(places, key, &wanted.body, observed))
}

fn volume_changes(places: &Places<'_>, answers: &Answers, name: &str) -> Option<Vec<Change>> {
    let observed = answers.volumes.get(name)?;
    let project = places.project();
    let (key, volume) = project
        .volumes
        .iter()
        .find(|(_, volume)| volume.name == name)?;
    let wanted = volume_spec(project, key, volume);
    Some(resource::volume(places, key, &wanted.body, observed))
}

#[cfg(test)]
mod tests;
