//! `!reset` and `!override`: what is taken out of earlier files before a file is merged onto them (behaviours.md B071).

use super::node::{Instruction, Map, Node, Value};

/// The paths that one document clears.
#[derive(Debug, Clone, Default)]
pub(super) struct Resets {
    paths: Vec<Vec<String>>,
}

impl Resets {
    /// Takes the instructions out of a document: `!reset` values vanish from it, `!override` values stay.
    pub(super) fn take(document: &mut Node) -> Self {
        let mut resets = Self::default();
        resets.visit(document, &mut Vec::new(), Reach::Mappings);
        resets
    }

    fn visit(&mut self, node: &mut Node, path: &mut Vec<String>, reach: Reach) {
        match &mut node.value {
            Value::Map(map) => self.visit_map(map, path, reach),
            Value::List(list) => {
                list.retain(|element| element.instruction != Some(Instruction::Reset));
                for element in list {
                    if element.instruction.take().is_none() {
                        self.visit(element, path, Reach::Elements);
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

    fn visit_map(&mut self, map: &mut Map, path: &mut Vec<String>, reach: Reach) {
        let mut cleared = false;
        for (key, child) in map.iter_mut() {
            let leaf = !matches!(child.value, Value::Map(_) | Value::List(_));
            if leaf && child.instruction.is_none() {
                continue;
            }
            path.push(key.to_string());
            if let Some(instruction) = child.instruction {
                cleared |= instruction == Instruction::Reset;
                if reach == Reach::Mappings {
                    self.paths.push(path.clone());
                }
                if instruction == Instruction::Override {
                    child.instruction = None;
                }
            } else {
                self.visit(child, path, reach);
            }
            path.pop();
        }
        if cleared {
            map.retain(|_, child| child.instruction != Some(Instruction::Reset));
        }
    }

    /// Clears the paths in a tree.
    pub(super) fn apply(&self, target: &mut Map) {
        for path in &self.paths {
            clear(target, path);
        }
    }

    /// Clears the paths in a part of a tree, which stands at `prefix`.
    pub(super) fn apply_at(&self, prefix: [&str; 2], target: &mut Node) {
        let Some(map) = target.as_map_mut() else {
            return;
        };
        for path in &self.paths {
            if path.len() > prefix.len() && path.iter().zip(prefix).all(|(own, part)| own == part) {
                clear(map, &path[prefix.len()..]);
            }
        }
    }

    /// Says whether the whole part of a tree at `prefix` is cleared.
    pub(super) fn clears(&self, prefix: [&str; 2]) -> bool {
        let matches = |path: &Vec<String>| {
            path.len() <= prefix.len() && path.iter().zip(prefix).all(|(own, part)| own == part)
        };
        self.paths.iter().any(matches)
    }
}

/// Whether paths below a sequence count: they are never applied to earlier files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Mappings,
    Elements,
}

fn clear(map: &mut Map, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        map.shift_remove(first);
    } else if let Some(child) = map.get_mut(first).and_then(Node::as_map_mut) {
        clear(child, rest);
    }
}
