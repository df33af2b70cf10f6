//! Where values come from: the answers of `config --explain` and `config --annotate`.
//!
//! Every node of the tree knows its place, and the places of what it replaced; this file finds the node of a path and
//! puts that into words.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use indexmap::IndexMap;

use super::{
    Label, Source, SourceKind,
    node::{Map, Node, Span, Value},
    template::{self, Variable},
};

/// The tree that a project was made of, with the texts that it came from.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    tree: Map,
    sources: Vec<Arc<Source>>,
    process: IndexMap<String, String>,
    environment: IndexMap<String, String>,
}

/// One step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `file:line:column`; empty where no file says it.
    pub place: String,
    /// What happened there.
    pub text: String,
}

impl Origins {
    pub(super) fn new(
        tree: Map,
        sources: Vec<Arc<Source>>,
        process: IndexMap<String, String>,
        environment: IndexMap<String, String>,
    ) -> Self {
        Self {
            tree,
            sources,
            process,
            environment,
        }
    }

    /// Returns `file:line` of a value, the file as seen from a directory.
    #[must_use]
    pub fn line_of(&self, path: &[String], directory: &Path) -> Option<String> {
        let node = find_in(&self.tree, path)?;
        let source = self.sources.get(node.key.source as usize)?;
        let name = Path::new(&source.name);
        let shown = name.strip_prefix(directory).unwrap_or(name);
        let (line, _) = source.line_column(node.key.start as usize);
        Some(format!("{}:{line}", shown.display()))
    }

    /// Returns the place of the value of a dotted path, to be pointed at: a collection is pointed at by its key.
    #[must_use]
    pub fn label(&self, path: &str, text: &str) -> Option<Label> {
        let parts: Vec<_> = path.split('.').map(str::to_owned).collect();
        let node = find_in(&self.tree, &parts)?;
        let span = match &node.value {
            Value::Map(_) | Value::List(_) if node.key.source != u32::MAX => node.key,
            _ => node.span,
        };
        let source = self.sources.get(span.source as usize)?;
        Some(Label {
            source: Arc::clone(source),
            span: span.start as usize..span.end as usize,
            text: text.to_owned(),
        })
    }

    /// Tells how the value of a dotted path came to be, first things first; `None` where there is no such value.
    #[must_use]
    pub fn explain(&self, path: &str) -> Option<Vec<Step>> {
        let parts: Vec<String> = path
            .replace('[', ".")
            .replace(']', "")
            .split('.')
            .map(str::to_owned)
            .collect();
        let node = find_in(&self.tree, &parts)?;
        let mut steps = Vec::new();
        self.tell(node, &mut steps);
        Some(steps)
    }

    fn tell(&self, node: &Node, steps: &mut Vec<Step>) {
        for (index, span) in node.earlier().iter().enumerate() {
            let word = if index == 0 { "set to" } else { "replaced by" };
            steps.push(self.step(*span, word));
        }
        let word = match (node.earlier().is_empty(), &node.value) {
            (true, Value::Map(_) | Value::List(_)) => "begins with",
            (true, _) => "set to",
            (false, _) => "replaced by",
        };
        steps.push(self.step(node.span, word));
        match &node.value {
            Value::List(list) => list.iter().for_each(|element| self.tell(element, steps)),
            Value::Map(map) => map.values().for_each(|child| self.tell(child, steps)),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
                self.tell_variables(node.span, steps);
            }
        }
    }

    fn step(&self, span: Span, word: &str) -> Step {
        match self.written(span) {
            Some((source, text)) => {
                let (line, column) = source.line_column(span.start as usize);
                let first = text.lines().next().unwrap_or_default();
                Step {
                    place: format!("{}:{line}:{column}", source.name),
                    text: format!("{word} `{first}`"),
                }
            }
            None => Step {
                place: String::new(),
                text: "implied by the specification".to_owned(),
            },
        }
    }

    fn written(&self, span: Span) -> Option<(&Source, &str)> {
        let source = self.sources.get(span.source as usize)?;
        let text = source.text.get(span.start as usize..span.end as usize)?;
        Some((source, text))
    }

    fn tell_variables(&self, span: Span, steps: &mut Vec<Step>) {
        let mut variables = BTreeSet::new();
        if let Some((_, text)) = self.written(span) {
            template::collect_variables(text, &mut variables);
        }
        for variable in variables {
            steps.push(self.variable(&variable));
        }
    }

    fn variable(&self, variable: &Variable) -> Step {
        let name = &variable.name;
        let (place, text) = match (self.process.get(name), self.environment.get(name)) {
            (Some(value), _) => (
                String::new(),
                format!("`{name}` is `{value}` in the environment of the process"),
            ),
            (None, Some(value)) => match self.dotenv_line(name) {
                Some(place) => (place, format!("`{name}` is `{value}`")),
                None => (
                    String::new(),
                    format!("`{name}` is `{value}`, the project's own"),
                ),
            },
            (None, None) => (
                String::new(),
                format!(
                    "`{name}` is not set; `{}` stands in",
                    variable.default_value
                ),
            ),
        };
        Step { place, text }
    }

    /// Finds the line of a dotenv file that sets a variable.
    fn dotenv_line(&self, name: &str) -> Option<String> {
        let sets = |line: &str| {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").unwrap_or(line);
            line.strip_prefix(name)
                .is_some_and(|rest| rest.trim_start().starts_with(['=', ':']))
        };
        self.sources
            .iter()
            .filter(|source| source.kind == SourceKind::Variables)
            .find_map(|source| {
                let line = source.text.lines().position(sets)?;
                Some(format!("{}:{}:1", source.name, line + 1))
            })
    }
}

/// Finds a node; keys may hold dots themselves, so the longest key that fits is taken.
fn find_in<'t>(map: &'t Map, path: &[String]) -> Option<&'t Node> {
    (1..=path.len()).rev().find_map(|length| {
        let node = map.get(&path[..length].join("."))?;
        find(node, &path[length..])
    })
}

fn find<'t>(node: &'t Node, path: &[String]) -> Option<&'t Node> {
    if path.is_empty() {
        return Some(node);
    }
    match &node.value {
        Value::Map(map) => find_in(map, path),
        Value::List(list) => {
            let by_index = path[0]
                .parse::<usize>()
                .ok()
                .and_then(|index| list.get(index));
            if let Some(element) = by_index {
                return find(element, &path[1..]);
            }
            let key = path.join(".");
            let pair = |element: &&Node| {
                let text = element.as_text().unwrap_or_default();
                text.split_once('=').map_or(text, |(name, _)| name) == key
            };
            list.iter().find(pair)
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => None,
    }
}
