//! The keeper's parent: brings a killed keeper back at once, and inherits its containers until then.
//!
//! Containers of a dead keeper become children of this process, not of the machine's init. How they end is written
//! down before they are reaped, so that the next keeper knows what only a parent can know, on every kernel.
//!
//! ```text
//! guard --fork--> keeper --fork--> container        keeper dies: guard --fork--> keeper
//!   ^------------------ orphan: <run>/orphans/PID.START ----------------------------^ reads
//! ```

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::boot;
use super::protocol::KeeperPaths;
use super::record::RunRecord;
use crate::runtime::sys::process::{self, EndedChild};

/// A keeper that lived shorter than this is not brought back at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// The pause before the next one, in which no orphan's end is written down either.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// What a keeper answers that found another one.
pub(super) const ANOTHER_LIVES: i32 = 3;

/// Runs keepers until one ends of its own will. Never comes back.
pub(super) fn run(paths: &KeeperPaths, report: OwnedFd) -> ! {
    process::set_name(c"hoist-guard");
    // Without it orphans go to the machine's init, and their exit codes are unknown, as before.
    let own = Some(rustix::process::getpid());
    rustix::process::set_child_subreaper(own).unwrap_or_default();
    let mut report = Some(report);
    loop {
        let began = Instant::now();
        match process::fork_plain() {
            Ok(0) => process::exit_now(boot::serve(paths, report.take())),
            Ok(keeper) => {
                report = None;
                match outlive(paths, keeper) {
                    Some(0) => {
                        fs::remove_dir_all(folder(paths)).unwrap_or_default();
                        process::exit_now(0)
                    }
                    Some(ANOTHER_LIVES) => inherit(paths),
                    _ => {}
                }
            }
            Err(_) => {}
        }
        if began.elapsed() < SHORT_LIFE {
            std::thread::sleep(PAUSE);
        }
        // Whoever needs a keeper with nothing to keep starts one.
        if !has_something(paths) {
            inherit(paths);
        }
    }
}

fn has_something(paths: &KeeperPaths) -> bool {
    fs::read_dir(paths.containers()).is_ok_and(|mut entries| entries.next().is_some())
}

/// Waits for the end of a keeper; its exit code, or none when it was killed.
fn outlive(paths: &KeeperPaths, keeper: i32) -> Option<i32> {
    loop {
        let ended = next_end(paths)?;
        if ended.pid == keeper {
            return ended.code;
        }
    }
}

/// Another keeper has the containers; what were children of ours are inherited to their ends.
fn inherit(paths: &KeeperPaths) -> ! {
    while next_end(paths).is_some() {}
    process::exit_now(0)
}

/// The next child that ends, with its record written; none when there is no child.
fn next_end(paths: &KeeperPaths) -> Option<EndedChild> {
    let ended = process::wait_for_any_child().ok()?;
    // Written before it is reaped: whoever finds the pid gone finds this.
    note(paths, &ended).unwrap_or_default();
    let pid = Pid::from_raw(ended.pid)?;
    let _reaped = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    Some(ended)
}

fn folder(paths: &KeeperPaths) -> PathBuf {
    paths.run_dir.join("orphans")
}

fn note(paths: &KeeperPaths, ended: &EndedChild) -> io::Result<()> {
    let Some(start) = start_of_container(paths, ended.pid) else {
        return Ok(());
    };
    let folder = folder(paths);
    fs::create_dir_all(&folder)?;
    let text = serde_json::to_vec(&(ended.code, ended.signal))?;
    let partial = folder.join(format!("{}.partial", ended.pid));
    fs::write(&partial, text)?;
    fs::rename(partial, folder.join(format!("{}.{start}", ended.pid)))
}

/// The start time of a container's first process; none when the pid is something else's (a keeper's, a helper's).
fn start_of_container(paths: &KeeperPaths, pid: i32) -> Option<u64> {
    let folders = fs::read_dir(paths.containers()).ok()?.flatten();
    let records = folders.filter_map(|entry| RunRecord::load(&entry.path()).ok());
    records
        .map(|record| record.awaited())
        .find(|(awaited, _)| *awaited == pid)
        .map(|(_, start_time)| start_time)
}

/// How an orphan ended: exit code and signal.
pub(super) fn recorded(
    paths: &KeeperPaths,
    pid: i32,
    start_time: u64,
) -> Option<(i32, Option<i32>)> {
    let text = fs::read(folder(paths).join(format!("{pid}.{start_time}"))).ok()?;
    let (code, signal): (Option<i32>, Option<i32>) = serde_json::from_slice(&text).ok()?;
    signal
        .map(|signal| (128 + signal, Some(signal)))
        .or(code.map(|code| (code, None)))
}

/// Forgets all orphans but those that a keeper has taken over: nobody will ask for them.
pub(super) fn forget_strangers(paths: &KeeperPaths, known: impl Iterator<Item = (i32, u64)>) {
    let known: Vec<String> = known
        .map(|(pid, start_time)| format!("{pid}.{start_time}"))
        .collect();
    for entry in fs::read_dir(folder(paths)).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(&name) {
            fs::remove_file(entry.path()).unwrap_or_default();
        }
    }
}

/// Forgets an orphan that was asked for.
pub(super) fn forget(paths: &KeeperPaths, pid: i32, start_time: u64) {
    fs::remove_file(folder(paths).join(format!("{pid}.{start_time}"))).unwrap_or_default();
}
