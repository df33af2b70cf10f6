//! After a start of the engine: everything from disk, what still runs from the keeper, and the rest put in order.
//!
//! ```text
//! folder without record       -> removed
//! "running", keeper has it    -> adopted, probes go on
//! "running", keeper has it not -> settled from its exit record, then its policy
//! "restarting"                -> restarted
//! stopped, policy wants it    -> started, when the machine was rebooted
//! ```

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
use crate::runtime::network::LiveContainer;

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
        if was_running {
            self.watch_exits().await?;
        }
        let live = if was_running {
            self.keeper.list().await?
        } else {
            Vec::new()
        };
        let live: Vec<_> = live
            .into_iter()
            .map(|running| LiveContainer { id: running.id })
            .collect();
        tokio::task::block_in_place(|| self.networks().restore(&live))?;
        if was_running {
            self.settle_lost().await;
        }
        for container in self.containers() {
            self.take_up(&container).await;
        }
        Ok(())
    }

    async fn take_up(self: &Arc<Self>, container: &Arc<Container>) {
        match container.status() {
            Status::Running => self.watch_health(container),
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
            Status::Exited if rebooted_since(container) => {
                self.start_with_the_engine(container).await;
            }
            Status::Paused | Status::Created | Status::Exited => {}
        }
    }

    async fn start_with_the_engine(self: &Arc<Self>, container: &Arc<Container>) {
        let wanted = container.with(|record| {
            starts_with_the_engine(record.host_config.restart_policy.as_ref(), record.intent)
        });
        if !wanted {
            return;
        }
        if let Err(error) = self.start(container).await {
            tracing::warn!(
                container = container.id(),
                error = error.chain(),
                "cannot start a container with the engine"
            );
        }
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

fn discard(path: &Path, error: &std::io::Error) {
    tracing::warn!(path = %path.display(), %error, "removing a half-made container");
    if let Err(error) = remove_tree(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a half-made container");
    }
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
