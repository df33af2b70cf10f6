//! Laying one file over another (behaviours.md B057-B070): default rules, and a table of special paths.

use std::sync::LazyLock;

use super::{
    node::{Map, Node, Value},
    path::{Path, Rules},
    report::Failure,
};

/// How the values of a path are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Mapping or list to a list of `key=value`, one after the other.
    Sequence,
    /// As [`Rule::Sequence`], without what is already there.
    Hosts,
    /// The later one wins as a whole.
    Replace,
    /// A text is the context.
    Build,
    /// A list is a mapping with default conditions.
    DependsOn,
    /// A list is a mapping without values.
    Names,
    /// Merged only where the driver is the same.
    Logging,
    /// Pools with the same subnet are merged.
    Pools,
}

static RULES: LazyLock<Rules<Rule>> = LazyLock::new(|| {
    Rules::new(&[
        ("networks.*.ipam.config", Rule::Pools),
        ("networks.*.labels", Rule::Sequence),
        ("volumes.*.labels", Rule::Sequence),
        ("services.*.annotations", Rule::Sequence),
        ("services.*.build", Rule::Build),
        ("services.*.build.args", Rule::Sequence),
        ("services.*.build.additional_contexts", Rule::Sequence),
        ("services.*.build.extra_hosts", Rule::Hosts),
        ("services.*.build.labels", Rule::Sequence),
        ("services.*.command", Rule::Replace),
        ("services.*.depends_on", Rule::DependsOn),
        ("services.*.deploy.labels", Rule::Sequence),
        ("services.*.dns", Rule::Sequence),
        ("services.*.dns_opt", Rule::Sequence),
        ("services.*.dns_search", Rule::Sequence),
        ("services.*.entrypoint", Rule::Replace),
        ("services.*.env_file", Rule::Sequence),
        ("services.*.label_file", Rule::Sequence),
        ("services.*.environment", Rule::Sequence),
        ("services.*.extra_hosts", Rule::Hosts),
        ("services.*.healthcheck.test", Rule::Replace),
        ("services.*.labels", Rule::Sequence),
        ("services.*.logging", Rule::Logging),
        ("services.*.models", Rule::Names),
        ("services.*.networks", Rule::Names),
        ("services.*.sysctls", Rule::Sequence),
        ("services.*.tmpfs", Rule::Sequence),
        ("services.*.ulimits.*", Rule::Replace),
    ])
});

/// Lays a file over what was merged so far.
///
/// # Errors
/// Fails where a mapping or a list meets something else.
pub(super) fn merge_files(base: &mut Map, over: Map) -> Result<(), Failure> {
    merge_maps(base, over, Path::ROOT, Some(Rules::<Rule>::ROOT))
}

/// Lays a resource over another one of the same section (`services`, `networks`, …).
///
/// # Errors
/// Fails where a mapping or a list meets something else.
pub(super) fn merge_resource(
    section: &str,
    name: &str,
    base: Node,
    over: Node,
) -> Result<Node, Failure> {
    let state = RULES.key(Rules::<Rule>::ROOT, section);
    let state = state.and_then(|at| RULES.key(at, name));
    let top = Path::ROOT.key(section);
    merge(base, over, top.key(name), state)
}

fn merge(base: Node, over: Node, path: Path<'_>, state: Option<usize>) -> Result<Node, Failure> {
    if let Some(rule) = state.and_then(|at| RULES.rule(at)) {
        return special(rule, base, over, path, state);
    }
    if over.is_null() {
        return Ok(base);
    }
    if base.as_map().is_none() && base.as_list().is_none() {
        return Ok(over.replacing(&base));
    }
    let (span, key) = (base.span, base.key);
    match (base.value, over.value) {
        (Value::Map(mut map), Value::Map(other)) => {
            merge_maps(&mut map, other, path, state)?;
            Ok(Node::new(Value::Map(map), span).keyed(key))
        }
        (Value::List(mut list), Value::List(other)) => {
            list.extend(other);
            Ok(Node::new(Value::List(list), span).keyed(key))
        }
        (base, other) => {
            let base = Node::new(base, span).keyed(key);
            let other = Node::new(other, over.span).keyed(over.key);
            Err(conflict(&base, &other, path))
        }
    }
}

fn merge_maps(
    base: &mut Map,
    over: Map,
    path: Path<'_>,
    state: Option<usize>,
) -> Result<(), Failure> {
    for (key, node) in over {
        let Some(known) = base.get_mut(&key) else {
            base.insert(key, node);
            continue;
        };
        let next = state.and_then(|at| RULES.key(at, &key));
        *known = merge(std::mem::take(known), node, path.key(&key), next)?;
    }
    Ok(())
}

fn conflict(base: &Node, over: &Node, path: Path<'_>) -> Failure {
    Failure::new(format!(
        "cannot override `{path}`: a {} cannot be laid over a {}",
        over.kind(),
        base.kind()
    ))
    .at(over.key, format!("a {} here", over.kind()))
    .at(base.key, format!("a {} here", base.kind()))
}

fn special(
    rule: Rule,
    base: Node,
    over: Node,
    path: Path<'_>,
    state: Option<usize>,
) -> Result<Node, Failure> {
    let (span, key) = (base.span, base.key);
    let value = match rule {
        Rule::Replace => return Ok(over.replacing(&base)),
        Rule::Sequence => {
            let mut list = sequence(base);
            list.extend(sequence(over));
            Value::List(list)
        }
        Rule::Hosts => Value::List(join_hosts(sequence(base), sequence(over))),
        Rule::Logging => return logging(base, over, path, state),
        Rule::Pools => Value::List(pools(base, over, path)?),
        Rule::Build | Rule::DependsOn | Rule::Names => {
            let wrong = conflict(&base, &over, path);
            let (Some(mut base), Some(over)) = (mapping(rule, base), mapping(rule, over)) else {
                return Err(wrong);
            };
            merge_maps(&mut base, over, path, state)?;
            Value::Map(base)
        }
    };
    Ok(Node::new(value, span).keyed(key))
}

/// Writes a mapping as sorted `key=value` texts.
fn sequence(node: Node) -> Vec<Node> {
    match node.value {
        Value::Map(map) => {
            let mut list: Vec<Node> = map
                .into_iter()
                .flat_map(|(key, node)| pairs(&key, &node))
                .collect();
            list.sort_by(|one, other| one.as_text().cmp(&other.as_text()));
            list
        }
        Value::List(list) => list,
        Value::Text(_) => vec![node],
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Vec::new(),
    }
}

fn pairs(key: &str, node: &Node) -> Vec<Node> {
    let place = node.key;
    let pair = |node: &Node| {
        let value = node.scalar_text().unwrap_or_default();
        Node::text(format!("{key}={value}"), node.span).keyed(place)
    };
    match &node.value {
        Value::Null => vec![Node::text(key, node.span).keyed(place)],
        Value::List(list) => list.iter().map(pair).collect(),
        _ => vec![pair(node)],
    }
}

fn join_hosts(mut base: Vec<Node>, over: Vec<Node>) -> Vec<Node> {
    for host in over {
        if !base.iter().any(|known| known.value == host.value) {
            base.push(host);
        }
    }
    base
}

fn logging(base: Node, over: Node, path: Path<'_>, state: Option<usize>) -> Result<Node, Failure> {
    let driver = |node: &Node| node.find("driver").map(|driver| driver.value.clone());
    let same = match (driver(&base), driver(&over)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let wrong = conflict(&base, &over, path);
    let (span, key) = (base.span, base.key);
    match (base.value, over.value) {
        (Value::Map(mut map), Value::Map(other)) if same => {
            merge_maps(&mut map, other, path, state)?;
            Ok(Node::new(Value::Map(map), span).keyed(key))
        }
        (Value::Map(_), other @ Value::Map(_)) => Ok(Node::new(other, over.span).keyed(over.key)),
        _ => Err(wrong),
    }
}

/// Turns the short form of a section into its mapping.
fn mapping(rule: Rule, node: Node) -> Option<Map> {
    match (node.value, rule) {
        (Value::Map(map), _) => Some(map),
        (Value::Null, _) => Some(Map::new()),
        (Value::Text(text), Rule::Build) => {
            let context = Node::text(text, node.span).keyed(node.key);
            Some(Map::from([("context".to_owned(), context)]))
        }
        (Value::List(list), Rule::DependsOn | Rule::Names) => {
            let mut map = Map::new();
            for name in list {
                let key = name.as_text()?.to_owned();
                let value = match rule {
                    Rule::DependsOn => started(&name),
                    _ => Node::new(Value::Null, name.span),
                };
                map.insert(key, value);
            }
            Some(map)
        }
        _ => None,
    }
}

/// The long form of a name in `depends_on`.
pub(super) fn started(name: &Node) -> Node {
    let map = Map::from([
        (
            "condition".to_owned(),
            Node::text("service_started", name.span),
        ),
        (
            "required".to_owned(),
            Node::new(Value::Bool(true), name.span),
        ),
    ]);
    Node::new(Value::Map(map), name.span)
}

fn pools(base: Node, over: Node, path: Path<'_>) -> Result<Vec<Node>, Failure> {
    let wrong = conflict(&base, &over, path);
    let (Value::List(base), Value::List(over)) = (base.value, over.value) else {
        return Err(wrong);
    };
    let subnet = |node: &Node| node.find("subnet").map(|subnet| subnet.value.clone());
    let mut merged: Vec<Node> = Vec::new();
    for original in &base {
        for other in &over {
            let known = merged.iter().any(|pool| subnet(pool) == subnet(other));
            if subnet(original) != subnet(other) && !known {
                merged.push(other.clone());
                continue;
            }
            let mut pool = original.clone();
            if let (Some(map), Value::Map(other)) = (pool.as_map_mut(), other.value.clone()) {
                merge_maps(map, other, path, None)?;
            }
            match merged
                .iter_mut()
                .find(|known| subnet(known) == subnet(&pool))
            {
                Some(known) => *known = pool,
                None => merged.push(pool),
            }
        }
    }
    Ok(merged)
}
