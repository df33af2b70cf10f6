//! Processes and figures of a container by `/proc`, for an engine to which no control group is delegated.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::process::HeldProcess;
use crate::runtime::container::cgroup::Stats;

/// Nanoseconds of a tick of the kernel's clock for users.
const TICK: u64 = 10_000_000;

/// The processes in the pid namespace of the first one; none where that is the host's, for nobody can tell whose they are.
pub(super) fn processes(first: &HeldProcess) -> Vec<i32> {
    let space = |process: &Path| fs::metadata(process.join("ns/pid")).map(|seen| seen.ino());
    let Ok(wanted) = space(&first.path()) else {
        return Vec::new();
    };
    if space(Path::new("/proc/self")).is_ok_and(|own| own == wanted) {
        return Vec::new();
    }
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<i32> = folders
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            (space(&entry.path()).ok()? == wanted).then_some(pid)
        })
        .collect();
    found.sort_unstable();
    found
}

/// The sums of all that live, with the time of those that they have reaped. Of memory, what is in no file.
pub(super) fn stats(first: &HeldProcess) -> Stats {
    let mut stats = Stats::default();
    for pid in processes(first) {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let Some(times) = times_of(&read("stat")) else {
            continue;
        };
        stats.cpu_user += times.user * TICK;
        stats.cpu_system += times.system * TICK;
        stats.pids += times.threads;
        stats.memory_usage += anonymous(&read("status"));
    }
    stats.cpu_total = stats.cpu_user + stats.cpu_system;
    stats
}

#[derive(Debug, PartialEq, Eq)]
struct Times {
    user: u64,
    system: u64,
    threads: u64,
}

fn times_of(stat: &str) -> Option<Times> {
    // The name in parentheses may contain anything; fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let numbers: Vec<u64> = fields
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let number = |index: usize| numbers.get(index).copied();
    Some(Times {
        user: number(11)? + number(13)?,
        system: number(12)? + number(14)?,
        threads: number(17)?,
    })
}

/// Bytes of memory that are in no file.
fn anonymous(status: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_process_and_of_what_it_reaped() {
        let stat =
            "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 5 6 70 80 20 0 3 0 99 4096 10 18446744073709551615";
        assert_eq!(
            times_of(stat),
            Some(Times {
                user: 75,
                system: 86,
                threads: 3
            })
        );
        assert_eq!(times_of("7 (a"), None);
    }

    #[test]
    fn memory_is_what_is_in_no_file() {
        let status = "VmRSS:\t    30 kB\nRssAnon:\t      10 kB\nRssFile:\t 20 kB\n";
        assert_eq!(anonymous(status), 10_240);
        assert_eq!(anonymous(""), 0);
    }
}
