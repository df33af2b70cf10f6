//! Migration of a volume whose configuration changed: a volume of the same name cannot stand beside it, so its data
//! waits in a volume put aside.
//!
//! ```text
//! users stop ─ aside is made ─ data to aside ─ users go ─ old volume goes ─ new volume is made ─ data back ─ aside goes
//!                              ^                                                                 ^
//!                              the old volume has it all until here        aside has it all from here to its end
//! ```
//!
//! Cut short anywhere, the next plan sees from the two volumes alone how far it got: aside carries the hash of the
//! configuration it waits for, and is whole as soon as the old volume is gone. No container of the service is made
//! before aside is gone. Called by `volume`.

use std::collections::HashMap;

use bollard_stubs::models::VolumeCreateRequest;

use super::resolve::image_name;
use super::{
    Action, Cause, ContainerRef, CopyVolume, NodeId, Planner, Shown, hash, volume::volume_spec,
};
use crate::engine::spec::copier;
use crate::engine::{ObservedContainer, ObservedVolume, VolumeSpec, label};
use crate::model::{Service, Volume};

/// The name of the volume in which the data of another one waits.
pub(super) fn aside_name(volume: &str) -> String {
    format!("{volume}_migration")
}

/// What a migration that was cut short left.
pub(super) enum Rest {
    /// Nothing.
    None,
    /// A part of the data; the volume itself still has all of it.
    Part,
    /// All of the data; the volume itself may have less.
    Whole,
}

/// Looks for the rest of a migration.
pub(super) fn rest(planner: &Planner<'_>, volume: &Volume) -> Rest {
    let observed = &planner.observed.volumes;
    let find = |volume: &ObservedVolume, name: &str| volume.labels.get(name).cloned();
    let Some(aside) = observed
        .get(&aside_name(&volume.name))
        .filter(|aside| find(aside, label::MIGRATION).as_ref() == Some(&volume.name))
        .filter(|aside| find(aside, label::PROJECT).as_ref() == Some(&planner.project.name))
    else {
        return Rest::None;
    };
    match observed.get(&volume.name) {
        Some(old) if find(old, label::CONFIG_HASH) != find(aside, label::CONFIG_HASH) => Rest::Part,
        Some(_) | None => Rest::Whole,
    }
}

/// Removes what a migration left that got nowhere; answers the node.
pub(super) fn discard(planner: &mut Planner<'_>, volume: &Volume) -> NodeId {
    let aside = aside_name(&volume.name);
    let cause = Cause::MigrationCutShort {
        volume: volume.name.clone(),
    };
    let users = free(planner, &aside, &cause);
    let gone = evict(planner, users, &cause, &[]);
    remove_volume(planner, aside, cause, &gone)
}

/// Moves the data of a volume into its new configuration.
pub(super) fn migrate(
    planner: &mut Planner<'_>,
    key: &str,
    volume: &Volume,
    after: Option<NodeId>,
) {
    let cause = Cause::VolumeMigrated {
        volume: volume.name.clone(),
    };
    let changed = Cause::ConfigChanged {
        changes: Vec::new(),
    };
    let users = free(planner, &volume.name, &cause);
    let aside = aside_spec(planner, volume);
    let after: Vec<_> = after.into_iter().collect();
    let make = Action::CreateVolume(Box::new(aside));
    let made = planner.plan.add(make, cause.clone(), &after);
    let freed = users.iter().flat_map(|(_, freed)| freed.iter().copied());
    let mut ready: Vec<_> = freed.collect();
    ready.push(made);
    let name = aside_name(&volume.name);
    let saved = copy(planner, key, (&volume.name, &name), (cause.clone(), &ready));
    let gone = evict(planner, users, &cause, &[saved]);
    let removed = remove_volume(planner, volume.name.clone(), changed.clone(), &gone);
    bring_back(planner, key, volume, (changed, cause, &[removed]));
}

/// Ends a migration that was cut short after the data was put aside.
pub(super) fn resume(planner: &mut Planner<'_>, key: &str, volume: &Volume) {
    let cause = Cause::MigrationCutShort {
        volume: volume.name.clone(),
    };
    let users = free(planner, &volume.name, &cause);
    let gone = evict(planner, users, &cause, &[]);
    let wanted = hash::volume_hash(volume);
    let current = planner.observed.volumes.get(&volume.name);
    match current.map(|seen| seen.labels.get(label::CONFIG_HASH) == Some(&wanted)) {
        Some(true) => give_back(planner, key, volume, (cause, &gone)),
        // The file changed once more since.
        Some(false) => {
            let removed = remove_volume(planner, volume.name.clone(), cause.clone(), &gone);
            bring_back(planner, key, volume, (cause.clone(), cause, &[removed]));
        }
        None => bring_back(planner, key, volume, (cause.clone(), cause, &gone)),
    }
}

/// Makes the volume anew and fills it.
fn bring_back(
    planner: &mut Planner<'_>,
    key: &str,
    volume: &Volume,
    (made_for, cause, after): (Cause, Cause, &[NodeId]),
) {
    let spec = volume_spec(planner.project, key, volume);
    let make = Action::CreateVolume(Box::new(spec));
    let made = planner.plan.add(make, made_for, after);
    give_back(planner, key, volume, (cause, &[made]));
}

/// Fills the volume with what was put aside.
fn give_back(
    planner: &mut Planner<'_>,
    key: &str,
    volume: &Volume,
    (cause, after): (Cause, &[NodeId]),
) {
    let aside = aside_name(&volume.name);
    let names = (aside.as_str(), volume.name.as_str());
    let filled = copy(planner, key, names, (cause.clone(), after));
    let done = remove_volume(planner, aside, cause, &[filled]);
    planner.volumes.insert(volume.name.clone(), done);
    planner.recreated_volumes.insert(volume.name.clone());
}

fn aside_spec(planner: &Planner<'_>, volume: &Volume) -> VolumeSpec {
    let labels = [
        (label::PROJECT, planner.project.name.clone()),
        (label::MIGRATION, volume.name.clone()),
        (label::CONFIG_HASH, hash::volume_hash(volume)),
    ];
    let labels: HashMap<_, _> = labels.map(|(key, value)| (key.to_owned(), value)).into();
    VolumeSpec {
        body: VolumeCreateRequest {
            name: Some(aside_name(&volume.name)),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        },
    }
}

fn remove_volume(
    planner: &mut Planner<'_>,
    name: String,
    cause: Cause,
    after: &[NodeId],
) -> NodeId {
    // Not shown: where it fails, so does the migration.
    let remove = Action::RemoveVolume {
        name,
        shown: Shown::Within,
    };
    planner.plan.add(remove, cause, after)
}

/// Copies with a container of a service that uses the volume, or else of any.
fn copy(
    planner: &mut Planner<'_>,
    key: &str,
    (from, to): (&str, &str),
    (cause, after): (Cause, &[NodeId]),
) -> NodeId {
    let uses = |service: &&Service| service.volumes.iter().any(|mount| mount.source == key);
    let services = || {
        let all = planner.project.services.values();
        all.filter(|service| service.provider.is_none())
    };
    let service = services().find(uses).or_else(|| services().next());
    let (name, image, platform) = service.map_or_else(Default::default, |service| {
        let image = image_name(planner.project, service, planner.separator());
        (service.name.clone(), image, service.platform.clone())
    });
    let mut helper = copier(&image, from, to);
    helper.platform = platform;
    let labels = [
        (label::PROJECT, planner.project.name.as_str()),
        (label::SERVICE, name.as_str()),
        (label::VERSION, label::COMPOSE_VERSION),
        (label::HOOK, "migrate_volume"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    helper.body.labels = Some(labels.into());
    let action = Action::CopyVolume(Box::new(CopyVolume {
        service: name,
        from: from.to_owned(),
        to: to.to_owned(),
        helper,
    }));
    planner.plan.add(action, cause, after)
}

/// Stops the containers that use a volume: (container, the nodes after which it does not write any more).
pub(super) fn free<'a>(
    planner: &mut Planner<'a>,
    volume: &str,
    cause: &Cause,
) -> Vec<(&'a ObservedContainer, Vec<NodeId>)> {
    let users = planner.observed.containers.iter().filter(|container| {
        let mut mounts = container.mounts.iter();
        mounts.any(|mount| mount.name.as_deref() == Some(volume))
    });
    let mut freed = Vec::new();
    for container in users {
        if let Some(node) = planner.removed.get(&container.id) {
            freed.push((container, vec![*node]));
            continue;
        }
        // Stopped already, and on its way back to a network: the two must not meet.
        if let Some((nodes, _)) = planner.reconnected.get(&container.id) {
            freed.push((container, nodes.clone()));
            continue;
        }
        let stop = Action::StopContainer {
            container: ContainerRef::from(container),
            timeout: planner.options.timeout,
            shown: Shown::Yes,
        };
        freed.push((container, vec![planner.plan.add(stop, cause.clone(), &[])]));
    }
    freed
}

/// Removes stopped containers, which hold a volume as well.
pub(super) fn evict(
    planner: &mut Planner<'_>,
    users: Vec<(&ObservedContainer, Vec<NodeId>)>,
    cause: &Cause,
    after: &[NodeId],
) -> Vec<NodeId> {
    let mut gone = after.to_vec();
    for (container, freed) in users {
        if planner.removed.contains_key(&container.id) {
            gone.extend(freed);
            continue;
        }
        let remove = Action::RemoveContainer {
            container: ContainerRef::from(container),
            volumes: false,
            force: true,
            shown: Shown::Yes,
        };
        let removed = planner
            .plan
            .add(remove, cause.clone(), &[&freed, after].concat());
        planner.removed.insert(container.id.clone(), removed);
        gone.push(removed);
    }
    gone
}
