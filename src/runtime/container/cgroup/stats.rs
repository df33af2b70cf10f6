//! Raw figures of a group, the same for both versions.

use std::fs;
use std::path::Path;

use super::CgroupHandle;

/// What the kernel counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// CPU time, nanoseconds.
    pub cpu_total: u64,
    /// CPU time in the kernel, nanoseconds.
    pub cpu_system: u64,
    /// CPU time in user mode, nanoseconds.
    pub cpu_user: u64,
    /// Nanoseconds on each CPU (version 1 only).
    pub cpu_each: Vec<u64>,
    /// Periods in which a quota was in force.
    pub periods: u64,
    /// Periods in which it was used up.
    pub throttled_periods: u64,
    /// Nanoseconds of waiting for the next period.
    pub throttled_time: u64,
    /// Memory in use, page cache included, bytes.
    pub memory_usage: u64,
    /// Most memory ever in use, bytes.
    pub memory_peak: u64,
    /// Limit of memory, bytes; none is unlimited.
    pub memory_limit: Option<u64>,
    /// How often the limit was hit.
    pub memory_failures: u64,
    /// `memory.stat`.
    pub memory_details: Vec<(String, u64)>,
    /// Processes and threads.
    pub pids: u64,
    /// Most of them; none is unlimited.
    pub pids_limit: Option<u64>,
    /// Bytes moved, per device.
    pub block_bytes: Vec<BlockFigure>,
    /// Operations, per device.
    pub block_operations: Vec<BlockFigure>,
}

/// One figure of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFigure {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// `read`, `write`, …
    pub operation: String,
    /// The figure.
    pub value: u64,
}

pub(super) fn read(group: &CgroupHandle) -> Stats {
    let mut stats = Stats::default();
    match group.v1("memory") {
        Some(memory) => read_v1(group, &memory, &mut stats),
        None => {
            if let Some(folder) = group.v2() {
                read_v2(&folder, &mut stats);
            }
        }
    }
    stats
}

fn text(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_default()
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    text(folder, file).trim().parse().ok()
}

/// The value of a key in `key value` lines.
pub(super) fn keyed(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

fn pairs(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
        .collect()
}

fn read_v1(group: &CgroupHandle, memory: &Path, stats: &mut Stats) {
    /// More than this is what the kernel shows for no limit.
    const UNLIMITED: u64 = 1 << 62;
    const TICK: u64 = 10_000_000;
    stats.memory_usage = number(memory, "memory.usage_in_bytes").unwrap_or(0);
    stats.memory_peak = number(memory, "memory.max_usage_in_bytes").unwrap_or(0);
    stats.memory_limit = number(memory, "memory.limit_in_bytes").filter(|&bytes| bytes < UNLIMITED);
    stats.memory_failures = number(memory, "memory.failcnt").unwrap_or(0);
    stats.memory_details = pairs(&text(memory, "memory.stat"));
    if let Some(folder) = group.v1("cpuacct") {
        let ticks = text(&folder, "cpuacct.stat");
        stats.cpu_total = number(&folder, "cpuacct.usage").unwrap_or(0);
        stats.cpu_system = keyed(&ticks, "system") * TICK;
        stats.cpu_user = keyed(&ticks, "user") * TICK;
        let each = text(&folder, "cpuacct.usage_percpu");
        stats.cpu_each = each
            .split_whitespace()
            .filter_map(|value| value.parse().ok())
            .collect();
    }
    if let Some(folder) = group.v1("cpu") {
        let periods = text(&folder, "cpu.stat");
        stats.periods = keyed(&periods, "nr_periods");
        stats.throttled_periods = keyed(&periods, "nr_throttled");
        stats.throttled_time = keyed(&periods, "throttled_time");
    }
    if let Some(folder) = group.v1("pids") {
        read_pids(&folder, stats);
    }
    if let Some(folder) = group.v1("blkio") {
        stats.block_bytes = block_v1(&text(&folder, "blkio.throttle.io_service_bytes_recursive"));
        stats.block_operations = block_v1(&text(&folder, "blkio.throttle.io_serviced_recursive"));
    }
}

fn read_pids(folder: &Path, stats: &mut Stats) {
    stats.pids = number(folder, "pids.current").unwrap_or(0);
    stats.pids_limit = number(folder, "pids.max");
}

fn block_v1(text: &str) -> Vec<BlockFigure> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (major, minor) = fields.next()?.split_once(':')?;
            let operation = fields.next()?.to_lowercase();
            let value = fields.next()?.parse().ok()?;
            Some(BlockFigure {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
                operation,
                value,
            })
        })
        .collect()
}

fn read_v2(folder: &Path, stats: &mut Stats) {
    let cpu = text(folder, "cpu.stat");
    stats.cpu_total = keyed(&cpu, "usage_usec") * 1000;
    stats.cpu_system = keyed(&cpu, "system_usec") * 1000;
    stats.cpu_user = keyed(&cpu, "user_usec") * 1000;
    stats.periods = keyed(&cpu, "nr_periods");
    stats.throttled_periods = keyed(&cpu, "nr_throttled");
    stats.throttled_time = keyed(&cpu, "throttled_usec") * 1000;
    stats.memory_usage = number(folder, "memory.current").unwrap_or(0);
    stats.memory_peak = number(folder, "memory.peak").unwrap_or(0);
    stats.memory_limit = number(folder, "memory.max");
    stats.memory_failures = keyed(&text(folder, "memory.events"), "max");
    stats.memory_details = pairs(&text(folder, "memory.stat"));
    read_pids(folder, stats);
    let io = text(folder, "io.stat");
    stats.block_bytes = block_v2(&io, &[("rbytes", "read"), ("wbytes", "write")]);
    stats.block_operations = block_v2(&io, &[("rios", "read"), ("wios", "write")]);
}

fn block_v2(text: &str, wanted: &[(&str, &str)]) -> Vec<BlockFigure> {
    let mut figures = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let device = fields.next().and_then(|device| device.split_once(':'));
        let Some((major, minor)) = device else {
            continue;
        };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else {
            continue;
        };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let operation = wanted.iter().find(|(name, _)| *name == key);
            if let (Some((_, operation)), Ok(value)) = (operation, value.parse()) {
                figures.push(BlockFigure {
                    major,
                    minor,
                    operation: (*operation).to_owned(),
                    value,
                });
            }
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_both_versions_read_alike() {
        let v1 = block_v1("8:0 Read 10\n8:0 Write 5\n8:0 Total 15\nTotal 15\n");
        let v2 = block_v2(
            "8:0 rbytes=10 wbytes=5 rios=1 wios=1\n",
            &[("rbytes", "read"), ("wbytes", "write")],
        );
        assert_eq!(v1[..2], v2[..]);
    }
}
