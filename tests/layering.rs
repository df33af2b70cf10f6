//! The direction of imports, held against the table in CONTRIBUTING.md ("Layers"): one package has no compiler to
//! enforce it, so this test does.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// A layer, and the layers it may import beside itself. The longest matching prefix of a path wins.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("load", &["model"]),
    ("graph", &["model"]),
    ("engine", &["model"]),
    (
        "engine/connect",
        &["model", "engine", "engine/docker", "engine/swarm"],
    ),
    ("engine/docker", &["model", "engine"]),
    ("engine/swarm", &["model", "engine"]),
    ("plan", &["model", "graph", "engine"]),
    ("apply", &["model", "engine", "plan"]),
    ("watch", &["model", "engine", "apply"]),
    ("remote", &["load", "runtime"]),
    ("runtime", &[]),
    ("api", &["runtime"]),
    ("ui", &["model", "load", "graph", "engine", "plan", "apply"]),
    (
        "cli",
        &[
            "ui",
            "model",
            "load",
            "graph",
            "engine",
            "engine/connect",
            "plan",
            "apply",
            "watch",
            "remote",
            "runtime",
            "api",
        ],
    ),
    ("main", &["cli", "ui", "runtime"]),
    (
        "lib",
        &[
            "api", "apply", "engine", "graph", "load", "model", "plan", "remote", "runtime",
            "watch",
        ],
    ),
];

/// One import that the table does not allow, or a form that this test cannot read.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    place: String,
    reason: String,
}

/// The layer that owns a path such as `engine/docker/image`.
fn layer_of(path: &str) -> Option<&'static str> {
    MAY_IMPORT
        .iter()
        .map(|(layer, _)| *layer)
        .filter(|layer| {
            path == *layer
                || path
                    .strip_prefix(layer)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
        .max_by_key(|layer| layer.len())
}

/// Every path that starts with `crate::` or `hoist::` in a line, with slashes.
fn imported_paths(line: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for root in ["crate::", "hoist::"] {
        for (at, _) in line.match_indices(root) {
            let inside_word = line[..at]
                .chars()
                .next_back()
                .is_some_and(|c| c.is_alphanumeric() || c == '_');
            if inside_word {
                continue;
            }
            let path: String = line[at + root.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                .collect();
            paths.push(path.trim_end_matches(':').replace("::", "/"));
        }
    }
    paths
}

/// Every path that starts with `super::` in a line of a file, where that leads out of the file's own layer folder:
/// `super::apply` in `src/plan.rs` or `src/plan/mod.rs` is `apply`.
fn paths_from_above(module: &str, line: &str) -> Vec<String> {
    let folder = module.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut paths = Vec::new();
    for (at, _) in line.match_indices("super::") {
        let inside_path = line[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        if inside_path {
            continue;
        }
        let rest = &line[at + "super::".len()..];
        let names = |text: &str| -> String {
            let word = |c: &char| c.is_alphanumeric() || *c == '_' || *c == ':';
            let path: String = text.trim().chars().take_while(word).collect();
            path.trim_end_matches(':').replace("::", "/")
        };
        let named: Vec<String> = match rest.strip_prefix('{') {
            Some(list) => list.split([',', '}']).map(names).collect(),
            None => vec![names(rest)],
        };
        let full = named
            .into_iter()
            .filter(|name| !name.is_empty() && !name.starts_with("super"));
        paths.extend(full.map(|name| {
            format!("{folder}/{name}")
                .trim_start_matches('/')
                .to_owned()
        }));
    }
    paths
}

/// Checks one file's text; `module` is its path in `src` without `.rs` and `mod`.
fn check_text(module: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let Some(own) = layer_of(module) else {
        return vec![Violation {
            place: module.to_owned(),
            reason: "belongs to no layer of the table".to_owned(),
        }];
    };
    let allowed = MAY_IMPORT
        .iter()
        .find(|(layer, _)| *layer == own)
        .map_or(&[][..], |(_, allowed)| allowed);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        let mut violation = |reason: String| {
            violations.push(Violation {
                place: format!("src/{module}.rs:{}", number + 1),
                reason,
            });
        };
        if line.contains("use crate::{") || line.contains("use hoist::{") {
            violation("name each layer in a `use` of its own".to_owned());
        }
        if line.contains("super::super::") {
            violation("`super::super::` hides which layer is meant".to_owned());
        }
        let above = paths_from_above(module, line);
        for path in imported_paths(line).into_iter().chain(above) {
            let Some(target) = layer_of(&path) else {
                continue;
            };
            if target != own && !allowed.contains(&target) {
                violation(format!("`{own}` may not use `{target}`"));
            }
        }
    }
    violations
}

/// Every Rust file below `dir`.
fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The sources of the package by module path.
pub(crate) fn sources() -> io::Result<BTreeMap<String, String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files)?;
    let mut sources = BTreeMap::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap_or(&file).with_extension("");
        let module = relative
            .to_string_lossy()
            .trim_end_matches("/mod")
            .to_owned();
        sources.insert(module, fs::read_to_string(&file)?);
    }
    Ok(sources)
}

#[test]
fn layers_import_only_what_the_table_allows() -> io::Result<()> {
    let violations: Vec<_> = sources()?
        .iter()
        .flat_map(|(module, text)| check_text(module, text))
        .collect();
    assert!(violations.is_empty(), "{violations:#?}");
    Ok(())
}

#[test]
fn a_planted_violation_is_found() {
    let found = check_text("plan/network", "use crate::apply::apply;\n");
    assert_eq!(found[0].place, "src/plan/network.rs:1");
    assert_eq!(found[0].reason, "`plan` may not use `apply`");
    assert_eq!(
        check_text(
            "runtime/keeper/client",
            "let x = crate::model::Project::default();"
        )
        .len(),
        1
    );
    assert_eq!(
        check_text("engine/docker/image", "use crate::engine::swarm::service;").len(),
        1
    );
    assert_eq!(check_text("load/merge", "use super::super::plan;").len(), 1);
    for line in [
        "use super::apply::apply;",
        "use super::{model::Project, apply};",
    ] {
        assert_eq!(check_text("plan", line).len(), 1, "{line}");
    }
    // Within its layer a file may look above itself.
    assert_eq!(check_text("plan/network", "use super::hash;"), []);
}

#[test]
fn an_allowed_import_is_left_alone() {
    assert!(check_text("plan/network", "use crate::model::Network;").is_empty());
    assert!(check_text("engine/docker/image", "use crate::engine::EngineError;").is_empty());
    assert!(check_text("cli/up", "use hoist::plan::plan;").is_empty());
}
