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
    Code, canonical, defaults, document,
    env::EnvMap,
    error::SourceKind,
    extends, include, interpolate,
    marks::Marks,
    merge,
    node::{Map, Node, Span, Value},
    path::Path,
    report::{Failure, Failures, Report},
    request::{LoadRequest, Phase},
    reset::Resets,
    resolve_path, schema, source, trap, unicity, validate,
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
    /// What the phases found so far.
    pub(super) failures: Failures,
    /// What is known to be wrong.
    pub(super) marks: Marks,
    /// The files that a place names, by `include` or `extends`.
    pub(super) links: HashMap<Span, Vec<String>>,
    /// The places of values that are wrong already.
    told: Vec<Span>,
    /// How the file that is being read was come to: the places that name it, and what they do.
    pub(super) trail: Vec<(Span, &'static str)>,
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
            failures: Failures::default(),
            marks: Marks::default(),
            links: HashMap::new(),
            told: Vec::new(),
            trail: Vec::new(),
        }
    }

    /// Keeps what a phase found, without what only follows from earlier mistakes.
    pub(super) fn collect(&mut self, result: Result<(), Failures>) {
        let Err(found) = result else { return };
        for failure in found.0 {
            let follows = match failure.main_place() {
                Some(place) => {
                    self.told.contains(&place)
                        || failure.code() == Code::MissingKey && self.marks.is_emptied(place)
                }
                None => false,
            };
            if !follows && !self.failures.0.contains(&failure) {
                self.told.extend(failure.main_place());
                let trail = self.trail.iter().rev();
                let failure = trail.fold(failure, |failure, (span, word)| failure.at(*span, *word));
                self.failures.0.push(failure);
            }
        }
    }

    /// Keeps what a phase found about a tree, and takes the wrong values out of it, so that the next phase can run.
    pub(super) fn settle(&mut self, tree: &mut Map, result: Result<(), Failures>) {
        if result.is_err() {
            self.collect(result);
            self.marks.prune(tree, &self.told);
        }
    }

    /// Keeps a failure that leaves a part of the project unread.
    pub(super) fn lose(&mut self, failures: impl Into<Failures>) {
        self.marks.set_incomplete();
        self.collect(Err(failures.into()));
    }

    /// Parses a file that is named at a place, once; of one that is not YAML the documents before that place are known.
    ///
    /// # Errors
    /// Fails where it cannot be read.
    pub(super) fn parse(&mut self, file: &str, named: Span) -> Result<Rc<Vec<Node>>, Failure> {
        if let Some(documents) = self.parsed.get(file) {
            return Ok(Rc::clone(documents));
        }
        let (text, broken) = match source::read(file, named, self.request.stdin.as_ref())? {
            source::Content::Text(text) => (text, None),
            source::Content::Broken(shown, at) => (shown, Some(at)),
        };
        let (number, source) = self.report.add_source(file, text, SourceKind::Compose);
        source::check_text(&source.text, number, broken)?;
        let parsed = document::read(&source.text, number);
        if !parsed.complete {
            self.marks.set_incomplete();
        }
        for warning in parsed.warnings {
            self.report.warn(warning);
        }
        self.collect(parsed.failures.into_result());
        let documents = Rc::new(parsed.documents);
        self.parsed.insert(file.to_owned(), Rc::clone(&documents));
        Ok(documents)
    }

    /// Parses a file; one that cannot be read is told and is then empty.
    pub(super) fn parse_or_lose(&mut self, file: &str) -> Rc<Vec<Node>> {
        match self.parse(file, Span::NOWHERE) {
            Ok(documents) => documents,
            Err(failure) => {
                self.lose(failure);
                let nothing = Rc::new(Vec::new());
                self.parsed.insert(file.to_owned(), Rc::clone(&nothing));
                nothing
            }
        }
    }

    /// Takes the documents of a file, without a copy where nobody else holds them.
    fn take_documents(&mut self, file: &str) -> Vec<Node> {
        drop(self.parse_or_lose(file));
        let documents = self.parsed.remove(file).unwrap_or_default();
        Rc::try_unwrap(documents).unwrap_or_else(|shared| shared.as_ref().clone())
    }

    /// Loads all files of a scope into one tree, which lacks what is wrong.
    pub(super) fn load_scope(&mut self, scope: &Scope) -> Map {
        let mut tree = Map::new();
        let mut included = scope.included.clone();
        for file in &scope.files {
            included.push(file.clone());
            for document in self.take_documents(file) {
                self.lay(document, file, &mut tree, scope, &included);
            }
        }
        defaults::set_defaults(&mut tree);
        let valid = validate::check(&tree);
        self.settle(&mut tree, valid);
        if scope.paths == PathResolution::Yes {
            let resolved = resolve_path::resolve(&mut tree, &scope.base, &scope.environment);
            self.settle(&mut tree, resolved);
        }
        if self.request.runs(Phase::Interpolation) {
            defaults::resolve_environment(&mut tree, &scope.environment);
        }
        tree
    }

    /// Lays one document over the tree.
    fn lay(
        &mut self,
        document: Node,
        file: &str,
        tree: &mut Map,
        scope: &Scope,
        included: &[String],
    ) {
        let Prepared { mut own, resets } = match self.prepare(document, scope) {
            Ok(prepared) => prepared,
            Err(failure) => return self.lose(failure),
        };
        include::apply(self, &mut own, scope, included, &resets);
        resets.apply(tree);
        extends::apply(self, &mut own, file, scope, &resets);
        if tree.is_empty() {
            *tree = own;
        } else {
            let merged = merge::merge_files(tree, own);
            self.collect(merged);
        }
        let unique = unicity::enforce(tree);
        if self.request.runs(Phase::Shape) {
            let shape = schema::check(tree);
            self.settle(tree, shape);
        }
        self.settle(tree, unique);
        self.marks.prune(tree, &self.told);
        self.drop_version(tree);
        self.finish(tree);
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
        trap::find(&document, &mut self.report);
        let resets = Resets::take(&mut document);
        let (span, kind) = (document.span, document.kind());
        if self.request.runs(Phase::Interpolation) {
            let wrong =
                interpolate::interpolate(&mut document, &scope.environment, &mut self.report);
            self.collect(wrong.failures.into_result());
            self.told.extend(wrong.values);
        }
        match document.value {
            Value::Map(own) => Ok(Prepared { own, resets }),
            _ => Err(Failure::new(
                Code::WrongType,
                format!("top-level object must be a mapping, this is a {kind}"),
            )
            .at(span, "")),
        }
    }

    /// Brings a tree into canonical form, without what cannot be read.
    pub(super) fn finish(&mut self, tree: &mut Map) {
        let canonical = canonical::canonicalize(tree, &self.request.skip, &mut self.report);
        self.settle(tree, canonical);
        let unique = unicity::enforce(tree);
        self.settle(tree, unique);
    }

    fn drop_version(&mut self, tree: &mut Map) {
        if let Some(version) = tree.shift_remove("version") {
            self.report.warn(
                Failure::new(
                    Code::Deprecated,
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
        _ => Err(Failure::new(
            Code::WrongType,
            format!("`{}` must be a mapping", Path::ROOT.key(name)),
        )
        .at(key, format!("this is a {kind}"))),
    }
}
