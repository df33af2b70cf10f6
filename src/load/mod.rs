//! Compose files to a [`crate::model::Project`].
//!
//! Called by `cli::context` with everything that the process has (environment, directory, flags) as a value. The
//! phases in order, one file each:
//!
//! | phase | file | what it does |
//! |---|---|---|
//! | discover | `source`, `env`, `dotenv` | files, project directory, environment |
//! | name | `source` | the project's name, which variables may use |
//! | lay | `layer` | each file over those before it: parse (`document`, `indent`, `pieces`, `scalar`, `timestamp`, `trap`), `reset`, `interpolate` (`template`), `include`, `extends`, `merge`, `unicity`, `schema`, `canonical` (`short`) |
//! | defaults | `defaults` | defaults of single fields |
//! | validate | `validate` | rules inside a resource |
//! | paths | `resolve_path` | relative to absolute |
//! | normalize | `defaults` | default network, implied dependencies, names |
//! | bind | `bind` | tree to model |
//! | profiles | `profile` | enabled services |
//! | check | `check` | rules across resources |
//! | files | `files` | `env_file`, `label_file` |
//! | select | `profile` | services named on the command line |
//!
//! Every node of the tree keeps its place until the end, so that each phase can point at the character.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a phase names the kinds of values that it takes, and treats all others alike"
)]

mod bind;
mod bounded;
mod canonical;
mod check;
mod code;
mod defaults;
mod document;
mod dotenv;
mod env;
mod error;
mod extends;
mod fetch;
mod files;
mod history;
mod include;
mod indent;
mod interpolate;
mod layer;
mod map;
mod marks;
mod merge;
mod message;
mod node;
mod origin;
mod path;
mod pieces;
#[cfg(fuzzing)]
pub mod probe;
mod profile;
mod report;
mod request;
mod reset;
mod resolve_path;
mod scalar;
mod schema;
mod short;
mod source;
mod template;
mod timestamp;
mod trap;
mod unicity;
mod validate;
mod words;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    rc::Rc,
};

use layer::{Loader, PathResolution, Scope};
use report::{Failure, Failures};
use source::Discovered;

pub use bounded::{read_text, text_from};
pub use code::Code;
pub use error::{Diagnostic, Label, LoadError, Severity, Source, SourceKind};
pub use fetch::{Fetch, FetchError};
pub use map::Key;
pub use node::{Instruction, Map as Tree, Node, Span, Text, Value};
pub use origin::{Origins, Step};
pub use request::{Dependencies, EnvFiles, LoadRequest, Loaded, LoadedTree, Phase, Resources};
pub use schema::json_schema;
pub use source::{is_remote, normalize_name};
pub use template::Variable;

/// Says whether the request reads standard input, so that the caller puts its text into [`LoadRequest::stdin`].
#[must_use]
pub fn reads_stdin(request: &LoadRequest) -> bool {
    let listed = request.environment.get("COMPOSE_FILE");
    request.files.iter().any(|file| file == "-")
        || request.files.is_empty()
            && listed.is_some_and(|list| list.split(':').any(|file| file == "-"))
}

/// Says whether an unquoted scalar is text for the readers of today.
#[must_use]
pub fn is_plain_text(text: &str) -> bool {
    matches!(scalar::resolve(text), Value::Text(_)) && text != "<<" && text != "="
}

/// Says whether an unquoted scalar is a boolean or a number for readers of YAML 1.1, though it is text today.
#[must_use]
pub fn is_old_word(text: &str) -> bool {
    scalar::is_old_boolean(text) || scalar::is_base60(text)
}

/// What a dotenv text assigns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assigned {
    /// Variables in the order of the text.
    pub variables: indexmap::IndexMap<String, String>,
    /// Variables that values refer to and nobody has set.
    pub missing: Vec<String>,
}

/// Reads a dotenv text by itself, for `run --env-from-file`: `lookup` gives what comes before it.
///
/// # Errors
/// Fails with the first line that is no assignment, and says which it is.
pub fn dotenv_text(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Assigned, String> {
    let mut variables = indexmap::IndexMap::new();
    let mut dotenv = dotenv::Dotenv {
        variables: &mut variables,
        lookup,
        missing: Vec::new(),
    };
    dotenv.parse(text).map_err(|error| {
        let before = text.get(..error.offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        format!("line {line}: {}", error.message)
    })?;
    let missing = dotenv.missing;
    Ok(Assigned { variables, missing })
}

/// Loads a project.
///
/// # Errors
/// Fails with every independent error that the files hold.
pub fn load(request: &LoadRequest) -> Result<Loaded, LoadError> {
    let mut loader = Loader::new(request);
    let loaded = load_project(&mut loader);
    let Some((project, tree)) = finished(&mut loader, loaded) else {
        return Err(loader.report.into_error(loader.failures));
    };
    let (sources, warnings) = loader.report.into_parts();
    Ok(Loaded {
        origins: Origins {
            tree,
            sources,
            files: project.compose_files.clone(),
            env_files: project.env_files.clone(),
            links: loader.links,
            process: request.environment.clone(),
            environment: project.environment.clone(),
            is_named: request
                .project_name
                .as_ref()
                .is_some_and(|name| !name.is_empty()),
        },
        project,
        warnings,
    })
}

/// Loads the merged tree without making a project of it.
///
/// # Errors
/// Fails with every independent error that the files hold.
pub fn load_tree(request: &LoadRequest) -> Result<LoadedTree, LoadError> {
    let mut loader = Loader::new(request);
    let loaded = load_merged(&mut loader);
    let Some(merged) = finished(&mut loader, loaded) else {
        return Err(loader.report.into_error(loader.failures));
    };
    let mut variables = BTreeMap::new();
    for node in merged.tree.values() {
        collect_variables(node, &mut variables);
    }
    let (sources, warnings) = loader.report.into_parts();
    Ok(LoadedTree {
        name: merged.name,
        tree: merged.tree,
        variables: variables.into_values().collect(),
        environment: merged.environment.as_ref().clone(),
        warnings,
        sources,
    })
}

/// Answers what was loaded, where no phase found anything wrong.
fn finished<T>(loader: &mut Loader<'_>, loaded: Result<T, Failures>) -> Option<T> {
    match loaded {
        Ok(loaded) => loader.failures.0.is_empty().then_some(loaded),
        Err(failures) => {
            loader.collect(Err(failures));
            None
        }
    }
}

/// Reads the documents of one file as they are written: each value with its place, and nothing resolved.
///
/// # Errors
/// Fails where the text is not YAML.
pub fn documents(file: &str, text: &str) -> Result<Vec<Node>, LoadError> {
    let mut report = report::Report::default();
    let (number, source) = report.add_source(file, text.to_owned(), SourceKind::Compose);
    document::parse(&source.text, number).map_err(|failures| report.into_error(failures))
}

/// Writes a tree as JSON.
#[must_use]
pub fn to_json(tree: &Tree) -> serde_json::Value {
    let pairs = tree
        .iter()
        .map(|(key, node)| (key.to_string(), bind::json(node)));
    serde_json::Value::Object(pairs.collect())
}

/// Returns the paths of all dates and points in time in a tree, which YAML writes without quotes.
#[must_use]
pub fn times(tree: &Tree) -> HashSet<Vec<String>> {
    let mut found = HashSet::new();
    collect_times(tree, &mut Vec::new(), &mut found);
    found
}

fn collect_times<'t>(
    map: &'t Tree,
    path: &mut Vec<Cow<'t, str>>,
    found: &mut HashSet<Vec<String>>,
) {
    for (key, node) in map {
        path.push(Cow::Borrowed(key));
        collect_times_in(node, path, found);
        path.pop();
    }
}

fn collect_times_in<'t>(
    node: &'t Node,
    path: &mut Vec<Cow<'t, str>>,
    found: &mut HashSet<Vec<String>>,
) {
    match &node.value {
        Value::Map(map) => collect_times(map, path, found),
        Value::List(list) => {
            for (index, element) in list.iter().enumerate() {
                path.push(Cow::Owned(index.to_string()));
                collect_times_in(element, path, found);
                path.pop();
            }
        }
        Value::Time(_) => {
            found.insert(path.iter().map(ToString::to_string).collect());
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Big(_)
        | Value::Float(_)
        | Value::Text(_) => {}
    }
}

/// The merged files of a project.
struct Merged {
    name: String,
    tree: Tree,
    environment: Rc<env::EnvMap>,
    discovered: Discovered,
}

fn load_project(loader: &mut Loader<'_>) -> Result<(crate::model::Project, Tree), Failures> {
    let mut merged = load_merged(loader)?;
    let request = loader.request;
    let (tree, found) = (&mut merged.tree, merged.discovered);
    let (mut project, bound) = bind::bind(tree, &mut loader.report);
    loader.settle(tree, bound);
    let tree = &*tree;
    project.name = merged.name;
    project.working_dir = found.working_directory;
    project.compose_files = found.files;
    project.env_files = found
        .env_files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    project.environment = Rc::unwrap_or_clone(merged.environment);
    profile::apply_profiles(&mut project, &found.profiles);
    if request.runs(Phase::Consistency) {
        let checked = check::check(&project, tree, &loader.marks);
        loader.collect(checked);
        join_scale(&mut project);
    }
    let resolve = request.runs(Phase::EnvironmentResolution);
    if resolve && request.env_files_of == EnvFiles::All {
        let resolved = files::resolve_env_files(&mut project, tree, &mut loader.report);
        loader.collect(resolved);
    }
    let labelled = files::resolve_label_files(&mut project, tree, &mut loader.report);
    loader.collect(labelled);
    // What is named on the command line may be in what could not be read.
    if let Err(failures) = profile::select(&mut project, request)
        && !loader.marks.is_incomplete()
    {
        loader.collect(Err(failures));
    }
    if resolve && request.env_files_of == EnvFiles::Selected {
        let resolved = files::resolve_env_files(&mut project, tree, &mut loader.report);
        loader.collect(resolved);
    }
    if request.runs(Phase::Consistency) && request.runs(Phase::ContainerNames) {
        loader.collect(check::container_names(&project, tree));
    }
    Ok((project, merged.tree))
}

fn load_merged(loader: &mut Loader<'_>) -> Result<Merged, Failures> {
    let request = loader.request;
    let discovered = match source::discover(request, &mut loader.report) {
        Ok(discovered) => discovered,
        Err(failure) => {
            // Without an environment no value is known, but whether the files are YAML is.
            loader.lose(failure);
            for file in source::given_files(request) {
                drop(loader.parse_or_lose(&file));
            }
            return Err(Failures::default());
        }
    };
    let documents: Vec<_> = discovered
        .files
        .iter()
        .map(|file| loader.parse_or_lose(file))
        .collect();
    let name = source::project_name(request, &discovered, &documents, &mut loader.report);
    drop(documents);
    let name = name.unwrap_or_else(|failures| {
        loader.collect(Err(failures));
        source::directory_name(&discovered)
    });
    let mut environment = discovered.environment.clone();
    environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
    let environment = Rc::new(environment);
    // Paths of included files become relative to the project before they become absolute.
    let (base, paths) = if request.runs(Phase::PathResolution) {
        (discovered.working_directory.clone(), PathResolution::Yes)
    } else {
        (PathBuf::new(), PathResolution::No)
    };
    let scope = Scope {
        files: discovered.files.clone(),
        directory: discovered.working_directory.clone(),
        base,
        environment: Rc::clone(&environment),
        included: Vec::new(),
        paths,
    };
    let mut tree = loader.load_scope(&scope);
    drop(scope);
    if tree.is_empty() && loader.failures.0.is_empty() {
        return Err(empty(&discovered.files).into());
    }
    if name.is_empty() {
        loader.collect(Err(no_name().into()));
    }
    if request.runs(Phase::Normalization) {
        tree.insert("name", Node::text(name.clone(), Span::NOWHERE));
        let nothing = env::EnvMap::new();
        let known = if request.runs(Phase::Interpolation) {
            environment.as_ref()
        } else {
            &nothing
        };
        defaults::normalize(&mut tree, &name, known);
    }
    Ok(Merged {
        name,
        tree,
        environment,
        discovered,
    })
}

fn empty(files: &[String]) -> Failure {
    let named: Vec<String> = files
        .iter()
        .map(|file| match file.as_str() {
            "-" => "standard input".to_owned(),
            file => format!("`{file}`"),
        })
        .collect();
    Failure::new(
        Code::Empty,
        format!("empty compose file: {}", named.join(", ")),
    )
    .hint("a project needs at least one service: `services: {NAME: {image: IMAGE}}`")
}

fn no_name() -> Failure {
    Failure::new(Code::ProjectName, "project name must not be empty")
        .hint("give one with `-p`, or with `name:` in the file")
}

/// Where both are given they are equal; `scale` counts.
fn join_scale(project: &mut crate::model::Project) {
    for service in project.services.values_mut() {
        if let (Some(scale), Some(deploy)) = (service.scale, &mut service.deploy) {
            deploy.replicas = Some(scale);
        }
    }
}

fn collect_variables(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Text(text) => template::collect_variables(text, found),
        Value::List(list) => list
            .iter()
            .for_each(|child| collect_variables(child, found)),
        Value::Map(map) => map
            .values()
            .for_each(|child| collect_variables(child, found)),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Big(_)
        | Value::Float(_)
        | Value::Time(_) => {}
    }
}
