//! The words for each action, as docker compose has them (behaviours.md B289).

use super::{ApplyEvent, ResourceEvent, Status};
use crate::plan::{Action, Cause, Node, Shown};

/// What is said of an action: the resource, the word while it runs, and the word when it is done.
pub(super) struct Words {
    pub(super) id: String,
    pub(super) working: Option<&'static str>,
    pub(super) done: Option<&'static str>,
}

/// The words for an action; `None` where it is no news by itself, or tells its own.
pub(super) fn words(action: &Action) -> Option<Words> {
    let both = |id, working, done| {
        Some(Words {
            id,
            working: Some(working),
            done: Some(done),
        })
    };
    let container = |name: &str| format!("Container {name}");
    match action {
        Action::RemoveImage { image } => both(format!("Image {image}"), "Removing", "Removed"),
        Action::CreateNetwork(spec) => {
            both(format!("Network {}", spec.body.name), "Creating", "Created")
        }
        Action::RemoveNetwork {
            name,
            shown: Shown::Yes,
            ..
        } => both(format!("Network {name}"), "Removing", "Removed"),
        Action::CreateVolume(spec) => {
            let name = spec.body.name.as_deref().unwrap_or_default();
            both(format!("Volume {name}"), "Creating", "Created")
        }
        Action::RemoveVolume {
            name,
            shown: Shown::Yes,
        } => both(format!("Volume {name}"), "Removing", "Removed"),
        Action::CopyVolume(copy) => both(format!("Volume {}", copy.from), "Copying", "Copied"),
        Action::CreateContainer(create) => match &create.replaces {
            Some(_) => Some(Words {
                id: container(&create.display),
                working: Some("Recreate"),
                done: None,
            }),
            None => both(container(&create.display), "Creating", "Created"),
        },
        Action::RenameContainer { name, .. } => Some(Words {
            id: container(name),
            working: None,
            done: Some("Recreated"),
        }),
        Action::StartContainer { container: it, .. } => {
            both(container(it.name()), "Starting", "Started")
        }
        Action::StopContainer {
            container: it,
            shown: Shown::Yes,
            ..
        } => both(container(it.name()), "Stopping", "Stopped"),
        Action::SignalContainer { container: it, .. } => {
            both(container(it.name()), "Signalling", "Signalled")
        }
        Action::RestartContainer { container: it, .. } => {
            both(container(it.name()), "Restarting", "Started")
        }
        Action::RemoveContainer {
            container: it,
            shown: Shown::Yes,
            ..
        } => both(container(it.name()), "Removing", "Removed"),
        Action::BuildImage(build) => both(format!("Image {}", build.image), "Building", "Built"),
        Action::PullImage { image, .. } => both(format!("Image {image}"), "Pulling", "Pulled"),
        Action::StopContainer { .. }
        | Action::RemoveContainer { .. }
        | Action::RemoveNetwork { .. }
        | Action::RemoveVolume { .. }
        | Action::ConnectNetwork { .. }
        | Action::DisconnectNetwork { .. }
        | Action::RollingUpdate(_)
        | Action::PreStart(_)
        | Action::RunHook { .. }
        | Action::Wait(_)
        | Action::Provide { .. } => None,
    }
}

impl Words {
    /// The first word; where it is known what changed, with that.
    pub(super) fn begin(&self, node: &Node) -> Option<ApplyEvent> {
        let text = self.working?;
        let why = match &node.cause {
            Cause::ConfigChanged { changes } if !changes.is_empty() => node.cause.to_string(),
            _ => String::new(),
        };
        let event = ResourceEvent::new(&self.id, Status::Working, text).detailed(why);
        Some(ApplyEvent::Resource(event))
    }

    pub(super) fn end(&self) -> Option<ApplyEvent> {
        let text = self.done?;
        Some(ApplyEvent::Resource(ResourceEvent::new(
            &self.id,
            Status::Done,
            text,
        )))
    }

    /// That it failed; why, the report says.
    pub(super) fn fail(&self) -> ApplyEvent {
        ApplyEvent::Resource(ResourceEvent::new(&self.id, Status::Error, "Error"))
    }
}
