//! The labels that docker compose knows its own by (behaviours.md B122-B124).

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{Request, Role, image_name};
use crate::engine::label;
use crate::model::{DependencyCondition, Labels, Mount, MountKind, Project, Service};

/// What the Docker API cannot say, as the labels that hoist's engine reads: `x-hoist-health: {http: 8080/healthz}` is
/// `hoist.health.http=8080/healthz`, `x-hoist-time-offset: {boottime: 36h}` is `hoist.time.boottime=36h`, and
/// `x-hoist-idmap: true` of the bind at `/data` is `hoist.idmap={"/data":"true"}`.
#[must_use]
pub fn engine_labels(service: &Service) -> Vec<(String, String)> {
    let mut labels = health_labels(service);
    match service.extensions.get("x-hoist-time-offset") {
        Some(Value::Object(clocks)) => labels.extend(
            clocks
                .iter()
                .map(|(clock, value)| (format!("hoist.time.{clock}"), text_of(value))),
        ),
        Some(value) => {
            let both = ["monotonic", "boottime"];
            labels.extend(both.map(|clock| (format!("hoist.time.{clock}"), text_of(value))));
        }
        None => {}
    }
    let maps: BTreeMap<&str, String> = service.volumes.iter().filter_map(owner_map).collect();
    if !maps.is_empty() {
        labels.push((
            "hoist.idmap".to_owned(),
            serde_json::json!(maps).to_string(),
        ));
    }
    labels
}

/// Where a bind is mounted, and which owners it maps.
fn owner_map(mount: &Mount) -> Option<(&str, String)> {
    const NAME: &str = "x-hoist-idmap";
    let inner = mount.bind.as_ref().map(|bind| &bind.extensions);
    let wish = mount
        .extensions
        .get(NAME)
        .or_else(|| inner?.get(NAME))
        .filter(|wish| **wish != Value::Bool(false))?;
    let text = match wish {
        Value::Object(ids) => {
            let ids = ids
                .iter()
                .map(|(kind, ids)| format!("{kind}={}", text_of(ids)));
            ids.collect::<Vec<_>>().join(",")
        }
        other => text_of(other),
    };
    Some((&mount.target, text))
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn health_labels(service: &Service) -> Vec<(String, String)> {
    let text = text_of;
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
    labels.extend(engine_labels(service));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(name: &str, value: Value) -> Vec<(String, String)> {
        let mut service = Service::default();
        service.extensions.insert(name.to_owned(), value);
        engine_labels(&service)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn clocks_have_one_offset_or_two() {
        let both = [
            pair("hoist.time.monotonic", "36h"),
            pair("hoist.time.boottime", "36h"),
        ];
        assert_eq!(labels("x-hoist-time-offset", json!("36h")), both);
        let one = json!({ "boottime": "-90s" });
        let expected = [pair("hoist.time.boottime", "-90s")];
        assert_eq!(labels("x-hoist-time-offset", one), expected);
    }

    #[test]
    fn owners_of_binds_are_one_label() {
        let bind = |target: &str, wish: Value| {
            let mut mount = Mount {
                kind: MountKind::Bind,
                target: target.to_owned(),
                ..Mount::default()
            };
            mount.extensions.insert("x-hoist-idmap".to_owned(), wish);
            mount
        };
        let service = Service {
            volumes: vec![
                bind("/srv", json!({ "uid": "0:1000", "gid": "0:100" })),
                bind("/data", json!(true)),
                bind("/none", json!(false)),
            ],
            ..Service::default()
        };
        let text = r#"{"/data":"true","/srv":"uid=0:1000,gid=0:100"}"#;
        assert_eq!(engine_labels(&service), [pair("hoist.idmap", text)]);
    }

    #[test]
    fn another_map_of_owners_is_another_container() {
        let hash = |wish: Option<Value>| {
            let mut mount = Mount::default();
            if let Some(wish) = wish {
                mount.extensions.insert("x-hoist-idmap".to_owned(), wish);
            }
            crate::model::config_hash(&Service {
                volumes: vec![mount],
                ..Service::default()
            })
        };
        assert_ne!(hash(None), hash(Some(json!(true))));
        assert_ne!(hash(Some(json!("0:1000"))), hash(Some(json!(true))));
    }
}
