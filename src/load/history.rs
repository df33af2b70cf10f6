//! How a value came to be: the answer of `config --explain`.
//!
//! The files are read once more, as they are written, and walked in the order in which they were laid over each other:
//! what is included, then what is extended, then what the file says itself. That keeps the loader free of notes that
//! hardly any run asks for.

use std::{collections::HashMap, sync::Arc};

use super::{
    Source, document, merge,
    node::{Instruction, Map, Node, Span, Value},
    origin::place_of,
};

/// Longer chains of `extends` are circles.
const LONGEST_CHAIN: usize = 64;
/// What later files replace as a whole although it is a list.
const REPLACED: [&str; 3] = ["command", "entrypoint", "test"];

/// One line of a history: the place, and what happened there.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// Where the value stands.
    pub(super) span: Span,
    /// What happened there.
    pub(super) text: String,
    /// What led there: `, extended by …`.
    pub(super) trail: String,
}

/// A value as it is written, with what led to it.
struct Found<'n> {
    node: &'n Node,
    /// How its mapping came by it, where that is not by writing it.
    way: &'static str,
}

/// What is said of values that a merge key brought, and of those that stand elsewhere.
const MERGED: &str = ", brought by a merge key `<<`";
const ALIASED: &str = ", through an alias";

/// Reads the files again and tells what they say about one path.
pub(super) struct History<'a> {
    sources: &'a [Arc<Source>],
    /// The files that a place names, by `include` or `extends`.
    links: &'a HashMap<Span, Vec<String>>,
    documents: HashMap<String, Arc<Vec<Node>>>,
    events: Vec<Event>,
    /// What was read on the way here: ` (extended by …)`.
    trail: Vec<String>,
}

impl<'a> History<'a> {
    pub(super) fn new(sources: &'a [Arc<Source>], links: &'a HashMap<Span, Vec<String>>) -> Self {
        Self {
            sources,
            links,
            documents: HashMap::new(),
            events: Vec::new(),
            trail: Vec::new(),
        }
    }

    /// Tells what the files of a project say about a path, in order.
    pub(super) fn of(&mut self, files: &[String], path: &[String]) -> Vec<Event> {
        self.events.clear();
        self.files(files, path);
        std::mem::take(&mut self.events)
    }

    /// Finds what led to a value that has no path of its own, such as an element of a list: what led to the text around it.
    pub(super) fn trail_of(
        &mut self,
        files: &[String],
        path: &[String],
        span: Span,
    ) -> Option<String> {
        let around = |event: &Event| {
            let place = event.span;
            place.source == span.source && place.start <= span.start && span.end <= place.end
        };
        (1..=path.len()).rev().find_map(|length| {
            let events = self.of(files, &path[..length]);
            events.into_iter().rfind(around).map(|event| event.trail)
        })
    }

    fn files(&mut self, files: &[String], path: &[String]) {
        for file in files {
            for document in self.documents(file).iter() {
                self.document(document, file, path);
            }
        }
    }

    fn documents(&mut self, file: &str) -> Arc<Vec<Node>> {
        if let Some(known) = self.documents.get(file) {
            return Arc::clone(known);
        }
        let source = self
            .sources
            .iter()
            .enumerate()
            .find(|(_, source)| source.name == file);
        let read = source.map(|(number, source)| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            document::read(&source.text, number).documents
        });
        let read = Arc::new(read.unwrap_or_default());
        self.documents.insert(file.to_owned(), Arc::clone(&read));
        read
    }

    fn document(&mut self, document: &Node, file: &str, path: &[String]) {
        if self.trail.len() > LONGEST_CHAIN {
            return;
        }
        self.included(document, path);
        self.cleared(document, path);
        self.extended(document, file, path);
        let Some(found) = find(document, path) else {
            return;
        };
        self.push(&found, path);
    }

    fn push(&mut self, found: &Found<'_>, path: &[String]) {
        let text = self.sentence(found, path);
        self.events.push(Event {
            span: found.node.span,
            text,
            trail: self.trail.concat(),
        });
    }

    fn included(&mut self, document: &Node, path: &[String]) {
        let entries = document.find("include").and_then(Node::as_list);
        for entry in entries.unwrap_or_default() {
            let place = entry.find("path").unwrap_or(entry).span;
            if let Some(files) = self.links.get(&place) {
                self.trail
                    .push(format!(", included at {}", self.place(place)));
                self.files(files, path);
                self.trail.pop();
            }
        }
    }

    /// Tells `!reset` and `!override` above the value.
    fn cleared(&mut self, document: &Node, path: &[String]) {
        for length in 1..path.len() {
            let Some(found) = find(document, &path[..length]) else {
                return;
            };
            let word = match found.node.instruction {
                Some(Instruction::Reset) => "!reset",
                Some(Instruction::Override) => "!override",
                None => continue,
            };
            if !self.events.is_empty() {
                let above = path[..length].join(".");
                self.events.push(Event {
                    span: found.node.span,
                    text: format!("cleared by `{word}` on `{above}`"),
                    trail: String::new(),
                });
            }
        }
    }

    fn extended(&mut self, document: &Node, file: &str, path: &[String]) {
        if self.trail.len() > LONGEST_CHAIN {
            return;
        }
        let [section, name, rest @ ..] = path else {
            return;
        };
        let service = document
            .find(section)
            .and_then(|services| services.find(name));
        let Some(extends) = service.and_then(|service| service.find("extends")) else {
            return;
        };
        let base = match extends.as_text() {
            Some(text) => Some(text),
            None => extends.find("service").and_then(Node::as_text),
        };
        let (Some(base), "services") = (base, section.as_str()) else {
            return;
        };
        let named = extends.find("file");
        let place = named
            .or_else(|| extends.find("service"))
            .unwrap_or(extends)
            .span;
        let files = match named {
            Some(_) => self.links.get(&place).cloned().unwrap_or_default(),
            None => vec![file.to_owned()],
        };
        let path: Vec<String> = [section.clone(), base.to_owned()]
            .into_iter()
            .chain(rest.iter().cloned())
            .collect();
        self.trail
            .push(format!(", extended by `{name}` at {}", self.place(place)));
        for file in files {
            for document in self.documents(&file).iter() {
                // Of an extended file only the services count, not what it includes.
                self.cleared(document, &path);
                self.extended(document, &file, &path);
                if let Some(found) = find(document, &path) {
                    self.push(&found, &path);
                }
            }
        }
        self.trail.pop();
    }

    fn sentence(&self, found: &Found<'_>, path: &[String]) -> String {
        let node = found.node;
        let key = path.last().map_or("", String::as_str);
        let first = self.events.is_empty();
        let word = match (node.instruction, &node.value) {
            (Some(Instruction::Reset), _) => return "removed by `!reset`".to_owned(),
            (Some(Instruction::Override), _) => "replaced, by `!override`, by",
            (None, Value::Map(_)) if first => "begins with",
            (None, Value::Map(_)) => "merged with",
            (None, Value::List(_)) if first => "begins with",
            (None, Value::List(_)) if !REPLACED.contains(&key) => "appended",
            (None, _) if first => "set to",
            (None, _) if merge::is_appended(path) => "appended",
            (None, _) => "replaced by",
        };
        let way = found.way;
        match self.written(node).as_str() {
            "" => format!("{word} nothing{way}"),
            written => format!("{word} `{written}`{way}"),
        }
    }

    fn written(&self, node: &Node) -> String {
        let source = self.sources.get(node.span.source as usize);
        let range = node.span.start as usize..node.span.end as usize;
        let text = source.and_then(|source| source.text.get(range));
        let text = text.unwrap_or_default().trim_end();
        match text.split_once('\n') {
            Some((first, _)) => format!("{first} …"),
            None => text.to_owned(),
        }
    }

    fn place(&self, span: Span) -> String {
        place_of(self.sources, span)
    }
}

/// Finds a value as it is written; of a list of `KEY=value` the element with the key.
fn find<'n>(document: &'n Node, path: &[String]) -> Option<Found<'n>> {
    in_map(document.as_map()?, document.span, "", path)
}

fn in_map<'n>(map: &'n Map, owner: Span, way: &'static str, path: &[String]) -> Option<Found<'n>> {
    (1..=path.len()).rev().find_map(|length| {
        let node = map.get(&path[..length].join("."))?;
        let way = match (is_inside(owner, node.key), is_inside(owner, node.span)) {
            (false, _) => MERGED,
            (true, false) => ALIASED,
            (true, true) => way,
        };
        in_node(node, way, &path[length..])
    })
}

fn is_inside(owner: Span, span: Span) -> bool {
    span.source == owner.source && (owner.start..=owner.end).contains(&span.start)
}

fn in_node<'n>(node: &'n Node, way: &'static str, path: &[String]) -> Option<Found<'n>> {
    if path.is_empty() {
        return Some(Found { node, way });
    }
    match &node.value {
        Value::Map(map) => in_map(map, node.span, way, path),
        Value::List(list) => {
            let key = path.join(".");
            let pair = |element: &&Node| {
                let text = element.as_text().unwrap_or_default();
                text.split_once('=').map_or(text, |(name, _)| name) == key
            };
            let found = list.iter().find(pair)?;
            let alias = !is_inside(node.span, found.span);
            let way = if alias { ALIASED } else { way };
            Some(Found { node: found, way })
        }
        _ => None,
    }
}
