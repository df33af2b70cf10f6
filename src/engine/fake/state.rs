//! What the engine in memory has, and how its calls change it.

use std::collections::{BTreeMap, HashMap};

use bollard_stubs::models;
use indexmap::IndexMap;

use super::{Refusal, Script};
use crate::engine::spec::{COPY_FROM, COPY_TO};
use crate::engine::{
    ContainerFilter, ContainerSpec, NetworkSpec, ObserveRequest, ObservedContainer, ObservedImage,
    ObservedNetwork, ObservedState, ObservedVolume, RemoveContainer, VolumeSpec, label,
};

type Events = Vec<models::EventMessage>;
type Outcome<T> = Result<(T, Events), Refusal>;

/// Everything on the engine.
#[derive(Debug, Default)]
pub(super) struct State {
    containers: BTreeMap<String, Container>,
    networks: BTreeMap<String, ObservedNetwork>,
    volumes: BTreeMap<String, ObservedVolume>,
    images: BTreeMap<String, ObservedImage>,
    made: u64,
    /// What is in each volume that has something in it.
    data: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
struct Container {
    observed: ObservedContainer,
    body: models::ContainerCreateBody,
}

impl State {
    fn next_id(&mut self) -> String {
        self.made += 1;
        format!("{:064x}", self.made)
    }

    /// The made-up clock: it moves with each object.
    fn now(&self) -> i64 {
        i64::try_from(self.made).unwrap_or(i64::MAX)
    }

    pub(super) fn add_image(&mut self, reference: &str, revision: u32) {
        let image = ObservedImage {
            id: format!("sha256:{reference}:{revision}"),
            platform: "linux/amd64".to_owned(),
            ..ObservedImage::default()
        };
        self.images.insert(reference.to_owned(), image);
    }

    pub(super) fn remove_image(&mut self, reference: &str) -> Outcome<()> {
        match self.images.remove(reference) {
            Some(_) => Ok(((), Vec::new())),
            None => Err(Refusal::missing(reference)),
        }
    }

    pub(super) fn tag(&mut self, source: &str, target: &str) -> Outcome<()> {
        let image = self
            .find_image(source)
            .cloned()
            .ok_or_else(|| Refusal::missing(source))?;
        self.images.insert(target.to_owned(), image);
        Ok(((), Vec::new()))
    }

    pub(super) fn find_image(&self, reference: &str) -> Option<&ObservedImage> {
        self.images
            .get(reference)
            .or_else(|| self.images.values().find(|image| image.id == reference))
    }

    /// The key of a container: its name, from a name or an id.
    fn key(&self, id: &str) -> Result<String, Refusal> {
        if self.containers.contains_key(id) {
            return Ok(id.to_owned());
        }
        self.containers
            .values()
            .find(|container| container.observed.id == id)
            .map(|container| container.observed.name.clone())
            .ok_or_else(|| Refusal::missing(id))
    }

    fn find(&mut self, id: &str) -> Result<&mut Container, Refusal> {
        let key = self.key(id)?;
        self.containers
            .get_mut(&key)
            .ok_or_else(|| Refusal::missing(id))
    }

    pub(super) fn name_of(&self, id: &str) -> String {
        self.key(id).unwrap_or_else(|_| id.to_owned())
    }

    pub(super) fn image_of(&self, id: &str) -> String {
        let key = self.key(id).unwrap_or_default();
        self.containers
            .get(&key)
            .map(|container| container.observed.image.clone())
            .unwrap_or_default()
    }

    pub(super) fn create(&mut self, spec: &ContainerSpec) -> Outcome<String> {
        if self.containers.contains_key(&spec.name) {
            let message = format!("The container name \"/{}\" is already in use", spec.name);
            return Err(Refusal::conflict(message));
        }
        let image = spec.body.image.clone().unwrap_or_default();
        let image_id = self
            .find_image(&image)
            .map(|image| image.id.clone())
            .ok_or_else(|| Refusal::missing(&image))?;
        let networks = self.networks_of(&spec.body)?;
        self.make_volumes(&spec.body);
        let id = self.next_id();
        let observed = ObservedContainer {
            id: id.clone(),
            name: spec.name.clone(),
            state: "created".to_owned(),
            image,
            image_id,
            labels: spec.body.labels.clone().into_iter().flatten().collect(),
            networks,
            mounts: mounts_of(&spec.body),
            created: self.now(),
            ..ObservedContainer::default()
        };
        let container = Container {
            observed,
            body: spec.body.clone(),
        };
        let events = vec![event(&container.observed, "create")];
        self.containers.insert(spec.name.clone(), container);
        Ok((id, events))
    }

    fn networks_of(
        &self,
        body: &models::ContainerCreateBody,
    ) -> Result<IndexMap<String, String>, Refusal> {
        let endpoints = body
            .networking_config
            .as_ref()
            .and_then(|config| config.endpoints_config.as_ref());
        let mut networks = IndexMap::new();
        for name in endpoints.into_iter().flat_map(HashMap::keys) {
            let network = self
                .find_network(name)
                .ok_or_else(|| Refusal::missing(name))?;
            networks.insert(network.name.clone(), network.id.clone());
        }
        networks.sort_keys();
        Ok(networks)
    }

    /// An engine makes the named volumes that a container asks for.
    fn make_volumes(&mut self, body: &models::ContainerCreateBody) {
        for mount in mounts_of(body) {
            let name = mount
                .name
                .filter(|_| mount.typ.as_deref() == Some("volume"));
            let Some(name) = name.filter(|name| !name.is_empty()) else {
                continue;
            };
            self.volumes.entry(name.clone()).or_insert(ObservedVolume {
                name,
                driver: "local".to_owned(),
                labels: IndexMap::new(),
            });
        }
    }

    pub(super) fn start(&mut self, id: &str, script: Script) -> Outcome<()> {
        let container = self.find(id)?;
        if container.observed.state == "running" {
            return Ok(((), Vec::new()));
        }
        let probed = container
            .body
            .healthcheck
            .as_ref()
            .and_then(|probe| probe.test.as_ref())
            .is_some_and(|test| test.first().is_some_and(|word| word != "NONE"));
        if let Some((from, to)) = copies(&container.observed) {
            return self.copy(id, (&from, &to));
        }
        "running".clone_into(&mut container.observed.state);
        let mut events = vec![event(&container.observed, "start")];
        match script {
            Script::Exit(code) => {
                "exited".clone_into(&mut container.observed.state);
                container.observed.exit_code = code;
                events.push(die(&container.observed));
            }
            Script::Run | Script::Unhealthy if probed => {
                let health = match script {
                    Script::Unhealthy => "unhealthy",
                    Script::Run | Script::Exit(_) => "healthy",
                };
                health.clone_into(&mut container.observed.health);
                let action = format!("health_status: {health}");
                events.push(event(&container.observed, &action));
            }
            Script::Run | Script::Unhealthy => {}
        }
        Ok(((), events))
    }

    /// What a [`copier`](crate::engine::spec::copier) does.
    fn copy(&mut self, id: &str, (from, to): (&str, &str)) -> Outcome<()> {
        if let Some(text) = self.data.get(from).cloned() {
            self.data.insert(to.to_owned(), text);
        }
        let container = self.find(id)?;
        let mut events = vec![event(&container.observed, "start")];
        "exited".clone_into(&mut container.observed.state);
        events.push(die(&container.observed));
        Ok(((), events))
    }

    pub(super) fn write_volume(&mut self, name: &str, text: &str) {
        self.data.insert(name.to_owned(), text.to_owned());
    }

    pub(super) fn read_volume(&self, name: &str) -> Option<String> {
        self.data.get(name).cloned()
    }

    pub(super) fn end(&mut self, id: &str, code: i64) -> Events {
        match self.find(id) {
            Ok(container) => end(&mut container.observed, code),
            Err(_) => Vec::new(),
        }
    }

    pub(super) fn stop(&mut self, id: &str) -> Outcome<()> {
        Ok(((), end(&mut self.find(id)?.observed, 137)))
    }

    pub(super) fn kill(&mut self, id: &str, signal: &str) -> Outcome<()> {
        let container = self.find(id)?;
        if container.observed.state != "running" {
            let message = format!("container {id} is not running");
            return Err(Refusal::conflict(message));
        }
        let ends = matches!(signal, "KILL" | "SIGKILL" | "TERM" | "SIGTERM" | "9" | "15");
        let events = if ends {
            end(&mut container.observed, 137)
        } else {
            vec![event(&container.observed, "kill")]
        };
        Ok(((), events))
    }

    pub(super) fn change_state(&mut self, id: &str, from: &str, to: &str) -> Outcome<()> {
        let container = self.find(id)?;
        if container.observed.state != from {
            return Err(Refusal::conflict(format!("Container {id} is not {from}")));
        }
        to.clone_into(&mut container.observed.state);
        let action = match to {
            "paused" => "pause",
            _ => "unpause",
        };
        Ok(((), vec![event(&container.observed, action)]))
    }

    pub(super) fn rename(&mut self, id: &str, name: &str) -> Outcome<()> {
        if self.containers.contains_key(name) {
            let message = format!("The container name \"/{name}\" is already in use");
            return Err(Refusal::conflict(message));
        }
        let key = self.key(id)?;
        let mut container = self.containers.remove(&key).unwrap_or_default();
        name.clone_into(&mut container.observed.name);
        let events = vec![event(&container.observed, "rename")];
        self.containers.insert(name.to_owned(), container);
        Ok(((), events))
    }

    pub(super) fn remove(&mut self, id: &str, how: RemoveContainer) -> Outcome<()> {
        let Ok(key) = self.key(id) else {
            return Ok(((), Vec::new()));
        };
        let container = self.containers.get_mut(&key);
        let Some(container) = container else {
            return Ok(((), Vec::new()));
        };
        if container.observed.state == "running" && !how.force {
            let message = format!("cannot remove container \"/{key}\": container is running");
            return Err(Refusal::conflict(message));
        }
        let mut events = end(&mut container.observed, 137);
        events.push(event(&container.observed, "destroy"));
        self.containers.remove(&key);
        Ok(((), events))
    }

    pub(super) fn find_network(&self, name: &str) -> Option<&ObservedNetwork> {
        self.networks
            .get(name)
            .or_else(|| self.networks.values().find(|network| network.id == name))
    }

    pub(super) fn create_network(&mut self, spec: &NetworkSpec) -> Outcome<String> {
        let name = spec.body.name.clone();
        if self.networks.contains_key(&name) {
            let message = format!("network with name {name} already exists");
            return Err(Refusal::conflict(message));
        }
        let id = self.next_id();
        let network = ObservedNetwork {
            id: id.clone(),
            name: name.clone(),
            driver: spec.body.driver.clone().unwrap_or("bridge".to_owned()),
            labels: spec.body.labels.clone().into_iter().flatten().collect(),
        };
        self.networks.insert(name, network);
        Ok((id, Vec::new()))
    }

    pub(super) fn remove_network(&mut self, id: &str) -> Outcome<()> {
        let Some(network) = self.find_network(id).cloned() else {
            return Ok(((), Vec::new()));
        };
        let used = self.containers.values().any(|container| {
            container.observed.state == "running"
                && container.observed.networks.contains_key(&network.name)
        });
        if used {
            let message = format!("network {} has active endpoints", network.name);
            return Err(Refusal::conflict(message));
        }
        self.networks.remove(&network.name);
        for container in self.containers.values_mut() {
            container.observed.networks.shift_remove(&network.name);
        }
        Ok(((), Vec::new()))
    }

    pub(super) fn connect(&mut self, network: &str, container: &str) -> Outcome<()> {
        let network = self
            .find_network(network)
            .cloned()
            .ok_or_else(|| Refusal::missing(network))?;
        let container = self.find(container)?;
        container.observed.networks.insert(network.name, network.id);
        container.observed.networks.sort_keys();
        Ok(((), Vec::new()))
    }

    pub(super) fn disconnect(&mut self, network: &str, container: &str) -> Outcome<()> {
        let name = self
            .find_network(network)
            .map(|network| network.name.clone())
            .ok_or_else(|| Refusal::missing(network))?;
        self.find(container)?.observed.networks.shift_remove(&name);
        Ok(((), Vec::new()))
    }

    /// Creating what is there with the same name is a success, as on every engine.
    pub(super) fn create_volume(&mut self, spec: &VolumeSpec) {
        let name = spec.body.name.clone().unwrap_or_default();
        let volume = ObservedVolume {
            name: name.clone(),
            driver: spec.body.driver.clone().unwrap_or("local".to_owned()),
            labels: spec.body.labels.clone().into_iter().flatten().collect(),
        };
        self.volumes.entry(name).or_insert(volume);
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Outcome<()> {
        let used = self.containers.values().any(|container| {
            let mounts = &container.observed.mounts;
            mounts
                .iter()
                .any(|mount| mount.name.as_deref() == Some(name))
        });
        if used {
            let message = format!("remove {name}: volume is in use");
            return Err(Refusal::conflict(message));
        }
        self.volumes.remove(name);
        self.data.remove(name);
        Ok(((), Vec::new()))
    }

    pub(super) fn find_volume(&self, name: &str) -> Option<&ObservedVolume> {
        self.volumes.get(name)
    }

    pub(super) fn observe(&self, request: &ObserveRequest) -> ObservedState {
        let belongs = |labels: &IndexMap<String, String>| {
            labels.get(label::PROJECT) == Some(&request.project)
        };
        let containers = self.containers.values().map(|it| &it.observed);
        ObservedState {
            containers: containers
                .filter(|it| belongs(&it.labels))
                .cloned()
                .collect(),
            networks: self
                .networks
                .values()
                .filter(|it| belongs(&it.labels) || request.networks.contains(&it.name))
                .map(|it| (it.name.clone(), it.clone()))
                .collect(),
            volumes: self
                .volumes
                .values()
                .filter(|it| belongs(&it.labels) || request.volumes.contains(&it.name))
                .map(|it| (it.name.clone(), it.clone()))
                .collect(),
            images: request
                .images
                .iter()
                .filter_map(|name| Some((name.clone(), self.find_image(name)?.clone())))
                .collect(),
        }
    }

    pub(super) fn list(&self, filter: &ContainerFilter) -> Vec<models::ContainerSummary> {
        self.containers
            .values()
            .map(|container| &container.observed)
            .filter(|it| filter.all || it.state == "running" || it.state == "paused")
            .filter(|it| {
                filter
                    .labels
                    .iter()
                    .all(|label| has_label(&it.labels, label))
            })
            .map(to_summary)
            .collect()
    }

    pub(super) fn inspect(&self, id: &str) -> Option<models::ContainerInspectResponse> {
        let container = self.containers.get(&self.key(id).ok()?)?;
        let observed = &container.observed;
        let health = (!observed.health.is_empty()).then(|| models::Health {
            status: observed.health.parse().ok(),
            ..models::Health::default()
        });
        Some(models::ContainerInspectResponse {
            id: Some(observed.id.clone()),
            name: Some(format!("/{}", observed.name)),
            image: Some(observed.image_id.clone()),
            state: Some(models::ContainerState {
                status: observed.state.parse().ok(),
                running: Some(observed.state == "running"),
                exit_code: Some(observed.exit_code),
                health,
                ..models::ContainerState::default()
            }),
            config: Some(models::ContainerConfig {
                image: Some(observed.image.clone()),
                labels: Some(observed.labels.clone().into_iter().collect()),
                healthcheck: container.body.healthcheck.clone(),
                tty: container.body.tty,
                ..models::ContainerConfig::default()
            }),
            host_config: container.body.host_config.clone(),
            ..models::ContainerInspectResponse::default()
        })
    }

    pub(super) fn networks(&self, labels: &[String]) -> Vec<models::Network> {
        self.networks
            .values()
            .filter(|it| labels.iter().all(|label| has_label(&it.labels, label)))
            .map(|network| models::Network {
                id: Some(network.id.clone()),
                name: Some(network.name.clone()),
                driver: Some(network.driver.clone()),
                labels: Some(network.labels.clone().into_iter().collect()),
                ..models::Network::default()
            })
            .collect()
    }

    pub(super) fn volumes(&self, labels: &[String]) -> Vec<models::Volume> {
        self.volumes
            .values()
            .filter(|it| labels.iter().all(|label| has_label(&it.labels, label)))
            .map(to_volume)
            .collect()
    }

    pub(super) fn images(&self) -> Vec<models::ImageSummary> {
        self.images
            .iter()
            .map(|(name, image)| models::ImageSummary {
                id: image.id.clone(),
                repo_tags: vec![name.clone()],
                ..models::ImageSummary::default()
            })
            .collect()
    }
}

pub(super) fn to_volume(volume: &ObservedVolume) -> models::Volume {
    models::Volume {
        name: volume.name.clone(),
        driver: volume.driver.clone(),
        labels: volume.labels.clone().into_iter().collect(),
        ..models::Volume::default()
    }
}

fn to_summary(observed: &ObservedContainer) -> models::ContainerSummary {
    let status = match observed.state.as_str() {
        "exited" => format!("Exited ({}) now", observed.exit_code),
        "running" if !observed.health.is_empty() => format!("Up ({})", observed.health),
        "running" => "Up".to_owned(),
        other => other.to_owned(),
    };
    models::ContainerSummary {
        id: Some(observed.id.clone()),
        names: Some(vec![format!("/{}", observed.name)]),
        image: Some(observed.image.clone()),
        image_id: Some(observed.image_id.clone()),
        created: Some(observed.created),
        labels: Some(observed.labels.clone().into_iter().collect()),
        state: observed.state.parse().ok(),
        status: Some(status),
        mounts: Some(observed.mounts.clone()),
        ..models::ContainerSummary::default()
    }
}

fn has_label(labels: &IndexMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

fn mounts_of(body: &models::ContainerCreateBody) -> Vec<models::MountPoint> {
    let host = body.host_config.as_ref();
    let mounts = host.and_then(|host| host.mounts.as_ref());
    let binds = host.and_then(|host| host.binds.as_ref());
    let from_mounts = mounts
        .into_iter()
        .flatten()
        .map(|mount| models::MountPoint {
            typ: mount.typ.as_ref().map(ToString::to_string),
            name: mount.source.clone(),
            source: mount.source.clone(),
            destination: mount.target.clone(),
            ..models::MountPoint::default()
        });
    let from_binds = binds.into_iter().flatten().map(|bind| {
        let (source, target) = bind.split_once(':').unwrap_or((bind, ""));
        let kind = if source.starts_with('/') {
            "bind"
        } else {
            "volume"
        };
        models::MountPoint {
            typ: Some(kind.to_owned()),
            name: Some(source.to_owned()),
            source: Some(source.to_owned()),
            destination: target.split(':').next().map(str::to_owned),
            ..models::MountPoint::default()
        }
    });
    from_mounts.chain(from_binds).collect()
}

/// The volumes that a container copies from and to, where it is a copier.
fn copies(container: &ObservedContainer) -> Option<(String, String)> {
    let source = |target: &str| {
        let mut mounts = container.mounts.iter();
        let mount = mounts.find(|mount| mount.destination.as_deref() == Some(target))?;
        mount.source.clone()
    };
    Some((source(COPY_FROM)?, source(COPY_TO)?))
}

fn end(container: &mut ObservedContainer, code: i64) -> Events {
    if !matches!(container.state.as_str(), "running" | "paused") {
        return Vec::new();
    }
    "exited".clone_into(&mut container.state);
    container.health.clear();
    container.exit_code = code;
    vec![die(container)]
}

fn die(container: &ObservedContainer) -> models::EventMessage {
    let mut message = event(container, "die");
    if let Some(attributes) = message
        .actor
        .as_mut()
        .and_then(|actor| actor.attributes.as_mut())
    {
        attributes.insert("exitCode".to_owned(), container.exit_code.to_string());
    }
    message
}

fn event(container: &ObservedContainer, action: &str) -> models::EventMessage {
    let mut attributes: HashMap<_, _> = container.labels.clone().into_iter().collect();
    attributes.insert("name".to_owned(), container.name.clone());
    attributes.insert("image".to_owned(), container.image.clone());
    models::EventMessage {
        typ: Some(models::EventMessageTypeEnum::CONTAINER),
        action: Some(action.to_owned()),
        actor: Some(models::EventActor {
            id: Some(container.id.clone()),
            attributes: Some(attributes),
        }),
        ..models::EventMessage::default()
    }
}
