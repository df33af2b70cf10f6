//! The canonical tree to the types of [`crate::model`].
//!
//! [`Binder`] has one reader for each kind of value; the other files of this folder say which field takes which.
//! Mappings are sorted by key, as docker compose prints and hashes them.

mod build;
mod deploy;
mod mount;
mod resource;
mod service;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::{
    Code,
    defaults::SECRET_VALUE,
    interpolate,
    map::Key,
    message::Problem,
    node::{Map, Node, Value},
    path::Path,
    report::{Failure, Failures, Report},
    words,
};
use crate::model::{ByteSize, Duration, Environment, Mapping, Project};

/// Makes the model of a tree; its name, directory and environment are set by the caller. A value that its field cannot
/// take is told, and the field is empty.
pub(super) fn bind(tree: &Map, report: &mut Report) -> (Project, Result<(), Failures>) {
    let mut binder = Binder {
        failures: Failures::default(),
        report,
    };
    let project = binder.project(tree);
    (project, binder.failures.into_result())
}

struct Binder<'a> {
    failures: Failures,
    report: &'a mut Report,
}

impl Binder<'_> {
    fn project(&mut self, tree: &Map) -> Project {
        let mut project = Project::default();
        for (key, node) in tree {
            let path = Path::ROOT.key(key);
            match key.as_str() {
                "services" => {
                    project.services = self.table(node, path, Self::service);
                    for (name, service) in &mut project.services {
                        service.name.clone_from(name);
                    }
                }
                "networks" => project.networks = self.table(node, path, Self::network),
                "volumes" => project.volumes = self.table(node, path, Self::volume),
                "secrets" => project.secrets = self.table(node, path, Self::file_object),
                "configs" => project.configs = self.table(node, path, Self::file_object),
                "models" => project.models = self.table(node, path, Self::model),
                _ if key.starts_with("x-") => {
                    project.extensions.insert(key.to_string(), json(node));
                }
                _ => {}
            }
        }
        project.extensions.sort_unstable_keys();
        project
    }

    /// Reports a value that its field cannot take.
    fn wrong(&mut self, node: &Node, path: Path<'_>, wanted: &str) {
        let failure = Failure::new(
            Code::InvalidValue,
            format!("`{path}` must be {wanted}, not "),
        );
        let failure = match node.scalar_text() {
            Some(text) if !node.is_null() => failure.quoted(node.span, &text),
            _ => failure.say(format!("a {}", node.kind())),
        };
        let is_date = matches!(node.value, Value::Time(_));
        let failure = failure.hint_if(is_date.then(|| "put the date in quotes".to_owned()));
        self.failures.0.push(failure.at(node.span, ""));
    }

    /// Reads a mapping of sections, sorted by key.
    fn table<T>(
        &mut self,
        node: &Node,
        path: Path<'_>,
        read: fn(&mut Self, &Node, Path<'_>) -> T,
    ) -> IndexMap<String, T> {
        let mut table = IndexMap::new();
        match &node.value {
            Value::Map(map) => {
                table.reserve_exact(map.len());
                // Sorted first: a service is large, and costs more to move than to be looked for.
                let mut pairs: Vec<(&Key, &Node)> = map.iter().collect();
                pairs.sort_unstable_by_key(|(key, _)| *key);
                for (key, child) in pairs {
                    let value = read(self, child, path.key(key));
                    table.insert(key.to_string(), value);
                }
            }
            Value::Null => {}
            _ => self.wrong(node, path, "a mapping"),
        }
        table
    }

    /// Reads a list of sections.
    fn list<T>(
        &mut self,
        node: &Node,
        path: Path<'_>,
        read: fn(&mut Self, &Node, Path<'_>) -> T,
    ) -> Vec<T> {
        match &node.value {
            Value::List(list) => list
                .iter()
                .enumerate()
                .map(|(index, element)| read(self, element, path.index(index)))
                .collect(),
            Value::Null => Vec::new(),
            _ => {
                self.wrong(node, path, "a list");
                Vec::new()
            }
        }
    }

    /// Reads the fields of a section; keys that `field` does not take and that start with `x-` are its extensions.
    fn fields<T>(
        &mut self,
        node: &Node,
        path: Path<'_>,
        target: &mut T,
        field: fn(&mut Self, &mut T, &str, &Node, Path<'_>),
    ) -> IndexMap<String, Json> {
        let mut extensions = IndexMap::new();
        match &node.value {
            Value::Map(map) => {
                for (key, child) in map {
                    if key.starts_with("x-") {
                        extensions.insert(key.to_string(), json(child));
                    } else {
                        field(self, target, key, child, path.key(key));
                    }
                }
                extensions.sort_unstable_keys();
            }
            Value::Null => {}
            _ => self.wrong(node, path, "a mapping"),
        }
        extensions
    }

    fn text(&mut self, node: &Node, path: Path<'_>) -> String {
        match &node.value {
            Value::Text(text) => text.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Big(number) => number.to_string(),
            Value::Null => String::new(),
            _ => {
                self.wrong(node, path, "a string");
                String::new()
            }
        }
    }

    /// Reads any scalar as text.
    fn loose_text(&mut self, node: &Node, path: Path<'_>) -> String {
        node.scalar_text().unwrap_or_else(|| {
            self.wrong(node, path, "a string");
            String::new()
        })
    }

    fn flag(&mut self, node: &Node, path: Path<'_>) -> bool {
        let read = match &node.value {
            Value::Bool(flag) => Some((*flag, None)),
            Value::Null => Some((false, None)),
            Value::Text(text) => interpolate::parse_boolean(text),
            _ => None,
        };
        let Some((flag, instead)) = read else {
            self.wrong(node, path, "a boolean");
            return false;
        };
        if let (Some(instead), Some(text)) = (instead, node.as_text()) {
            self.report.warn(
                Failure::new(Code::YamlTrap, "\"")
                    .value(node.span, text)
                    .say(format!(
                        "\" for boolean is not supported by YAML 1.2, please use `{instead}`"
                    ))
                    .at(node.span, ""),
            );
        }
        flag
    }

    fn int(&mut self, node: &Node, path: Path<'_>) -> i64 {
        let number = match &node.value {
            Value::Int(number) => Some(*number),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "docker compose truncates here too"
            )]
            Value::Float(number) => Some(*number as i64),
            Value::Big(number) => i64::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            Value::Null => Some(0),
            _ => None,
        };
        number.unwrap_or_else(|| {
            self.wrong(node, path, "an integer");
            0
        })
    }

    /// Reads a number that is left out where it is zero.
    fn some_int(&mut self, node: &Node, path: Path<'_>) -> Option<i64> {
        Some(self.int(node, path)).filter(|number| *number != 0)
    }

    /// Reads a number of a smaller or unsigned type.
    fn number<T: TryFrom<i64> + Default>(&mut self, node: &Node, path: Path<'_>) -> T {
        let number = self.int(node, path);
        T::try_from(number).unwrap_or_else(|_| {
            self.wrong(node, path, "a number in range");
            T::default()
        })
    }

    fn float(&mut self, node: &Node, path: Path<'_>) -> Option<f64> {
        let number = match &node.value {
            #[expect(clippy::cast_precision_loss, reason = "JSON numbers are so")]
            Value::Int(number) => Some(*number as f64),
            #[expect(clippy::cast_precision_loss, reason = "JSON numbers are so")]
            Value::Big(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            Value::Null => Some(0.0),
            _ => None,
        };
        if number.is_none() {
            self.wrong(node, path, "a number");
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "docker compose keeps 32 bits"
        )]
        number
            .filter(|number| *number != 0.0)
            .map(|number| interpolate::shortest(number as f32))
    }

    fn bytes(&mut self, node: &Node, path: Path<'_>) -> Option<ByteSize> {
        let size = match &node.value {
            Value::Int(number) => Some(ByteSize(*number)),
            Value::Text(text) => ByteSize::parse(text),
            Value::Null | Value::Big(_) | Value::Float(_) | Value::Time(_) => Some(ByteSize(0)),
            _ => None,
        };
        if size.is_none() {
            self.wrong(node, path, "a size such as `64m`");
        }
        size.filter(|size| size.0 != 0)
    }

    fn duration(&mut self, node: &Node, path: Path<'_>) -> Option<Duration> {
        if node.is_null() {
            return None;
        }
        let span = node.scalar_text().and_then(|text| Duration::parse(&text));
        if span.is_none() {
            self.wrong(node, path, "a duration such as `1m30s`");
        }
        span
    }

    /// Reads a list of texts; a single text is a list of one.
    fn texts(&mut self, node: &Node, path: Path<'_>) -> Vec<String> {
        match &node.value {
            Value::Text(text) => vec![text.to_string()],
            _ => self.list(node, path, Self::text),
        }
    }

    /// Reads a list of scalars.
    fn loose_texts(&mut self, node: &Node, path: Path<'_>) -> Vec<String> {
        match &node.value {
            Value::List(_) => self.list(node, path, Self::loose_text),
            Value::Null => Vec::new(),
            _ => vec![self.loose_text(node, path)],
        }
    }

    /// Reads a command: a list, or a text that is split into words.
    fn command(&mut self, node: &Node, path: Path<'_>) -> Option<Vec<String>> {
        let text = match &node.value {
            // docker compose takes no date for a command, and says nothing of it.
            Value::Null | Value::Time(_) => return None,
            Value::Text(text) => text,
            _ => return Some(self.list(node, path, Self::text)),
        };
        let Some(split) = words::split(text) else {
            self.failures.0.push(
                Failure::new(
                    Code::InvalidValue,
                    format!("`{path}` is not a valid command: "),
                )
                .quoted(node.span, text)
                .at(node.span, "")
                .hint(
                    "close every quote; a shell's syntax needs a shell: `[\"sh\", \"-c\", \"…\"]`",
                ),
            );
            return None;
        };
        if let Some(dropped) = split.dropped {
            self.report.warn(
                Failure::new(Code::Ignored, format!("`{path}` is not run by a shell: "))
                    .problem(node.span, &Problem::new("`{}` is ignored", &[&dropped]))
                    .at(node.span, "")
                    .hint("write `[\"sh\", \"-c\", \"…\"]` to run it with a shell"),
            );
        }
        Some(split.words)
    }

    /// Reads `KEY: value` or `KEY=value` pairs in which a value may be missing.
    fn environment(&mut self, node: &Node, path: Path<'_>) -> Environment {
        let mut pairs = Environment::new();
        match &node.value {
            Value::Map(map) => {
                for (key, child) in map {
                    let value = (!child.is_null()).then(|| self.loose_text(child, path.key(key)));
                    pairs.insert(key.to_string(), value);
                }
            }
            Value::List(list) => {
                for (index, child) in list.iter().enumerate() {
                    let text = self.loose_text(child, path.index(index));
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => (key, Some(value.to_owned())),
                        None => (text.as_str(), None),
                    };
                    if key.ends_with(char::is_whitespace) {
                        self.failures.0.push(
                            Failure::new(Code::InvalidValue, "environment variable ")
                                .quoted(child.span, key)
                                .say(" is declared with a trailing space")
                                .at(child.span, "")
                                .hint("write it without blanks around the `=`"),
                        );
                    }
                    pairs.insert(key.to_owned(), value);
                }
            }
            Value::Null => {}
            _ => self.wrong(node, path, "a mapping or a list"),
        }
        pairs.sort_unstable_keys();
        pairs
    }

    /// Reads `KEY: value` or `KEY=value` pairs; a missing value is an empty one.
    fn mapping(&mut self, node: &Node, path: Path<'_>) -> Mapping {
        let mut pairs = Mapping::new();
        match &node.value {
            Value::Map(map) => {
                for (key, child) in map {
                    let value = self.loose_text(child, path.key(key));
                    pairs.insert(key.to_string(), value);
                }
            }
            Value::List(list) => {
                for (index, child) in list.iter().enumerate() {
                    let text = self.loose_text(child, path.index(index));
                    let (key, value) = text.split_once('=').unwrap_or((&text, ""));
                    pairs.insert(key.to_owned(), value.to_owned());
                }
            }
            Value::Null => {}
            _ => self.wrong(node, path, "a mapping or a list"),
        }
        pairs.sort_unstable_keys();
        pairs
    }

    /// Reads host names with their addresses.
    fn hosts(&mut self, node: &Node, path: Path<'_>) -> IndexMap<String, Vec<String>> {
        let mut hosts: IndexMap<String, Vec<String>> = IndexMap::new();
        match &node.value {
            Value::Map(map) => {
                for (host, child) in map {
                    let addresses = match &child.value {
                        Value::List(_) => self.loose_texts(child, path.key(host)),
                        _ => vec![self.text(child, path.key(host))],
                    };
                    hosts.insert(host.to_string(), addresses);
                }
            }
            Value::List(list) => {
                for (index, child) in list.iter().enumerate() {
                    let text = self.loose_text(child, path.index(index));
                    let Some((host, addresses)) =
                        text.split_once('=').or_else(|| text.split_once(':'))
                    else {
                        self.wrong(
                            child,
                            path.index(index),
                            "a host with its address, `HOST=IP`",
                        );
                        continue;
                    };
                    let addresses = addresses.split(',').map(str::to_owned);
                    hosts.entry(host.to_owned()).or_default().extend(addresses);
                }
            }
            Value::Null => {}
            _ => self.wrong(node, path, "a mapping or a list"),
        }
        for (host, addresses) in &mut hosts {
            if host.is_empty() || host.contains([':', '=']) {
                self.wrong(node, path, "a list of hosts with their addresses");
            }
            for address in addresses {
                let bare = address
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'));
                if let Some(bare) = bare.filter(|bare| !bare.is_empty()) {
                    *address = bare.to_owned();
                }
            }
        }
        hosts.sort_unstable_keys();
        hosts
    }
}

/// Writes a node as JSON, keys sorted.
pub(super) fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::from(*number),
        Value::Big(number) => Json::from(*number),
        Value::Float(number) => serde_json::Number::from_f64(*number).map_or_else(
            || Json::String(crate::model::float_text(*number)),
            Json::Number,
        ),
        Value::Text(text) | Value::Time(text) => Json::String(text.to_string()),
        Value::List(list) => Json::Array(list.iter().map(json).collect()),
        Value::Map(map) => {
            let mut pairs: Vec<(&Key, &Node)> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            let pairs = pairs
                .into_iter()
                .map(|(key, child)| (key.to_string(), json(child)));
            Json::Object(pairs.collect())
        }
    }
}
