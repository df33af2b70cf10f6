//! Rules across services and resources (behaviours.md B093, B100-B106): what one field says must agree with the rest.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    node::{Map, Node, Span},
    report::{Failure, Failures},
    schema,
};
use crate::model::{MountKind, Project, Service};

/// Checks a project against its tree, which knows the places.
///
/// # Errors
/// Fails with everything that does not agree.
pub(super) fn check(project: &Project, tree: &Map) -> Result<(), Failures> {
    let mut check = Check {
        project,
        tree,
        failures: Failures::default(),
    };
    for service in project.services.values() {
        check.service(service);
    }
    for (name, secret) in &project.secrets {
        if !secret.external && secret.file.is_empty() && secret.environment.is_empty() {
            check.fail(
                &["secrets", name],
                format!("secret \"{name}\" must declare either `file` or `environment`"),
            );
        }
    }
    check.cycle();
    check.failures.into_result()
}

/// Checks that no two services have one container name.
///
/// # Errors
/// Fails with the first name that is used twice.
pub(super) fn container_names(project: &Project, tree: &Map) -> Result<(), Failures> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    for (name, service) in &project.services {
        if service.container_name.is_empty() {
            continue;
        }
        if let Some(other) = names.insert(&service.container_name, name) {
            let place = |name: &str| locate(tree, &["services", name, "container_name"]);
            return Err(Failure::new(format!(
                "services.{name}: container name \"{}\" is already in use by service {other}",
                service.container_name
            ))
            .at(place(name), "")
            .at(place(other), "used here first")
            .into());
        }
    }
    Ok(())
}

/// Returns the place of a path, or of its nearest ancestor.
fn locate(tree: &Map, path: &[&str]) -> Span {
    let mut span = Span::NOWHERE;
    let mut map = Some(tree);
    for part in path {
        let Some(node) = map.and_then(|map| map.get(part)) else {
            break;
        };
        span = if node.key.source == u32::MAX {
            span
        } else {
            node.key
        };
        map = node.as_map();
    }
    span
}

struct Check<'a> {
    project: &'a Project,
    tree: &'a Map,
    failures: Failures,
}

impl Check<'_> {
    fn fail(&mut self, path: &[&str], message: String) {
        let span = locate(self.tree, path);
        self.failures.0.push(Failure::new(message).at(span, ""));
    }

    /// Fails at an element of a list whose field or text is `name`.
    fn fail_element(&mut self, path: &[&str], name: &str, message: String, known: &[&String]) {
        let mut map = Some(self.tree);
        let mut node: Option<&Node> = None;
        for part in path {
            node = map.and_then(|map| map.get(part));
            map = node.and_then(Node::as_map);
        }
        let elements = node.and_then(Node::as_list).unwrap_or_default();
        let found = elements.iter().find(|element| {
            let source = element.find("source").unwrap_or(element);
            source.as_text() == Some(name)
        });
        let span = match found {
            Some(element) => element.find("source").unwrap_or(element).span,
            None => locate(self.tree, path),
        };
        let hint = schema::nearest(name, known.iter().map(|name| name.as_str()));
        self.failures
            .0
            .push(Failure::new(message).at(span, "").hint_if(hint));
    }

    fn service(&mut self, service: &Service) {
        let name = service.name.as_str();
        if service.build.is_none() && service.image.is_empty() && service.provider.is_none() {
            self.fail(
                &["services", name],
                format!("service \"{name}\" has neither an image nor a build context specified"),
            );
        }
        self.build(service);
        self.networks(service);
        self.healthcheck(service);
        self.dependencies(service);
        self.files(service);
        self.amounts(service);
        self.watch(service);
        self.targets(service);
    }

    fn build(&mut self, service: &Service) {
        let (name, Some(build)) = (service.name.as_str(), &service.build) else {
            return;
        };
        if !build.dockerfile_inline.is_empty() && !build.dockerfile.is_empty() {
            self.fail(
                &["services", name, "build", "dockerfile_inline"],
                format!("service \"{name}\" declares mutually exclusive `dockerfile` and `dockerfile_inline`"),
            );
        }
        for (context, value) in &build.additional_contexts {
            let Some(target) = value.strip_prefix("service:") else {
                continue;
            };
            let path = ["services", name, "build", "additional_contexts", context];
            match self.project.services.get(target) {
                None => self.fail(
                    &path,
                    format!("service \"{name}\" declares unknown service \"{target}\" as additional contexts {context}"),
                ),
                Some(target) if target.build.is_none() => self.fail(
                    &path,
                    format!(
                        "service \"{name}\" declares non-buildable service \"{}\" as additional contexts {context}",
                        target.name
                    ),
                ),
                Some(_) => {}
            }
        }
        let platform = &service.platform;
        if !build.platforms.is_empty()
            && !platform.is_empty()
            && !build.platforms.contains(platform)
        {
            self.fail(
                &["services", name, "platform"],
                format!("service.build.platforms MUST include service.platform \"{platform}\""),
            );
        }
        for secret in &build.secrets {
            if !self.project.secrets.contains_key(&secret.source) {
                let message = format!(
                    "service \"{name}\" refers to undefined build secret {}",
                    secret.source
                );
                let known: Vec<&String> = self.project.secrets.keys().collect();
                self.fail_element(
                    &["services", name, "build", "secrets"],
                    &secret.source,
                    message,
                    &known,
                );
            }
        }
    }

    fn networks(&mut self, service: &Service) {
        let name = service.name.as_str();
        if !service.network_mode.is_empty() && !service.networks.is_empty() {
            self.fail(
                &["services", name, "network_mode"],
                format!("service {name} declares mutually exclusive `network_mode` and `networks`"),
            );
        }
        for network in service.networks.keys() {
            if !self.project.networks.contains_key(network) {
                let span = locate(self.tree, &["services", name, "networks", network]);
                let known = self.project.networks.keys().map(String::as_str);
                let failure = Failure::new(format!(
                    "service \"{name}\" refers to undefined network {network}"
                ))
                .at(span, "")
                .hint_if(schema::nearest(network, known))
                .hint("declare it under the top-level `networks`");
                self.failures.0.push(failure);
            }
        }
        if let Some(target) = service.network_mode.strip_prefix("service:")
            && !self.project.services.contains_key(target)
        {
            self.fail(
                &["services", name, "network_mode"],
                format!("service \"{target}\" not found for network_mode 'service:{target}'"),
            );
        }
    }

    fn healthcheck(&mut self, service: &Service) {
        let test = service
            .healthcheck
            .as_ref()
            .and_then(|check| check.test.first());
        if test.is_some_and(|first| !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE")) {
            self.fail(
                &["services", &service.name, "healthcheck", "test"],
                "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\""
                    .to_owned(),
            );
        }
    }

    fn dependencies(&mut self, service: &Service) {
        let name = service.name.as_str();
        for (target, dependency) in &service.depends_on {
            if self.project.services.contains_key(target) {
                continue;
            }
            let disabled = self.project.disabled_services.get(target);
            if disabled.is_some() && !dependency.required {
                continue;
            }
            let span = locate(self.tree, &["services", name, "depends_on", target]);
            let failure = Failure::new(format!(
                "service \"{name}\" depends on undefined service \"{target}\""
            ))
            .at(span, "");
            let failure = if let Some(disabled) = disabled {
                failure.hint(format!(
                    "it is disabled; one of these profiles enables it: {}",
                    disabled.profiles.join(", ")
                ))
            } else {
                let known = self.project.services.keys().map(String::as_str);
                failure.hint_if(schema::nearest(target, known))
            };
            self.failures.0.push(failure);
        }
    }

    fn files(&mut self, service: &Service) {
        let (name, project) = (service.name.as_str(), self.project);
        let volumes: Vec<&String> = project.volumes.keys().collect();
        for mount in &service.volumes {
            let named = mount.kind == MountKind::Volume && !mount.source.is_empty();
            if named && !project.volumes.contains_key(&mount.source) {
                let message = format!(
                    "service \"{name}\" refers to undefined volume {}",
                    mount.source
                );
                self.fail_element(
                    &["services", name, "volumes"],
                    &mount.source,
                    message,
                    &volumes,
                );
            }
        }
        let sections = [
            ("config", "configs", &service.configs, &project.configs),
            ("secret", "secrets", &service.secrets, &project.secrets),
        ];
        for (word, section, references, known) in sections {
            let names: Vec<&String> = known.keys().collect();
            for reference in references {
                if !known.contains_key(&reference.source) {
                    let message = format!(
                        "service \"{name}\" refers to undefined {word} {}",
                        reference.source
                    );
                    self.fail_element(
                        &["services", name, section],
                        &reference.source,
                        message,
                        &names,
                    );
                }
            }
        }
        for model in service.models.keys() {
            if !project.models.contains_key(model) {
                self.fail(
                    &["services", name, "models", model],
                    format!("service \"{name}\" refers to undefined model {model}"),
                );
            }
        }
    }

    fn amounts(&mut self, service: &Service) {
        let name = service.name.as_str();
        let replicas = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
        if let (Some(scale), Some(replicas)) = (service.scale, replicas)
            && scale != replicas
        {
            self.distinct(name, "scale", "deploy.replicas");
        }
        if service.scale.is_some_and(|scale| scale < 0) {
            self.fail(
                &["services", name, "scale"],
                format!("services.{name}.scale: must be greater than or equal to 0"),
            );
        }
        if replicas.is_some_and(|replicas| replicas < 0) {
            self.fail(
                &["services", name, "deploy", "replicas"],
                format!("services.{name}.deploy.replicas: must be greater than or equal to 0"),
            );
        }
        self.limits(service);
        let count = service.scale.or(replicas).unwrap_or(1);
        if count > 1 && !service.container_name.is_empty() {
            let attribute = if service.scale.is_some() {
                "scale"
            } else {
                "deploy.replicas"
            };
            self.fail(
                &["services", name, "container_name"],
                format!(
                    "services.{name}: can't set container_name and {attribute} as container name must be unique"
                ),
            );
        }
    }

    fn distinct(&mut self, name: &str, one: &str, other: &str) {
        let mut path = vec!["services", name];
        path.extend(other.split('.'));
        let (first, second) = (
            locate(self.tree, &["services", name, one]),
            locate(self.tree, &path),
        );
        self.failures.0.push(
            Failure::new(format!(
                "services.{name}: can't set distinct values on '{one}' and '{other}'"
            ))
            .at(first, "this")
            .at(second, "and this must be equal"),
        );
    }

    fn limits(&mut self, service: &Service) {
        let name = service.name.as_str();
        let Some(deploy) = &service.deploy else {
            return;
        };
        if let Some(limits) = &deploy.resources.limits {
            let cpus = limits.cpus.parse::<f64>().unwrap_or(0.0);
            if service
                .cpus
                .is_some_and(|own| (own - cpus).abs() > f64::EPSILON)
            {
                self.distinct(name, "cpus", "deploy.resources.limits.cpus");
            }
            if service.mem_limit.is_some() && service.mem_limit != limits.memory {
                self.distinct(name, "mem_limit", "deploy.resources.limits.memory");
            }
            if service.pids_limit.is_some() && service.pids_limit != limits.pids {
                self.distinct(name, "pids_limit", "deploy.resources.limits.pids");
            }
        }
        if let Some(reserved) = &deploy.resources.reservations
            && service.mem_reservation.is_some()
            && service.mem_reservation != reserved.memory
        {
            self.distinct(
                name,
                "mem_reservation",
                "deploy.resources.reservations.memory",
            );
        }
    }

    fn watch(&mut self, service: &Service) {
        let rules = service.develop.iter().flat_map(|develop| &develop.watch);
        for rule in rules {
            if rule.target.is_empty() && !matches!(rule.action.as_str(), "rebuild" | "restart") {
                self.fail(
                    &["services", &service.name, "develop", "watch"],
                    format!(
                        "services.{}.develop.watch: target is required for non-rebuild actions",
                        service.name
                    ),
                );
            }
        }
    }

    fn targets(&mut self, service: &Service) {
        let name = &service.name;
        let mut targets: HashMap<&str, String> = HashMap::new();
        let tmpfs = service.tmpfs.iter().enumerate().map(|(index, tmpfs)| {
            let target = tmpfs.split(':').next().unwrap_or_default();
            (target, format!("services.{name}.tmpfs[{index}]"))
        });
        let volumes = service.volumes.iter().enumerate().map(|(index, mount)| {
            (
                mount.target.as_str(),
                format!("services.{name}.volumes[{index}]"),
            )
        });
        let mut twice = None;
        for (target, place) in tmpfs.chain(volumes) {
            if let Some(known) = targets.get(target) {
                twice = Some(format!(
                    "{place}: target {target} already mounted as {known}"
                ));
                break;
            }
            targets.insert(target, place);
        }
        if let Some(message) = twice {
            self.fail(&["services", name, "volumes"], message);
        }
    }

    /// Finds services that wait for each other in a circle.
    fn cycle(&mut self) {
        let mut state: BTreeMap<&str, Visit> = BTreeMap::new();
        for name in self.project.services.keys() {
            let mut trail = Vec::new();
            if let Some(cycle) = visit(self.project, name, &mut state, &mut trail) {
                self.failures.0.push(self.cycle_failure(&cycle));
                return;
            }
        }
    }

    /// Marks every edge of a cycle; each is there because of one line of the files.
    fn cycle_failure(&self, cycle: &[String]) -> Failure {
        let message = format!("dependency cycle detected: {}", cycle.join(" -> "));
        let edges = cycle
            .windows(2)
            .fold(Failure::new(message), |failure, edge| {
                let path = ["services", &edge[0], "depends_on", &edge[1]];
                failure.at(
                    locate(self.tree, &path),
                    format!("`{}` waits for `{}`", edge[0], edge[1]),
                )
            });
        edges.hint("nothing of it could ever start: remove one of these dependencies (links, `network_mode: service:…` and `volumes_from` make some too)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    Open,
    Done,
}

/// Walks dependencies with its own stack, so that a long chain does not exhaust the thread's.
fn visit<'p>(
    project: &'p Project,
    name: &'p str,
    state: &mut BTreeMap<&'p str, Visit>,
    trail: &mut Vec<(&'p str, Vec<&'p str>)>,
) -> Option<Vec<String>> {
    let dependencies = |name: &str| -> Vec<&'p str> {
        let service = project.services.get(name);
        service
            .into_iter()
            .flat_map(|service| service.depends_on.keys().rev().map(String::as_str))
            .collect()
    };
    if state.contains_key(name) || !project.services.contains_key(name) {
        return None;
    }
    state.insert(name, Visit::Open);
    trail.push((name, dependencies(name)));
    let mut on_trail: HashSet<&str> = HashSet::from([name]);
    while let Some((current, pending)) = trail.last_mut() {
        let Some(next) = pending.pop() else {
            state.insert(current, Visit::Done);
            on_trail.remove(current);
            trail.pop();
            continue;
        };
        if on_trail.contains(next) {
            let from = trail.iter().position(|(name, _)| *name == next)?;
            let names = trail[from..].iter().map(|(name, _)| (*name).to_owned());
            return Some(names.chain([next.to_owned()]).collect());
        }
        if !state.contains_key(next) && project.services.contains_key(next) {
            state.insert(next, Visit::Open);
            on_trail.insert(next);
            trail.push((next, dependencies(next)));
        }
    }
    None
}
