//! An engine in memory, for tests: it keeps what it is told, and fails where it is told to.
//!
//! ```text
//! test --script, faults--> FakeEngine <--calls-- apply, commands
//!                             |  State: containers, networks, volumes, images
//!                             +--> events, and the list of calls
//! ```
//!
//! A started container runs until it is stopped, unless its image is scripted to end; one with a probe is healthy at
//! once, unless scripted otherwise; one that copies volumes does so. Nothing here waits for time to pass.

mod calls;
mod state;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_stubs::models;
use tokio::sync::broadcast;

use super::{EngineError, EngineErrorKind, EngineInfo, EngineResult};
use state::State;

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the engine has done anything.
    Before,
    /// When it has done everything: only the answer is lost.
    After,
}

/// A failure to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which acting call fails, counted from 0 since the fault was set.
    pub call: usize,
    /// When it fails.
    pub moment: Moment,
    /// How it fails.
    pub kind: EngineErrorKind,
}

/// What containers of an image do when started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// They run and are healthy.
    Run,
    /// They end at once with this code.
    Exit(i64),
    /// They run and their probe fails.
    Unhealthy,
}

/// An engine in memory.
#[derive(Debug, Clone)]
pub struct FakeEngine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    info: EngineInfo,
    state: Mutex<State>,
    control: Mutex<Control>,
    events: broadcast::Sender<models::EventMessage>,
}

#[derive(Debug, Default)]
struct Control {
    calls: Vec<String>,
    fault: Option<Fault>,
    scripts: HashMap<String, Script>,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeEngine {
    /// An empty engine.
    #[must_use]
    pub fn new() -> Self {
        let (events, _) = broadcast::channel(4096);
        Self {
            shared: Arc::new(Shared {
                info: EngineInfo {
                    product: "Fake".to_owned(),
                    version: "1".to_owned(),
                    api: (1, 51),
                },
                state: Mutex::default(),
                control: Mutex::default(),
                events,
            }),
        }
    }

    /// Adds an image under a reference; its id follows from the reference and the revision.
    pub fn add_image(&self, reference: &str, revision: u32) {
        self.state().add_image(reference, revision);
    }

    /// Sets what containers of an image do when started.
    pub fn script(&self, image: &str, script: Script) {
        self.control().scripts.insert(image.to_owned(), script);
    }

    /// Sets the failure to inject, or none; the count of calls begins anew.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.control().fault = fault;
    }

    /// The calls that acted since the last time this was asked: `start container p-web-1`.
    #[must_use]
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.control().calls)
    }

    /// Ends a running container with a code, as if its process had.
    pub fn end_container(&self, name: &str, code: i64) {
        let events = self.state().end(name, code);
        self.send(events);
    }

    /// Puts something into a volume.
    pub fn write_volume(&self, name: &str, text: &str) {
        self.state().write_volume(name, text);
    }

    /// What is in a volume.
    #[must_use]
    pub fn read_volume(&self, name: &str) -> Option<String> {
        self.state().read_volume(name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while holding the lock has failed already.
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        let control = self.shared.control.lock();
        control.unwrap_or_else(PoisonError::into_inner)
    }

    fn script_of(&self, image: &str) -> Script {
        let control = self.control();
        control.scripts.get(image).copied().unwrap_or(Script::Run)
    }

    fn send(&self, events: Vec<models::EventMessage>) {
        for event in events {
            // Nobody may be listening.
            drop(self.shared.events.send(event));
        }
    }

    /// One call that acts: counted, failed where a fault says so, its events sent.
    fn act<T>(
        &self,
        operation: &'static str,
        resource: &str,
        call: impl FnOnce(&mut State) -> Result<(T, Vec<models::EventMessage>), Refusal>,
    ) -> EngineResult<T> {
        let strikes = self.strikes(operation, resource);
        let fault = |kind| EngineError::new(operation, resource, kind, "an injected fault");
        if let Some((Moment::Before, kind)) = strikes {
            return Err(fault(kind));
        }
        let (value, events) = call(&mut self.state()).map_err(|refusal| {
            EngineError::new(operation, resource, refusal.kind, refusal.message)
        })?;
        self.send(events);
        match strikes {
            Some((Moment::After, kind)) => Err(fault(kind)),
            _ => Ok(value),
        }
    }

    fn strikes(&self, operation: &str, resource: &str) -> Option<(Moment, EngineErrorKind)> {
        let mut control = self.control();
        control.calls.push(format!("{operation} {resource}"));
        let fault = control.fault.as_mut()?;
        if fault.call > 0 {
            fault.call -= 1;
            return None;
        }
        let struck = (fault.moment, fault.kind);
        control.fault = None;
        Some(struck)
    }
}

/// What the engine does not do.
#[derive(Debug)]
struct Refusal {
    kind: EngineErrorKind,
    message: String,
}

impl Refusal {
    fn missing(what: &str) -> Self {
        Self {
            kind: EngineErrorKind::NotFound,
            message: format!("No such object: {what}"),
        }
    }

    fn conflict(message: String) -> Self {
        Self {
            kind: EngineErrorKind::Conflict,
            message,
        }
    }
}

#[cfg(test)]
mod tests;
