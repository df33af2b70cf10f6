//! What contents of secrets and configs are told by (`x-hoist-on-change`), and what containers were brought since they
//! were made.
//!
//! ```text
//! <root>/contents/ENGINE-AND-PROJECT.json    container id -> label -> mark; no contents
//! ```
//!
//! A container carries the marks of its creation as labels. What a restart or a signal brought into it is kept here, and
//! stands in the place of its labels in every snapshot.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::secret::secret_store;
use crate::cli::{CommandError, Context};
use hoist::engine::ObservedState;
use hoist::model::{ContentMark, FileObject, OnChange, Project};
use hoist::plan::content::Settled;
use hoist::runtime::layout::Layout;
use hoist::runtime::secret::SecretStore;
use sha2::{Digest, Sha256};

/// Marks the contents that a service wants to hear of.
pub(crate) fn mark(context: &Context, project: &mut Project) -> Result<(), CommandError> {
    let mut secrets = BTreeSet::new();
    let mut configs = BTreeSet::new();
    for service in project.services.values() {
        for (references, wanted) in [
            (&service.secrets, &mut secrets),
            (&service.configs, &mut configs),
        ] {
            let heard = references
                .iter()
                .filter(|reference| OnChange::of(service, reference).is_some());
            wanted.extend(heard.map(|reference| reference.source.clone()));
        }
    }
    if secrets.is_empty() && configs.is_empty() {
        return Ok(());
    }
    let store = secret_store(context);
    let environment = &project.environment;
    for (kind, wanted, objects) in [
        ("secret", secrets, &mut project.secrets),
        ("config", configs, &mut project.configs),
    ] {
        for (name, object) in objects
            .iter_mut()
            .filter(|(name, _)| wanted.contains(*name))
        {
            let variable = environment.get(&object.environment).map(String::as_bytes);
            object.mark = mark_of(&store, &format!("{kind} {name}"), object, variable)?;
        }
    }
    Ok(())
}

/// The mark of a content; `None` where it is not to be read here, which is told about elsewhere.
fn mark_of(
    store: &SecretStore,
    name: &str,
    object: &FileObject,
    variable: Option<&[u8]>,
) -> Result<Option<ContentMark>, CommandError> {
    let mut inode = None;
    let read;
    let (content, origin) = if !object.delivered.is_empty() {
        (object.delivered.as_slice(), String::new())
    } else if !object.file.is_empty() {
        let Some((bytes, number)) = read_file(Path::new(&object.file)) else {
            return Ok(None);
        };
        (read, inode) = (bytes, Some(number));
        (read.as_slice(), object.file.clone())
    } else if !object.environment.is_empty() {
        let Some(value) = variable else {
            return Ok(None);
        };
        (value, format!("${}", object.environment))
    } else {
        (object.content.as_bytes(), String::new())
    };
    let digest = store.digest(name, content).map_err(CommandError::user)?;
    Ok(Some(ContentMark {
        digest,
        inode,
        origin,
    }))
}

/// A file and its number; folders are not compared.
fn read_file(path: &Path) -> Option<(Vec<u8>, u64)> {
    let meta = std::fs::metadata(path)
        .ok()
        .filter(std::fs::Metadata::is_file)?;
    Some((std::fs::read(path).ok()?, meta.ino()))
}

/// The file of a project on an engine.
#[derive(Debug)]
pub(crate) struct Brought {
    path: PathBuf,
}

impl Brought {
    pub(crate) fn new(engine: &str, project: &str) -> Self {
        let engine = hex::encode(&Sha256::digest(engine)[..6]);
        let folder = Layout::of_process().root().join("contents");
        Self {
            path: folder.join(format!("{engine}-{project}.json")),
        }
    }

    /// Puts what containers were brought in the place of what they carry.
    pub(crate) fn put_into(&self, observed: &mut ObservedState) {
        let settled = self.read();
        for container in &mut observed.containers {
            if let Some(marks) = settled.get(&container.id) {
                container.labels.extend(marks.clone());
            }
        }
    }

    /// Adds what a run settled, and forgets containers that are gone.
    pub(crate) fn add(&self, settled: Settled, observed: &[String]) -> io::Result<()> {
        let mut all = self.read();
        let before = all.clone();
        all.retain(|id, _| observed.contains(id));
        for (id, marks) in settled {
            all.entry(id).or_default().extend(marks);
        }
        if all == before {
            return Ok(());
        }
        self.write(&all)
    }

    fn read(&self) -> Settled {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        // What cannot be read is as if it were not there: at worst a service is told twice.
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn write(&self, settled: &Settled) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let whole = self
            .path
            .with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&whole, serde_json::to_vec(settled)?)?;
        std::fs::rename(&whole, &self.path)
    }
}
