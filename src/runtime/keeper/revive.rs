//! Brings an engine back that went without a word: killed, or crashed.
//!
//! ```text
//! Watched --connection closes--> Due(now + delay) --`hoist engine socket`--> Starting --subscribes--> Watched
//!                                     ^                                         | fails
//!                                     +----------------- delay doubles ---------+
//! ```
//!
//! The engine hands over how it is started when it subscribes ([`Revival`]), and says when it goes on purpose. The
//! launcher takes the same lock as clients do: whoever is first starts the engine, the others find it.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use super::protocol::Revival;
use super::server::{Keeper, Source};
use crate::runtime::sys::process;

/// The pause before the second attempt.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest pause.
const LAST_DELAY: Duration = Duration::from_mins(1);
/// An engine that lived as long is brought back at once when it goes.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// What the keeper knows of the engine.
#[derive(Debug, Default)]
pub(super) struct Reviver {
    engine: Option<Engine>,
    revival: Option<Revival>,
    delay: Duration,
    due: Option<Instant>,
    launcher: Option<(u64, OwnedFd)>,
}

#[derive(Debug)]
struct Engine {
    connection: u64,
    since: Instant,
}

impl Reviver {
    /// An engine listens on a connection.
    pub(super) fn came(&mut self, connection: u64, revival: Revival, now: Instant) {
        self.engine = Some(Engine {
            connection,
            since: now,
        });
        self.revival = Some(revival);
        self.due = None;
    }

    /// The engine goes on purpose.
    pub(super) fn dismissed(&mut self) {
        self.revival = None;
        self.due = None;
    }

    /// A connection was closed; when it was the engine's, the engine is to be brought back.
    pub(super) fn closed(&mut self, connection: u64, now: Instant) {
        let Some(engine) = self
            .engine
            .take_if(|engine| engine.connection == connection)
        else {
            return;
        };
        if now.duration_since(engine.since) >= GOOD_RUN {
            self.delay = Duration::ZERO;
        }
        self.retry(now);
    }

    /// The launcher has ended; the engine that it found or started subscribes by itself.
    fn launched(&mut self, success: bool, now: Instant) {
        if !success && self.engine.is_none() {
            self.retry(now);
        }
    }

    fn retry(&mut self, now: Instant) {
        if self.revival.is_some() {
            self.due = now.checked_add(self.delay);
            self.delay = (self.delay * 2).clamp(FIRST_DELAY, LAST_DELAY);
        }
    }

    /// How long until something is to be done.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    fn take_due(&mut self, now: Instant) -> Option<Revival> {
        self.due.take_if(|due| *due <= now)?;
        self.revival.clone()
    }
}

impl Keeper {
    /// Starts a launcher when it is time for one.
    pub(super) fn revive(&mut self) {
        let now = Instant::now();
        let Some(revival) = self.reviver.take_due(now) else {
            return;
        };
        if self.launch_engine(&revival).is_err() {
            self.reviver.launched(false, now);
        }
    }

    fn launch_engine(&mut self, revival: &Revival) -> io::Result<()> {
        let program = c_string(revival.program.as_os_str())?;
        let arguments = [
            c"hoist".to_owned(),
            c"engine".to_owned(),
            c"socket".to_owned(),
            c"--revive".to_owned(),
        ];
        let environment = revival
            .environment
            .iter()
            .map(|(name, value)| c_string(OsStr::new(&format!("{name}={value}"))))
            .collect::<io::Result<Vec<_>>>()?;
        let child = process::fork_plain()?;
        if child == 0 {
            become_launcher(&revival.log);
            let _error = process::execute(&program, &arguments, &environment);
            process::exit_now(127);
        }
        let child = Pid::from_raw(child).ok_or(io::ErrorKind::NotFound)?;
        let pidfd = rustix::process::pidfd_open(child, PidfdFlags::empty())?;
        let token = self.watch(Source::Launcher, pidfd.as_fd(), EventFlags::IN)?;
        self.reviver.launcher = Some((token, pidfd));
        Ok(())
    }

    /// The launcher has ended.
    pub(super) fn reap_launcher(&mut self) {
        let Some((token, pidfd)) = self.reviver.launcher.take() else {
            return;
        };
        let ended = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        self.unwatch(token, pidfd.as_fd());
        let code = ended.ok().flatten().and_then(|status| status.exit_status());
        self.reviver.launched(code == Some(0), Instant::now());
    }
}

/// Gives up what is the keeper's own and no engine should inherit.
fn become_launcher(log: &Path) {
    process::default_signals();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    fs::write("/proc/self/oom_score_adj", "0").unwrap_or_default();
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    if let Ok(log) = rustix::fs::open(log, flags, Mode::from_raw_mode(0o600)) {
        // Without it the messages go where the keeper's go: nowhere.
        rustix::stdio::dup2_stderr(&log).unwrap_or_default();
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revival() -> Revival {
        Revival {
            program: "/bin/hoist".into(),
            environment: Vec::new(),
            log: "/dev/null".into(),
        }
    }

    #[test]
    fn an_engine_that_lived_is_due_at_once_and_one_that_fails_later_and_later() {
        let start = Instant::now();
        let mut reviver = Reviver::default();
        reviver.came(1, revival(), start);
        let died = start + GOOD_RUN;
        reviver.closed(7, died);
        assert_eq!(reviver.patience(died), None, "another connection closed");
        reviver.closed(1, died);
        assert_eq!(reviver.patience(died), Some(Duration::ZERO));
        assert!(reviver.take_due(died).is_some());
        assert_eq!(reviver.patience(died), None);
        for delay in [FIRST_DELAY, FIRST_DELAY * 2, FIRST_DELAY * 4] {
            reviver.launched(false, died);
            assert_eq!(reviver.patience(died), Some(delay));
            assert!(reviver.take_due(died).is_none(), "not before its time");
            assert!(reviver.take_due(died + delay).is_some());
        }
        for _ in 0..20 {
            reviver.launched(false, died);
        }
        assert_eq!(reviver.patience(died), Some(LAST_DELAY));
    }

    #[test]
    fn an_engine_that_went_on_purpose_stays_away() {
        let now = Instant::now();
        let mut reviver = Reviver::default();
        reviver.came(1, revival(), now);
        reviver.dismissed();
        reviver.closed(1, now + GOOD_RUN);
        assert_eq!(reviver.patience(now + GOOD_RUN), None);
    }

    #[test]
    fn an_engine_that_came_back_by_another_hand_ends_the_wait() {
        let now = Instant::now();
        let mut reviver = Reviver::default();
        reviver.came(1, revival(), now);
        reviver.closed(1, now);
        reviver.came(2, revival(), now);
        assert_eq!(reviver.patience(now), None);
        reviver.launched(false, now);
        assert_eq!(reviver.patience(now), None);
    }
}
