//! A project known only by the labels of what exists (behaviours.md B024).

use std::path::PathBuf;

use crate::engine::{ObservedContainer, ObservedState, label};
use crate::model::{
    AttachedNetwork, Dependency, DependencyCondition, Network, Project, Service, Volume,
};

/// Builds the model of a project from what is on the engine.
#[must_use]
pub fn derive_project(name: &str, observed: &ObservedState) -> Project {
    let mut project = Project {
        name: name.to_owned(),
        ..Project::default()
    };
    let replicas = || {
        let found = observed.containers.iter();
        found.filter(|container| {
            !container.service().is_empty() && !container.labels.contains_key(label::HOOK)
        })
    };
    for container in replicas().filter(|container| !container.is_one_off()) {
        add_container(&mut project, container, observed);
    }
    for network in observed
        .networks
        .values()
        .filter(|network| belongs(&network.labels, name))
    {
        if let Some(key) = network.labels.get(label::NETWORK) {
            let entry = Network {
                name: network.name.clone(),
                driver: network.driver.clone(),
                ..Network::default()
            };
            project.networks.insert(key.clone(), entry);
        }
    }
    for volume in observed
        .volumes
        .values()
        .filter(|volume| belongs(&volume.labels, name))
    {
        if let Some(key) = volume.labels.get(label::VOLUME) {
            let entry = Volume {
                name: volume.name.clone(),
                driver: volume.driver.clone(),
                ..Volume::default()
            };
            project.volumes.insert(key.clone(), entry);
        }
    }
    project.services.sort_keys();
    project
}

fn belongs(labels: &indexmap::IndexMap<String, String>, project: &str) -> bool {
    labels
        .get(label::PROJECT)
        .is_some_and(|owner| owner == project)
}

fn add_container(project: &mut Project, container: &ObservedContainer, observed: &ObservedState) {
    let find = |key: &str| container.labels.get(key).map_or("", String::as_str);
    if project.working_dir.as_os_str().is_empty() {
        project.working_dir = PathBuf::from(find(label::WORKING_DIR));
        let files = find(label::CONFIG_FILES)
            .split(',')
            .filter(|file| !file.is_empty());
        project.compose_files = files.map(str::to_owned).collect();
    }
    let service = project
        .services
        .entry(container.service().to_owned())
        .or_insert_with(|| Service {
            name: container.service().to_owned(),
            image: container.image.clone(),
            depends_on: dependencies(find(label::DEPENDS_ON)),
            networks: networks(container, observed),
            scale: Some(0),
            ..Service::default()
        });
    service.scale = service.scale.map(|count| count + 1);
}

fn networks(
    container: &ObservedContainer,
    observed: &ObservedState,
) -> indexmap::IndexMap<String, Option<AttachedNetwork>> {
    container
        .networks
        .keys()
        .filter_map(|name| observed.networks.get(name)?.labels.get(label::NETWORK))
        .map(|key| (key.clone(), None))
        .collect()
}

/// Reads `service:condition:restart,…`; the older form is a list of names.
fn dependencies(text: &str) -> indexmap::IndexMap<String, Dependency> {
    text.split(',')
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let mut parts = entry.split(':');
            let name = parts.next().unwrap_or_default().to_owned();
            let condition = match parts.next() {
                Some("service_healthy") => DependencyCondition::ServiceHealthy,
                Some("service_completed_successfully") => {
                    DependencyCondition::ServiceCompletedSuccessfully
                }
                Some(_) | None => DependencyCondition::ServiceStarted,
            };
            let dependency = Dependency {
                condition,
                restart: parts.next() == Some("true"),
                required: true,
                ..Dependency::default()
            };
            (name, dependency)
        })
        .collect()
}
