//! Entrances for the fuzz targets (`fuzz/`), one for each part that reads text of others. They exist only in builds of
//! the fuzzer.
//!
//! Each asserts what has to hold for any text: no panic, no endless work, and places that lie inside of their source.

use std::path::Path as FilePath;

use super::{
    LoadError, LoadRequest, SourceKind, document,
    dotenv::{self, Dotenv},
    env::EnvMap,
    interpolate, load as load_files, merge,
    node::{Node, Value},
    pieces,
    report::Report,
    short, to_json, unicity,
};
use crate::model::{ByteSize, Duration};

/// Separates the texts of a target that takes several.
const SEPARATOR: &str = "\n#####\n";

/// Reads a text as YAML; in pieces it comes to the same as in one.
pub fn yaml(text: &str) {
    let documents = document::parse(text, 0).unwrap_or_default();
    for document in &documents {
        inside(document, text);
    }
    for count in [2, 3] {
        if let Some(document) = pieces::parse_in(text, 0, count) {
            assert_eq!(format!("{:?}", [document]), format!("{documents:?}"));
        }
    }
}

/// Every place lies inside of the text, between characters.
fn inside(node: &Node, text: &str) {
    for span in [node.span, node.key] {
        let range = span.start as usize..span.end as usize;
        assert!(text.get(range).is_some(), "{span:?} is not in the text");
    }
    match &node.value {
        Value::Map(map) => map.values().for_each(|child| inside(child, text)),
        Value::List(list) => list.iter().for_each(|child| inside(child, text)),
        _ => {}
    }
}

/// Substitutes the variables of a text.
pub fn interpolate(text: &str) {
    let mut report = Report::default();
    let (source, _) = report.add_source("text", text.to_owned(), SourceKind::Compose);
    let span = super::Span {
        source,
        start: 0,
        end: u32::try_from(text.len()).unwrap_or(0),
    };
    let result = interpolate::interpolate_text(text, span, &variables(), &mut report);
    shown(report, result.map(drop));
    let mut found = std::collections::BTreeMap::new();
    super::template::collect_variables(text, &mut found);
}

/// Reads a text as dotenv, with quotes and without.
pub fn dotenv(text: &str) {
    let known = variables();
    let lookup = |name: &str| known.get(name).cloned();
    let mut variables = EnvMap::new();
    let mut dotenv = Dotenv {
        variables: &mut variables,
        lookup: &lookup,
        missing: Vec::new(),
    };
    if let Err(error) = dotenv.parse(text) {
        assert!(text.get(error.offset..).is_some());
    }
    if let Err(error) = dotenv::parse_raw(text, &mut variables, &lookup) {
        assert!(text.get(error.offset..).is_some());
    }
}

/// Lays documents over each other.
pub fn merge(text: &str) {
    let mut documents = text.split(SEPARATOR).filter_map(|text| {
        let document = document::parse(text, 0).ok()?.into_iter().next()?;
        match document.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    });
    let Some(mut tree) = documents.next() else {
        return;
    };
    for over in documents {
        if merge::merge_files(&mut tree, over).is_err() || unicity::enforce(&mut tree).is_err() {
            return;
        }
    }
    drop(to_json(&tree));
}

/// Reads a text in every short form.
pub fn short(text: &str) {
    let ports = short::ports(text).unwrap_or_default();
    assert!(ports.len() <= 65_536);
    drop(short::volume(text));
    if let Some(span) = Duration::parse(text) {
        assert!(Duration::parse(&span.to_string()).is_some(), "{span}");
    }
    let _: Option<ByteSize> = ByteSize::parse(text);
    drop(super::scalar::resolve(text));
    let _: bool = super::is_plain_text(text);
    drop(super::normalize_name(text));
}

/// Loads a whole project from standard input.
pub fn load(text: &str) {
    let request = LoadRequest {
        files: vec!["-".to_owned()],
        stdin: Some(text.to_owned()),
        project_name: Some("test".to_owned()),
        current_directory: FilePath::new("/nowhere").to_path_buf(),
        environment: variables(),
        ..LoadRequest::default()
    };
    match load_files(&request) {
        Ok(loaded) => {
            let json = crate::model::to_json(&loaded.project);
            assert!(!json.is_empty());
            for service in loaded.project.services.values() {
                drop(crate::model::config_hash(service));
            }
            drop(loaded.origins.explain("services"));
        }
        Err(error) => checked(&error),
    }
}

fn shown(report: Report, result: Result<(), super::report::Failures>) {
    if let Err(failures) = result {
        checked(&report.into_error(failures));
    }
}

/// Every place of an error lies inside of its source, between characters.
fn checked(error: &LoadError) {
    for label in error
        .diagnostics
        .iter()
        .flat_map(|diagnostic| &diagnostic.labels)
    {
        assert!(
            label.source.text.get(label.span.clone()).is_some(),
            "{label:?}"
        );
    }
    drop(error.to_string());
}

fn variables() -> EnvMap {
    [("SET", "value"), ("EMPTY", ""), ("NUMBER", "7")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}
