//! Files that services name and the loader reads: `env_file` and `label_file` (behaviours.md B041-B043).

use std::path::Path;

use super::{
    Code, bounded,
    env::{self, EnvMap, Format},
    node::{Map, Node, Span},
    report::{Failure, Failures, Report},
};
use crate::model::{Environment, Project, Service};

/// Reads the env files of every enabled service into its environment.
///
/// # Errors
/// Fails with every file that is missing or wrong.
pub(super) fn resolve_env_files(
    project: &mut Project,
    tree: &Map,
    report: &mut Report,
) -> Result<(), Failures> {
    let mut failures = Failures::default();
    let environment = std::mem::take(&mut project.environment);
    for service in project.services.values_mut() {
        let result = resolve_service(service, &environment, tree, report);
        if let Err(failure) = result {
            failures.0.push(failure);
        }
    }
    project.environment = environment;
    failures.into_result()
}

fn resolve_service(
    service: &mut Service,
    environment: &EnvMap,
    tree: &Map,
    report: &mut Report,
) -> Result<(), Failure> {
    for (key, value) in &mut service.environment {
        if value.is_none() {
            *value = environment.get(key).cloned();
        }
    }
    if service.env_file.is_empty() {
        return Ok(());
    }
    let own = &service.environment;
    let mut variables: EnvMap = own
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
        .collect();
    let lookup = |name: &str| {
        environment
            .get(name)
            .cloned()
            .or_else(|| own.get(name).cloned().flatten())
    };
    for file in &service.env_file {
        let path = Path::new(&file.path);
        if !path.exists() {
            if file.required {
                let span = place(tree, &service.name, "env_file", &file.path);
                return Err(Failure::new(Code::File, "env file ")
                    .made(span, &file.path)
                    .say(" not found")
                    .at(span, "")
                    .hint_if(super::source::similar_file(&file.path))
                    .hint("`required: false` lets it be missing"));
            }
            continue;
        }
        let format = match file.format.as_str() {
            "" | ".env" => Format::Dotenv,
            "raw" => Format::Raw,
            other => {
                let span = place(tree, &service.name, "env_file", &file.path);
                return Err(Failure::new(Code::InvalidValue, "unsupported env_file format ")
                    .quoted(format_place(tree, &service.name, &file.path), other)
                    .at(span, "")
                    .hint("the formats are `raw`, and the usual one, which is written by leaving `format` out"));
            }
        };
        let span = place(tree, &service.name, "env_file", &file.path);
        let text = read(path, "env file", span)?;
        env::parse(path, text, format, &mut variables, &lookup, report)?;
    }
    let mut merged: Environment = variables
        .into_iter()
        .map(|(key, value)| (key, Some(value)))
        .collect();
    merged.extend(service.environment.drain(..));
    merged.sort_unstable_keys();
    service.environment = merged;
    service.env_file.clear();
    Ok(())
}

/// Reads the label files of every enabled service into its labels.
///
/// # Errors
/// Fails with every file that is missing or wrong.
pub(super) fn resolve_label_files(
    project: &mut Project,
    tree: &Map,
    report: &mut Report,
) -> Result<(), Failures> {
    let mut failures = Failures::default();
    for service in project.services.values_mut() {
        let mut labels = EnvMap::new();
        for file in service.label_file.clone() {
            let span = place(tree, &service.name, "label_file", &file);
            let path = Path::new(&file);
            let known = labels.clone();
            let lookup = |name: &str| known.get(name).cloned();
            let result = if path.exists() {
                read(path, "label file", span).and_then(|text| {
                    env::parse(path, text, Format::Dotenv, &mut labels, &lookup, report)
                })
            } else {
                Err(Failure::new(Code::File, "label file ")
                    .made(span, &file)
                    .say(" not found")
                    .at(span, "")
                    .hint_if(super::source::similar_file(&file)))
            };
            if let Err(failure) = result {
                failures.0.push(failure);
            }
        }
        if !labels.is_empty() {
            labels.extend(service.labels.drain(..));
            labels.sort_unstable_keys();
            service.labels = labels;
        }
    }
    failures.into_result()
}

fn read(path: &Path, what: &str, span: Span) -> Result<String, Failure> {
    bounded::read_text(path).map_err(|error| {
        Failure::new(Code::File, format!("cannot read the {what} `"))
            .made(span, &path.display().to_string())
            .say(format!("`: {error}"))
            .at(span, "")
    })
}

/// Finds the element of a list of files that names a path.
fn place(tree: &Map, service: &str, key: &str, path: &str) -> Span {
    let (element, list) = element(tree, service, key, path);
    match (element, list) {
        (Some(element), _) => element.span,
        (None, Some(list)) => list.key,
        (None, None) => Span::NOWHERE,
    }
}

/// Finds the format of an env file.
fn format_place(tree: &Map, service: &str, path: &str) -> Span {
    let (element, _) = element(tree, service, "env_file", path);
    let format = element.and_then(|element| element.find("format"));
    format.map_or(Span::NOWHERE, |format| format.span)
}

fn element<'t>(
    tree: &'t Map,
    service: &str,
    key: &str,
    path: &str,
) -> (Option<&'t Node>, Option<&'t Node>) {
    let list = tree
        .get("services")
        .and_then(|services| services.find(service))
        .and_then(|service| service.find(key));
    let elements = list.and_then(Node::as_list).unwrap_or_default();
    let found = elements.iter().find(|element| {
        element
            .as_text()
            .or_else(|| element.find("path").and_then(Node::as_text))
            == Some(path)
    });
    (found, list)
}
