//! Rules across services and resources (behaviours.md B093, B100-B106): what one field says must agree with the rest.
//!
//! A rule that rests on a value that is wrong already is passed over ([`Marks`]).

mod cycle;
mod service;

use std::collections::HashMap;

use super::{
    Code,
    marks::Marks,
    message::Message,
    node::{Map, Node, Span},
    report::{Failure, Failures},
    schema,
};
use crate::model::Project;

/// Checks a project against its tree, which knows the places.
///
/// # Errors
/// Fails with everything that does not agree.
pub(super) fn check(project: &Project, tree: &Map, marks: &Marks) -> Result<(), Failures> {
    let mut check = Check {
        project,
        tree,
        marks,
        failures: Failures::default(),
    };
    for service in project.services.values() {
        check.service(service);
    }
    for (name, secret) in &project.secrets {
        if !secret.external && secret.file.is_empty() && secret.environment.is_empty() {
            check.fail(
                Code::MissingKey,
                &["secrets", name],
                format!("secret \"{name}\" must declare either `file` or `environment`"),
            );
        }
    }
    check.cycle();
    check.failures.into_result()
}

/// Checks that no two services have one container name.
///
/// # Errors
/// Fails with every name that is used twice.
pub(super) fn container_names(project: &Project, tree: &Map) -> Result<(), Failures> {
    let mut failures = Failures::default();
    let mut names: HashMap<&str, &str> = HashMap::new();
    for (name, service) in &project.services {
        if service.container_name.is_empty() {
            continue;
        }
        if let Some(other) = names.insert(&service.container_name, name) {
            let place = |name: &str| locate(tree, &["services", name, "container_name"]);
            // Also where a variable gave it: the name of a container is no secret, every list shows it.
            let taken = &service.container_name;
            failures.0.push(
                Failure::new(
                    Code::Conflict,
                    format!(
                        "services.{name}: container name \"{taken}\" is already in use by service {other}"
                    ),
                )
                .at(place(name), "")
                .at(place(other), "used here first"),
            );
        }
    }
    failures.into_result()
}

/// Returns the node of a path.
fn find<'t>(tree: &'t Map, path: &[&str]) -> Option<&'t Node> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(tree.get(first)?, |node, part| node.find(part))
}

/// Returns the place of a path, or of its nearest ancestor.
fn locate(tree: &Map, path: &[&str]) -> Span {
    let mut span = Span::NOWHERE;
    let mut map = Some(tree);
    for part in path {
        let Some(node) = map.and_then(|map| map.get(part)) else {
            break;
        };
        span = if node.key.source == u32::MAX {
            span
        } else {
            node.key
        };
        map = node.as_map();
    }
    span
}

struct Check<'a> {
    project: &'a Project,
    tree: &'a Map,
    marks: &'a Marks,
    failures: Failures,
}

impl Check<'_> {
    /// Fails at the key of a path, unless what stands there is wrong already.
    fn fail(&mut self, code: Code, path: &[&str], message: impl Into<Message>) {
        let span = locate(self.tree, path);
        self.push(path, Failure::new(code, message).at(span, ""));
    }

    fn push(&mut self, path: &[&str], failure: Failure) {
        if !self.marks.cover(path) {
            self.failures.0.push(failure);
        }
    }

    /// Returns the place of the value of a path.
    fn value(&self, path: &[&str]) -> Span {
        find(self.tree, path).map_or(Span::NOWHERE, |node| node.span)
    }

    /// Fails at an element of a list whose `source` or text is `name`, because no section declares it.
    fn undefined(&mut self, path: &[&str], name: &str, words: String, section: &str) {
        if self.marks.is_open(section) || self.marks.cover(path) {
            return;
        }
        let node = find(self.tree, path);
        let elements = node.and_then(Node::as_list).unwrap_or_default();
        let found = elements.iter().find(|element| {
            let source = element.find("source").unwrap_or(element);
            source.as_text() == Some(name)
        });
        let span = match found {
            Some(element) => element.find("source").unwrap_or(element).span,
            None => locate(self.tree, path),
        };
        self.not_declared(words, name, span, section);
    }

    /// Fails with a name that a section does not declare.
    fn not_declared(&mut self, words: String, name: &str, span: Span, section: &str) {
        let known = self.tree.get(section).and_then(Node::as_map);
        let near = schema::nearest(
            name,
            known.into_iter().flat_map(Map::keys).map(AsRef::as_ref),
        );
        self.failures.0.push(
            Failure::new(Code::Undefined, words)
                .value(span, name)
                .at(span, "")
                .hint_if(near)
                .hint(format!("declare it under the top-level `{section}`")),
        );
    }
}
