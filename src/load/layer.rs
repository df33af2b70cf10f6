//! One file laid over what was loaded before it: the phases that run for each file and each document in it.
//!
//! ```text
//! parse -> take !reset/!override -> interpolate -> include -> clear in earlier files -> extends -> merge
//!       -> unicity -> schema -> canonical -> unicity
//! ```
//!
//! The order is docker compose's: variables are substituted before files meet, so that each file sees the environment
//! of its own project; the schema sees the merged tree, so that a file may hold only a part.

use std::{collections::HashMap, path::PathBuf, rc::Rc};

use super::{
    canonical, defaults, document,
    env::EnvMap,
    extends, include,
    interpolate::{self, Wrong},
    merge,
    node::{Map, Node, Value},
    path::Path,
    report::{Failure, Failures, Report},
    request::{LoadRequest, Phase},
    reset::Resets,
    resolve_path, schema, source, unicity, validate,
};

/// What a run of the loader carries along.
pub(super) struct Loader<'r> {
    /// What was asked.
    pub(super) request: &'r LoadRequest,
    /// Sources and warnings.
    pub(super) report: Report,
    /// Texts already parsed, by file.
    parsed: HashMap<String, Rc<Vec<Node>>>,
    /// Files that services extend, by file and directory.
    pub(super) bases: HashMap<(String, PathBuf), Rc<extends::Base>>,
}

/// A set of files that belong together: the project's own, or those of one `include` entry.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// The files in order, absolute.
    pub(super) files: Vec<String>,
    /// The directory from which the files' own references are found.
    pub(super) directory: PathBuf,
    /// What relative paths are joined to; relative itself for included files.
    pub(super) base: PathBuf,
    /// The environment of the files.
    pub(super) environment: Rc<EnvMap>,
    /// The files that led here, the first one first.
    pub(super) included: Vec<String>,
    /// Whether paths are resolved at the end.
    pub(super) paths: PathResolution,
}

/// A document ready to be merged.
pub(super) struct Prepared {
    /// Its mapping.
    pub(super) own: Map,
    /// What it clears in earlier files.
    pub(super) resets: Resets,
    /// What could not be substituted.
    pub(super) wrong: Wrong,
}

/// Whether the paths of a scope are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathResolution {
    Yes,
    No,
}

impl<'r> Loader<'r> {
    pub(super) fn new(request: &'r LoadRequest) -> Self {
        Self {
            request,
            report: Report::default(),
            parsed: HashMap::new(),
            bases: HashMap::new(),
        }
    }

    /// Parses a file, once.
    ///
    /// # Errors
    /// Fails where it cannot be read or is not YAML.
    pub(super) fn parse(&mut self, file: &str) -> Result<Rc<Vec<Node>>, Failure> {
        if let Some(documents) = self.parsed.get(file) {
            return Ok(Rc::clone(documents));
        }
        let text = source::read(file, self.request.stdin.as_ref())?;
        let (number, source) = self.report.add_source(file, text);
        let documents = Rc::new(document::parse(&source.text, number)?);
        self.parsed.insert(file.to_owned(), Rc::clone(&documents));
        Ok(documents)
    }

    /// Takes the documents of a file, without a copy where nobody else holds them.
    fn take_documents(&mut self, file: &str) -> Result<Vec<Node>, Failure> {
        self.parse(file)?;
        let documents = self.parsed.remove(file).unwrap_or_default();
        Ok(Rc::try_unwrap(documents).unwrap_or_else(|shared| shared.as_ref().clone()))
    }

    /// Loads all files of a scope into one tree.
    ///
    /// # Errors
    /// Fails with what the first failing phase found.
    pub(super) fn load_scope(&mut self, scope: &Scope) -> Result<Map, Failures> {
        let mut tree = Map::new();
        let mut included = scope.included.clone();
        for file in &scope.files {
            included.push(file.clone());
            for document in self.take_documents(file)? {
                self.lay(document, file, &mut tree, scope, &included)?;
            }
        }
        defaults::set_defaults(&mut tree);
        validate::check(&tree)?;
        if scope.paths == PathResolution::Yes {
            resolve_path::resolve(&mut tree, &scope.base, &scope.environment)?;
        }
        if self.request.runs(Phase::Interpolation) {
            defaults::resolve_environment(&mut tree, &scope.environment);
        }
        Ok(tree)
    }

    /// Lays one document over the tree.
    fn lay(
        &mut self,
        document: Node,
        file: &str,
        tree: &mut Map,
        scope: &Scope,
        included: &[String],
    ) -> Result<(), Failures> {
        let Prepared {
            mut own,
            resets,
            wrong,
        } = self.prepare(document, scope)?;
        include::apply(self, &mut own, scope, included, &resets)?;
        resets.apply(tree);
        extends::apply(self, &mut own, file, scope, &resets)?;
        if tree.is_empty() {
            *tree = own;
        } else {
            merge::merge_files(tree, own)?;
        }
        // What is wrong with single values does not hide what else is wrong.
        let mut failures = wrong.failures;
        let unique = unicity::enforce(tree);
        failures.absorb(schema::check(tree), &wrong.values);
        let told = [wrong.values, failures.places()].concat();
        failures.absorb(unique, &told);
        failures.into_result()?;
        self.drop_version(tree);
        self.finish(tree)
    }

    /// Takes the instructions out of a document and substitutes its variables.
    ///
    /// # Errors
    /// Fails where it is no mapping.
    pub(super) fn prepare(
        &mut self,
        mut document: Node,
        scope: &Scope,
    ) -> Result<Prepared, Failure> {
        let resets = Resets::take(&mut document);
        let (span, kind) = (document.span, document.kind());
        let wrong = if self.request.runs(Phase::Interpolation) {
            interpolate::interpolate(&mut document, &scope.environment, &mut self.report)
        } else {
            Wrong::default()
        };
        match document.value {
            Value::Map(own) => Ok(Prepared { own, resets, wrong }),
            _ => Err(Failure::new(format!(
                "top-level object must be a mapping, this is a {kind}"
            ))
            .at(span, "")),
        }
    }

    /// Brings a tree into canonical form.
    ///
    /// # Errors
    /// Fails with every form that cannot be read.
    pub(super) fn finish(&mut self, tree: &mut Map) -> Result<(), Failures> {
        canonical::canonicalize(tree, &self.request.skip, &mut self.report)?;
        unicity::enforce(tree)?;
        Ok(())
    }

    fn drop_version(&mut self, tree: &mut Map) {
        if let Some(version) = tree.shift_remove("version") {
            self.report.warn(
                Failure::new(
                    "the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion",
                )
                .at(version.key, ""),
            );
        }
    }
}

/// Returns a section of a tree as a mapping, where it is there.
///
/// # Errors
/// Fails where it is something else.
pub(super) fn section<'t>(tree: &'t mut Map, name: &str) -> Result<Option<&'t mut Map>, Failure> {
    let Some(node) = tree.get_mut(name) else {
        return Ok(None);
    };
    let (kind, key) = (node.kind(), node.key);
    match &mut node.value {
        Value::Map(map) => Ok(Some(map)),
        _ => Err(
            Failure::new(format!("`{}` must be a mapping", Path::ROOT.key(name)))
                .at(key, format!("this is a {kind}")),
        ),
    }
}
