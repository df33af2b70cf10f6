//! Rules inside one resource of the tree that its shape cannot say (behaviours.md B096, B106, B107).

use std::sync::LazyLock;

use super::{
    Code,
    node::{Map, Node, Value},
    path::{Path, Rules},
    report::{Failure, Failures},
    short,
};

/// A rule.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// An external volume has a name and nothing else.
    Volume,
    /// Exactly one of these says what the content is.
    Content(&'static [&'static str]),
    /// The host address is one.
    Port,
    /// A path is there.
    Path,
    /// Devices are counted or named.
    DeviceRequest,
}

static RULES: LazyLock<Rules<Rule>> = LazyLock::new(|| {
    Rules::new(&[
        ("volumes.*", Rule::Volume),
        (
            "configs.*",
            Rule::Content(&["file", "environment", "content"]),
        ),
        ("secrets.*", Rule::Content(&["file", "environment"])),
        ("services.*.ports.*", Rule::Port),
        ("services.*.develop.watch.*.path", Rule::Path),
        (
            "services.*.deploy.resources.reservations.devices.*",
            Rule::DeviceRequest,
        ),
        ("services.*.gpus.*", Rule::DeviceRequest),
    ])
});

/// Checks a tree.
///
/// # Errors
/// Fails with everything that breaks a rule.
pub(super) fn check(tree: &Map) -> Result<(), Failures> {
    let mut failures = Failures::default();
    for (key, node) in tree {
        if let Some(next) = RULES.key(Rules::<Rule>::ROOT, key) {
            visit(node, Path::ROOT.key(key), next, &mut failures);
        }
    }
    failures.into_result()
}

fn visit(node: &Node, path: Path<'_>, state: usize, failures: &mut Failures) {
    if let Some(rule) = RULES.rule(state) {
        if let Some(failure) = broken(rule, node, path) {
            failures.0.push(failure);
        }
        return;
    }
    match &node.value {
        Value::Map(map) => {
            for (key, child) in map {
                if let Some(next) = RULES.key(state, key) {
                    visit(child, path.key(key), next, failures);
                }
            }
        }
        Value::List(list) => {
            if let Some(next) = RULES.element(state) {
                for (index, element) in list.iter().enumerate() {
                    visit(element, path.index(index), next, failures);
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

fn broken(rule: Rule, node: &Node, path: Path<'_>) -> Option<Failure> {
    match rule {
        Rule::Volume => external_volume(node, path),
        Rule::Content(keys) => content(keys, node, path),
        Rule::Port => {
            let address = node.find("host_ip")?;
            let text = address.as_text()?;
            (!short::is_address(text)).then(|| {
                Failure::new(
                    Code::InvalidValue,
                    format!("`{path}.host_ip` is not an IP address: "),
                )
                .quoted(address.span, text)
                .at(address.span, "")
            })
        }
        Rule::Path => (node.as_text() == Some("")).then(|| {
            Failure::new(Code::InvalidValue, format!("`{path}` must not be blank"))
                .at(node.span, "")
        }),
        Rule::DeviceRequest => {
            let (count, ids) = (node.find("count")?, node.find("device_ids")?);
            Some(
                Failure::new(
                    Code::Conflict,
                    format!("`{path}` has both `count` and `device_ids`"),
                )
                .at(count.key, "either this")
                .at(ids.key, "or this"),
            )
        }
    }
}

fn external_volume(node: &Node, path: Path<'_>) -> Option<Failure> {
    let external = node.find("external")?;
    if external.value != Value::Bool(true) {
        return None;
    }
    let (key, other) = node
        .as_map()?
        .iter()
        .find(|(key, _)| !matches!(key.as_str(), "name" | "external") && !key.starts_with("x-"))?;
    Some(
        Failure::new(
            Code::Conflict,
            format!("`{path}` is external, so it cannot have `{key}`"),
        )
        .at(other.key, "the volume is made elsewhere")
        .at(external.key, "external"),
    )
}

fn content(keys: &[&str], node: &Node, path: Path<'_>) -> Option<Failure> {
    let Some(map) = node.as_map() else {
        return Some(
            Failure::new(Code::WrongType, format!("`{path}` must be a mapping")).at(node.key, ""),
        );
    };
    let given: Vec<&Node> = keys.iter().filter_map(|key| map.get(key)).collect();
    let names = keys
        .iter()
        .map(|key| format!("`{key}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match given.as_slice() {
        [] if map.contains_key("driver") || map.contains_key("external") => None,
        [] => Some(
            Failure::new(
                Code::MissingKey,
                format!("`{path}` must have one of {names}"),
            )
            .at(node.key, ""),
        ),
        [_] => None,
        [first, second, ..] => Some(
            Failure::new(
                Code::Conflict,
                format!("`{path}` must have only one of {names}"),
            )
            .at(second.key, "this")
            .at(first.key, "and this exclude each other"),
        ),
    }
}
