//! Paths into the tree, and tables of rules that are found by path.

use std::{cmp::Ordering, fmt};

/// Where a phase is in the tree; made on the stack while walking, so that a path costs nothing until it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The top of a file.
    pub(super) const ROOT: Path<'static> = Path {
        parent: None,
        part: Part::Root,
    };

    /// Goes to the value of a key.
    pub(super) fn key(&'a self, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            part: Part::Key(key),
        }
    }

    /// Goes to an element.
    pub(super) fn index(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            part: Part::Index(index),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.part, self.parent.map(|parent| parent.part)) {
            (Part::Root, _) => Ok(()),
            (Part::Index(index), _) => write!(f, "[{index}]"),
            (Part::Key(key), Some(Part::Root) | None) => f.write_str(key),
            (Part::Key(key), _) => write!(f, ".{key}"),
        }
    }
}

/// A table of rows `path pattern -> rule`; `*` in a pattern stands for any key or element.
#[derive(Debug)]
pub(super) struct Rules<R> {
    states: Vec<State<R>>,
}

#[derive(Debug)]
struct State<R> {
    exact: Vec<(&'static str, usize)>,
    any: Option<usize>,
    rule: Option<R>,
}

impl<R: Copy> Rules<R> {
    /// The state of the root.
    pub(super) const ROOT: usize = 0;

    /// Makes a table.
    pub(super) fn new(rows: &[(&'static str, R)]) -> Self {
        let mut rules = Self {
            states: vec![State::EMPTY],
        };
        for (pattern, rule) in rows {
            let mut at = Self::ROOT;
            for part in pattern.split('.') {
                at = rules.grow(at, part);
            }
            rules.states[at].rule = Some(*rule);
        }
        rules
    }

    fn grow(&mut self, at: usize, part: &'static str) -> usize {
        let known = if part == "*" {
            self.states[at].any
        } else {
            let exact = &self.states[at].exact;
            exact
                .iter()
                .find(|(key, _)| *key == part)
                .map(|(_, next)| *next)
        };
        known.unwrap_or_else(|| {
            let next = self.states.len();
            self.states.push(State::EMPTY);
            if part == "*" {
                self.states[at].any = Some(next);
            } else {
                let exact = &mut self.states[at].exact;
                let place = exact.partition_point(|(key, _)| by_length(key, part).is_lt());
                exact.insert(place, (part, next));
            }
            next
        })
    }

    /// Goes to a key; `None` where no pattern leads there.
    pub(super) fn key(&self, at: usize, key: &str) -> Option<usize> {
        let state = &self.states[at];
        let found = state
            .exact
            .binary_search_by(|(known, _)| by_length(known, key));
        found.map_or(state.any, |index| Some(state.exact[index].1))
    }

    /// Goes to an element of a list.
    pub(super) fn element(&self, at: usize) -> Option<usize> {
        self.states[at].any
    }

    /// Returns the rule of a state.
    pub(super) fn rule(&self, at: usize) -> Option<R> {
        self.states[at].rule
    }
}

/// An order in which most words differ at once, without a look at their letters.
fn by_length(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

impl<R> State<R> {
    const EMPTY: Self = Self {
        exact: Vec::new(),
        any: None,
        rule: None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_rules_by_pattern() {
        let rules = Rules::new(&[("services.*.ports.*", 1), ("services.*", 2), ("x.y", 3)]);
        let walk = |keys: &[&str]| {
            let end = keys
                .iter()
                .try_fold(Rules::<i32>::ROOT, |at, key| rules.key(at, key));
            end.and_then(|at| rules.rule(at))
        };
        assert_eq!(walk(&["services", "web"]), Some(2));
        assert_eq!(walk(&["services", "web", "ports", "0"]), Some(1));
        assert_eq!(walk(&["services", "web", "volumes"]), None);
        assert_eq!(walk(&["x", "y"]), Some(3));
    }

    #[test]
    fn shows_paths() {
        let services = Path::ROOT.key("services");
        let ports = services.key("ports");
        assert_eq!(ports.index(0).to_string(), "services.ports[0]");
    }
}
