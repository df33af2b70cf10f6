//! The labels that docker compose knows its own by (behaviours.md B122-B124).

use std::collections::HashMap;

use serde_json::Value;

use super::{Request, Role, image_name};
use crate::engine::label;
use crate::model::{DependencyCondition, Labels, MountKind, Project, Service};

/// `x-hoist-health` and `x-hoist-on-unhealthy`, which the Docker API cannot say, as the labels that hoist's engine
/// reads: `x-hoist-health: {http: 8080/healthz}` is `hoist.health.http=8080/healthz`.
#[must_use]
pub fn health_labels(service: &Service) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut labels = Vec::new();
    if let Some(Value::Object(probes)) = service.extensions.get("x-hoist-health") {
        labels.extend(
            probes
                .iter()
                .map(|(kind, value)| (format!("hoist.health.{kind}"), text(value))),
        );
    }
    if let Some(value) = service.extensions.get("x-hoist-on-unhealthy") {
        labels.push(("hoist.on-unhealthy".to_owned(), text(value)));
    }
    labels
}

pub(super) fn container_labels(request: &Request<'_>) -> HashMap<String, String> {
    let (project, service) = (request.project, request.service);
    let mut labels = owned(&service.labels);
    labels.extend(health_labels(service));
    labels.extend(crate::plan::content::labels(project, service));
    let mut set = |key: &str, value: String| labels.insert(key.to_owned(), value);
    set(label::PROJECT, project.name.clone());
    set(label::SERVICE, service.name.clone());
    set(label::VERSION, label::COMPOSE_VERSION.to_owned());
    set(
        label::WORKING_DIR,
        project.working_dir.to_string_lossy().into_owned(),
    );
    set(label::CONFIG_FILES, project.compose_files.join(","));
    if !project.env_files.is_empty() {
        set(label::ENVIRONMENT_FILE, project.env_files.join(","));
    }
    set(label::CONFIG_HASH, request.hash.to_owned());
    set(label::DEPENDS_ON, dependencies(service));
    match request.role {
        Role::Replica(number) => {
            set(label::ONE_OFF, "False".to_owned());
            set(label::CONTAINER_NUMBER, number.to_string());
        }
        Role::OneOff { .. } => {
            set(label::ONE_OFF, "True".to_owned());
        }
    }
    let image = image_name(project, service, request.separator);
    let digest = request
        .observed
        .images
        .get(&image)
        .map_or("", |image| image.id.as_str());
    set(label::IMAGE, digest.to_owned());
    if let Some(digest) = image_volume_digest(request) {
        set(label::IMAGE_VOLUME, digest);
    }
    if let Some(replaced) = request.replaces {
        set(label::REPLACE, replaced.id.clone());
    }
    labels
}

/// The ids of the images that the service mounts as volumes.
fn image_volume_digest(request: &Request<'_>) -> Option<String> {
    image_volume_ids(request.service, request.observed)
}

/// The ids of the images that a service mounts as volumes; `None` where there are none.
pub(in crate::plan) fn image_volume_ids(
    service: &Service,
    observed: &crate::engine::ObservedState,
) -> Option<String> {
    let ids: Vec<&str> = service
        .volumes
        .iter()
        .filter(|mount| mount.kind == MountKind::Image)
        .filter_map(|mount| observed.images.get(&mount.source))
        .map(|image| image.id.as_str())
        .collect();
    (!ids.is_empty()).then(|| ids.join(","))
}

fn dependencies(service: &Service) -> String {
    let entries: Vec<_> = service
        .depends_on
        .iter()
        .map(|(name, dependency)| {
            let condition = condition(dependency.condition);
            format!("{name}:{condition}:{}", dependency.restart)
        })
        .collect();
    entries.join(",")
}

fn condition(condition: DependencyCondition) -> &'static str {
    match condition {
        DependencyCondition::ServiceStarted => "service_started",
        DependencyCondition::ServiceHealthy => "service_healthy",
        DependencyCondition::ServiceCompletedSuccessfully => "service_completed_successfully",
    }
}

/// Labels of a network.
#[must_use]
pub fn network_labels(
    project: &Project,
    key: &str,
    own: &Labels,
    hash: &str,
) -> HashMap<String, String> {
    resource_labels(project, (label::NETWORK, key), own, hash)
}

/// Labels of a volume.
#[must_use]
pub fn volume_labels(
    project: &Project,
    key: &str,
    own: &Labels,
    hash: &str,
) -> HashMap<String, String> {
    resource_labels(project, (label::VOLUME, key), own, hash)
}

fn resource_labels(
    project: &Project,
    (kind, key): (&str, &str),
    own: &Labels,
    hash: &str,
) -> HashMap<String, String> {
    let mut labels = owned(own);
    labels.insert(kind.to_owned(), key.to_owned());
    labels.insert(label::PROJECT.to_owned(), project.name.clone());
    labels.insert(label::VERSION.to_owned(), label::COMPOSE_VERSION.to_owned());
    labels.insert(label::CONFIG_HASH.to_owned(), hash.to_owned());
    labels
}

fn owned(labels: &Labels) -> HashMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
