//! Removing containers: by hand, by force, by themselves.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::task::block_in_place;

use super::Supervisor;
use super::container::Container;
use super::record::{Intent, MountRecord, MountType, VolumeOwner};
use super::status::{Operation, Status};
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// Whether a running container may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It is killed first.
    Yes,
    /// It must have ended.
    No,
}

/// What happens to the anonymous volumes of a container that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousVolumes {
    /// They go too.
    Remove,
    /// They stay.
    Keep,
}

impl Supervisor {
    /// Removes a container.
    ///
    /// # Errors
    /// When it runs and force is not used, or it is being removed already.
    pub async fn remove(
        self: &Arc<Self>,
        container: &Arc<Container>,
        force: Force,
        volumes: AnonymousVolumes,
    ) -> RuntimeResult<()> {
        if force == Force::No {
            container
                .allows(Operation::Remove)
                .map_err(|error| cannot_remove(container, &error))?;
        } else if container.status().is_alive() {
            container.update(|record| record.intent = Intent::Stay)?;
            self.kill_and_wait(container).await?;
        }
        let _operation = container.operation.lock().await;
        self.remove_held(container, force, volumes).await
    }

    async fn remove_held(
        self: &Arc<Self>,
        container: &Arc<Container>,
        force: Force,
        volumes: AnonymousVolumes,
    ) -> RuntimeResult<()> {
        if self.find(container.id()).is_none() {
            return Err(RuntimeError::not_found(format!(
                "No such container: {}",
                container.id()
            )));
        }
        if force == Force::Yes && container.status().is_alive() {
            container.update(|record| record.intent = Intent::Stay)?;
            self.kill_and_wait(container).await?;
        }
        if force == Force::No {
            container
                .allows(Operation::Remove)
                .map_err(|error| cannot_remove(container, &error))?;
        }
        container.update(|record| record.state.status = Status::Removing)?;
        let removed = block_in_place(|| remove_tree(container.folder()));
        if let Err(source) = removed {
            container.update(|record| record.state.status = Status::Dead)?;
            return Err(RuntimeError::internal(
                format!("cannot remove the files of container {}", container.id()),
                source,
            ));
        }
        self.forget_delivered(container.id());
        self.forget(container);
        if volumes == AnonymousVolumes::Remove {
            let mounts = container.with(|record| record.mounts.clone());
            self.drop_anonymous(&mounts);
        }
        self.drop_execs(container.id());
        self.publish(container, "destroy", []);
        container.note_removal();
        self.presence.nudge();
        Ok(())
    }

    /// Removes a container that asked for it (`AutoRemove`) and has ended.
    pub(super) async fn remove_by_itself(self: &Arc<Self>, container: &Arc<Container>) {
        let removed = self.remove_ended(container).await;
        if let Err(error) = removed {
            tracing::warn!(
                container = container.id(),
                error = error.chain(),
                "cannot remove a container that ended"
            );
        }
    }

    async fn remove_ended(self: &Arc<Self>, container: &Arc<Container>) -> RuntimeResult<()> {
        let _operation = container.operation.lock().await;
        // A restart may have got the lock first.
        let ended = matches!(container.status(), Status::Exited | Status::Created);
        if !ended || self.find(container.id()).is_none() {
            return Ok(());
        }
        self.remove_held(container, Force::No, AnonymousVolumes::Remove)
            .await
    }

    /// Removes the anonymous volumes among mounts that no container has any more.
    pub(super) fn drop_anonymous(&self, mounts: &[MountRecord]) {
        let uses = self.volume_uses();
        let anonymous = mounts.iter().filter(|mount| {
            mount.kind == MountType::Volume && mount.owner == VolumeOwner::Anonymous
        });
        for mount in anonymous {
            match block_in_place(|| self.volumes().remove(&mount.name, &uses)) {
                Ok(()) => self.publish_volume(&mount.name, "destroy", []),
                Err(error) => {
                    tracing::debug!(%error, volume = mount.name, "an anonymous volume stays");
                }
            }
        }
    }
}

fn cannot_remove(container: &Container, error: &RuntimeError) -> RuntimeError {
    let name = container.with(|record| record.name.clone());
    RuntimeError::new(
        error.kind(),
        format!("cannot remove container \"/{name}\": {}", error.chain()),
    )
}

/// Removes a folder with all in it; one that is not there is fine.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
