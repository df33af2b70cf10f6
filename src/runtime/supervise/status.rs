//! The states of a container, and the one table of what is legal in which.
//!
//! ```text
//! Created --start--> Running <--unpause/pause--> Paused
//!    ^ (failed start)   |  ^
//!                       v  | policy
//!                  Exited / Restarting --stop--> Exited
//!  any --remove--> Removing --(failed)--> Dead
//! ```

use serde::{Deserialize, Serialize};

use crate::runtime::error::{ErrorKind, RuntimeError};

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It never ran.
    Created,
    /// It runs.
    Running,
    /// It runs and is frozen.
    Paused,
    /// Its policy will start it again in a moment.
    Restarting,
    /// It has ended.
    Exited,
    /// It is being removed.
    Removing,
    /// Its removal failed half-way.
    Dead,
}

/// What can be asked of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Send it a signal.
    Kill,
    /// Freeze it.
    Pause,
    /// Thaw it.
    Unpause,
    /// Run something in it.
    Exec,
    /// Look at its processes, change its terminal.
    Look,
    /// Attach to its streams.
    Attach,
    /// Remove it without force.
    Remove,
}

impl Status {
    /// All of them, as filters name them.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Running,
        Self::Paused,
        Self::Restarting,
        Self::Exited,
        Self::Removing,
        Self::Dead,
    ];

    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }

    /// Whether there are processes.
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether Docker calls it running: alive, or about to be again.
    #[must_use]
    pub fn is_running(self) -> bool {
        self.is_alive() || self == Self::Restarting
    }

    /// Whether an operation is legal, else Docker's refusal.
    ///
    /// # Errors
    /// The refusal.
    pub fn allows(self, operation: Operation, id: &str) -> Result<(), RuntimeError> {
        let conflict = |text: String| Err(RuntimeError::conflict(text));
        match (operation, self) {
            (Operation::Start, Self::Running | Self::Restarting) => Err(RuntimeError::new(
                ErrorKind::NotModified,
                "the container is already started",
            )),
            (Operation::Stop, Self::Created | Self::Exited | Self::Dead | Self::Removing) => Err(
                RuntimeError::new(ErrorKind::NotModified, "the container is already stopped"),
            ),
            (Operation::Start, Self::Paused) => {
                conflict("cannot start a paused container, try unpause instead".to_owned())
            }
            (Operation::Start | Operation::Remove, Self::Removing | Self::Dead)
                if operation == Operation::Start =>
            {
                conflict("container is marked for removal and cannot be started".to_owned())
            }
            (Operation::Pause | Operation::Exec | Operation::Attach, Self::Paused) => {
                conflict(match operation {
                    Operation::Pause => format!("Container {id} is already paused"),
                    _ => format!("Container {id} is paused, unpause the container before exec"),
                })
            }
            (Operation::Pause, Self::Restarting) => conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            )),
            (Operation::Unpause, Self::Paused) => Ok(()),
            (Operation::Unpause, _) => conflict(format!("Container {id} is not paused")),
            (Operation::Exec, Self::Restarting) => conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            )),
            (
                Operation::Kill | Operation::Pause | Operation::Exec | Operation::Look,
                Self::Created | Self::Exited | Self::Dead | Self::Removing | Self::Restarting,
            ) => conflict(format!("Container {id} is not running")),
            (Operation::Remove, Self::Running | Self::Restarting) => conflict(
                "container is running: stop the container before removing or force remove"
                    .to_owned(),
            ),
            (Operation::Remove, Self::Paused) => {
                conflict("container is paused and must be unpaused first".to_owned())
            }
            (Operation::Remove, Self::Removing) => {
                conflict(format!("removal of container {id} is already in progress"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starting_a_running_one_changes_nothing() {
        let refused = Status::Running.allows(Operation::Start, "x");
        assert_eq!(refused.map_err(|e| e.kind()), Err(ErrorKind::NotModified));
    }

    #[test]
    fn only_what_runs_takes_signals() {
        assert!(Status::Running.allows(Operation::Kill, "x").is_ok());
        assert!(Status::Paused.allows(Operation::Kill, "x").is_ok());
        assert!(Status::Exited.allows(Operation::Kill, "x").is_err());
    }

    #[test]
    fn an_ended_one_can_be_started_and_removed() {
        assert!(Status::Exited.allows(Operation::Start, "x").is_ok());
        assert!(Status::Exited.allows(Operation::Remove, "x").is_ok());
        assert!(Status::Paused.allows(Operation::Remove, "x").is_err());
    }
}
