//! Laying one file over another (behaviours.md B057-B070): default rules, and a table of special paths.

use std::sync::LazyLock;

use super::{
    Code,
    node::{Map, Node, Value},
    path::{Path, Rules},
    report::{Failure, Failures},
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
/// Fails with every place where a mapping or a list meets something else; the earlier value stays there.
pub(super) fn merge_files(base: &mut Map, over: Map) -> Result<(), Failures> {
    let mut merge = Merge::default();
    merge.maps(base, over, Path::ROOT, Some(Rules::<Rule>::ROOT));
    merge.failures.into_result()
}

/// Lays a resource over another one of the same section (`services`, `networks`, …).
///
/// What does not fit is told, and the earlier value stays.
pub(super) fn merge_resource(
    section: &str,
    name: &str,
    base: Node,
    over: Node,
) -> (Node, Result<(), Failures>) {
    let mut merge = Merge::default();
    let state = RULES.key(Rules::<Rule>::ROOT, section);
    let state = state.and_then(|at| RULES.key(at, name));
    let top = Path::ROOT.key(section);
    let merged = merge.nodes(base, over, top.key(name), state);
    (merged, merge.failures.into_result())
}

/// Says whether the values of a path are put one after the other, whatever form each has.
pub(super) fn is_appended(path: &[String]) -> bool {
    let state = path
        .iter()
        .try_fold(Rules::<Rule>::ROOT, |at, key| RULES.key(at, key));
    let rule = state.and_then(|at| RULES.rule(at));
    matches!(rule, Some(Rule::Sequence | Rule::Hosts))
}

#[derive(Default)]
struct Merge {
    failures: Failures,
}

impl Merge {
    fn nodes(&mut self, base: Node, over: Node, path: Path<'_>, state: Option<usize>) -> Node {
        if let Some(rule) = state.and_then(|at| RULES.rule(at)) {
            return self.special(rule, base, over, path, state);
        }
        if over.is_null() {
            return base;
        }
        if base.as_map().is_none() && base.as_list().is_none() {
            return over.replacing(&base);
        }
        let (span, key) = (base.span, base.key);
        match (base.value, over.value) {
            (Value::Map(mut map), Value::Map(other)) => {
                self.maps(&mut map, other, path, state);
                Node::new(Value::Map(map), span).keyed(key)
            }
            (Value::List(mut list), Value::List(other)) => {
                list.extend(other);
                Node::new(Value::List(list), span).keyed(key)
            }
            (base, other) => {
                let base = Node::new(base, span).keyed(key);
                let other = Node::new(other, over.span).keyed(over.key);
                self.failures.0.push(conflict(&base, &other, path));
                base
            }
        }
    }

    fn maps(&mut self, base: &mut Map, over: Map, path: Path<'_>, state: Option<usize>) {
        for (key, node) in over {
            let Some(known) = base.get_mut(&key) else {
                base.insert(key, node);
                continue;
            };
            let next = state.and_then(|at| RULES.key(at, &key));
            *known = self.nodes(std::mem::take(known), node, path.key(&key), next);
        }
    }

    fn special(
        &mut self,
        rule: Rule,
        base: Node,
        over: Node,
        path: Path<'_>,
        state: Option<usize>,
    ) -> Node {
        let (span, key) = (base.span, base.key);
        let value = match rule {
            Rule::Replace => return over.replacing(&base),
            Rule::Sequence => {
                let mut list = sequence(base);
                list.extend(sequence(over));
                Value::List(list)
            }
            Rule::Hosts => Value::List(join_hosts(sequence(base), sequence(over))),
            Rule::Logging => return self.logging(base, over, path, state),
            Rule::Pools => return self.pools(base, over, path),
            Rule::Build | Rule::DependsOn | Rule::Names => {
                if !is_mapping(rule, &base) || !is_mapping(rule, &over) {
                    self.failures.0.push(conflict(&base, &over, path));
                    return base;
                }
                let (mut base, over) = (mapping(rule, base), mapping(rule, over));
                self.maps(&mut base, over, path, state);
                Value::Map(base)
            }
        };
        Node::new(value, span).keyed(key)
    }

    fn logging(&mut self, base: Node, over: Node, path: Path<'_>, state: Option<usize>) -> Node {
        let driver = |node: &Node| node.find("driver").map(|driver| driver.value.clone());
        let same = match (driver(&base), driver(&over)) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        if base.as_map().is_none() || over.as_map().is_none() {
            self.failures.0.push(conflict(&base, &over, path));
            return base;
        }
        if !same {
            return over;
        }
        let (span, key) = (base.span, base.key);
        let (mut map, other) = (into_map(base), into_map(over));
        self.maps(&mut map, other, path, state);
        Node::new(Value::Map(map), span).keyed(key)
    }

    fn pools(&mut self, base: Node, over: Node, path: Path<'_>) -> Node {
        let (Some(originals), Some(others)) = (base.as_list(), over.as_list()) else {
            self.failures.0.push(conflict(&base, &over, path));
            return base;
        };
        let subnet = |node: &Node| node.find("subnet").map(|subnet| subnet.value.clone());
        let mut merged: Vec<Node> = Vec::new();
        for original in originals {
            for other in others {
                let known = merged.iter().any(|pool| subnet(pool) == subnet(other));
                if subnet(original) != subnet(other) && !known {
                    merged.push(other.clone());
                    continue;
                }
                let mut pool = original.clone();
                if let (Some(map), Value::Map(other)) = (pool.as_map_mut(), other.value.clone()) {
                    self.maps(map, other, path, None);
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
        Node::new(Value::List(merged), base.span).keyed(base.key)
    }
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
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Big(_)
        | Value::Float(_)
        | Value::Time(_) => Vec::new(),
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

fn conflict(base: &Node, over: &Node, path: Path<'_>) -> Failure {
    Failure::new(
        Code::Override,
        format!(
            "cannot override `{path}`: a {} cannot be laid over a {}",
            over.kind(),
            base.kind()
        ),
    )
    .at(over.key, format!("a {} here", over.kind()))
    .at(base.key, format!("a {} here", base.kind()))
}

fn into_map(node: Node) -> Map {
    match node.value {
        Value::Map(map) => map,
        _ => Map::new(),
    }
}

/// Says whether a node is a mapping, or the short form of one.
fn is_mapping(rule: Rule, node: &Node) -> bool {
    match (&node.value, rule) {
        (Value::Map(_) | Value::Null, _) | (Value::Text(_), Rule::Build) => true,
        (Value::List(list), Rule::DependsOn | Rule::Names) => {
            list.iter().all(|name| name.as_text().is_some())
        }
        _ => false,
    }
}

/// Turns the short form of a section into its mapping.
fn mapping(rule: Rule, node: Node) -> Map {
    let (span, key) = (node.span, node.key);
    match node.value {
        Value::Map(map) => map,
        Value::Text(text) => {
            let context = Node::text(text, span).keyed(key);
            Map::from([("context", context)])
        }
        Value::List(list) => {
            let named = list.into_iter().filter_map(|name| {
                let value = match rule {
                    Rule::DependsOn => started(&name),
                    _ => Node::new(Value::Null, name.span),
                };
                Some((name.as_text()?.to_owned(), value))
            });
            named.collect()
        }
        _ => Map::new(),
    }
}

/// The long form of a name in `depends_on`.
pub(super) fn started(name: &Node) -> Node {
    let map = Map::from([
        ("condition", Node::text("service_started", name.span)),
        ("required", Node::new(Value::Bool(true), name.span)),
    ]);
    Node::new(Value::Map(map), name.span)
}
