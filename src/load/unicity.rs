//! Lists in which a later entry replaces an earlier one with the same key (behaviours.md B059-B063).

use std::{collections::HashMap, sync::LazyLock};

use super::{
    Code,
    node::{Map, Node, Value},
    path::{Path, Rules},
    report::{Failure, Failures},
    short,
};

/// What two entries have in common when one replaces the other.
#[derive(Debug, Clone, Copy)]
enum Index {
    /// The text before `=`.
    Key,
    /// The target of a volume.
    Volume,
    /// The target of a device.
    Device,
    /// The target of a file, below this directory where it is not given.
    File(&'static str),
    /// The path of an env file.
    EnvFile,
    /// The number.
    Expose,
    /// Address, both ports and protocol.
    Port,
}

static RULES: LazyLock<Rules<Index>> = LazyLock::new(|| {
    Rules::new(&[
        ("networks.*.labels", Index::Key),
        ("networks.*.ipam.options", Index::Key),
        ("services.*.annotations", Index::Key),
        ("services.*.build.args", Index::Key),
        ("services.*.build.additional_contexts", Index::Key),
        ("services.*.build.platform", Index::Key),
        ("services.*.build.tags", Index::Key),
        ("services.*.build.labels", Index::Key),
        ("services.*.cap_add", Index::Key),
        ("services.*.cap_drop", Index::Key),
        ("services.*.configs", Index::File("")),
        ("services.*.deploy.labels", Index::Key),
        ("services.*.devices", Index::Device),
        ("services.*.dns", Index::Key),
        ("services.*.dns_opt", Index::Key),
        ("services.*.dns_search", Index::Key),
        ("services.*.environment", Index::Key),
        ("services.*.env_file", Index::EnvFile),
        ("services.*.expose", Index::Expose),
        ("services.*.labels", Index::Key),
        ("services.*.links", Index::Key),
        ("services.*.networks.*.aliases", Index::Key),
        ("services.*.networks.*.link_local_ips", Index::Key),
        ("services.*.ports", Index::Port),
        ("services.*.profiles", Index::Key),
        ("services.*.secrets", Index::File("/run/secrets")),
        ("services.*.sysctls", Index::Key),
        ("services.*.tmpfs", Index::Key),
        ("services.*.volumes", Index::Volume),
    ])
});

/// Says whether equal entries of the list at a path of keys (`*` for any name) become one.
pub(super) fn drops_doubles(path: &[&str]) -> bool {
    let mut keys = path.iter();
    let end = keys.try_fold(Rules::<Index>::ROOT, |at, key| RULES.key(at, key));
    end.and_then(|end| RULES.rule(end)).is_some()
}

/// Keeps the last of equal entries, in the place of the first.
///
/// # Errors
/// Fails with every entry that has no key.
pub(super) fn enforce(tree: &mut Map) -> Result<(), Failures> {
    let mut failures = Failures::default();
    visit(tree, Path::ROOT, Rules::<Index>::ROOT, &mut failures);
    failures.into_result()
}

fn visit(map: &mut Map, path: Path<'_>, state: usize, failures: &mut Failures) {
    for (key, node) in map {
        let Some(next) = RULES.key(state, key) else {
            continue;
        };
        match &mut node.value {
            Value::Map(child) => visit(child, path.key(key), next, failures),
            Value::List(list) => {
                if let Some(index) = RULES.rule(next) {
                    deduplicate(list, index, path.key(key), failures);
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
}

fn deduplicate(list: &mut Vec<Node>, index: Index, path: Path<'_>, failures: &mut Failures) {
    if list.len() == 1 && key_of(&list[0], index).is_some() {
        return;
    }
    let mut places = Places::default();
    let mut kept: Vec<Node> = Vec::with_capacity(list.len());
    for (number, node) in std::mem::take(list).into_iter().enumerate() {
        let Some(key) = key_of(&node, index) else {
            failures.0.push(no_key(&node, index, path.index(number)));
            kept.push(node);
            continue;
        };
        if let Some(place) = places.find(&key) {
            kept[place] = node.replacing(&kept[place]);
        } else {
            places.insert(key, kept.len());
            kept.push(node);
        }
    }
    *list = kept;
}

/// Where each key was first; nearly every list is short, and searched faster than a table is made.
#[derive(Default)]
struct Places {
    short: Vec<(String, usize)>,
    long: HashMap<String, usize>,
}

impl Places {
    fn find(&self, key: &str) -> Option<usize> {
        let known = |(known, _): &&(String, usize)| known == key;
        let place = self.short.iter().find(known).map(|(_, place)| *place);
        place.or_else(|| self.long.get(key).copied())
    }

    fn insert(&mut self, key: String, place: usize) {
        if self.short.len() < 16 {
            self.short.push((key, place));
        } else {
            self.long.insert(key, place);
        }
    }
}

fn no_key(node: &Node, index: Index, path: Path<'_>) -> Failure {
    let message = match (index, node.kind()) {
        (Index::Volume | Index::Device, "mapping") => format!("`{path}` has no `target`"),
        (Index::Port, "mapping") => format!("`{path}` has no `target` port"),
        (Index::EnvFile, "mapping") => format!("`{path}` has no `path`"),
        (Index::Volume, "string") => format!("`{path}` is not a volume"),
        (_, kind) => format!("`{path}` must be a string, this is a {kind}"),
    };
    let code = if node.as_map().is_some() {
        Code::MissingKey
    } else {
        Code::InvalidValue
    };
    let failure = Failure::new(code, message);
    match node.as_text().map(short::volume) {
        Some(Err(problem)) => failure.say(": ").problem(node.span, &problem),
        _ => failure,
    }
    .at(node.span, "")
}

fn key_of(node: &Node, index: Index) -> Option<String> {
    let text = node.as_text();
    match index {
        Index::Key => {
            let text = text?;
            Some(text.split_once('=').map_or(text, |(key, _)| key).to_owned())
        }
        Index::Volume => match text {
            Some(text) => short::volume(text).ok().map(|volume| volume.target),
            None => target(node),
        },
        Index::Device => match text {
            Some(text) => {
                let mut parts = text.split(':');
                let source = parts.next().unwrap_or_default();
                Some(parts.next().unwrap_or(source).to_owned())
            }
            None => target(node),
        },
        Index::File(directory) => match text {
            Some(text) => Some(format!("{directory}/{text}")),
            None => file_target(node, directory),
        },
        Index::EnvFile => match text {
            Some(text) => Some(text.to_owned()),
            None => other_than_map(node)
                .or_else(|| node.find("path").and_then(Node::as_text).map(str::to_owned)),
        },
        Index::Expose => match &node.value {
            Value::Text(text) => Some(text.to_string()),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        },
        Index::Port => port_key(node),
    }
}

/// Entries that are neither text nor mapping share one key: the schema refuses them later.
fn other_than_map(node: &Node) -> Option<String> {
    node.as_map().is_none().then(String::new)
}

fn target(node: &Node) -> Option<String> {
    other_than_map(node).or_else(|| {
        node.find("target")
            .and_then(Node::as_text)
            .map(str::to_owned)
    })
}

fn file_target(node: &Node, directory: &str) -> Option<String> {
    node.as_map()?;
    if let Some(target) = node.find("target") {
        return target.as_text().map(str::to_owned);
    }
    let source = node.find("source").and_then(Node::scalar_text);
    Some(format!("{directory}/{}", source.unwrap_or_default()))
}

fn port_key(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Map(map) => {
            let part = |key: &str, default: &str| {
                map.get(key)
                    .and_then(Node::scalar_text)
                    .unwrap_or_else(|| default.to_owned())
            };
            let target = map.get("target")?.scalar_text()?;
            // docker compose takes the number 80 and the text "80" for two ports.
            let published = match map.get("published").map(|node| &node.value) {
                Some(Value::Int(number)) => format!("number {number}"),
                _ => part("published", ""),
            };
            let host = part("host_ip", "0.0.0.0");
            Some(format!(
                "{host}:{published}:{target}/{}",
                part("protocol", "tcp")
            ))
        }
        _ => other_than_map(node),
    }
}
