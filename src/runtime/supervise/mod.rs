//! Keeps containers as they should be: restarts, health, exits.
//!
//! The [`Supervisor`] is the built-in engine without its API: it owns the containers' records and joins keeper, images,
//! volumes and networks. Called by `api` (each route is one call) and by `cli::engine`.

pub mod event;
pub mod host;
mod shutdown;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use event::EventLog;
pub use shutdown::{ClientPresent, IDLE_GRACE, Presence, Shutdown};

use super::layout::Layout;

/// How many objects there are, for `/info`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Running containers.
    pub running: usize,
    /// Paused containers.
    pub paused: usize,
    /// All other containers.
    pub stopped: usize,
    /// Images.
    pub images: usize,
}

/// The built-in engine.
#[derive(Debug)]
pub struct Supervisor {
    layout: Layout,
    events: EventLog,
    presence: Arc<Presence>,
    shutdown: watch::Sender<Shutdown>,
}

impl Supervisor {
    /// An engine on a layout whose lock the caller holds.
    #[must_use]
    pub fn new(layout: Layout) -> Arc<Self> {
        Arc::new(Self {
            layout,
            events: EventLog::default(),
            presence: Arc::default(),
            shutdown: watch::channel(Shutdown::Serving).0,
        })
    }

    /// Its folders.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What happens in it.
    #[must_use]
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// How many objects there are.
    pub async fn counts(&self) -> Counts {
        Counts::default()
    }

    /// Marks a client as present; while one is, the engine does not go for idleness.
    #[must_use]
    pub fn client_present(&self) -> ClientPresent {
        self.presence.enter()
    }

    /// A watch on the end.
    #[must_use]
    pub fn shutdown(&self) -> watch::Receiver<Shutdown> {
        self.shutdown.subscribe()
    }

    /// Asks the engine to go.
    pub fn request_shutdown(&self) {
        self.shutdown.send_replace(Shutdown::Requested);
    }

    /// Returns when nothing has run and nobody has asked for the grace time.
    pub async fn idle(&self) {
        let mut changes = self.presence.changes();
        loop {
            changes.mark_unchanged();
            let quiet = self.presence.clients() == 0 && self.counts().await.running == 0;
            let patience = if quiet { IDLE_GRACE } else { Duration::MAX };
            let changed = tokio::time::timeout(patience, changes.changed()).await;
            if changed.is_err() {
                return;
            }
        }
    }
}
