//! Values that the specification implies: defaults of single fields, and what normalization adds across a project
//! (behaviours.md B084-B088).

use std::sync::LazyLock;

use super::{
    canonical,
    env::EnvMap,
    node::{Map, Node, Span, Value},
    path::Rules,
};

/// A default.
#[derive(Debug, Clone, Copy)]
enum Default {
    Context,
    SecretTarget,
    Port,
    DeviceCount,
    CreateHostPath,
}

static DEFAULTS: LazyLock<Rules<Default>> = LazyLock::new(|| {
    Rules::new(&[
        ("services.*.build", Default::Context),
        ("services.*.secrets.*", Default::SecretTarget),
        ("services.*.ports.*", Default::Port),
        (
            "services.*.deploy.resources.reservations.devices.*",
            Default::DeviceCount,
        ),
        ("services.*.gpus.*", Default::DeviceCount),
        ("services.*.volumes.*.bind", Default::CreateHostPath),
    ])
});

/// Sets the defaults of single fields.
pub(super) fn set_defaults(tree: &mut Map) {
    for (key, node) in tree {
        if let Some(next) = DEFAULTS.key(Rules::<Default>::ROOT, key) {
            visit(node, next);
        }
    }
}

fn visit(node: &mut Node, state: usize) {
    let span = node.span;
    match &mut node.value {
        Value::Map(map) => {
            if let Some(default) = DEFAULTS.rule(state) {
                set(default, map, span);
            }
            for (key, child) in map {
                if let Some(next) = DEFAULTS.key(state, key) {
                    visit(child, next);
                }
            }
        }
        Value::List(list) => {
            if let Some(next) = DEFAULTS.element(state) {
                for element in list {
                    visit(element, next);
                }
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Big(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Time(_) => {}
    }
}

fn set(default: Default, map: &mut Map, span: Span) {
    let text = |map: &mut Map, key: &str, value: &str| {
        map.get_or_insert_with(key, || Node::text(value, span));
    };
    match default {
        Default::Context => text(map, "context", "."),
        Default::SecretTarget => {
            let source = map
                .get("source")
                .and_then(Node::scalar_text)
                .unwrap_or_default();
            let target = format!("/run/secrets/{source}");
            map.get_or_insert_with("target", || Node::text(target, span));
        }
        Default::Port => {
            text(map, "protocol", "tcp");
            text(map, "mode", "ingress");
        }
        Default::DeviceCount => {
            if !map.contains_key("device_ids") {
                text(map, "count", "all");
            }
        }
        Default::CreateHostPath => {
            map.get_or_insert_with("create_host_path", || Node::new(Value::Bool(true), span));
        }
    }
}

/// Gives the variables that a file names without a value their value, where there is one.
pub(super) fn resolve_environment(tree: &mut Map, environment: &EnvMap) {
    for service in children(tree, "services") {
        if let Some(Value::List(list)) = service.get_mut("environment").map(|node| &mut node.value)
        {
            list.retain(|element| element.as_text().is_some());
            for element in list {
                fill(element, environment);
            }
        }
    }
    for (section, key) in [("secrets", SECRET_VALUE), ("configs", "content")] {
        for resource in children(tree, section) {
            let Some(variable) = resource.get("environment") else {
                continue;
            };
            let found = variable.as_text().and_then(|name| environment.get(name));
            if let Some(value) = found {
                let node = Node::text(value.clone(), variable.span);
                resource.insert(key.to_owned(), node);
            }
        }
    }
}

/// The key under which the value of a secret travels to the model.
pub(super) const SECRET_VALUE: &str = "x-#value";

fn fill(element: &mut Node, environment: &EnvMap) {
    if let Value::Text(text) = &mut element.value
        && let Some(value) = environment.get(text.as_str())
    {
        *text = format!("{text}={value}").into();
    }
}

fn children<'t>(tree: &'t mut Map, section: &str) -> impl Iterator<Item = &'t mut Map> {
    tree.get_mut(section)
        .and_then(Node::as_map_mut)
        .into_iter()
        .flat_map(|map| map.values_mut().filter_map(Node::as_map_mut))
}

/// Adds what a project implies: the default network, dependencies, names.
pub(super) fn normalize(tree: &mut Map, project: &str, environment: &EnvMap) {
    networks(tree);
    for service in children(tree, "services") {
        normalize_service(service, environment);
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        names(tree, section, project);
    }
}

fn networks(tree: &mut Map) {
    let mut used = None;
    for service in children(tree, "services") {
        if service.contains_key("provider") || service.contains_key("network_mode") {
            continue;
        }
        let none = match service.get("networks").map(|node| &node.value) {
            Some(Value::Map(map)) => map.is_empty(),
            _ => true,
        };
        if none {
            let default = Map::from([("default", nothing())]);
            service.insert("networks", Node::new(Value::Map(default), Span::NOWHERE));
        }
        let networks = service.get("networks");
        if networks.is_some_and(|networks| networks.find("default").is_some()) {
            used = Some(());
        }
    }
    if used.is_some() {
        let node = tree.get_or_insert_with("networks", || {
            Node::new(Value::Map(Map::new()), Span::NOWHERE)
        });
        if node.is_null() {
            node.value = Value::Map(Map::new());
        }
        if let Some(map) = node.as_map_mut() {
            map.get_or_insert_with("default", nothing);
        }
    }
}

fn nothing() -> Node {
    Node::new(Value::Null, Span::NOWHERE)
}

fn normalize_service(service: &mut Map, environment: &EnvMap) {
    if let Some(policy) = service.get_mut("pull_policy")
        && policy.as_text() == Some("if_not_present")
    {
        policy.value = Value::Text("missing".into());
    }
    if let Some(build) = service.get_mut("build").and_then(Node::as_map_mut) {
        normalize_build(build, environment);
    }
    if let Some(variables) = service.get_mut("environment") {
        resolve(variables, environment, Unset::Kept);
    }
    let implied = implied_dependencies(service);
    if !implied.is_empty() {
        let node = service.get_or_insert_with("depends_on", || {
            Node::new(Value::Map(Map::new()), Span::NOWHERE)
        });
        if node.is_null() {
            node.value = Value::Map(Map::new());
        }
        if let Some(map) = node.as_map_mut() {
            for (name, dependency) in implied {
                map.get_or_insert_with(name, || dependency);
            }
        }
    }
    clean_targets(service);
    let image = service
        .get("image")
        .filter(|image| image.as_text().is_some_and(|image| !image.is_empty()));
    let image = image.cloned();
    let hooks = service.get_mut("pre_start").map(|node| &mut node.value);
    if let (Some(image), Some(Value::List(hooks))) = (image, hooks) {
        for hook in hooks.iter_mut().filter_map(Node::as_map_mut) {
            hook.get_or_insert_with("image", || image.clone());
        }
    }
}

fn normalize_build(build: &mut Map, environment: &EnvMap) {
    let set = |build: &Map, key: &str| build.get(key).is_some_and(|node| !node.is_null());
    if !set(build, "context") {
        build.insert("context", Node::text(".", Span::NOWHERE));
    }
    if !set(build, "dockerfile") && !set(build, "dockerfile_inline") {
        build.insert("dockerfile", Node::text("Dockerfile", Span::NOWHERE));
    }
    if let Some(arguments) = build.get_mut("args") {
        resolve(arguments, environment, Unset::Dropped);
    }
}

/// What becomes of a variable that has no value anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unset {
    Kept,
    Dropped,
}

fn resolve(node: &mut Node, environment: &EnvMap, unset: Unset) {
    match &mut node.value {
        Value::List(list) => {
            list.retain_mut(|element| {
                let Some(text) = element.as_text() else {
                    return true;
                };
                if text.contains('=') {
                    return true;
                }
                let known = environment.contains_key(text);
                fill(element, environment);
                known || unset == Unset::Kept
            });
        }
        Value::Map(map) => map.retain(|key, value| {
            if !value.is_null() {
                return true;
            }
            let found = environment.get(key.as_str());
            if let Some(found) = found {
                value.value = Value::Text(found.into());
            }
            found.is_some() || unset == Unset::Kept
        }),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Big(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Time(_) => {}
    }
}

fn implied_dependencies(service: &Map) -> Vec<(String, Node)> {
    let mut implied = Vec::new();
    let texts = |key: &str| {
        let list = service.get(key).and_then(Node::as_list).unwrap_or_default();
        list.iter()
            .filter_map(|node| Some((node.as_text()?, node.span)))
    };
    for (link, span) in texts("links") {
        let name = match link.split(':').collect::<Vec<_>>().as_slice() {
            [name, _] => *name,
            _ => link,
        };
        implied.push((name.to_owned(), dependency(span, true)));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let node = service.get(key);
        let shared = node
            .and_then(Node::as_text)
            .and_then(|mode| mode.strip_prefix("service:"));
        if let (Some(name), Some(node)) = (shared, node) {
            implied.push((name.to_owned(), dependency(node.span, true)));
        }
    }
    for (from, span) in texts("volumes_from") {
        if !from.starts_with("container:") {
            let name = from.split(':').next().unwrap_or_default();
            implied.push((name.to_owned(), dependency(span, false)));
        }
    }
    implied
}

fn dependency(span: Span, restart: bool) -> Node {
    let flag = |flag: bool| Node::new(Value::Bool(flag), span);
    let map = Map::from([
        ("condition", Node::text("service_started", span)),
        ("restart", flag(restart)),
        ("required", flag(true)),
    ]);
    Node::new(Value::Map(map), span)
}

fn clean_targets(service: &mut Map) {
    let Some(Value::List(volumes)) = service.get_mut("volumes").map(|node| &mut node.value) else {
        return;
    };
    for volume in volumes.iter_mut().filter_map(Node::as_map_mut) {
        if let Some(Value::Text(target)) = volume.get_mut("target").map(|node| &mut node.value) {
            *target = canonical::clean_target(target).into();
        }
    }
}

fn names(tree: &mut Map, section: &str, project: &str) {
    let Some(map) = tree.get_mut(section).and_then(Node::as_map_mut) else {
        return;
    };
    for (key, node) in map {
        if node.is_null() {
            node.value = Value::Map(Map::new());
        }
        let Some(resource) = node.as_map_mut() else {
            continue;
        };
        if resource.get("name").is_some_and(|name| !name.is_null()) {
            continue;
        }
        let external = resource.get("external").and_then(Node::scalar_text);
        let external = external.is_some_and(|text| {
            matches!(text.as_str(), "true" | "1" | "t" | "T" | "TRUE" | "True")
        });
        let name = if external {
            key.to_string()
        } else {
            format!("{project}_{key}")
        };
        resource.insert("name", Node::text(name, Span::NOWHERE));
    }
}
