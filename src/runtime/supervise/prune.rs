//! Removing what nobody uses.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use tokio::task::block_in_place;

use super::Supervisor;
use super::container::Container;
use super::remove::{AnonymousVolumes, Force};
use super::status::Status;

/// What was removed.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Ids of containers.
    pub containers: Vec<String>,
    /// Bytes that are free now.
    pub reclaimed: u64,
}

impl Supervisor {
    /// Removes containers that do not run and that `wanted` picks.
    pub async fn prune_containers(self: &Arc<Self>, wanted: impl Fn(&Container) -> bool) -> Pruned {
        let mut pruned = Pruned::default();
        for container in self.containers() {
            let ended = matches!(
                container.status(),
                Status::Created | Status::Exited | Status::Dead
            );
            if !ended || !wanted(&container) {
                continue;
            }
            let size = block_in_place(|| tree_size(&container.upper()));
            match self
                .remove(&container, Force::No, AnonymousVolumes::Keep)
                .await
            {
                Ok(()) => {
                    pruned.containers.push(container.id().to_owned());
                    pruned.reclaimed += size;
                }
                Err(error) => tracing::debug!(
                    container = container.id(),
                    error = error.chain(),
                    "not pruned"
                ),
            }
        }
        pruned
    }

    /// Bytes of a container's own layer.
    #[must_use]
    pub fn layer_size(&self, container: &Container) -> u64 {
        block_in_place(|| tree_size(&container.upper()))
    }

    /// Bytes of a folder with all in it.
    #[must_use]
    pub fn folder_size(&self, folder: &Path) -> u64 {
        tree_size(folder)
    }

    /// Bytes of a container's image.
    #[must_use]
    pub fn image_size(&self, container: &Container) -> u64 {
        let image = container.with(|record| record.image.clone());
        let inspected = block_in_place(|| self.images().inspect(&image));
        let size = inspected.ok().and_then(|image| image.size);
        size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
    }
}

/// Bytes of all files below a folder; links are not followed, and a file with several names counts once.
pub(super) fn tree_size(folder: &Path) -> u64 {
    let mut seen = std::collections::HashSet::new();
    let mut folders = vec![folder.to_owned()];
    let mut total = 0;
    while let Some(folder) = folders.pop() {
        // What vanishes while it is counted has no size.
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if meta.is_file() && (meta.nlink() == 1 || seen.insert(meta.ino())) {
                total += meta.len();
            }
        }
    }
    total
}
