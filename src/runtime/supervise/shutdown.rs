//! When the engine goes: on request, or on its own when nothing runs and nobody asks.
//!
//! ```text
//! Serving --request_shutdown / idle for the grace time of its Stay--> Requested (server stops accepting, engine leaves)
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// How long an engine with nothing to do waits for the next client.
const IDLE_GRACE: Duration = Duration::from_secs(10);
/// The same for one whose address a user asked for: people type between commands.
const LINGER_GRACE: Duration = Duration::from_mins(10);

/// How long an idle engine stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stay {
    /// For the next command of a script.
    #[default]
    Shortly,
    /// For other tools that were given its address.
    Linger,
    /// Not at all, when it has no containers: the last project went down.
    Released,
}

impl Stay {
    pub(super) fn grace(self, containers: usize) -> Duration {
        match self {
            Self::Released if containers == 0 => Duration::ZERO,
            Self::Shortly | Self::Released => IDLE_GRACE,
            Self::Linger => LINGER_GRACE,
        }
    }
}

/// Whether the engine shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It serves.
    Serving,
    /// It goes.
    Requested,
}

impl Shutdown {
    /// Waits until the engine shall go.
    pub async fn requested(watch: &mut watch::Receiver<Self>) {
        // A closed channel means that the supervisor is gone: the same thing.
        let _gone = watch.wait_for(|state| *state == Self::Requested).await;
    }
}

/// Counts clients; wakes the idle watcher when it may be time.
#[derive(Debug)]
pub struct Presence {
    clients: AtomicUsize,
    stay: Mutex<Stay>,
    changed: watch::Sender<()>,
}

/// One client, as long as it is there.
#[derive(Debug)]
pub struct ClientPresent(Arc<Presence>);

impl Presence {
    /// A client came.
    pub fn enter(self: &Arc<Self>) -> ClientPresent {
        self.clients.fetch_add(1, Ordering::SeqCst);
        self.nudge();
        ClientPresent(Arc::clone(self))
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::SeqCst)
    }

    /// How long it stays when it is idle.
    #[must_use]
    pub fn stay(&self) -> Stay {
        *self.stay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how long it stays when it is idle.
    pub fn set_stay(&self, stay: Stay) {
        *self.stay.lock().unwrap_or_else(PoisonError::into_inner) = stay;
        self.nudge();
    }

    /// A watch on changes of clients and containers.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Something changed that the idle watcher wants to know.
    pub fn nudge(&self) {
        self.changed.send_replace(());
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            clients: AtomicUsize::new(0),
            stay: Mutex::default(),
            changed: watch::channel(()).0,
        }
    }
}

impl Drop for ClientPresent {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::SeqCst);
        self.0.nudge();
    }
}
