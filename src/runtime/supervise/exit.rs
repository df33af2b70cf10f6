//! The exit watcher: one task that hears from the keeper what ended, and what then happens to a container.
//!
//! ```text
//! notice -> release network and volumes -> record (exited | restarting) -> oom, die -> remove | restart after a delay
//! ```
//! When the keeper dies, the watcher gets a new one, however often that takes, and compares: what runs no more is settled
//! from its exit record.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Supervisor;
use super::container::Container;
use super::record::{Record, read_json};
use super::restart::{Ended, next_delay, wants_restart};
use super::status::Status;
use crate::runtime::error::RuntimeResult;
use crate::runtime::keeper::{ExitNotice, KeeperError, Notices};

/// Whether the watcher runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Watching {
    /// Not yet.
    #[default]
    No,
    /// It does.
    Yes,
}

/// The pause before the second attempt to get a keeper that tells of exits.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What an attempt to listen to a new keeper came to.
#[derive(Debug)]
enum Again {
    /// These are its notices.
    Listens(Notices),
    /// Another task listens already.
    Another,
    /// The engine goes.
    Leaving,
    /// There is no keeper.
    Failed(KeeperError),
}

/// What becomes of a container that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stay,
    Remove,
    Restart(Duration),
}

impl Supervisor {
    /// Starts the exit watcher, once; returns when it listens.
    pub(super) async fn watch_exits(self: &Arc<Self>) -> RuntimeResult<()> {
        let mut watching = self.watching.lock().await;
        if *watching == Watching::Yes {
            return Ok(());
        }
        let notices = self.keeper.subscribe_engine(self.revival.clone()).await?;
        *watching = Watching::Yes;
        tokio::spawn(Arc::clone(self).hear(notices));
        Ok(())
    }

    async fn hear(self: Arc<Self>, mut notices: Notices) {
        loop {
            match notices.next().await {
                Ok(notice) => {
                    let engine = Arc::clone(&self);
                    tokio::spawn(async move { engine.heard(notice).await });
                }
                Err(error) => match self.new_notices(&error).await {
                    Some(new) => notices = new,
                    None => return,
                },
            }
        }
    }

    /// After the keeper's death: a new one, and what happened in between. None when the engine goes, or somebody else
    /// listens by now.
    async fn new_notices(self: &Arc<Self>, error: &KeeperError) -> Option<Notices> {
        tracing::warn!(%error, "the keeper has gone; starting another");
        *self.watching.lock().await = Watching::No;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.listen_again().await {
                Again::Listens(notices) => {
                    self.settle_lost().await;
                    return Some(notices);
                }
                Again::Another => {
                    self.settle_lost().await;
                    return None;
                }
                Again::Leaving => return None,
                Again::Failed(error) => tracing::error!(%error, "no keeper can be started"),
            }
            let mut shutdown = self.shutdown();
            let leaving = super::Shutdown::requested(&mut shutdown);
            if tokio::time::timeout(pause, leaving).await.is_ok() {
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One attempt. Between attempts a start of a container may listen in its own right.
    async fn listen_again(&self) -> Again {
        let mut watching = self.watching.lock().await;
        if *self.shutdown.borrow() == super::Shutdown::Requested {
            return Again::Leaving;
        }
        if *watching == Watching::Yes {
            return Again::Another;
        }
        match self.keeper.subscribe_engine(self.revival.clone()).await {
            Ok(notices) => {
                *watching = Watching::Yes;
                Again::Listens(notices)
            }
            Err(error) => Again::Failed(error),
        }
    }

    /// Settles containers that count as running but do not run any more.
    pub(super) async fn settle_lost(self: &Arc<Self>) {
        let Ok(running) = self.keeper.list().await else {
            return;
        };
        for one in &running {
            if let Some(container) = self.find(&one.id) {
                // A start in progress first comes to its end.
                let _transition = container.transition.lock().await;
                self.end_stray(&container, one.started.pid).await;
            }
        }
        for container in self.containers() {
            let (alive, pid) =
                container.with(|record| (record.state.status.is_alive(), record.state.pid));
            let runs = running
                .iter()
                .any(|one| one.id == container.id() && one.started.pid == pid);
            if alive && !runs {
                let notice = lost_notice(&container, pid);
                self.heard(notice).await;
            }
        }
    }

    /// Ends what the keeper runs for a container that counts as ended: the start was cut off before it was noted, and
    /// whoever asked for it was told that it failed.
    async fn end_stray(&self, container: &Container, pid: i32) {
        let known =
            container.with(|record| record.state.status.is_alive() && record.state.pid == pid);
        if !known {
            tracing::warn!(
                container = container.id(),
                pid,
                "ending a start that was cut off"
            );
            self.end_in_keeper(container.id()).await;
        }
    }

    /// Kills what the keeper runs under an id, and waits until it has gone.
    pub(super) async fn end_in_keeper(&self, id: &str) {
        let gone = async {
            while self.keeper.kill(id, libc::SIGKILL).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Ended, but its last output may still be on the way into the log.
            while self
                .keeper
                .list()
                .await
                .is_ok_and(|all| all.iter().any(|one| one.id == id))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), gone)
            .await
            .is_err()
        {
            tracing::error!(container = id, "a stray process does not end");
        }
    }

    async fn heard(self: &Arc<Self>, notice: ExitNotice) {
        if notice.container.is_some() {
            // The stream of an exec carries its exit to the one who started it.
            return;
        }
        let Some(container) = self.find(&notice.id) else {
            return;
        };
        let transition = container.transition.lock().await;
        let current = container
            .with(|record| record.state.status.is_alive() && record.state.pid == notice.pid);
        if !current {
            return;
        }
        if let Some(probes) = container
            .probes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            probes.abort();
        }
        if notice.log_lines_lost > 0 {
            let lines = notice.log_lines_lost;
            tracing::error!(container = %notice.id, lines, "the last lines of the log could not be written");
        }
        self.release(&container);
        self.release_volumes(&container);
        let fate = self.note_end(&container, &notice);
        drop(transition);
        self.presence.nudge();
        match fate {
            Fate::Stay => {}
            Fate::Remove => self.remove_by_itself(&container).await,
            Fate::Restart(delay) => self.restart_after(&container, delay),
        }
    }

    fn note_end(self: &Arc<Self>, container: &Container, notice: &ExitNotice) -> Fate {
        let record = container.record();
        let finished = notice
            .finished_at
            .parse()
            .unwrap_or_else(|_| Timestamp::now());
        let ran = run_time(&record, finished);
        let fate = decide(container, &record, i64::from(notice.code), ran);
        let saved = container.update(|record| {
            let state = &mut record.state;
            state.pid = 0;
            state.exit_code = i64::from(notice.code);
            state.oom_killed = notice.oom_killed;
            state.finished_at = Some(finished);
            state.status = match fate {
                Fate::Restart(_) => Status::Restarting,
                Fate::Stay | Fate::Remove => Status::Exited,
            };
            if !notice.known {
                "the exit status is not known".clone_into(&mut state.error);
            }
            if matches!(fate, Fate::Restart(_)) {
                record.restart_count += 1;
            }
            record.ports.clear();
        });
        if let Err(error) = saved {
            tracing::error!(error = error.chain(), "an exit is not on disk");
        }
        if notice.oom_killed {
            self.publish(container, "oom", []);
        }
        self.publish(
            container,
            "die",
            [
                ("exitCode", notice.code.to_string()),
                ("execDuration", ran.as_secs().to_string()),
            ],
        );
        container.note_exit();
        fate
    }

    /// Starts the container again after a delay, unless somebody stops it before.
    fn restart_after(self: &Arc<Self>, container: &Arc<Container>, delay: Duration) {
        let engine = Arc::clone(self);
        let container = Arc::clone(container);
        tokio::spawn(async move {
            let mut pulse = container.pulse();
            let stopped = async {
                while container.status() == Status::Restarting {
                    if pulse.changed().await.is_err() {
                        return;
                    }
                }
            };
            if tokio::time::timeout(delay, stopped).await.is_ok() {
                return;
            }
            if container.boots() {
                engine.wait_for_dependencies(&container).await;
            }
            engine.restart_now(&container).await;
            container.set_boots(false);
        });
    }

    async fn restart_now(self: &Arc<Self>, container: &Arc<Container>) {
        let _operation = container.operation.lock().await;
        if container.status() != Status::Restarting {
            return;
        }
        if let Err(error) = self.launch(container).await {
            tracing::warn!(
                container = container.id(),
                error = error.chain(),
                "a restart failed"
            );
            container.note_exit();
        }
    }

    /// After the engine's own start: what its policy wants running, and restarts that were about to happen.
    pub(super) fn restart_soon(self: &Arc<Self>, container: &Arc<Container>) {
        self.restart_after(container, Duration::ZERO);
    }
}

fn decide(container: &Container, record: &Record, code: i64, ran: Duration) -> Fate {
    let ended = Ended {
        code,
        restarts: record.restart_count,
        intent: record.intent,
    };
    if wants_restart(record.host_config.restart_policy.as_ref(), ended) {
        let mut last = container
            .delay
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let delay = next_delay(*last, ran);
        *last = Some(delay);
        return Fate::Restart(delay);
    }
    match record.host_config.auto_remove {
        Some(true) => Fate::Remove,
        _ => Fate::Stay,
    }
}

fn run_time(record: &Record, finished: Timestamp) -> Duration {
    let started = record.state.started_at.unwrap_or(finished);
    Duration::try_from(finished.duration_since(started)).unwrap_or_default()
}

/// How a container ended that nobody watched: its exit record, else unknown.
pub(super) fn lost_notice(container: &Container, pid: i32) -> ExitNotice {
    let written: Option<ExitNotice> = read_json(&container.exit_record()).ok();
    written
        .filter(|notice| notice.pid == pid)
        .unwrap_or_else(|| ExitNotice {
            id: container.id().to_owned(),
            container: None,
            pid,
            code: 255,
            signal: None,
            oom_killed: false,
            known: false,
            finished_at: Timestamp::now().to_string(),
            log_lines_lost: 0,
        })
}
