//! `include`: other projects as parts of this one (behaviours.md B079-B083).

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    Code, env,
    layer::{self, Loader, PathResolution, Scope},
    merge,
    node::{Map, Node, Span, Value},
    report::{Failure, Failures},
    reset::Resets,
    source,
};

const SECTIONS: [&str; 6] = [
    "services", "volumes", "networks", "secrets", "configs", "models",
];

/// One entry of the list.
struct Entry {
    paths: Vec<String>,
    env_files: Vec<String>,
    project_directory: String,
    span: Span,
}

/// Loads what a document includes into it; what the document says itself wins. What cannot be loaded is told.
pub(super) fn apply(
    loader: &mut Loader<'_>,
    own: &mut Map,
    scope: &Scope,
    included: &[String],
    resets: &Resets,
) {
    let Some(list) = own.shift_remove("include") else {
        return;
    };
    let entries = match entries(&list) {
        Ok(entries) => entries,
        Err(failure) => return loader.lose(failure),
    };
    for entry in entries {
        match inner_scope(loader, &entry, scope, included) {
            Ok(inner) => {
                loader.links.insert(entry.span, inner.files.clone());
                loader.trail.push((entry.span, "included here"));
                let tree = loader.load_scope(&inner);
                loader.trail.pop();
                let imported = import(tree, own, resets);
                loader.collect(imported);
            }
            Err(failure) => loader.lose(failure),
        }
    }
}

fn entries(list: &Node) -> Result<Vec<Entry>, Failure> {
    let wrong = |node: &Node, what: &str| {
        Failure::new(
            Code::WrongType,
            format!("`include` must be {what}, this is a {}", node.kind()),
        )
        .at(node.span, "")
    };
    match &list.value {
        Value::Null => Ok(Vec::new()),
        Value::Text(_) => Err(wrong(list, "a list").hint("start it with `- `")),
        Value::List(entries) => entries
            .iter()
            .map(|node| match &node.value {
                Value::Text(path) => Ok(Entry {
                    paths: vec![path.to_string()],
                    env_files: Vec::new(),
                    project_directory: String::new(),
                    span: node.span,
                }),
                Value::Map(_) => Ok(Entry {
                    paths: texts(node.find("path"))?,
                    env_files: texts(node.find("env_file"))?,
                    project_directory: texts(node.find("project_directory"))?.concat(),
                    span: node.find("path").map_or(node.span, |path| path.span),
                }),
                _ => Err(wrong(node, "a list of paths or mappings")),
            })
            .collect(),
        _ => Err(wrong(list, "a list")),
    }
}

fn texts(node: Option<&Node>) -> Result<Vec<String>, Failure> {
    let wrong = |node: &Node| {
        Failure::new(
            Code::WrongType,
            format!(
                "a path in `include` must be a string, this is a {}",
                node.kind()
            ),
        )
        .at(node.span, "")
    };
    match node.map(|node| (node, &node.value)) {
        None | Some((_, Value::Null)) => Ok(Vec::new()),
        Some((_, Value::Text(text))) => Ok(vec![text.to_string()]),
        Some((_, Value::List(list))) => list
            .iter()
            .map(|node| node.as_text().map(str::to_owned).ok_or_else(|| wrong(node)))
            .collect(),
        Some((node, _)) => Err(wrong(node)),
    }
}

fn inner_scope(
    loader: &mut Loader<'_>,
    entry: &Entry,
    scope: &Scope,
    included: &[String],
) -> Result<Scope, Failure> {
    let local = |path: &String| {
        if source::is_remote(path) {
            source::fetch(loader.request, path, entry.span)
        } else {
            let path = source::clean(&scope.directory.join(path));
            Ok(path.display().to_string())
        }
    };
    let files: Vec<String> = entry.paths.iter().map(local).collect::<Result<_, _>>()?;
    let Some(main) = files.first() else {
        return Err(
            Failure::new(Code::Include, "an entry of `include` has no `path`")
                .at(entry.span, "")
                .hint("write `path: FILE`, or the file alone"),
        );
    };
    if included.contains(main) {
        let chain = [included, std::slice::from_ref(main)]
            .concat()
            .join("\n include ");
        return Err(
            Failure::new(Code::Include, format!("include cycle detected:\n{chain}"))
                .at(entry.span, ""),
        );
    }
    if let Some(missing) = files.iter().find(|file| !Path::new(file).exists()) {
        return Err(Failure::new(Code::Include, "cannot include `")
            .made(entry.span, missing)
            .say("`: there is no such file")
            .at(entry.span, "")
            .hint_if(source::similar_file(missing)));
    }
    let directory = if entry.project_directory.is_empty() {
        Path::new(main)
            .parent()
            .map_or_else(PathBuf::new, Path::to_path_buf)
    } else {
        source::clean(&scope.directory.join(&entry.project_directory))
    };
    let named = Path::new(&entry.project_directory);
    let base = if named.is_absolute() {
        directory.clone()
    } else {
        // docker compose takes what is no directory for a file, and what is around it for the directory.
        let is_file = !entry.project_directory.is_empty() && !directory.is_dir();
        let around = directory.parent().filter(|_| is_file);
        let seen = around.unwrap_or(&directory);
        let below = relative(seen, &scope.directory);
        if scope.base.is_absolute() {
            scope.base.join(below)
        } else {
            // What includes this file joins its own place to the paths, as the last one does where they stay relative.
            below
        }
    };
    let environment = environment(loader, entry, scope, &directory)?;
    Ok(Scope {
        files,
        directory,
        base: source::clean(&base),
        environment,
        included: included.to_vec(),
        paths: PathResolution::Yes,
    })
}

fn environment(
    loader: &mut Loader<'_>,
    entry: &Entry,
    scope: &Scope,
    directory: &Path,
) -> Result<Rc<env::EnvMap>, Failure> {
    let files: Vec<PathBuf> = if entry.env_files.is_empty() {
        let default = directory.join(".env");
        default.is_file().then_some(default).into_iter().collect()
    } else {
        let named = entry.env_files.iter().filter(|file| *file != "/dev/null");
        named
            .map(|file| source::clean(&scope.directory.join(file)))
            .collect()
    };
    if files.is_empty() {
        return Ok(Rc::clone(&scope.environment));
    }
    let mut environment = scope.environment.as_ref().clone();
    env::add_files(&mut environment, &files, &mut loader.report)
        .map_err(|failure| failure.at(entry.span, "included here"))?;
    Ok(Rc::new(environment))
}

/// Writes a path as seen from a directory; both are absolute and clean.
pub(super) fn relative(path: &Path, from: &Path) -> PathBuf {
    let mut common = 0;
    let (parts, from_parts): (Vec<_>, Vec<_>) =
        (path.components().collect(), from.components().collect());
    while common < parts.len() && common < from_parts.len() && parts[common] == from_parts[common] {
        common += 1;
    }
    let up = from_parts[common..]
        .iter()
        .map(|_| std::path::Component::ParentDir);
    let relative: PathBuf = up.chain(parts[common..].iter().copied()).collect();
    if relative.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        relative
    }
}

fn import(mut tree: Map, own: &mut Map, resets: &Resets) -> Result<(), Failures> {
    let mut failures = Failures::default();
    for name in SECTIONS {
        let Some(Node {
            value: Value::Map(from),
            span,
            key,
            ..
        }) = tree.shift_remove(name)
        else {
            continue;
        };
        if own.get(name).is_none_or(Node::is_null) {
            own.insert(
                name.to_owned(),
                Node::new(Value::Map(Map::new()), span).keyed(key),
            );
        }
        let Some(target) = layer::section(own, name)? else {
            continue;
        };
        for (resource, mut node) in from {
            let Some(known) = target.get_mut(&resource) else {
                target.insert(resource, node);
                continue;
            };
            if resets.clears([name, &resource]) {
                continue;
            }
            resets.apply_at([name, &resource], &mut node);
            let own = std::mem::take(known);
            let (merged, result) = merge::merge_resource(name, &resource, node, own);
            *known = merged;
            failures
                .0
                .extend(result.err().into_iter().flat_map(|found| found.0));
        }
    }
    failures.into_result()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_relative_paths() {
        let shown = |path, from| {
            relative(Path::new(path), Path::new(from))
                .display()
                .to_string()
        };
        assert_eq!(shown("/a/b/c", "/a"), "b/c");
        assert_eq!(shown("/a", "/a/b"), "..");
        assert_eq!(shown("/a", "/a"), ".");
    }
}
