//! After a start of the engine: everything from disk, what still runs from the keeper, and the rest put in order.
//!
//! ```text
//! folder without record       -> removed
//! "running", keeper has it    -> adopted, probes go on
//! "running", keeper has it not -> settled from its exit record, then its policy
//! "restarting"                -> restarted
//! stopped, policy wants it    -> started, when the machine was rebooted
//! ```
//! What comes back after a reboot waits for what it depends on.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::Supervisor;
use super::container::Container;
use super::record::Record;
use super::remove::{AnonymousVolumes, Force, remove_tree};
use super::restart::starts_with_the_engine;
use super::status::Status;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::keeper::{self, Lent};
use crate::runtime::network::{LiveContainer, NameSockets};

impl Supervisor {
    /// Takes over what an earlier engine left.
    ///
    /// # Errors
    /// When the state cannot be read, or no keeper can be reached though containers ran.
    pub async fn adopt(self: &Arc<Self>) -> RuntimeResult<()> {
        self.load_containers()?;
        let was_running = self
            .containers()
            .iter()
            .any(|container| container.status().is_alive());
        let keeps = was_running || self.keeper_has_something();
        if keeps {
            self.watch_exits().await?;
        }
        let (mut live, mut sockets_left) = (Vec::new(), HashMap::new());
        let kept = if keeps {
            self.keeper.list().await?
        } else {
            Vec::new()
        };
        for running in kept {
            let known = self.find(&running.id).is_some_and(|container| {
                container.with(|record| {
                    record.state.status.is_alive() && record.state.pid == running.started.pid
                })
            });
            if known {
                if let Some(sockets) = running.lent.as_ref().and_then(left_sockets) {
                    sockets_left.insert(running.id.clone(), sockets);
                }
                live.push(LiveContainer { id: running.id });
            } else {
                // A start (or a step of a build) that an engine before this one did not live to note.
                self.end_in_keeper(&running.id).await;
            }
        }
        tokio::task::block_in_place(|| self.networks().restore_on(&live, sockets_left))?;
        self.note_boots(&live);
        if was_running {
            self.settle_lost().await;
        }
        for container in self.containers() {
            self.take_up(&container).await;
        }
        Ok(())
    }

    /// Whether a keeper has, or had, something to keep.
    fn keeper_has_something(&self) -> bool {
        let folder = self.layout().container_run("x");
        let entries = folder.parent().and_then(|folder| fs::read_dir(folder).ok());
        entries.is_some_and(|mut entries| entries.next().is_some())
    }

    /// Notes what comes back before anything does, so that one waits for the other.
    fn note_boots(&self, live: &[LiveContainer]) {
        for container in self.containers() {
            let runs = live.iter().any(|one| one.id == container.id());
            let comes = match container.status() {
                Status::Exited => rebooted_since(&container) && wants_to_boot(&container),
                status => status.is_alive() && !runs && wants_to_boot(&container),
            };
            container.set_boots(comes);
        }
    }

    async fn take_up(self: &Arc<Self>, container: &Arc<Container>) {
        match container.status() {
            Status::Running => {
                self.watch_health(container);
                self.watch_forward(container);
            }
            Status::Restarting => self.restart_soon(container),
            Status::Removing | Status::Dead => {
                let removed = self
                    .remove(container, Force::Yes, AnonymousVolumes::Keep)
                    .await;
                if let Err(error) = removed {
                    tracing::warn!(
                        container = container.id(),
                        error = error.chain(),
                        "a removal cannot be finished"
                    );
                }
            }
            Status::Exited if container.boots() => self.start_with_the_engine(container),
            Status::Paused | Status::Created | Status::Exited => {}
        }
    }

    /// In a task of its own: the engine answers while containers wait for each other.
    fn start_with_the_engine(self: &Arc<Self>, container: &Arc<Container>) {
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        tokio::spawn(async move {
            engine.wait_for_dependencies(&container).await;
            let started = if container.boots() {
                engine.start(&container).await
            } else {
                Ok(())
            };
            container.set_boots(false);
            if let Err(error) = started {
                tracing::warn!(
                    container = container.id(),
                    error = error.chain(),
                    "cannot start a container with the engine"
                );
            }
        });
    }

    fn load_containers(&self) -> RuntimeResult<()> {
        let folder = self.layout().containers();
        let failed =
            |source| RuntimeError::internal(format!("cannot read `{}`", folder.display()), source);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match Record::load(&path) {
                Ok(record) => self.insert(Arc::new(Container::new(record, path))),
                Err(error) => discard(&path, &error),
            }
        }
        Ok(())
    }
}

/// The sockets of a name server that the keeper has held.
fn left_sockets(lent: &Lent) -> Option<NameSockets> {
    let taken = keeper::take_lent(lent).inspect_err(
        |error| tracing::warn!(%error, "cannot take the sockets of a name server back from the keeper"),
    );
    let [packets, streams] = <[_; 2]>::try_from(taken.ok()?).ok()?;
    Some((packets.into(), streams.into()))
}

fn discard(path: &Path, error: &std::io::Error) {
    tracing::warn!(path = %path.display(), %error, "removing a half-made container");
    if let Err(error) = remove_tree(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a half-made container");
    }
}

fn wants_to_boot(container: &Container) -> bool {
    container.with(|record| {
        starts_with_the_engine(record.host_config.restart_policy.as_ref(), record.intent)
    })
}

/// Whether the machine has started since the container ended.
fn rebooted_since(container: &Container) -> bool {
    let Some(boot) = boot_time() else {
        return false;
    };
    let finished = container.with(|record| record.state.finished_at);
    finished.is_some_and(|finished| finished.as_second() < boot)
}

fn boot_time() -> Option<i64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}
