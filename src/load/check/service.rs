//! The rules of one service.

use std::collections::HashMap;

use super::{Check, find, locate};
use crate::load::{
    Code,
    map::Key,
    message::Message,
    node::{Map, Node, Span},
    report::Failure,
    schema,
};
use crate::model::{MountKind, ON_CHANGE, OnChange, Service};

impl Check<'_> {
    pub(super) fn service(&mut self, service: &Service) {
        let name = service.name.as_str();
        if service.build.is_none()
            && service.image.is_empty()
            && service.provider.is_none()
            && !self.may_have_image(name)
        {
            let span = locate(self.tree, &["services", name]);
            self.failures.0.push(
                Failure::new(
                    Code::NoImage,
                    format!(
                        "service \"{name}\" has neither an image nor a build context specified"
                    ),
                )
                .at(span, "")
                .hint("name one with `image:`, or the folder of a Dockerfile with `build:`"),
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
        self.on_change(service);
    }

    /// Says whether a service may have an image that could not be read: its key may be misspelled, or be elsewhere.
    fn may_have_image(&self, name: &str) -> bool {
        const KEYS: [&str; 4] = ["image", "build", "provider", "extends"];
        self.marks.is_incomplete()
            || KEYS
                .iter()
                .any(|key| self.marks.cover(&["services", name, key]))
            || self
                .marks
                .keys_below(&["services", name])
                .any(|key| schema::nearest(key, KEYS.into_iter()).is_some())
    }

    fn build(&mut self, service: &Service) {
        let (name, Some(build)) = (service.name.as_str(), &service.build) else {
            return;
        };
        if !build.dockerfile_inline.is_empty() && !build.dockerfile.is_empty() {
            let path = |key| ["services", name, "build", key];
            let place = |key| locate(self.tree, &path(key));
            let failure = Failure::new(
                Code::Conflict,
                format!("service \"{name}\" declares mutually exclusive `dockerfile` and `dockerfile_inline`"),
            )
            .at(place("dockerfile_inline"), "either this")
            .at(place("dockerfile"), "or this");
            self.push(&path("dockerfile_inline"), failure);
        }
        for (context, value) in &build.additional_contexts {
            if let Some(target) = value.strip_prefix("service:") {
                self.build_context(name, context, target);
            }
        }
        let platform = &service.platform;
        if !build.platforms.is_empty()
            && !platform.is_empty()
            && !build.platforms.contains(platform)
            && !self.marks.cover(&["services", name, "build", "platforms"])
        {
            let path = ["services", name, "platform"];
            let message = Message::from("service.build.platforms MUST include service.platform \"")
                .value(self.value(&path), platform)
                .say("\"");
            let platforms = locate(self.tree, &["services", name, "build", "platforms"]);
            let failure = Failure::new(Code::Conflict, message)
                .at(locate(self.tree, &path), "this platform")
                .at(platforms, "is not in this list");
            self.push(&path, failure);
        }
        for secret in &build.secrets {
            if !self.project.secrets.contains_key(&secret.source) {
                self.undefined(
                    &["services", name, "build", "secrets"],
                    &secret.source,
                    format!("service \"{name}\" refers to undefined build secret "),
                    "secrets",
                );
            }
        }
    }

    fn build_context(&mut self, name: &str, context: &str, target: &str) {
        let path = ["services", name, "build", "additional_contexts", context];
        let problem = match self.project.find_service(target) {
            None if self.marks.is_open("services") => return,
            None => "unknown",
            Some(found)
                if found.build.is_none() && !self.marks.cover(&["services", target, "build"]) =>
            {
                "non-buildable"
            }
            Some(_) => return,
        };
        let message = Message::from(format!("service \"{name}\" declares {problem} service \""))
            .value(self.value(&path), target)
            .say(format!("\" as additional contexts {context}"));
        self.fail(Code::Undefined, &path, message);
    }

    fn networks(&mut self, service: &Service) {
        let name = service.name.as_str();
        let mode = ["services", name, "network_mode"];
        if !service.network_mode.is_empty() && !service.networks.is_empty() {
            let failure = Failure::new(
                Code::Conflict,
                format!("service {name} declares mutually exclusive `network_mode` and `networks`"),
            )
            .at(locate(self.tree, &mode), "either this")
            .at(
                locate(self.tree, &["services", name, "networks"]),
                "or this",
            );
            self.push(&mode, failure);
        }
        for network in service.networks.keys() {
            let known = self.project.networks.contains_key(network);
            if !known && !self.marks.is_open("networks") {
                let span = locate(self.tree, &["services", name, "networks", network]);
                let words = format!("service \"{name}\" refers to undefined network ");
                self.not_declared(words, network, span, "networks");
            }
        }
        if let Some(target) = service.network_mode.strip_prefix("service:")
            && !self.project.services.contains_key(target)
            && !self.marks.is_open("services")
        {
            let span = self.value(&mode);
            let message = Message::from("service \"")
                .value(span, target)
                .say("\" not found for network_mode '")
                .value(span, &service.network_mode)
                .say("'");
            self.fail(Code::Undefined, &mode, message);
        }
    }

    fn healthcheck(&mut self, service: &Service) {
        let check = service.healthcheck.as_ref();
        let test = check.and_then(|check| check.test.first());
        if test.is_some_and(|first| !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE")) {
            let path = ["services", &service.name, "healthcheck", "test"];
            let failure = Failure::new(
                Code::InvalidValue,
                "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"",
            )
            .at(locate(self.tree, &path), "")
            .hint("a list starts with `CMD`; a single text is run by a shell");
            self.push(&path, failure);
        }
    }

    fn dependencies(&mut self, service: &Service) {
        let name = service.name.as_str();
        for (target, dependency) in &service.depends_on {
            if self.project.services.contains_key(target) {
                continue;
            }
            let disabled = self.project.disabled_services.get(target);
            if disabled.is_some() && !dependency.required
                || disabled.is_none() && self.marks.is_open("services")
            {
                continue;
            }
            let path = ["services", name, "depends_on", target];
            let span = locate(self.tree, &path);
            let failure = Failure::new(
                Code::Undefined,
                format!("service \"{name}\" depends on undefined service \""),
            )
            .value(span, target)
            .say("\"")
            .at(span, "");
            let failure = if let Some(disabled) = disabled {
                let profiles = locate(self.tree, &["services", target, "profiles"]);
                failure
                    .at(profiles, "only these profiles enable it")
                    .hint(format!(
                        "it is disabled; one of these profiles enables it: {}",
                        disabled.profiles.join(", ")
                    ))
                    .hint("`required: false` lets it be missing")
            } else {
                let known = self.tree.get("services").and_then(Node::as_map);
                let known = known.into_iter().flat_map(Map::keys);
                failure.hint_if(schema::nearest(target, known.map(Key::as_str)))
            };
            self.push(&path, failure);
        }
    }

    fn files(&mut self, service: &Service) {
        let (name, project) = (service.name.as_str(), self.project);
        for mount in &service.volumes {
            let named = mount.kind == MountKind::Volume && !mount.source.is_empty();
            if named && !project.volumes.contains_key(&mount.source) {
                self.undefined(
                    &["services", name, "volumes"],
                    &mount.source,
                    format!("service \"{name}\" refers to undefined volume "),
                    "volumes",
                );
            }
        }
        let sections = [
            ("config", "configs", &service.configs, &project.configs),
            ("secret", "secrets", &service.secrets, &project.secrets),
        ];
        for (word, section, references, known) in sections {
            for reference in references {
                if !known.contains_key(&reference.source) {
                    self.undefined(
                        &["services", name, section],
                        &reference.source,
                        format!("service \"{name}\" refers to undefined {word} "),
                        section,
                    );
                }
            }
        }
        for model in service.models.keys() {
            if !project.models.contains_key(model) && !self.marks.is_open("models") {
                let span = locate(self.tree, &["services", name, "models", model]);
                let words = format!("service \"{name}\" refers to undefined model ");
                self.not_declared(words, model, span, "models");
            }
        }
    }

    /// Checks `x-hoist-on-change` of the service and of what it refers to.
    fn on_change(&mut self, service: &Service) {
        let name = service.name.as_str();
        let wrong = |value: Option<&serde_json::Value>| {
            value.is_some_and(|value| OnChange::read(value).is_none())
        };
        if wrong(service.extensions.get(ON_CHANGE)) {
            let path = ["services", name, ON_CHANGE];
            self.wrong_on_change(&path[..2], self.value(&path));
        }
        for (section, references) in [("configs", &service.configs), ("secrets", &service.secrets)]
        {
            for reference in references {
                if wrong(reference.extensions.get(ON_CHANGE)) {
                    let path = ["services", name, section];
                    let elements = find(self.tree, &path).and_then(Node::as_list);
                    let place = elements.unwrap_or_default().iter().find_map(|element| {
                        let source = element.find("source")?.as_text();
                        (source == Some(&reference.source)).then_some(element.find(ON_CHANGE)?.span)
                    });
                    let place = place.unwrap_or_else(|| locate(self.tree, &path));
                    self.wrong_on_change(&path, place);
                }
            }
        }
    }

    fn wrong_on_change(&mut self, path: &[&str], place: Span) {
        let message = format!(
            "{}: `{ON_CHANGE}` is `recreate`, `restart` or a signal, `{{signal: SIGHUP}}`",
            path.join(".")
        );
        let failure = Failure::new(Code::InvalidValue, message).at(place, "");
        self.push(path, failure);
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
                Code::InvalidValue,
                &["services", name, "scale"],
                format!("services.{name}.scale: must be greater than or equal to 0"),
            );
        }
        if replicas.is_some_and(|replicas| replicas < 0) {
            self.fail(
                Code::InvalidValue,
                &["services", name, "deploy", "replicas"],
                format!("services.{name}.deploy.replicas: must be greater than or equal to 0"),
            );
        }
        self.limits(service);
        let count = service.scale.or(replicas).unwrap_or(1);
        if count > 1 && !service.container_name.is_empty() {
            let (attribute, key): (_, &[&str]) = if service.scale.is_some() {
                ("scale", &["scale"])
            } else {
                ("deploy.replicas", &["deploy", "replicas"])
            };
            let path = ["services", name, "container_name"];
            let other = [&["services", name], key].concat();
            let failure = Failure::new(
                Code::Conflict,
                format!(
                    "services.{name}: can't set container_name and {attribute} as container name must be unique"
                ),
            )
            .at(locate(self.tree, &path), "one name")
            .at(locate(self.tree, &other), "for several containers");
            self.push(&path, failure);
        }
    }

    fn distinct(&mut self, name: &str, one: &str, other: &str) {
        let first_path = ["services", name, one];
        let mut second_path = vec!["services", name];
        second_path.extend(other.split('.'));
        if self.marks.cover(&second_path) {
            return;
        }
        let failure = Failure::new(
            Code::Conflict,
            format!("services.{name}: can't set distinct values on '{one}' and '{other}'"),
        )
        .at(locate(self.tree, &first_path), "this")
        .at(locate(self.tree, &second_path), "and this must be equal");
        self.push(&first_path, failure);
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
        let name = service.name.as_str();
        let rules = service.develop.iter().flat_map(|develop| &develop.watch);
        for (index, rule) in rules.enumerate() {
            if rule.target.is_empty() && !matches!(rule.action.as_str(), "rebuild" | "restart") {
                let path = ["services", name, "develop", "watch"];
                let list = super::find(self.tree, &path).and_then(Node::as_list);
                let element = list.and_then(|list| list.get(index));
                let span = element.map_or_else(|| locate(self.tree, &path), |node| node.span);
                let failure = Failure::new(
                    Code::MissingKey,
                    format!(
                        "services.{name}.develop.watch: target is required for non-rebuild actions"
                    ),
                )
                .at(span, "this rule has no `target`");
                self.push(&path, failure);
            }
        }
    }

    /// Finds two things that are mounted at one path; the first pair is told.
    fn targets(&mut self, service: &Service) {
        let name = service.name.as_str();
        let element = |key: &str, index: usize| {
            let list = super::find(self.tree, &["services", name, key]).and_then(Node::as_list);
            let node = list.and_then(|list| list.get(index));
            node.map_or_else(
                || locate(self.tree, &["services", name, key]),
                |node| node.span,
            )
        };
        let tmpfs = service.tmpfs.iter().enumerate().map(|(index, tmpfs)| {
            let target = tmpfs.split(':').next().unwrap_or_default();
            (target, "tmpfs", index)
        });
        let volumes = service.volumes.iter().enumerate();
        let volumes = volumes.map(|(index, mount)| (mount.target.as_str(), "volumes", index));
        let mut targets: HashMap<&str, (&str, usize)> = HashMap::new();
        for (target, key, index) in tmpfs.chain(volumes) {
            let Some((other, at)) = targets.insert(target, (key, index)) else {
                continue;
            };
            let span = element(key, index);
            let failure = Failure::new(
                Code::Conflict,
                format!("services.{name}.{key}[{index}]: target "),
            )
            .value(span, target)
            .say(format!(" already mounted as services.{name}.{other}[{at}]"))
            .at(span, "")
            .at(element(other, at), "mounted here first");
            self.push(&["services", name, key], failure);
            return;
        }
    }
}
