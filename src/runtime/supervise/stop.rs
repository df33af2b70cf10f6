//! Ending, freezing and restarting containers at a client's wish.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::block_in_place;

use super::Supervisor;
use super::container::Container;
use super::record::{Intent, read_json};
use super::signal::parse_signal;
use super::status::{Operation, Status};
use crate::runtime::container::cgroup::{CgroupHandle, CgroupHost};
use crate::runtime::container::request::ContainerRequest;
use crate::runtime::error::{RuntimeError, RuntimeResult};

const DEFAULT_TIMEOUT: i64 = 10;
/// How long a killed container may take to end before that is an error.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How a container is stopped.
#[derive(Debug, Clone, Default)]
pub struct StopRequest {
    /// Seconds before it is killed; negative waits for ever, `None` is the container's own time.
    pub timeout: Option<i64>,
    /// The signal instead of the container's own.
    pub signal: Option<String>,
}

impl Supervisor {
    /// Stops a container: its stop signal, a time of grace, then the end.
    ///
    /// # Errors
    /// When it does not run, or the signal is none.
    pub async fn stop(
        self: &Arc<Self>,
        container: &Arc<Container>,
        request: &StopRequest,
    ) -> RuntimeResult<()> {
        let _operation = container.operation.lock().await;
        container.allows(Operation::Stop)?;
        self.stop_held(container, request).await?;
        self.publish(container, "stop", []);
        Ok(())
    }

    async fn stop_held(
        self: &Arc<Self>,
        container: &Arc<Container>,
        request: &StopRequest,
    ) -> RuntimeResult<()> {
        let (own_signal, own_timeout) = container.with(|record| {
            (
                record.config.stop_signal.clone(),
                record.config.stop_timeout,
            )
        });
        let name = request
            .signal
            .clone()
            .or(own_signal)
            .filter(|name| !name.is_empty());
        let signal = parse_signal(name.as_deref().unwrap_or("TERM"))?;
        let seconds = request.timeout.or(own_timeout).unwrap_or(DEFAULT_TIMEOUT);
        if container.status() == Status::Restarting {
            container.update(|record| {
                record.intent = Intent::Stay;
                record.state.status = Status::Exited;
            })?;
            return Ok(());
        }
        container.update(|record| record.intent = Intent::Stay)?;
        if seconds != 0 {
            self.signal(container, signal).await?;
        }
        self.thaw_if_paused(container)?;
        let patience = u64::try_from(seconds).ok().map(Duration::from_secs);
        if container.ends_within(patience).await {
            return Ok(());
        }
        self.kill_and_wait(container).await
    }

    /// Kills a container and waits for its end.
    pub(super) async fn kill_and_wait(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> RuntimeResult<()> {
        self.signal(container, libc::SIGKILL).await?;
        self.thaw_if_paused(container)?;
        if container.ends_within(Some(KILL_PATIENCE)).await {
            return Ok(());
        }
        Err(RuntimeError::internal(
            format!("cannot stop container {}", container.id()),
            std::io::Error::from(std::io::ErrorKind::TimedOut),
        ))
    }

    /// Sends a signal, and tells of it. One that has ended meanwhile is no error.
    async fn signal(&self, container: &Container, signal: i32) -> RuntimeResult<()> {
        let sent = self.keeper.kill(container.id(), signal).await;
        if let Err(error) = sent
            && container.status().is_alive()
            && error.kind() != Some(crate::runtime::keeper::FailureKind::NotRunning)
        {
            return Err(error.into());
        }
        self.publish(container, "kill", [("signal", signal.to_string())]);
        Ok(())
    }

    /// Sends a signal at a client's wish; empty is `KILL`.
    ///
    /// # Errors
    /// When it does not run, or the signal is none.
    pub async fn kill(
        self: &Arc<Self>,
        container: &Arc<Container>,
        signal: &str,
    ) -> RuntimeResult<()> {
        let signal = match signal {
            "" => libc::SIGKILL,
            name => parse_signal(name)?,
        };
        if container.status() == Status::Restarting && signal == libc::SIGKILL {
            container.update(|record| {
                record.intent = Intent::Stay;
                record.state.status = Status::Exited;
            })?;
            return Ok(());
        }
        container.allows(Operation::Kill)?;
        let own = container.with(|record| record.config.stop_signal.clone());
        let own = own
            .and_then(|name| parse_signal(&name).ok())
            .unwrap_or(libc::SIGTERM);
        if signal == libc::SIGKILL || signal == own {
            container.update(|record| record.intent = Intent::Stay)?;
        }
        self.signal(container, signal).await?;
        if signal == libc::SIGKILL {
            self.thaw_if_paused(container)?;
            // As dockerd does: after a kill that must end it, the answer comes with the end.
            container.ends_within(Some(KILL_PATIENCE)).await;
        }
        Ok(())
    }

    /// Stops a container where it runs, and starts it.
    ///
    /// # Errors
    /// When it cannot be stopped or started.
    pub async fn restart(
        self: &Arc<Self>,
        container: &Arc<Container>,
        request: &StopRequest,
    ) -> RuntimeResult<()> {
        let _operation = container.operation.lock().await;
        let removes_itself = container.with(|record| record.host_config.auto_remove == Some(true));
        if container.status().is_running() {
            if removes_itself {
                // Between its end and its start it must not go.
                container.update(|record| record.host_config.auto_remove = Some(false))?;
            }
            self.stop_held(container, request).await?;
        }
        let started = self.start_held(container).await;
        if removes_itself {
            container.update(|record| record.host_config.auto_remove = Some(true))?;
        }
        started?;
        self.publish(container, "restart", []);
        Ok(())
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// When it does not run, is frozen already, or the kernel refuses.
    pub async fn pause(&self, container: &Container) -> RuntimeResult<()> {
        let _operation = container.operation.lock().await;
        container.allows(Operation::Pause)?;
        block_in_place(|| self.cgroup(container)?.freeze()).map_err(|source| {
            RuntimeError::internal(format!("cannot pause container {}", container.id()), source)
        })?;
        container.update(|record| record.state.status = Status::Paused)?;
        self.publish(container, "pause", []);
        Ok(())
    }

    /// Thaws a container.
    ///
    /// # Errors
    /// When it is not frozen.
    pub async fn unpause(&self, container: &Container) -> RuntimeResult<()> {
        let _operation = container.operation.lock().await;
        container.allows(Operation::Unpause)?;
        self.thaw_if_paused(container)?;
        self.publish(container, "unpause", []);
        Ok(())
    }

    fn thaw_if_paused(&self, container: &Container) -> RuntimeResult<()> {
        if container.status() != Status::Paused {
            return Ok(());
        }
        block_in_place(|| self.cgroup(container)?.thaw()).map_err(|source| {
            RuntimeError::internal(
                format!("cannot unpause container {}", container.id()),
                source,
            )
        })?;
        container.update(|record| {
            if record.state.status == Status::Paused {
                record.state.status = Status::Running;
            }
        })
    }

    /// Whether there is a control group by which a container can be paused.
    #[must_use]
    pub fn can_pause(&self, container: &Container) -> bool {
        self.cgroup(container).is_ok_and(|group| group.is_usable())
    }

    /// The cgroup of a container.
    pub(super) fn cgroup(&self, container: &Container) -> std::io::Result<CgroupHandle> {
        let request: ContainerRequest = read_json(&container.request_path())?;
        Ok(CgroupHandle::new(
            &CgroupHost::probe()?,
            &request.cgroup.path,
        ))
    }
}
