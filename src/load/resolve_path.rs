//! Relative paths to paths from the project directory (behaviours.md B042, B076, B089-B094).

use std::{
    path::{Path as FilePath, PathBuf},
    sync::LazyLock,
};

use super::{
    Code,
    env::EnvMap,
    node::{Map, Node, Value},
    path::{Path, Rules},
    report::{Failure, Failures},
    source,
};

/// What kind of path it is.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// A path of the host.
    Path,
    /// A path or a URL of a build.
    Context,
    /// A path that may be of another system.
    Foreign,
    /// A path, or a remote file.
    Extends,
    /// A path whose symbolic links are followed.
    Linked,
    /// The source of a bind mount.
    Mount,
    /// The device of a local volume that binds.
    VolumeDevice,
}

static RULES: LazyLock<Rules<Rule>> = LazyLock::new(|| {
    Rules::new(&[
        ("services.*.build.context", Rule::Context),
        ("services.*.build.additional_contexts.*", Rule::Context),
        ("services.*.build.ssh.*", Rule::Foreign),
        ("services.*.env_file.*.path", Rule::Path),
        ("services.*.label_file.*", Rule::Path),
        ("services.*.extends.file", Rule::Extends),
        ("services.*.develop.watch.*.path", Rule::Linked),
        ("services.*.volumes.*", Rule::Mount),
        ("configs.*.file", Rule::Foreign),
        ("secrets.*.file", Rule::Foreign),
        ("volumes.*", Rule::VolumeDevice),
    ])
});

/// Makes every path of a tree start from a directory, which may itself be relative.
///
/// # Errors
/// Fails with every bind mount that has no source.
pub(super) fn resolve(
    tree: &mut Map,
    directory: &FilePath,
    environment: &EnvMap,
) -> Result<(), Failures> {
    let mut walk = Walk {
        directory,
        home: environment.get("HOME").map(PathBuf::from),
        failures: Failures::default(),
    };
    walk.map(tree, Path::ROOT, Rules::<Rule>::ROOT);
    walk.failures.into_result()
}

struct Walk<'a> {
    directory: &'a FilePath,
    home: Option<PathBuf>,
    failures: Failures,
}

impl Walk<'_> {
    fn map(&mut self, map: &mut Map, path: Path<'_>, state: usize) {
        for (key, node) in map {
            if let Some(next) = RULES.key(state, key) {
                self.node(node, path.key(key), next);
            }
        }
    }

    fn node(&mut self, node: &mut Node, path: Path<'_>, state: usize) {
        if let Some(rule) = RULES.rule(state) {
            self.apply(rule, node, path);
            return;
        }
        match &mut node.value {
            Value::Map(map) => self.map(map, path, state),
            Value::List(list) => {
                if let Some(next) = RULES.element(state) {
                    for (index, element) in list.iter_mut().enumerate() {
                        self.node(element, path.index(index), next);
                    }
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Big(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Time(_) => {}
        }
    }

    fn apply(&mut self, rule: Rule, node: &mut Node, path: Path<'_>) {
        let span = node.span;
        match (&mut node.value, rule) {
            (Value::Text(text), Rule::Context) if is_remote_context(text) => {}
            (Value::Text(text), Rule::Extends) if source::is_remote(text) => {}
            (Value::Text(text), Rule::Path | Rule::Context | Rule::Extends) => {
                *text = self.host(text).into();
            }
            (Value::Text(text), Rule::Foreign) => *text = self.foreign(text).into(),
            (Value::Text(text), Rule::Linked) => *text = follow_link(&self.host(text)).into(),
            (Value::Map(mount), Rule::Mount) => {
                if mount.get("type").and_then(Node::as_text) != Some("bind") {
                    return;
                }
                match mount.get_mut("source").map(|source| &mut source.value) {
                    Some(Value::Text(text)) => *text = self.foreign(text).into(),
                    _ => self.failures.0.push(
                        Failure::new(
                            Code::MissingKey,
                            format!("`{path}` is a bind mount without a `source`"),
                        )
                        .at(span, ""),
                    ),
                }
            }
            (Value::Map(volume), Rule::VolumeDevice) => self.volume_device(volume),
            _ => {}
        }
    }

    fn volume_device(&self, volume: &mut Map) {
        if volume.get("driver").and_then(Node::as_text) != Some("local") {
            return;
        }
        let Some(options) = volume.get_mut("driver_opts").and_then(Node::as_map_mut) else {
            return;
        };
        if options.get("o").and_then(Node::as_text) != Some("bind") {
            return;
        }
        if let Some(Value::Text(device)) = options.get_mut("device").map(|node| &mut node.value) {
            *device = self.foreign(device).into();
        }
    }

    fn expand_home(&self, text: &str) -> String {
        match (text.strip_prefix('~'), &self.home) {
            (Some(rest), Some(home)) => join(home, rest.trim_start_matches('/')),
            _ => text.to_owned(),
        }
    }

    fn host(&self, text: &str) -> String {
        let text = self.expand_home(text);
        if text.is_empty() || text.starts_with('/') {
            return text;
        }
        join(self.directory, &text)
    }

    fn foreign(&self, text: &str) -> String {
        let text = self.expand_home(text);
        if text.starts_with('/') || is_windows_absolute(&text) {
            return text;
        }
        join(self.directory, &text)
    }
}

fn join(directory: &FilePath, text: &str) -> String {
    source::clean(&directory.join(text)).display().to_string()
}

/// Says whether a context is not a directory of the host.
pub(super) fn is_remote_context(text: &str) -> bool {
    const PREFIXES: [&str; 7] = [
        "service:",
        "https://",
        "http://",
        "git://",
        "ssh://",
        "github.com/",
        "git@",
    ];
    text.contains("://") || PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// Says whether a path is absolute on Windows: a drive, or a share.
fn is_windows_absolute(text: &str) -> bool {
    let bytes = text.as_bytes();
    let drive = matches!(bytes, [letter, b':', slash, ..] if letter.is_ascii_alphabetic() && matches!(slash, b'/' | b'\\'));
    drive || text.starts_with(r"\\")
}

/// Replaces the first part of a path that is a symbolic link by what it leads to.
fn follow_link(text: &str) -> String {
    let path = FilePath::new(text);
    let mut so_far = PathBuf::new();
    for component in path.components() {
        so_far.push(component);
        if so_far.is_symlink()
            && let Ok(target) = so_far.canonicalize()
        {
            let shown = so_far.display().to_string();
            return text.replacen(&shown, &target.display().to_string(), 1);
        }
    }
    text.to_owned()
}
