//! What later phases do not judge, because it is known to be wrong already: so that one run tells every independent
//! mistake, and none twice.
//!
//! Each phase that finds mistakes takes the values they are about out of the tree; what depended on them is known by
//! its path.

use super::node::{Map, Node, Span, Value};

/// The paths of what is wrong.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    paths: Vec<Vec<String>>,
    /// The places of what lost a value.
    owners: Vec<Span>,
    /// A file could not be read: what is not there may be in it.
    incomplete: bool,
}

impl Marks {
    /// Notes that a file is missing from the tree.
    pub(super) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Notes that the value of a path is wrong.
    pub(super) fn add(&mut self, path: &[&str]) {
        self.paths
            .push(path.iter().map(|part| (*part).to_owned()).collect());
    }

    /// Says whether something may be missing anywhere.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Says whether a value was taken out of what stands at a place.
    pub(super) fn is_emptied(&self, place: Span) -> bool {
        self.owners.contains(&place)
    }

    /// Says whether something may be missing from a section, so that no name can be said to be undefined.
    pub(super) fn is_open(&self, section: &str) -> bool {
        self.incomplete || self.paths.iter().any(|path| *path == [section])
    }

    /// Returns the keys of a mapping whose values are wrong.
    pub(super) fn keys_below(&self, path: &[&str]) -> impl Iterator<Item = &str> {
        let below = self.paths.iter().filter(move |known| {
            known.len() > path.len() && known.iter().zip(path).all(|(one, other)| one == other)
        });
        below.map(move |known| known[path.len()].as_str())
    }

    /// Says whether the value of a path, or something above or below it, is wrong.
    pub(super) fn cover(&self, path: &[&str]) -> bool {
        self.paths
            .iter()
            .any(|known| known.iter().zip(path).all(|(one, other)| one == other))
    }

    /// Takes the values out that stand, or whose keys stand, at these places. A resource stays as an empty one, so
    /// that others may still refer to it.
    pub(super) fn prune(&mut self, tree: &mut Map, wrong: &[Span]) {
        if !wrong.is_empty() {
            self.prune_map(tree, wrong, &mut Vec::new());
        }
    }

    /// Answers whether the mapping itself lost a value.
    fn prune_map(&mut self, map: &mut Map, wrong: &[Span], path: &mut Vec<String>) -> bool {
        let mut lost = false;
        map.retain(|key, node| {
            path.push(key.to_string());
            let found = wrong.contains(&node.span) || wrong.contains(&node.key);
            if found {
                lost = true;
                self.paths.push(path.clone());
            } else if self.prune_node(node, wrong, path) {
                self.owners.extend([node.key, node.span]);
            }
            let keep = !found || path.len() == 2;
            if found && keep {
                node.value = Value::Map(Map::new());
            }
            path.pop();
            keep
        });
        lost
    }

    /// Answers whether the node itself lost a value.
    fn prune_node(&mut self, node: &mut Node, wrong: &[Span], path: &mut Vec<String>) -> bool {
        match &mut node.value {
            Value::Map(map) => self.prune_map(map, wrong, path),
            Value::List(list) => {
                let before = list.len();
                // An element that lacks something cannot be judged either.
                list.retain_mut(|element| {
                    let lost = self.prune_node(element, wrong, path);
                    if lost {
                        self.owners.push(element.span);
                    }
                    !lost && !wrong.contains(&element.span)
                });
                let lost = list.len() != before;
                if lost {
                    self.paths.push(path.clone());
                }
                lost
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Big(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Time(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: u32) -> Span {
        Span {
            source: 0,
            start,
            end: start + 1,
        }
    }

    #[test]
    fn takes_wrong_values_out_and_knows_what_depends_on_them() {
        let ports = vec![Node::text("a", at(1)), Node::text("b", at(2))];
        let web = Map::from([
            ("ports", Node::new(Value::List(ports), at(3))),
            ("image", Node::text("x", at(4))),
        ]);
        let services = Map::from([
            ("web", Node::new(Value::Map(web), at(5))),
            ("db", Node::text("x", at(6))),
        ]);
        let mut tree = Map::from([
            ("services", Node::new(Value::Map(services), at(7))),
            ("volumes", Node::text("x", at(8))),
        ]);
        let mut marks = Marks::default();
        marks.prune(&mut tree, &[at(2), at(6), at(8)]);
        assert!(marks.is_open("volumes") && !marks.is_open("services"));
        assert!(marks.cover(&["services", "web", "ports"]));
        assert!(marks.cover(&["services", "db", "image"]));
        assert!(!marks.cover(&["services", "web", "image"]));
        let services = tree.get("services").and_then(Node::as_map);
        assert!(services.is_some_and(|services| services.contains_key("db")));
        assert!(!tree.contains_key("volumes"));
    }
}
