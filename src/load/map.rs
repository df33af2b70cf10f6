//! The mapping of the tree: pairs in the order of the file.
//!
//! Nearly every mapping of a Compose file is small, and a project has tens of thousands of them; so the pairs stand in
//! one vector that is searched from its start, and only a large mapping gets an index beside it.

use std::collections::HashMap;

use compact_str::CompactString;

use super::node::{Node, Span};

/// A key; short ones, as nearly all are, take no memory of their own.
pub type Key = CompactString;

/// Mappings with more pairs than this get an index.
const INDEXED_FROM: usize = 24;

/// A mapping, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Map {
    pairs: Vec<(Key, Node)>,
    /// The positions of the keys, once there are many; boxed, because hardly any mapping has it.
    #[expect(
        clippy::box_collection,
        reason = "every mapping pays for the size of this field"
    )]
    index: Option<Box<HashMap<Key, usize>>>,
}

/// A key that a mapping has twice, with both places.
#[derive(Debug)]
pub(super) struct Twice {
    pub(super) key: Key,
    pub(super) first: Span,
    pub(super) second: Span,
}

impl Map {
    /// Makes an empty mapping.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pairs: Vec::new(),
            index: None,
        }
    }

    /// Makes a mapping of pairs that are read from a file; of keys that are there twice, the first counts.
    pub(super) fn from_pairs(mut pairs: Vec<(Key, Node)>) -> (Self, Vec<Twice>) {
        let mut index = HashMap::new();
        let many = pairs.len() > INDEXED_FROM;
        if many {
            index.reserve(pairs.len());
        }
        let mut again = Vec::new();
        for (second, (key, _)) in pairs.iter().enumerate() {
            let first = if many {
                let first = *index.entry(key.clone()).or_insert(second);
                Some(first).filter(|first| *first != second)
            } else {
                pairs[..second].iter().position(|(known, _)| known == key)
            };
            again.extend(first.map(|first| (first, second)));
        }
        if again.is_empty() {
            let index = many.then(|| Box::new(index));
            return (Self { pairs, index }, Vec::new());
        }
        let twice = again.iter().map(|(first, second)| Twice {
            key: pairs[*second].0.clone(),
            first: pairs[*first].1.key,
            second: pairs[*second].1.key,
        });
        let twice = twice.collect();
        for (_, second) in again.into_iter().rev() {
            pairs.remove(second);
        }
        (pairs.into_iter().collect(), twice)
    }

    /// Returns the number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Says whether it has no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.pairs.iter().position(|(known, _)| known == key),
        }
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.position(key).map(|at| &self.pairs[at].1)
    }

    /// Returns the value of a key.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.position(key).map(|at| &mut self.pairs[at].1)
    }

    /// Says whether there is a key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Sets the value of a key, in its old place where it has one; returns the old value.
    pub fn insert(&mut self, key: impl Into<Key>, node: Node) -> Option<Node> {
        let key = key.into();
        if let Some(known) = self.get_mut(&key) {
            return Some(std::mem::replace(known, node));
        }
        self.push(key, node);
        None
    }

    /// Returns the value of a key, made where there is none.
    pub fn get_or_insert_with(
        &mut self,
        key: impl Into<Key>,
        make: impl FnOnce() -> Node,
    ) -> &mut Node {
        let key = key.into();
        let at = self.position(&key).unwrap_or_else(|| {
            self.push(key, make());
            self.pairs.len() - 1
        });
        &mut self.pairs[at].1
    }

    /// Adds a key that is not there.
    fn push(&mut self, key: Key, node: Node) {
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), self.pairs.len());
        }
        self.pairs.push((key, node));
        if self.index.is_none() && self.pairs.len() > INDEXED_FROM {
            self.reindex();
        }
    }

    fn reindex(&mut self) {
        self.index = (self.pairs.len() > INDEXED_FROM).then(|| {
            let keys = self.pairs.iter().enumerate();
            Box::new(keys.map(|(at, (key, _))| (key.clone(), at)).collect())
        });
    }

    /// Takes a key out; the others keep their order.
    pub fn shift_remove(&mut self, key: &str) -> Option<Node> {
        let at = self.position(key)?;
        let (_, node) = self.pairs.remove(at);
        self.reindex();
        Some(node)
    }

    /// Keeps the pairs that are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Key, &mut Node) -> bool) {
        let before = self.pairs.len();
        self.pairs.retain_mut(|(key, node)| wanted(key, node));
        if self.pairs.len() != before {
            self.reindex();
        }
    }

    /// Returns the pairs in order.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Key, &Node)> + ExactSizeIterator {
        self.pairs.iter().map(|(key, node)| (key, node))
    }

    /// Returns the pairs in order.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&Key, &mut Node)> {
        self.pairs.iter_mut().map(|(key, node)| (&*key, node))
    }

    /// Returns the keys in order.
    #[must_use]
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Key> + ExactSizeIterator {
        self.pairs.iter().map(|(key, _)| key)
    }

    /// Returns the values in order.
    #[must_use]
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Node> + ExactSizeIterator {
        self.pairs.iter().map(|(_, node)| node)
    }

    /// Returns the values in order.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Node> {
        self.pairs.iter_mut().map(|(_, node)| node)
    }
}

impl PartialEq for Map {
    /// The order does not count.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(key, node)| other.get(key).is_some_and(|found| found == node))
    }
}

impl<K: Into<Key>> FromIterator<(K, Node)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Node)>>(pairs: I) -> Self {
        let mut map = Self::new();
        for (key, node) in pairs {
            map.insert(key, node);
        }
        map
    }
}

impl<K: Into<Key>, const N: usize> From<[(K, Node); N]> for Map {
    fn from(pairs: [(K, Node); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl IntoIterator for Map {
    type Item = (Key, Node);
    type IntoIter = std::vec::IntoIter<(Key, Node)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.into_iter()
    }
}

impl<'m> IntoIterator for &'m Map {
    type Item = (&'m Key, &'m Node);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'m, (Key, Node)>,
        fn(&'m (Key, Node)) -> (&'m Key, &'m Node),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.iter().map(|(key, node)| (key, node))
    }
}

impl<'m> IntoIterator for &'m mut Map {
    type Item = (&'m Key, &'m mut Node);
    type IntoIter = std::iter::Map<
        std::slice::IterMut<'m, (Key, Node)>,
        fn(&'m mut (Key, Node)) -> (&'m Key, &'m mut Node),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.iter_mut().map(|(key, node)| (&*key, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Map {
        (0..count)
            .map(|number| {
                (
                    number.to_string(),
                    Node::text(number.to_string(), Span::NOWHERE),
                )
            })
            .collect()
    }

    #[test]
    fn keeps_the_order_and_finds_keys_at_any_size() {
        for count in [0, 1, INDEXED_FROM, INDEXED_FROM + 1, 100] {
            let mut map = numbered(count);
            assert_eq!(map.len(), count);
            assert!(
                map.keys()
                    .enumerate()
                    .all(|(at, key)| *key == at.to_string())
            );
            assert!((0..count).all(|number| map.contains_key(&number.to_string())));
            if count > 0 {
                assert!(map.shift_remove("0").is_some());
            }
            map.retain(|key, _| key != "1");
            assert!((2..count).all(|number| {
                map.get(&number.to_string()).and_then(Node::as_text) == Some(&*number.to_string())
            }));
            assert!(!map.contains_key("0") && !map.contains_key("1"));
        }
    }

    #[test]
    fn tells_keys_that_are_there_twice_at_any_size() {
        for count in [1, INDEXED_FROM, INDEXED_FROM + 1] {
            let mut pairs: Vec<(Key, Node)> = numbered(count).into_iter().collect();
            let (map, twice) = Map::from_pairs(pairs.clone());
            assert!(map.len() == count && twice.is_empty());
            pairs.extend([("0".into(), Node::default()), ("0".into(), Node::default())]);
            let (map, twice) = Map::from_pairs(pairs);
            assert!(map.len() == count && twice.len() == 2);
            assert_eq!(map.get("0").and_then(Node::as_text), Some("0"));
        }
    }

    #[test]
    fn replaces_in_place() {
        let mut map = numbered(3);
        assert!(map.insert("1", Node::default()).is_some());
        assert!(map.insert("9", Node::default()).is_none());
        let keys: Vec<&str> = map.keys().map(Key::as_str).collect();
        assert_eq!(keys, ["0", "1", "2", "9"]);
        map.get_or_insert_with("1", || Node::text("x", Span::NOWHERE));
        assert!(map.get("1").is_some_and(Node::is_null));
    }
}
