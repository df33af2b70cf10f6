//! Waiting for a container to end or to go.

use std::sync::Arc;

use super::container::Container;
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// That it does not run; true at once for one that does not.
    NotRunning,
    /// That it ends once more.
    NextExit,
    /// That it is removed.
    Removed,
}

impl WaitCondition {
    /// Reads Docker's word; empty is `not-running`.
    ///
    /// # Errors
    /// For any other word.
    pub fn parse(word: &str) -> RuntimeResult<Self> {
        match word {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            other => Err(RuntimeError::invalid(format!(
                "invalid condition: \"{other}\""
            ))),
        }
    }
}

impl Container {
    /// Waits for the condition, and answers the exit code. The watch starts with the call, not with the first poll.
    pub fn wait(
        self: Arc<Self>,
        condition: WaitCondition,
    ) -> impl Future<Output = i64> + Send + 'static {
        let mut pulse = self.pulse();
        let before = pulse.borrow().exits;
        async move {
            loop {
                let now = *pulse.borrow_and_update();
                let (running, code) =
                    self.with(|record| (record.state.status.is_running(), record.state.exit_code));
                let met = match condition {
                    WaitCondition::NotRunning => !running,
                    WaitCondition::NextExit => now.exits > before,
                    WaitCondition::Removed => false,
                };
                if met || now.removed || pulse.changed().await.is_err() {
                    return code;
                }
            }
        }
    }
}
