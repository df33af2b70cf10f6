//! Commands in running containers.
//!
//! ```text
//! created --start--> running --(exit)--> ended      started once only
//! ```
//! A task of its own drains the keeper's stream, so that a client that leaves stops neither the command nor the record
//! of its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard_stubs::models::ExecConfig;
use tokio::sync::mpsc;

use super::Supervisor;
use super::container::Container;
use super::name::random_id;
use super::record::read_json;
use super::status::Operation;
use crate::runtime::container::request::{ContainerRequest, TerminalSize};
use crate::runtime::container::resolve_exec;
use crate::runtime::error::{ErrorKind, RuntimeError, RuntimeResult};
use crate::runtime::keeper::{Input, OutputItem, Session};

const QUEUE: usize = 32;
/// How long it is known how a command ended; dockerd looks every five minutes for those to forget.
const MEMORY: Duration = Duration::from_mins(10);

/// Where a command is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecState {
    /// Not started yet.
    Created,
    /// It runs.
    Running {
        /// Its pid.
        pid: i32,
    },
    /// It has ended.
    Ended {
        /// How.
        code: i64,
        /// The pid it had.
        pid: i32,
    },
}

/// A command.
#[derive(Debug)]
pub struct Exec {
    /// Its id.
    pub id: String,
    /// Its container.
    pub container: String,
    /// What was asked for.
    pub config: ExecConfig,
    state: Mutex<ExecState>,
    ended: Mutex<Option<Instant>>,
}

/// The streams of a command.
#[derive(Debug)]
pub struct ExecStreams {
    /// Its input.
    pub input: Input,
    /// Its output, up to its end.
    pub output: mpsc::Receiver<OutputItem>,
}

impl Exec {
    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> ExecState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the one start that there is.
    fn begin(&self) -> RuntimeResult<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != ExecState::Created {
            return Err(RuntimeError::conflict(format!(
                "Error: Exec command {} has already run",
                self.id
            )));
        }
        *state = ExecState::Running { pid: 0 };
        Ok(())
    }

    fn set(&self, state: ExecState) {
        if matches!(state, ExecState::Ended { .. }) {
            *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Whether it ended so long ago that nobody asks how any more.
    fn is_stale(&self) -> bool {
        let ended = *self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.is_some_and(|ended| ended.elapsed() > MEMORY)
    }

    fn command(&self) -> String {
        self.config.cmd.clone().unwrap_or_default().join(" ")
    }
}

impl Supervisor {
    /// Prepares a command.
    ///
    /// # Errors
    /// When the container does not run, or there is nothing to run.
    pub fn create_exec(
        &self,
        container: &Container,
        config: ExecConfig,
    ) -> RuntimeResult<Arc<Exec>> {
        container.allows(Operation::Exec)?;
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(RuntimeError::invalid("No exec command specified"));
        }
        self.check_user(container, config.user.as_deref().unwrap_or_default())?;
        let exec = Arc::new(Exec {
            id: random_id(),
            container: container.id().to_owned(),
            config,
            state: Mutex::new(ExecState::Created),
            ended: Mutex::default(),
        });
        let mut execs = self.lock_execs();
        execs.retain(|_, exec| !exec.is_stale());
        execs.insert(exec.id.clone(), Arc::clone(&exec));
        drop(execs);
        let action = format!("exec_create: {}", exec.command());
        self.publish(container, action, [("execID", exec.id.clone())]);
        Ok(exec)
    }

    /// A command by its id.
    ///
    /// # Errors
    /// When there is none.
    pub fn exec(&self, id: &str) -> RuntimeResult<Arc<Exec>> {
        let found = self.lock_execs().get(id).cloned();
        found.ok_or_else(|| RuntimeError::not_found(format!("No such exec instance: {id}")))
    }

    /// The commands that run in a container.
    #[must_use]
    pub fn running_execs(&self, container: &str) -> Vec<String> {
        let execs = self.lock_execs();
        let running = execs.values().filter(|exec| {
            exec.container == container && matches!(exec.state(), ExecState::Running { .. })
        });
        running.map(|exec| exec.id.clone()).collect()
    }

    /// Starts a command.
    ///
    /// # Errors
    /// When it was started before, its container does not run any more, or its program cannot be run; the last leaves
    /// an exit code.
    pub async fn start_exec(
        self: &Arc<Self>,
        exec: &Arc<Exec>,
        size: Option<TerminalSize>,
    ) -> RuntimeResult<ExecStreams> {
        let container = self.container(&exec.container)?;
        container.allows(Operation::Exec)?;
        let base: ContainerRequest = read_json(&container.request_path()).map_err(|source| {
            RuntimeError::internal("cannot read what the container runs", source)
        })?;
        let mut request = resolve_exec(&exec.id, &exec.config, &base)?;
        if let (Some(wanted), Some(terminal)) = (size, &mut request.process.terminal) {
            *terminal = wanted;
        }
        exec.begin()?;
        let action = format!("exec_start: {}", exec.command());
        self.publish(&container, action, [("execID", exec.id.clone())]);
        match self.keeper().exec(&request).await {
            Ok((started, session)) => {
                exec.set(ExecState::Running { pid: started.pid });
                Ok(self.drain(container, exec, started.pid, session))
            }
            Err(error) => {
                let code = error.kind().map_or(126, |kind| i64::from(kind.exit_code()));
                self.note_exec_end(&container, exec, code, 0);
                let kind = RuntimeError::from(error);
                Err(RuntimeError::new(
                    if kind.kind() == ErrorKind::Conflict {
                        ErrorKind::Conflict
                    } else {
                        ErrorKind::Invalid
                    },
                    format!("OCI runtime exec failed: {}", kind.chain()),
                ))
            }
        }
    }

    fn drain(
        self: &Arc<Self>,
        container: Arc<Container>,
        exec: &Arc<Exec>,
        pid: i32,
        session: Session,
    ) -> ExecStreams {
        let Session { input, mut output } = session;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let engine = Arc::clone(self);
        let exec = Arc::clone(exec);
        tokio::spawn(async move {
            let mut code = 255;
            while let Ok(Some(item)) = output.next().await {
                if let OutputItem::Exit(notice) = &item {
                    code = i64::from(notice.code);
                    break;
                }
                // A client that has left is no reason to stop the command: its output goes nowhere.
                let _left = sender.send(item).await;
            }
            engine.note_exec_end(&container, &exec, code, pid);
            drop(sender);
        });
        ExecStreams {
            input,
            output: receiver,
        }
    }

    fn note_exec_end(&self, container: &Container, exec: &Exec, code: i64, pid: i32) {
        exec.set(ExecState::Ended { code, pid });
        let more = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
        self.publish(container, "exec_die", more);
    }

    /// Sets the size of a command's terminal.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn resize_exec(&self, exec: &Exec, size: TerminalSize) -> RuntimeResult<()> {
        match exec.state() {
            ExecState::Running { .. } => Ok(self.keeper().resize(&exec.id, size).await?),
            _ => Err(RuntimeError::conflict(format!(
                "exec {} is not running",
                exec.id
            ))),
        }
    }

    /// Forgets the commands of a container that is gone.
    pub(super) fn drop_execs(&self, container: &str) {
        self.lock_execs()
            .retain(|_, exec| exec.container != container);
    }

    fn lock_execs(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, Arc<Exec>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
