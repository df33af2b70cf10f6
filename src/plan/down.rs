//! Removal of a project: dependants before what they need, then networks, volumes and images (behaviours.md B231-B237).

use indexmap::{IndexMap, IndexSet};

use super::resolve::image_name;
use super::{
    Action, Cause, ContainerRef, DownOptions, HookKind, NodeId, OrphanPolicy, Plan, RemoveImages,
    RemoveVolumes, Shown,
};
use crate::engine::{ObservedContainer, ObservedState, label};
use crate::graph::{Graph, Reach};
use crate::model::{Project, Service};

const CAUSE: Cause = Cause::Requested { option: "down" };

/// Plans the removal of a project, or of some of its services.
#[must_use]
pub fn down(
    project: &Project,
    graph: &Graph,
    observed: &ObservedState,
    options: &DownOptions,
) -> Plan {
    let mut plan = Plan::default();
    let mut removed: IndexMap<String, Vec<NodeId>> = IndexMap::new();
    let chosen: IndexSet<&str> = graph
        .select(&options.services, Reach::Named)
        .into_iter()
        .collect();
    for name in graph.stop_order().filter(|name| chosen.contains(name)) {
        let Some(service) = project.services.get(name) else {
            continue;
        };
        let after: Vec<_> = graph
            .dependents(name)
            .into_iter()
            .filter_map(|(dependant, _)| removed.get(dependant))
            .flatten()
            .copied()
            .collect();
        let nodes = remove_service(&mut plan, service, observed, options, &after);
        removed.insert(name.to_owned(), nodes);
    }
    if options.orphans == OrphanPolicy::Remove {
        let known: IndexSet<&str> = project.services.keys().map(String::as_str).collect();
        let orphans: Vec<_> = super::orphans(project, observed)
            .into_iter()
            .filter(|orphan| !known.contains(orphan.service()))
            .collect();
        let nodes = orphans
            .into_iter()
            .map(|orphan| remove(&mut plan, orphan, None, options, &[]))
            .collect();
        removed.insert(String::new(), nodes);
    }
    let gone: Vec<NodeId> = removed.into_values().flatten().collect();
    remove_networks(&mut plan, project, observed, &gone);
    if options.volumes == RemoveVolumes::Remove {
        remove_volumes(&mut plan, project, observed, &gone);
    }
    remove_images(&mut plan, project, observed, options, &gone);
    plan
}

fn remove_service(
    plan: &mut Plan,
    service: &Service,
    observed: &ObservedState,
    options: &DownOptions,
    after: &[NodeId],
) -> Vec<NodeId> {
    if service.provider.is_some() {
        let action = Action::Provide {
            service: service.name.clone(),
            verb: "down",
        };
        return vec![plan.add(action, CAUSE, after)];
    }
    observed
        .containers
        .iter()
        .filter(|container| container.service() == service.name)
        .filter(|container| !container.is_one_off() || options.orphans == OrphanPolicy::Remove)
        .map(|container| remove(plan, container, Some(service), options, after))
        .collect()
}

fn remove(
    plan: &mut Plan,
    container: &ObservedContainer,
    service: Option<&Service>,
    options: &DownOptions,
    after: &[NodeId],
) -> NodeId {
    let after = pre_stop(plan, container, service, after);
    let stop = Action::StopContainer {
        container: ContainerRef::from(container),
        timeout: options.timeout,
        shown: Shown::Yes,
    };
    let stopped = plan.add(stop, CAUSE, &after);
    let remove = Action::RemoveContainer {
        container: ContainerRef::from(container),
        volumes: options.volumes == RemoveVolumes::Remove,
        force: true,
        shown: Shown::Yes,
    };
    plan.add(remove, CAUSE, &[stopped])
}

/// Commands before the stop, one after the other; returns what the stop comes after.
pub(super) fn pre_stop(
    plan: &mut Plan,
    container: &ObservedContainer,
    service: Option<&Service>,
    after: &[NodeId],
) -> Vec<NodeId> {
    let mut after = after.to_vec();
    let Some(service) = service.filter(|_| container.is_running()) else {
        return after;
    };
    for hook in &service.pre_stop {
        let run = Action::RunHook {
            service: service.name.clone(),
            container: ContainerRef::from(container),
            kind: HookKind::PreStop,
            hook: Box::new(hook.clone()),
        };
        after = vec![plan.add(run, Cause::Hook, &after)];
    }
    after
}

fn remove_networks(plan: &mut Plan, project: &Project, observed: &ObservedState, after: &[NodeId]) {
    for network in project
        .networks
        .values()
        .filter(|network| !network.external)
    {
        let Some(found) = observed.networks.get(&network.name) else {
            continue;
        };
        if !found.labels.contains_key(label::NETWORK) {
            continue;
        }
        let action = Action::RemoveNetwork {
            id: found.id.clone(),
            name: found.name.clone(),
            shown: Shown::Yes,
        };
        plan.add(action, CAUSE, after);
    }
}

fn remove_volumes(plan: &mut Plan, project: &Project, observed: &ObservedState, after: &[NodeId]) {
    for volume in project.volumes.values().filter(|volume| !volume.external) {
        let aside = super::migrate::aside_name(&volume.name);
        let found = [volume.name.clone(), aside].into_iter();
        for name in found.filter(|name| observed.volumes.contains_key(name)) {
            let shown = Shown::Yes;
            plan.add(Action::RemoveVolume { name, shown }, CAUSE, after);
        }
    }
}

fn remove_images(
    plan: &mut Plan,
    project: &Project,
    observed: &ObservedState,
    options: &DownOptions,
    after: &[NodeId],
) {
    let mut images: IndexSet<String> = IndexSet::new();
    let chosen = |service: &&Service| {
        options.services.is_empty() || options.services.contains(&service.name)
    };
    for service in project.services.values().filter(chosen) {
        let own_name = service.image.is_empty();
        let wanted = match options.images {
            RemoveImages::Keep => false,
            RemoveImages::Local => own_name,
            RemoveImages::All => true,
        };
        let name = image_name(project, service, options.separator.as_char());
        let built_here = observed
            .images
            .get(&name)
            .is_some_and(|image| image.labels.get(label::PROJECT) == Some(&project.name));
        let local = options.images == RemoveImages::Local && built_here;
        if (wanted || local) && observed.images.contains_key(&name) {
            images.insert(name);
        }
    }
    for image in images {
        plan.add(Action::RemoveImage { image }, CAUSE, after);
    }
}
