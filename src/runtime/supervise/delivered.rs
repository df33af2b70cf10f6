//! Secrets and configs that a client delivers: files in memory, bound over paths of a container.
//!
//! ```text
//! deliver --> <run>/files/CONTAINER/{0,1,…}  (a tmpfs of our own that is never swapped, where the kernel can)
//!             <container's folder>/delivered.json  (targets, owners and modes; no contents)
//! start   --> each one bound read-only over its target
//! remove  --> files gone; the tmpfs with the last of them
//! ```
//!
//! The contents are nowhere on a disk, so they are gone after a reboot. A container that had some does not start then:
//! the client delivers them again with the next `up`.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};
use serde::{Deserialize, Serialize};

use super::Supervisor;
use super::container::Container;
use super::mount::clean;
use super::record::{read_json, write_json};
use crate::runtime::container::request::{Access, ExtraFile};
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// As on Docker: what fits into a secret or config of Swarm, and some more.
const SIZE_MAX: usize = 1 << 20;
const INDEX: &str = "delivered.json";

/// A file to deliver.
pub struct DeliveredFile {
    /// Where it goes, and whose it is.
    pub place: DeliveredPlace,
    /// Its content, never printed.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for DeliveredFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveredFile")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// Where a delivered file goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveredPlace {
    /// Absolute path in the container.
    pub path: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl Supervisor {
    /// Takes the files of a container, in place of those that it had. A running container sees new contents of the
    /// same paths at once, and new paths after its next start.
    ///
    /// # Errors
    /// When a path or size is impossible, or the files cannot be written.
    pub fn deliver(&self, container: &Container, files: &[DeliveredFile]) -> RuntimeResult<()> {
        check(files)?;
        let failed = |source| {
            let text = format!("cannot keep the secrets and configs of {}", container.id());
            RuntimeError::internal(text, source)
        };
        let root = self.files_root();
        mount_memory(&root).map_err(failed)?;
        let folder = root.join(container.id());
        make_private(&folder).map_err(failed)?;
        for (index, file) in files.iter().enumerate() {
            write_file(&folder.join(index.to_string()), file).map_err(failed)?;
        }
        let places: Vec<_> = files.iter().map(|file| &file.place).collect();
        write_json(&container.folder().join(INDEX), &places).map_err(failed)
    }

    /// The files to bind over paths of a container that starts.
    pub(super) fn delivered(&self, container: &Container) -> RuntimeResult<Vec<ExtraFile>> {
        let index = container.folder().join(INDEX);
        if !index.exists() {
            return Ok(Vec::new());
        }
        let places: Vec<DeliveredPlace> = read_json(&index).map_err(|source| {
            RuntimeError::internal(format!("cannot read `{}`", index.display()), source)
        })?;
        let folder = self.files_root().join(container.id());
        let files = places.into_iter().enumerate().map(|(number, place)| {
            let source = folder.join(number.to_string());
            if source.exists() {
                return Ok(ExtraFile {
                    source,
                    target: place.path,
                    access: Access::ReadOnly,
                });
            }
            let name = container.with(|record| record.name.clone());
            Err(RuntimeError::conflict(format!(
                "the secrets and configs of container {name} were kept in memory only, and are gone: \
                 `hoist up` delivers them again"
            )))
        });
        files.collect()
    }

    /// Forgets the files of a container that goes.
    pub(super) fn forget_delivered(&self, id: &str) {
        let root = self.files_root();
        if !root.exists() {
            return;
        }
        match fs::remove_dir_all(root.join(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(container = id, %error, "cannot remove secrets and configs");
            }
            _ => unmount_when_empty(&root),
        }
    }

    fn files_root(&self) -> PathBuf {
        self.layout().run().join("files")
    }
}

fn check(files: &[DeliveredFile]) -> RuntimeResult<()> {
    let mut seen = BTreeSet::new();
    for file in files {
        let path = &file.place.path;
        if !path.starts_with('/') || clean(path) != *path || path == "/" {
            return Err(RuntimeError::invalid(format!(
                "`{path}` is no absolute path of a file in a container"
            )));
        }
        if file.content.len() > SIZE_MAX {
            return Err(RuntimeError::invalid(format!(
                "`{path}` has {} bytes; a secret or config has at most {SIZE_MAX}",
                file.content.len()
            )));
        }
        if !seen.insert(path) {
            return Err(RuntimeError::invalid(format!("two files go to `{path}`")));
        }
    }
    Ok(())
}

/// A tmpfs on the folder, where none is yet.
fn mount_memory(root: &Path) -> io::Result<()> {
    make_private(root)?;
    if is_mounted(root)? {
        return Ok(());
    }
    // Programs may be among the configs, so they may be run.
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    // Linux 6.4 can keep a tmpfs out of swap.
    let mounted = rustix::mount::mount("tmpfs", root, "tmpfs", flags, c"mode=0700,noswap")
        .or_else(|_| rustix::mount::mount("tmpfs", root, "tmpfs", flags, c"mode=0700"));
    mounted.map_err(|error| {
        // Nothing may be written to what is below.
        fs::remove_dir(root).unwrap_or_default();
        error.into()
    })
}

fn is_mounted(root: &Path) -> io::Result<bool> {
    let parent = root.parent().unwrap_or(root);
    Ok(fs::metadata(root)?.dev() != fs::metadata(parent)?.dev())
}

fn unmount_when_empty(root: &Path) {
    let is_empty = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty {
        // A container that is ending may hold it for a moment: detached, it goes with the last user.
        let unmounted = rustix::mount::unmount(root, UnmountFlags::DETACH);
        if unmounted.is_ok() {
            fs::remove_dir(root).unwrap_or_default();
        }
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Into the same inode where there is one: a running container has it mounted.
fn write_file(path: &Path, file: &DeliveredFile) -> io::Result<()> {
    let mut open = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    open.write_all(&file.content)?;
    fchown(&open, Some(file.place.uid), Some(file.place.gid))?;
    open.set_permissions(fs::Permissions::from_mode(file.place.mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: usize) -> DeliveredFile {
        DeliveredFile {
            place: DeliveredPlace {
                path: path.to_owned(),
                uid: 0,
                gid: 0,
                mode: 0o444,
            },
            content: vec![b'x'; size],
        }
    }

    #[test]
    fn only_plain_paths_and_small_contents_are_delivered() {
        assert!(check(&[file("/run/secrets/a", SIZE_MAX), file("/b", 0)]).is_ok());
        for wrong in ["", "/", "a", "/a/../b", "/a//b", "/a/"] {
            assert!(check(&[file(wrong, 1)]).is_err(), "{wrong}");
        }
        assert!(check(&[file("/a", SIZE_MAX + 1)]).is_err());
        assert!(check(&[file("/a", 1), file("/a", 2)]).is_err());
    }
}
