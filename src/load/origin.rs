//! Where values come from: the answers of `config --explain` and `config --annotate`.
//!
//! Every node of the tree knows its place, and the places of what it replaced; this file finds the node of a path and
//! puts that into words.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use indexmap::IndexMap;

use super::{
    Label, Source, SourceKind,
    history::History,
    node::{Map, Node, Span, Value},
    schema,
    template::{self, Variable},
};

/// The tree that a project was made of, with the texts that it came from.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    pub(super) tree: Map,
    pub(super) sources: Vec<Arc<Source>>,
    /// The project's own files, in order.
    pub(super) files: Vec<String>,
    /// The explicit env files, in order.
    pub(super) env_files: Vec<String>,
    /// The files that a place names, by `include` or `extends`.
    pub(super) links: HashMap<Span, Vec<String>>,
    pub(super) process: IndexMap<String, String>,
    pub(super) environment: IndexMap<String, String>,
    /// Whether the project was named on the command line.
    pub(super) is_named: bool,
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
    /// Returns the paths of all dates, see [`super::times`].
    #[must_use]
    pub fn times(&self) -> HashSet<Vec<String>> {
        super::times(&self.tree)
    }

    /// Returns the names of all secrets or configs that the files have, with the file of each, or an empty text; a
    /// project has only those that are used.
    #[must_use]
    pub fn file_objects(&self, section: &str) -> IndexMap<String, String> {
        let objects = self.tree.get(section).and_then(Node::as_map);
        let objects = objects.into_iter().flat_map(Map::iter);
        let file = |node: &Node| node.find("file").and_then(Node::as_text).map(str::to_owned);
        objects
            .map(|(name, node)| (name.to_string(), file(node).unwrap_or_default()))
            .collect()
    }

    /// Returns where a value comes from on one line, files as seen from a directory: `compose.yaml:4, TAG of .env:1`.
    #[must_use]
    pub fn line_of(&self, path: &[String], directory: &Path) -> Option<String> {
        let shown = |place: &str| {
            let path = Path::new(place);
            let path = path.strip_prefix(directory).unwrap_or(path);
            path.display().to_string()
        };
        let line = |span: Span| {
            let source = self.sources.get(span.source as usize)?;
            let (line, _) = source.line_column(span.start as usize);
            Some(format!("{}:{line}", shown(&source.name)))
        };
        let node = find_in(&self.tree, path);
        let Some(written) = node.and_then(|node| line(node.key)) else {
            let file_step = self.set_by_files(path).pop()?;
            let place = file_step.place.rsplit_once(':').map(|(line, _)| line)?;
            return Some(shown(place));
        };
        let mut comment = written;
        let variables = node.map(|node| self.variables(node)).unwrap_or_default();
        for variable in variables.into_values() {
            let name = &variable.name;
            let from = match self.variable(&variable).place.rsplit_once(':') {
                Some((line, _)) => format!("of {}", shown(line)),
                None if self.process.contains_key(name) => "of the environment".to_owned(),
                None if self.environment.contains_key(name) => "of the project".to_owned(),
                None => "not set".to_owned(),
            };
            comment = format!("{comment}, {name} {from}");
        }
        Some(comment)
    }

    /// Returns the place of the value of a dotted path, to be pointed at: a collection is pointed at by its key.
    #[must_use]
    pub fn label(&self, path: &str, text: &str) -> Option<Label> {
        label_in(&self.tree, &self.sources, path, text)
    }

    /// Tells how the value of a dotted path came to be, first things first; `None` where there is no such value.
    #[must_use]
    pub fn explain(&self, path: &str) -> Option<Vec<Step>> {
        let parts = split_path(path);
        let mut history = History::new(&self.sources, &self.links);
        let mut steps = Vec::new();
        if let [name] = parts.as_slice()
            && name == "name"
        {
            steps = self.tell_name();
            let decided = self.is_named || steps.iter().any(|step| step.text.starts_with('`'));
            if !decided && !history.of(&self.files, &parts).is_empty() {
                steps.clear();
            }
        }
        if steps.is_empty() {
            self.tell(&parts, &mut history, "", &mut steps);
        }
        (!steps.is_empty()).then_some(steps)
    }

    fn tell(&self, path: &[String], history: &mut History<'_>, name: &str, steps: &mut Vec<Step>) {
        let node = find_in(&self.tree, path);
        steps.extend(
            self.set_by_files(path)
                .into_iter()
                .map(|step| step.of(name)),
        );
        let events = history.of(&self.files, path);
        let known = node.is_none_or(|node| events.iter().any(|event| event.span == node.span));
        for event in &events {
            let place = place_of(&self.sources, event.span);
            let text = format!("{}{}", event.text, event.trail);
            steps.push(Step { place, text }.of(name));
            if node.is_none_or(is_scalar) {
                steps.extend(self.variables_at(event.span));
            }
        }
        let Some(node) = node else { return };
        let made = node.span.source == u32::MAX && !events.is_empty();
        if !known && !made {
            self.tell_node(node, path, history, name, steps);
        }
        if is_scalar(node) {
            steps.extend(self.inherited(path, node));
            return;
        }
        let inner = |key: &str| match name {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        };
        match &node.value {
            Value::List(list) if !known || events.is_empty() || !is_pairs(list) => {
                // One value without a list around it is told already.
                let told = |span: Span| events.iter().any(|event| event.span == span);
                let elements = list.iter().enumerate();
                for (index, element) in elements.filter(|(_, element)| !told(element.span)) {
                    self.tell_node(element, path, history, &inner(&index.to_string()), steps);
                }
            }
            Value::List(list) => {
                for key in list.iter().filter_map(pair_key) {
                    let child = [path, &[key.to_owned()]].concat();
                    self.tell(&child, history, &inner(key), steps);
                }
            }
            Value::Map(map) => {
                // What was made of a short form stands where that does.
                let written = map.iter().filter(|(_, value)| value.span != node.span);
                for (key, _) in written {
                    let child = [path, &[key.to_string()]].concat();
                    self.tell(&child, history, &inner(key), steps);
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

    /// Tells a value by its own place and the places of what it replaced: an element of a list has no path in the
    /// files.
    fn tell_node(
        &self,
        node: &Node,
        path: &[String],
        history: &mut History<'_>,
        name: &str,
        steps: &mut Vec<Step>,
    ) {
        let mut word = "set to";
        for span in node.earlier() {
            let trail = history.trail_of(&self.files, path, *span);
            steps.push(self.step(*span, word, trail).of(name));
            word = "replaced by";
        }
        if !is_scalar(node) && !is_short(node) && node.earlier().is_empty() {
            word = "begins with";
        }
        let trail = history.trail_of(&self.files, path, node.span);
        steps.push(self.step(node.span, word, trail).of(name));
        steps.extend(self.variables_at(node.span));
    }

    fn step(&self, span: Span, word: &str, trail: Option<String>) -> Step {
        let Some((source, text)) = self.written(span) else {
            return Step {
                place: String::new(),
                text: "implied by the specification".to_owned(),
            };
        };
        let named = trail.or_else(|| self.only_name(source)).unwrap_or_default();
        let text = match text.lines().next() {
            None | Some("") => format!("{word} nothing{named}"),
            Some(first) => format!("{word} `{first}`{named}"),
        };
        let place = place_of(&self.sources, span);
        Step { place, text }
    }

    /// Says which place names a file, where only one does.
    fn only_name(&self, source: &Source) -> Option<String> {
        let mut naming = self
            .links
            .iter()
            .filter(|(_, files)| files.contains(&source.name));
        match (naming.next(), naming.next()) {
            (Some((place, _)), None) if !self.files.contains(&source.name) => Some(format!(
                ", in a file named at {}",
                place_of(&self.sources, *place)
            )),
            _ => None,
        }
    }

    /// Suggests the path that is most like one that leads to nothing.
    #[must_use]
    pub fn nearest(&self, path: &str) -> Option<String> {
        let parts = split_path(path);
        let found = |length: &usize| match length {
            0 => Some(&self.tree),
            length => find_in(&self.tree, &parts[..*length])?.as_map(),
        };
        let (length, map) = (0..parts.len())
            .rev()
            .find_map(|length| Some((length, found(&length)?)))?;
        let keys: Vec<String> = map.iter().map(|(key, _)| key.to_string()).collect();
        let key = schema::nearest_name(&parts[length], keys.iter().map(String::as_str))?;
        let mut near = parts[..length].to_vec();
        near.push(key.to_owned());
        near.extend_from_slice(&parts[length + 1..]);
        Some(near.join("."))
    }

    /// Tells where the name of the project comes from.
    fn tell_name(&self) -> Vec<Step> {
        const VARIABLE: &str = "COMPOSE_PROJECT_NAME";
        let by = |text: &str| {
            vec![Step {
                place: String::new(),
                text: text.to_owned(),
            }]
        };
        if self.is_named {
            return by("set by `-p`");
        }
        let process = self.process.get(VARIABLE).filter(|name| !name.is_empty());
        match (process, self.dotenv_line(VARIABLE)) {
            (Some(name), _) => by(&format!(
                "`{VARIABLE}` is `{name}` in the environment of the process"
            )),
            (None, Some(place)) => vec![Step {
                place,
                text: format!("`{VARIABLE}` is set here"),
            }],
            (None, None) => by("the name of the project's folder"),
        }
    }

    /// Tells which files of a service set a variable or a label; their values are not told.
    fn set_by_files(&self, path: &[String]) -> Vec<Step> {
        let [section, service, attribute, key @ ..] = path else {
            return Vec::new();
        };
        let list = match (section.as_str(), attribute.as_str(), key.is_empty()) {
            ("services", "environment", false) => "env_file",
            ("services", "labels", false) => "label_file",
            _ => return Vec::new(),
        };
        let key = key.join(".");
        let path = [section.clone(), service.clone(), list.to_owned()];
        let files = find_in(&self.tree, &path);
        let elements = match files.map(|node| &node.value) {
            Some(Value::List(list)) => list.as_slice(),
            _ => &[],
        };
        let steps = elements.iter().filter_map(|element| {
            let name = element.find("path").unwrap_or(element).as_text()?;
            let source = self
                .sources
                .iter()
                .find(|source| source.kind == SourceKind::Variables && source.name == name)?;
            let named = place_of(&self.sources, element.span);
            Some(Step {
                place: line_setting(source, &key)?,
                text: format!("`{key}` is set by this file, named at {named}"),
            })
        });
        steps.collect()
    }

    /// Tells where a variable of a container comes from that is named without a value.
    fn inherited(&self, path: &[String], node: &Node) -> Option<Step> {
        let key = path.last()?;
        let passes = path
            .iter()
            .any(|part| part == "environment" || part == "args");
        let (_, written) = self.written(node.span)?;
        let named = matches!(written.trim(), "" | "~" | "null") || written.trim() == key;
        (passes && named && !node.is_null()).then(|| {
            self.variable(&Variable {
                name: key.clone(),
                ..Variable::default()
            })
        })
    }

    fn written(&self, span: Span) -> Option<(&Source, &str)> {
        let source = self.sources.get(span.source as usize)?;
        let text = source.text.get(span.start as usize..span.end as usize)?;
        Some((source, text))
    }

    fn variables(&self, node: &Node) -> BTreeMap<String, Variable> {
        let mut variables = BTreeMap::new();
        if let Some((_, text)) = self.written(node.span).filter(|_| is_scalar(node)) {
            template::collect_variables(text, &mut variables);
        }
        variables.remove("");
        variables
    }

    fn variables_at(&self, span: Span) -> Vec<Step> {
        let mut variables = BTreeMap::new();
        if let Some((_, text)) = self.written(span) {
            template::collect_variables(text, &mut variables);
        }
        variables
            .values()
            .filter(|variable| !variable.name.is_empty())
            .map(|variable| self.variable(variable))
            .collect()
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
            (None, None) => match self.dotenv_line(name) {
                // Only the files of an `include` see it.
                Some(place) => (place, format!("`{name}` is set here")),
                None => (String::new(), not_set(variable)),
            },
        };
        Step { place, text }
    }

    /// Finds the line of a dotenv file that sets a variable: of several explicit ones the last, of others the first.
    fn dotenv_line(&self, name: &str) -> Option<String> {
        let services = self.tree.get("services").and_then(Node::as_map);
        let services = services.into_iter().flat_map(Map::values);
        let of_services: Vec<&str> = services
            .flat_map(|service| {
                let lists = ["env_file", "label_file"].map(|key| service.find(key));
                lists.into_iter().flatten().filter_map(Node::as_list)
            })
            .flatten()
            .filter_map(|element| element.find("path").unwrap_or(element).as_text())
            .collect();
        let lines = self
            .sources
            .iter()
            .filter(|source| source.kind == SourceKind::Variables)
            .filter(|source| !of_services.contains(&source.name.as_str()))
            .filter_map(|source| Some((source, line_setting(source, name)?)));
        let lines: Vec<(&Arc<Source>, String)> = lines.collect();
        let explicit = lines
            .iter()
            .rev()
            .find(|(source, _)| self.env_files.contains(&source.name));
        let found = explicit.or_else(|| lines.first());
        found.map(|(_, line)| line.clone())
    }
}

fn not_set(variable: &Variable) -> String {
    let name = &variable.name;
    match variable.default_value.as_str() {
        "" => format!("`{name}` is not set"),
        default => format!("`{name}` is not set; `{default}` stands in"),
    }
}

/// Splits a dotted path; an element of a list may be written `ports[0]`.
fn split_path(path: &str) -> Vec<String> {
    let path = path.replace('[', ".").replace(']', "");
    path.split('.').map(str::to_owned).collect()
}

impl Step {
    /// Says which part of a collection it is about.
    fn of(self, name: &str) -> Self {
        match name {
            "" => self,
            name => Self {
                text: format!("`{name}` {}", self.text),
                ..self
            },
        }
    }
}

fn is_scalar(node: &Node) -> bool {
    !matches!(node.value, Value::Map(_) | Value::List(_))
}

/// Says whether a mapping was made of a short form, such as a port of one text.
fn is_short(node: &Node) -> bool {
    let map = node.as_map().filter(|map| !map.is_empty());
    map.is_some_and(|map| map.values().any(|value| value.span == node.span))
}

fn pair_key(element: &Node) -> Option<&str> {
    element.as_text()?.split('=').next()
}

/// Says whether a list holds `KEY=value` pairs, which files may also write as a mapping.
fn is_pairs(list: &[Node]) -> bool {
    list.iter()
        .all(|element| element.as_text().is_some_and(|text| text.contains('=')))
}

/// Points at the value of a dotted path.
pub(super) fn label_in(
    tree: &Map,
    sources: &[Arc<Source>],
    path: &str,
    text: &str,
) -> Option<Label> {
    let parts: Vec<_> = path.split('.').map(str::to_owned).collect();
    let node = find_in(tree, &parts)?;
    let span = match &node.value {
        Value::Map(_) | Value::List(_) if node.key.source != u32::MAX => node.key,
        _ => node.span,
    };
    let source = sources.get(span.source as usize)?;
    Some(Label {
        source: Arc::clone(source),
        span: span.start as usize..span.end as usize,
        text: text.to_owned(),
    })
}

/// Writes a place: `file:line:column`.
pub(super) fn place_of(sources: &[Arc<Source>], span: Span) -> String {
    let source = sources.get(span.source as usize);
    source.map_or_else(String::new, |source| {
        let (line, column) = source.line_column(span.start as usize);
        format!("{}:{line}:{column}", source.name)
    })
}

/// Finds the line of a file of variables that sets one.
fn line_setting(source: &Source, name: &str) -> Option<String> {
    let sets = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.strip_prefix(name)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', ':']))
    };
    let last = source
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| sets(line))
        .last();
    last.map(|(line, _)| format!("{}:{}:1", source.name, line + 1))
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
            // Where a name is there twice (the labels of a volume of two files), the last one counts.
            list.iter().rfind(pair)
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Big(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Time(_) => None,
    }
}
