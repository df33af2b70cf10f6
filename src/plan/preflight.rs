//! What a plan needs of the host and of other projects before it may run, so that what cannot succeed is refused while
//! everything is still as it was.
//!
//! Pure, as all of `plan`: [`needs`] says what to look for, `apply::preflight` looks, and answers a [`Refusal`] for
//! each need that is not met. Callers: the commands that make containers.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use bollard_stubs::models::MountType;

use super::{Action, ContainerRef, NodeId, Plan, UpdateOrder};
use crate::engine::ContainerSpec;
use crate::model::{Project, Service};

/// One thing that must be there, or must be free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The service that needs it.
    pub service: String,
    /// Where the file asks for it: `services.web.ports.0`.
    pub path: String,
    /// The action of the plan that fails without it; none where there is no plan.
    pub node: Option<NodeId>,
    /// What it is.
    pub what: Needed,
}

/// What is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needed {
    /// A file or folder of the host.
    File {
        /// `secret`, `config` or `volume`.
        kind: &'static str,
        /// Its name in the Compose file.
        name: String,
        /// The path on the host.
        file: String,
    },
    /// A port of the host.
    Port(HostPort),
}

/// A port of the host that a container publishes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Address, empty is every one.
    pub address: String,
    /// Number.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl HostPort {
    /// Whether the two cannot be held at once.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let every = |address: &str| matches!(address, "" | "0.0.0.0" | "::");
        let addresses = self.address == other.address
            || (every(&self.address) && is_same_family(&self.address, &other.address))
            || (every(&other.address) && is_same_family(&self.address, &other.address));
        self.port == other.port && self.protocol == other.protocol && addresses
    }
}

/// An empty address is of both families.
fn is_same_family(one: &str, other: &str) -> bool {
    one.is_empty() || other.is_empty() || one.contains(':') == other.contains(':')
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match self.address.as_str() {
            "" => "0.0.0.0".to_owned(),
            address if address.contains(':') => format!("[{address}]"),
            address => address.to_owned(),
        };
        write!(f, "{address}:{}/{}", self.port, self.protocol)
    }
}

/// A need that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where the file asks for it.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub hint: String,
    /// The one action of the plan that cannot succeed for it; where there is none, nothing of the plan is begun.
    pub node: Option<NodeId>,
}

/// What the containers that a plan makes or starts need.
#[must_use]
pub fn needs(project: &Project, plan: &Plan) -> Vec<Need> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for (id, node) in plan.nodes() {
        let Some(service) = node.action.service() else {
            continue;
        };
        let Some(service) = project.services.get(service) else {
            continue;
        };
        let known = found.len();
        match &node.action {
            Action::CreateContainer(create) => {
                // Replicas mount the same files; their ports are a need each.
                if seen.insert(&create.service) {
                    object_files(project, service, &mut found);
                    bind_sources(service, &create.spec, &mut found);
                }
                host_ports(service, &create.spec, &mut found);
            }
            Action::RollingUpdate(update) => {
                for (index, step) in update.steps.iter().enumerate() {
                    if index == 0 {
                        object_files(project, service, &mut found);
                        bind_sources(service, &step.create.spec, &mut found);
                    }
                    host_ports(service, &step.create.spec, &mut found);
                }
            }
            Action::StartContainer {
                container: ContainerRef::Existing { .. },
                ..
            } => model_ports(service, &mut found),
            _ => {}
        }
        for need in &mut found[known..] {
            need.node = Some(id);
        }
    }
    found
}

/// The files of a service's secrets and configs.
#[must_use]
pub fn file_needs(project: &Project, service: &Service) -> Vec<Need> {
    let mut found = Vec::new();
    object_files(project, service, &mut found);
    found
}

/// What one container needs: the sources of its binds, and its ports.
#[must_use]
pub fn spec_needs(service: &Service, spec: &ContainerSpec) -> Vec<Need> {
    let mut found = Vec::new();
    bind_sources(service, spec, &mut found);
    host_ports(service, spec, &mut found);
    found
}

/// The containers whose ports are free again before the plan's new ones start, or are their own; where the new container
/// starts before the old one stops, the old one still holds its ports.
#[must_use]
pub fn released(plan: &Plan) -> BTreeSet<&str> {
    let mut released = BTreeSet::new();
    for (_, node) in plan.nodes() {
        match &node.action {
            Action::StopContainer { container, .. }
            | Action::RemoveContainer { container, .. }
            | Action::StartContainer { container, .. } => released.extend(existing(container)),
            Action::RollingUpdate(update) if update.update.order == UpdateOrder::StopFirst => {
                released.extend(update.steps.iter().filter_map(|step| existing(&step.old)));
            }
            _ => {}
        }
    }
    released
}

/// The id of a container that is there already.
fn existing(container: &ContainerRef) -> Option<&str> {
    match container {
        ContainerRef::Existing { id, .. } => Some(id),
        ContainerRef::Planned { .. } => None,
    }
}

/// Two needs for one port, of which only one can be met. Where one service waits for the other, that one may have ended
/// by then; the engine will see.
#[must_use]
pub fn port_clashes(project: &Project, needs: &[Need]) -> Vec<Refusal> {
    let mut first: Vec<(&Need, &HostPort)> = Vec::new();
    let mut refusals = Vec::new();
    for need in needs {
        let Needed::Port(port) = &need.what else {
            continue;
        };
        let clashes = |(holder, held): &&(&Need, &HostPort)| {
            held.conflicts(port) && !is_ordered(project, &holder.service, &need.service)
        };
        match first.iter().find(clashes) {
            Some((holder, _)) => refusals.push(clash(holder, need, port)),
            None => first.push((need, port)),
        }
    }
    refusals.dedup();
    refusals
}

/// Whether one of two services waits for the other, directly or through others.
fn is_ordered(project: &Project, one: &str, other: &str) -> bool {
    waits_for(project, one, other) || waits_for(project, other, one)
}

fn waits_for(project: &Project, service: &str, dependency: &str) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![service];
    while let Some(name) = open.pop() {
        let Some(service) = project.services.get(name) else {
            continue;
        };
        for next in service.depends_on.keys() {
            if next == dependency {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

fn clash(holder: &Need, need: &Need, port: &HostPort) -> Refusal {
    let (message, hint) = if holder.service == need.service {
        (
            format!(
                "several containers of service `{}` cannot all publish port {port}: port is already allocated",
                need.service
            ),
            "leave the host's port out, so that each gets its own, or give a range".to_owned(),
        )
    } else {
        (
            format!(
                "service `{}` cannot publish port {port}: port is already allocated to service `{}`",
                need.service, holder.service
            ),
            "give one of them another port of the host".to_owned(),
        )
    };
    Refusal {
        path: need.path.clone(),
        message,
        hint,
        node: None,
    }
}

/// Files of secrets and configs: an engine would be told to mount them.
fn object_files(project: &Project, service: &Service, found: &mut Vec<Need>) {
    let secrets = service.secrets.iter().map(|used| (used, "secret"));
    let configs = service.configs.iter().map(|used| (used, "config"));
    for (used, kind) in secrets.chain(configs) {
        let objects = match kind {
            "secret" => &project.secrets,
            _ => &project.configs,
        };
        let Some(object) = objects.get(&used.source) else {
            continue;
        };
        if !object.file.is_empty() {
            found.push(Need {
                service: service.name.clone(),
                path: format!("{kind}s.{}.file", used.source),
                node: None,
                what: Needed::File {
                    kind,
                    name: used.source.clone(),
                    file: object.file.clone(),
                },
            });
        }
    }
}

/// Sources of binds that the engine may not make.
fn bind_sources(service: &Service, spec: &ContainerSpec, found: &mut Vec<Need>) {
    let host = spec.body.host_config.as_ref();
    let mounts = host.and_then(|host| host.mounts.as_ref());
    for mount in mounts.into_iter().flatten() {
        let makes = mount
            .bind_options
            .as_ref()
            .is_some_and(|options| options.create_mountpoint == Some(true));
        let (Some(MountType::BIND), Some(source), false) = (mount.typ, &mount.source, makes) else {
            continue;
        };
        let index = service
            .volumes
            .iter()
            .position(|volume| volume.source == *source);
        if let Some(index) = index {
            found.push(Need {
                service: service.name.clone(),
                path: format!("services.{}.volumes.{index}", service.name),
                node: None,
                what: Needed::File {
                    kind: "volume",
                    name: service.volumes[index].target.clone(),
                    file: source.clone(),
                },
            });
        }
    }
}

/// Single ports of the host; of a range the engine takes one that is free.
fn host_ports(service: &Service, spec: &ContainerSpec, found: &mut Vec<Need>) {
    let host = spec.body.host_config.as_ref();
    let bindings = host.and_then(|host| host.port_bindings.as_ref());
    let mut ports: Vec<_> = bindings.into_iter().flatten().collect();
    ports.sort_by_key(|(target, _)| *target);
    for (target, bindings) in ports {
        let (number, protocol) = target.split_once('/').unwrap_or((target, "tcp"));
        for binding in bindings.iter().flatten() {
            let published = binding.host_port.as_deref().unwrap_or_default();
            let Ok(port) = published.parse::<u16>() else {
                continue;
            };
            if port == 0 {
                continue;
            }
            let index = service.ports.iter().position(|port| {
                port.published == published
                    && port.target.to_string() == number
                    && port.protocol == protocol
            });
            let name = &service.name;
            found.push(Need {
                service: name.clone(),
                path: match index {
                    Some(index) => format!("services.{name}.ports.{index}"),
                    None => format!("services.{name}.ports"),
                },
                node: None,
                what: Needed::Port(HostPort {
                    address: binding.host_ip.clone().unwrap_or_default(),
                    port,
                    protocol: protocol.to_owned(),
                }),
            });
        }
    }
}

/// Where the file asks for the port that an engine's failure to publish is about.
#[must_use]
pub fn blamed_port(service: &Service, failure: &str) -> Option<String> {
    let about_ports = ["already allocated", "already in use", "exposing port"];
    if !about_ports.iter().any(|words| failure.contains(words)) {
        return None;
    }
    let said = |port: &crate::model::Port| {
        let number = format!(":{}", port.published);
        let mut found = failure.match_indices(&number);
        !port.published.is_empty()
            && found.any(|(at, _)| {
                let next = failure[at + number.len()..].chars().next();
                !next.is_some_and(|next| next.is_ascii_digit())
            })
    };
    let index = service.ports.iter().position(said)?;
    Some(format!("services.{}.ports.{index}", service.name))
}

/// The single ports that a container of the service has which exists as the file says.
fn model_ports(service: &Service, found: &mut Vec<Need>) {
    for (index, port) in service.ports.iter().enumerate() {
        let number = port.published.parse::<u16>().unwrap_or(0);
        if number == 0 {
            continue;
        }
        found.push(Need {
            service: service.name.clone(),
            path: format!("services.{}.ports.{index}", service.name),
            node: None,
            what: Needed::Port(HostPort {
                address: port.host_ip.clone(),
                port: number,
                protocol: port.protocol.clone(),
            }),
        });
    }
}

/// What is wrong with images that are directories of the host.
#[must_use]
pub fn directory_images(
    project: &Project,
    is_built_in: bool,
    is_directory: impl Fn(&str) -> bool,
) -> Vec<Refusal> {
    let services = project.services.values();
    services
        .filter_map(|service| {
            let directory = service.image.strip_prefix("rootfs:")?;
            let name = &service.name;
            let image = &service.image;
            let (problem, hint) = if !is_built_in {
                (
                    "is a directory of this host, which only the engine built into hoist can run",
                    "leave `--engine`, HOIST_ENGINE and DOCKER_HOST out, or name an image that this engine has",
                )
            } else if !directory.starts_with('/') {
                (
                    "is no absolute path",
                    "write `rootfs:/PATH`, with the path of a directory of this host",
                )
            } else if is_directory(directory) {
                return None;
            } else {
                (
                    "is not a directory of this host",
                    "correct the path: a root file system lies there, such as `/` itself",
                )
            };
            Some(Refusal {
                path: format!("services.{name}.image"),
                message: format!("service `{name}`: image `{image}` {problem}"),
                hint: hint.to_owned(),
                node: None,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Dependency, UpdateConfig};
    use crate::plan::{Cause, CreateContainer, RollingStep, RollingUpdate};
    use bollard_stubs::models::{HostConfig, PortBinding};

    fn port(address: &str, port: u16) -> HostPort {
        HostPort {
            address: address.to_owned(),
            port,
            protocol: "tcp".to_owned(),
        }
    }

    fn need(service: &str, port: HostPort) -> Need {
        Need {
            service: service.to_owned(),
            path: format!("services.{service}.ports.0"),
            node: None,
            what: Needed::Port(port),
        }
    }

    #[test]
    fn a_rolling_update_needs_its_ports_and_gives_those_of_its_old_containers_back() {
        let (project, plan, node) = update_of_a_port("stop-first");
        let needs = needs(&project, &plan);
        assert_eq!(needs.len(), 1, "{needs:?}");
        assert_eq!(needs[0].node, Some(node));
        assert_eq!(needs[0].what, Needed::Port(port("", 8080)));
        assert_eq!(released(&plan), BTreeSet::from(["0ld"]));
    }

    #[test]
    fn an_old_container_that_goes_last_still_holds_its_ports() {
        let (_, plan, _) = update_of_a_port("start-first");
        assert_eq!(released(&plan), BTreeSet::new());
    }

    fn update_of_a_port(order: &str) -> (Project, Plan, NodeId) {
        let mut service = Service {
            name: "web".to_owned(),
            deploy: Some(Box::default()),
            ..Service::default()
        };
        if let Some(deploy) = &mut service.deploy {
            deploy.update_config = Some(UpdateConfig {
                order: order.to_owned(),
                ..UpdateConfig::default()
            });
        }
        let (rules, rollback) = crate::plan::rolling::rules(&service, 1).expect("it has rules");
        let mut spec = ContainerSpec::default();
        let binding = PortBinding {
            host_ip: None,
            host_port: Some("8080".to_owned()),
        };
        spec.body.host_config = Some(HostConfig {
            port_bindings: Some([("80/tcp".to_owned(), Some(vec![binding]))].into()),
            ..HostConfig::default()
        });
        let old = ContainerRef::Existing {
            id: "0ld".to_owned(),
            name: "p-web-1".to_owned(),
        };
        let create = CreateContainer {
            service: "web".to_owned(),
            display: "p-web-1".to_owned(),
            spec,
            replaces: Some(old.clone()),
            late: None,
        };
        let update = RollingUpdate {
            service: "web".to_owned(),
            steps: vec![RollingStep { old, create }],
            update: rules,
            rollback,
            timeout: None,
            files: Vec::new(),
            hooks: Vec::new(),
            finish_millis: 0,
        };
        let mut plan = Plan::default();
        let action = Action::RollingUpdate(Box::new(update));
        let node = plan.add(action, Cause::Replacement, &[]);
        let mut project = Project::default();
        project.services.insert("web".to_owned(), service);
        (project, plan, node)
    }

    #[test]
    fn every_address_conflicts_with_each_of_its_family() {
        assert!(port("", 80).conflicts(&port("127.0.0.1", 80)));
        assert!(port("127.0.0.1", 80).conflicts(&port("0.0.0.0", 80)));
        assert!(port("", 80).conflicts(&port("::1", 80)));
        assert!(!port("0.0.0.0", 80).conflicts(&port("::1", 80)));
        assert!(!port("127.0.0.1", 80).conflicts(&port("127.0.0.2", 80)));
        assert!(!port("", 80).conflicts(&port("", 81)));
    }

    #[test]
    fn a_failure_to_publish_is_blamed_on_the_line_of_its_port() {
        let of = |published: &str| crate::model::Port {
            published: published.to_owned(),
            ..crate::model::Port::default()
        };
        let service = Service {
            name: "web".to_owned(),
            ports: vec![of("80"), of("8080")],
            ..Service::default()
        };
        let blamed = |failure| blamed_port(&service, failure);
        let path = Some("services.web.ports.1".to_owned());
        assert_eq!(
            blamed("Bind for 0.0.0.0:8080 failed: port is already allocated"),
            path
        );
        assert_eq!(
            blamed("listen tcp 0.0.0.0:8080: bind: address already in use"),
            path
        );
        assert_eq!(blamed("container 0.0.0.0:8080 is gone"), None);
        assert_eq!(
            blamed("Bind for 0.0.0.0:81 failed: port is already allocated"),
            None
        );
    }

    #[test]
    fn one_port_for_two_containers_is_refused() {
        let refusals = port_clashes(
            &Project::default(),
            &[
                need("api", port("", 80)),
                need("web", port("127.0.0.1", 80)),
                need("web", port("127.0.0.1", 81)),
            ],
        );
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert_eq!(refusals[0].path, "services.web.ports.0");
        assert!(refusals[0].message.contains("to service `api`"));
    }

    #[test]
    fn three_replicas_with_one_port_are_one_refusal() {
        let replica = || need("web", port("", 80));
        let refusals = port_clashes(&Project::default(), &[replica(), replica(), replica()]);
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert!(refusals[0].message.starts_with("several containers"));
    }

    #[test]
    fn a_service_may_have_the_port_of_a_job_that_it_waits_for() {
        let mut project = Project::default();
        let mut web = Service::default();
        web.depends_on
            .insert("job".to_owned(), Dependency::default());
        project.services.insert("web".to_owned(), web);
        project
            .services
            .insert("job".to_owned(), Service::default());
        let needs = [need("job", port("", 80)), need("web", port("", 80))];
        assert_eq!(port_clashes(&project, &needs), []);
    }
}
