//! What the keeper leaves on disk: who is running (in the run directory), and how it ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::protocol::{ExitNotice, KeeperPaths, Started};
use crate::runtime::container::oci::OOM_MARK;
use crate::runtime::container::request::{ContainerRequest, LogFile, Stdin};

/// What a later keeper needs to re-adopt a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunRecord {
    /// The container.
    pub id: String,
    /// The process; pid 0 while it is being made.
    pub started: Started,
    /// Pid and start time of the monitor whose end is its end, where an OCI runtime runs it.
    #[serde(default)]
    pub monitor: Option<(i32, u64)>,
    /// Its cgroup.
    pub cgroup: String,
    /// Its log.
    pub log: Option<LogFile>,
    /// Its standard input.
    pub stdin: Stdin,
    /// Where its exit record goes.
    pub exit_record: PathBuf,
    /// Its folder in the run directory.
    pub run_dir: PathBuf,
}

/// The first processes of containers that live, whether a keeper does or not.
pub(crate) fn living_processes(paths: &KeeperPaths) -> Vec<i32> {
    let folders = fs::read_dir(paths.containers());
    let entries = folders.into_iter().flatten().flatten();
    let records = entries.filter_map(|entry| RunRecord::load(&entry.path()).ok());
    records
        .map(|record| record.started)
        .filter(|started| start_time(started.pid) == Some(started.start_time))
        .map(|started| started.pid)
        .collect()
}

impl RunRecord {
    const FILE: &str = "keeper.json";

    /// The record of a container that is about to be made.
    pub(super) fn new(request: &ContainerRequest) -> Self {
        let started = Started {
            pid: 0,
            start_time: 0,
            started_at: String::new(),
            warnings: Vec::new(),
        };
        Self {
            id: request.id.clone(),
            started,
            monitor: None,
            cgroup: request.cgroup.path.clone(),
            log: request.log.clone(),
            stdin: request.stdio.stdin,
            exit_record: request.exit_record.clone(),
            run_dir: request.run_dir.clone(),
        }
    }

    /// Pid and start time of the process whose end is waited for.
    pub(super) fn awaited(&self) -> (i32, u64) {
        let started = (self.started.pid, self.started.start_time);
        self.monitor.unwrap_or(started)
    }

    /// Whether an OCI runtime's monitor saw that something was killed for want of memory.
    pub(super) fn is_marked_oom(&self) -> bool {
        self.monitor.is_some() && self.run_dir.join(OOM_MARK).exists()
    }

    /// Writes it whole.
    pub(super) fn save(&self) -> io::Result<()> {
        write_whole(&self.run_dir.join(Self::FILE), &serde_json::to_vec(self)?)
    }

    /// Reads the record of a container's folder.
    pub(super) fn load(run_dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(
            run_dir.join(Self::FILE),
        )?)?)
    }
}

/// Writes an exit record whole.
pub(super) fn save_exit(path: &Path, notice: &ExitNotice) -> io::Result<()> {
    write_whole(path, &serde_json::to_vec(notice)?)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes)?;
    fs::rename(partial, path)
}

/// The start time of a process in clock ticks since boot.
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}
