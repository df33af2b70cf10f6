//! The files of a published project, as they are written: read raw, looked through, and made independent of this
//! machine.
//!
//! ```text
//! compose files --+--> local `extends` parents, and theirs --> Written, each once
//!                 +--> Written::portable(): paths of parents and env files become names in the artifact
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use hoist::load::{self, Node, Span};

use crate::cli::CommandError;

/// A file that is published.
#[derive(Debug)]
pub(super) struct Written {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Why it is published.
    pub(super) role: Role,
    /// Its text.
    pub(super) text: String,
    documents: Vec<Node>,
    /// What its relative paths start from.
    folder: PathBuf,
}

/// Why a file is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is one of the project's files.
    Project,
    /// A service of another one extends a service of it.
    Parent,
}

/// A file that a service names, and where its name stands.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    span: Span,
}

/// Reads the project's files and the local files that they extend.
pub(super) fn read_all(files: &[String], folder: &Path) -> Result<Vec<Written>, CommandError> {
    let mut waiting: VecDeque<(PathBuf, Role, PathBuf)> = files
        .iter()
        .map(|file| (PathBuf::from(file), Role::Project, folder.to_owned()))
        .collect();
    let mut known = BTreeSet::new();
    let mut written = Vec::new();
    while let Some((path, role, folder)) = waiting.pop_front() {
        if !known.insert(path.clone()) {
            continue;
        }
        let file = Written::read(path, role, folder)?;
        for parent in file.parents() {
            let folder = parent.path.parent().unwrap_or(Path::new("/")).to_owned();
            waiting.push_back((parent.path, Role::Parent, folder));
        }
        written.push(file);
    }
    Ok(written)
}

impl Written {
    fn read(path: PathBuf, role: Role, folder: PathBuf) -> Result<Self, CommandError> {
        let name = path.display().to_string();
        if name == "-" {
            return Err(CommandError::user(
                "cannot publish a Compose file that came from standard input",
            ));
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| CommandError::user(format!("cannot read `{name}`: {error}")))?;
        Ok(Self {
            documents: load::documents(&name, &text)?,
            path,
            role,
            text,
            folder,
        })
    }

    /// Its services by name; one that several documents write comes several times.
    pub(super) fn services(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.resources("services")
    }

    /// Everything in one of its top-level sections.
    pub(super) fn resources(&self, section: &str) -> impl Iterator<Item = (&str, &Node)> {
        self.documents
            .iter()
            .filter_map(move |document| document.find(section)?.as_map())
            .flatten()
            .map(|(name, node)| (name.as_str(), node))
    }

    /// Whether it includes files of this machine.
    pub(super) fn includes_locally(&self) -> bool {
        let entries = self
            .documents
            .iter()
            .filter_map(|document| document.find("include")?.as_list())
            .flatten();
        entries
            .flat_map(|entry| {
                let path = entry.find("path").unwrap_or(entry);
                path.as_list().unwrap_or(std::slice::from_ref(path))
            })
            .filter_map(Node::as_text)
            .any(|path| !load::is_remote(path))
    }

    /// The local files that its services extend.
    fn parents(&self) -> Vec<Named> {
        let files = self
            .services()
            .filter_map(|(_, service)| service.find("extends")?.find("file"));
        files
            .filter_map(|file| self.named(file))
            .filter(|parent| parent.path.exists())
            .collect()
    }

    /// The env files of a service.
    pub(super) fn env_files(&self, service: &Node) -> Vec<Named> {
        let Some(declared) = service.find("env_file") else {
            return Vec::new();
        };
        let entries = declared
            .as_list()
            .unwrap_or(std::slice::from_ref(declared))
            .iter();
        entries
            .filter_map(|entry| self.named(entry.find("path").unwrap_or(entry)))
            .collect()
    }

    /// A path in the file; what is to be interpolated, or is remote, is nobody's business here.
    fn named(&self, node: &Node) -> Option<Named> {
        let text = node.as_text()?;
        if text.contains('$') || load::is_remote(text) {
            return None;
        }
        Some(Named {
            path: self.folder.join(text),
            span: node.span,
        })
    }

    /// The text for others: local files have the names that they have in the artifact.
    pub(super) fn portable(&self) -> String {
        let parents = self.parents().into_iter().map(|named| (named, "yaml"));
        let env_files = self
            .services()
            .flat_map(|(_, service)| self.env_files(service))
            .map(|named| (named, "env"));
        let edits: BTreeMap<(u32, u32), String> = parents
            .chain(env_files)
            .map(|(named, ending)| {
                let place = (named.span.start, named.span.end);
                (place, name_in_artifact(&named.path, ending))
            })
            .collect();
        let mut text = self.text.clone();
        for ((start, end), name) in edits.into_iter().rev() {
            let range = start as usize..end as usize;
            if text.is_char_boundary(range.start) && text.is_char_boundary(range.end) {
                text.replace_range(range, &name);
            }
        }
        text
    }

    /// Its name in the artifact.
    pub(super) fn name(&self) -> String {
        match self.role {
            Role::Project => file_name(&self.path),
            Role::Parent => name_in_artifact(&self.path, "yaml"),
        }
    }

    /// Every value with its path, joined by dots.
    pub(super) fn values(&self) -> Vec<(String, String)> {
        let mut values = Vec::new();
        for document in &self.documents {
            flatten(String::new(), document, &mut values);
        }
        values
    }
}

/// A name that says nothing about this machine.
pub(super) fn name_in_artifact(path: &Path, ending: &str) -> String {
    let digest = Sha256::digest(path.to_string_lossy().as_bytes());
    format!("{}.{ending}", hex::encode(digest))
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn flatten(path: String, node: &Node, values: &mut Vec<(String, String)>) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    if let Some(map) = node.as_map() {
        for (key, node) in map {
            flatten(below(key), node, values);
        }
    } else if let Some(list) = node.as_list() {
        for (index, node) in list.iter().enumerate() {
            match node.as_text().and_then(|text| text.split_once('=')) {
                // A list of `NAME=value` is a map in other clothes.
                Some((key, value)) => values.push((below(key), value.to_owned())),
                None => flatten(below(&index.to_string()), node, values),
            }
        }
    } else if let Some(text) = node.scalar_text() {
        values.push((path, text));
    }
}

#[cfg(test)]
mod tests {
    use super::{Role, Written, name_in_artifact};
    use std::path::{Path, PathBuf};

    fn written(text: &str) -> Result<Written, hoist::load::LoadError> {
        Ok(Written {
            path: PathBuf::from("/p/compose.yaml"),
            role: Role::Project,
            text: text.to_owned(),
            documents: hoist::load::documents("compose.yaml", text)?,
            folder: PathBuf::from("/p"),
        })
    }

    #[test]
    fn local_paths_become_names_in_the_artifact() -> Result<(), hoist::load::LoadError> {
        let text = "services:\n  a:\n    env_file: one.env # kept\n  b:\n    env_file:\n      - \"two.env\"\n      - path: ${X}.env\n";
        let portable = written(text)?.portable();
        let name = |path: &str| name_in_artifact(Path::new(path), "env");
        assert!(portable.contains(&format!("env_file: {} # kept", name("/p/one.env"))));
        assert!(portable.contains(&name("/p/two.env")));
        assert!(portable.contains("- path: ${X}.env"));
        assert!(!portable.contains("one.env") && !portable.contains("two.env"));
        Ok(())
    }

    #[test]
    fn includes_are_local_unless_they_name_a_registry_or_repository()
    -> Result<(), hoist::load::LoadError> {
        assert!(written("include:\n  - other.yaml\n")?.includes_locally());
        assert!(written("include:\n  - path: [oci://r/x, ./y.yaml]\n")?.includes_locally());
        assert!(!written("include:\n  - oci://registry/app\n")?.includes_locally());
        Ok(())
    }

    #[test]
    fn values_are_named_by_their_path() -> Result<(), hoist::load::LoadError> {
        let values = written("services:\n  a:\n    environment:\n      - K=v\n    ports: [80]\n")?;
        assert_eq!(
            values.values(),
            [
                ("services.a.environment.K".to_owned(), "v".to_owned()),
                ("services.a.ports.0".to_owned(), "80".to_owned())
            ]
        );
        Ok(())
    }
}
