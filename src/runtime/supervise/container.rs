//! A container in the engine's memory: its record behind a lock, and what waits for its changes.
//!
//! Two locks order what happens: `operation` is held by what a client asked for (start, stop, remove …), `transition`
//! by the short steps that change between running and not (a start, the handling of an exit).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::record::Record;
use super::status::{Operation, Status};
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// What waiters watch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pulse {
    /// Changes of the record so far.
    pub changes: u64,
    /// Exits so far.
    pub exits: u64,
    /// Whether it is gone.
    pub removed: bool,
}

/// A container.
#[derive(Debug)]
pub struct Container {
    id: String,
    folder: PathBuf,
    record: Mutex<Record>,
    pulse: watch::Sender<Pulse>,
    /// Held by what a client asked for.
    pub(super) operation: tokio::sync::Mutex<()>,
    /// Held by a start and by the handling of an exit.
    pub(super) transition: tokio::sync::Mutex<()>,
    /// The delay before the last restart.
    pub(super) delay: Mutex<Option<Duration>>,
    /// Whether it is to come back with the engine and has not been started yet.
    boots: AtomicBool,
    /// The wait before the last restart of a container that was unhealthy; none once it is well.
    pub(super) rest: Mutex<Option<Duration>>,
    /// What passes its log on.
    pub(super) forward: Mutex<Option<AbortHandle>>,
    /// The health probes of the current run.
    pub(super) probes: Mutex<Option<AbortHandle>>,
}

impl Container {
    /// A container with its record, kept in a folder.
    #[must_use]
    pub fn new(record: Record, folder: PathBuf) -> Self {
        Self {
            id: record.id.clone(),
            folder,
            record: Mutex::new(record),
            pulse: watch::channel(Pulse::default()).0,
            operation: tokio::sync::Mutex::default(),
            transition: tokio::sync::Mutex::default(),
            delay: Mutex::default(),
            boots: AtomicBool::new(false),
            rest: Mutex::default(),
            forward: Mutex::default(),
            probes: Mutex::default(),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The log that the keeper writes.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}-json.log", self.id))
    }

    /// Its own layer.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.folder.join("diff")
    }

    /// The scratch folder of its overlay.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Where the keeper writes how it ended.
    #[must_use]
    pub fn exit_record(&self) -> PathBuf {
        self.folder.join("exit.json")
    }

    /// What the keeper was asked to run.
    #[must_use]
    pub fn request_path(&self) -> PathBuf {
        self.folder.join("request.json")
    }

    /// The record as it is now.
    #[must_use]
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    /// Looks at the record without copying it.
    pub fn with<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.lock())
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lock().state.status
    }

    /// Refuses an operation that its status does not allow.
    ///
    /// # Errors
    /// The refusal, in Docker's words.
    pub fn allows(&self, operation: Operation) -> RuntimeResult<()> {
        self.status().allows(operation, &self.id)
    }

    /// Changes the record, writes it, and wakes who waits.
    ///
    /// # Errors
    /// When the record cannot be written; memory has the change all the same.
    pub fn update<T>(&self, change: impl FnOnce(&mut Record) -> T) -> RuntimeResult<T> {
        let (value, saved) = {
            let mut record = self.lock();
            let value = change(&mut record);
            (value, record.save(&self.folder))
        };
        self.pulse.send_modify(|pulse| pulse.changes += 1);
        saved.map_err(|source| {
            RuntimeError::internal(
                format!("cannot write the record of container {}", self.id),
                source,
            )
        })?;
        Ok(value)
    }

    /// Whether it is to come back with the engine and has not been started yet.
    pub(super) fn boots(&self) -> bool {
        self.boots.load(Ordering::Acquire)
    }

    /// Says whether it is to come back with the engine, and wakes who waits.
    pub(super) fn set_boots(&self, boots: bool) {
        self.boots.store(boots, Ordering::Release);
        self.pulse.send_modify(|pulse| pulse.changes += 1);
    }

    /// Tells that it has ended once more.
    pub(super) fn note_exit(&self) {
        self.pulse.send_modify(|pulse| pulse.exits += 1);
    }

    /// Tells that it is gone.
    pub(super) fn note_removal(&self) {
        self.pulse.send_modify(|pulse| pulse.removed = true);
    }

    /// A watch on its changes.
    #[must_use]
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.subscribe()
    }

    /// Waits until it has no processes, at most for a time; tells whether that came.
    pub(super) async fn ends_within(&self, patience: Option<Duration>) -> bool {
        let mut pulse = self.pulse();
        let ended = async {
            while self.status().is_alive() {
                if pulse.changed().await.is_err() {
                    return;
                }
            }
        };
        match patience {
            None => {
                ended.await;
                true
            }
            Some(patience) => tokio::time::timeout(patience, ended).await.is_ok(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
