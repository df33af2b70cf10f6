//! Looks whether a plan's needs are met, before anything is done.
//!
//! Owns: which question goes to the engine and which to the host. What the host is, the caller says ([`Host`]), so that
//! a plan for an engine elsewhere asks nothing of this machine. Callers: the commands, between planning and running.

use std::collections::BTreeSet;

use bollard_stubs::models::ContainerSummary;

use crate::engine::{ContainerFilter, Engine, EngineResult, label};
use crate::model::Project;
use crate::plan::UpdateOrder;
use crate::plan::preflight::{HostPort, Need, Needed, Refusal, port_clashes};

/// The machine that the engine runs on.
pub trait Host: Sync {
    /// Whether a path is there.
    fn exists(&self, path: &str) -> bool;
    /// Who holds a port: a phrase such as `nginx (process 12)`; `None` where it is free.
    fn port_holder(&self, port: &HostPort) -> Option<String>;
}

/// Answers a refusal for each need that is not met. The ports of the containers in `free` are free by then; `host` is
/// `None` where the engine is elsewhere.
///
/// # Errors
/// Fails where the engine does not say which containers run.
pub async fn check(
    engine: &dyn Engine,
    project: &Project,
    needs: &[Need],
    free: &BTreeSet<&str>,
    host: Option<&dyn Host>,
) -> EngineResult<Vec<Refusal>> {
    let mut refusals = port_clashes(project, needs);
    let ports = needs
        .iter()
        .any(|need| matches!(need.what, Needed::Port(_)));
    let running = if ports {
        engine.list_containers(&ContainerFilter::default()).await?
    } else {
        Vec::new()
    };
    let is_free = |container: &ContainerSummary| {
        let id = container.id.as_deref().unwrap_or_default();
        free.contains(id)
    };
    let (freed, holding): (Vec<_>, Vec<_>) = running.iter().partition(|found| is_free(found));
    for need in needs {
        let refusal = match &need.what {
            Needed::File { kind, name, file } => host
                .filter(|host| !host.exists(file))
                .map(|_| missing_file(need, (kind, name, file))),
            Needed::Port(port) => port_refusal(project, (need, port), (&freed, &holding), host),
        };
        refusals.extend(refusal.filter(|refusal| !refusals.contains(refusal)));
    }
    Ok(refusals)
}

fn missing_file(need: &Need, (kind, name, file): (&str, &str, &str)) -> Refusal {
    let service = &need.service;
    Refusal {
        path: need.path.clone(),
        node: None,
        message: match kind {
            "volume" => format!(
                "service `{service}` mounts {file} at {name}: bind source path does not exist"
            ),
            _ => format!(
                "service `{service}` needs {kind} `{name}`: stat {file}: no such file or directory"
            ),
        },
        hint: match kind {
            "secret" => {
                "make the file, correct the path, or take the secret from `environment:`".to_owned()
            }
            "config" => "make the file, correct the path, or write the text under `content:`".to_owned(),
            _ => "make the directory, correct the path, or let it be made with `bind.create_host_path: true`".to_owned(),
        },
    }
}

fn port_refusal(
    project: &Project,
    (need, port): (&Need, &HostPort),
    (freed, holding): (&[&ContainerSummary], &[&ContainerSummary]),
    host: Option<&dyn Host>,
) -> Option<Refusal> {
    let publishes = |container: &&&ContainerSummary| publishes(container, port);
    let holder = match holding.iter().find(publishes) {
        Some(container) if is_of(container, (project, need)) && starts_first(project, need) => {
            return Some(beside_itself(need, port, &container_phrase(container)));
        }
        Some(container) => container_phrase(container),
        None if freed.iter().any(|container| publishes(&container)) => return None,
        None => host?.port_holder(port)?,
    };
    Some(Refusal {
        path: need.path.clone(),
        message: format!(
            "service `{}` cannot publish port {port}: port is already allocated, held by {holder}",
            need.service
        ),
        hint: "stop what holds the port, or publish another one".to_owned(),
        // The port may be free again any time, and nothing else is wrong with the project.
        node: need.node,
    })
}

/// Whether a container is one of the service that needs something.
fn is_of(container: &ContainerSummary, (project, need): (&Project, &Need)) -> bool {
    let label = |key: &str| container.labels.as_ref().and_then(|labels| labels.get(key));
    label(label::PROJECT) == Some(&project.name) && label(label::SERVICE) == Some(&need.service)
}

/// Whether the service's new containers run beside its old ones.
fn starts_first(project: &Project, need: &Need) -> bool {
    let service = project.services.get(&need.service);
    let deploy = service.and_then(|service| service.deploy.as_ref());
    let update = deploy.and_then(|deploy| deploy.update_config.as_ref());
    update.is_some_and(|update| UpdateOrder::parse(&update.order) == UpdateOrder::StartFirst)
}

/// A port that the old container of a service holds until the new one has proved itself, which it cannot without it.
fn beside_itself(need: &Need, port: &HostPort, holder: &str) -> Refusal {
    Refusal {
        path: need.path.clone(),
        message: format!(
            "service `{}` cannot be updated with `order: start-first`: its new container would publish port {port} \
             while {holder} still holds it",
            need.service
        ),
        hint: "choose `order: stop-first` in `deploy.update_config`, or leave the host's port out and put a proxy in front"
            .to_owned(),
        node: need.node,
    }
}

fn publishes(container: &ContainerSummary, port: &HostPort) -> bool {
    let ports = container.ports.iter().flatten();
    ports
        .filter_map(|held| {
            Some(HostPort {
                address: held.ip.clone().unwrap_or_default(),
                port: held.public_port?,
                protocol: held.typ.map(|typ| typ.to_string()).unwrap_or_default(),
            })
        })
        .any(|held| held.conflicts(port))
}

fn container_phrase(container: &ContainerSummary) -> String {
    let names = container.names.as_deref().unwrap_or_default();
    let name = names
        .first()
        .map_or("", |name| name.trim_start_matches('/'));
    let labels = container.labels.as_ref();
    match labels.and_then(|labels| labels.get(label::PROJECT)) {
        Some(project) => format!("container `{name}` of project `{project}`"),
        None => format!("container `{name}`"),
    }
}
