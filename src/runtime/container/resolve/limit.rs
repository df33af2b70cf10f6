//! Limits of the cgroup and of processes, in the kernel's units.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use bollard_stubs::models::{HostConfig, ThrottleDevice};

use super::ResolveError;
use crate::runtime::container::finish;
use crate::runtime::container::request::{BlockLimit, BlockLimitKind, Limits, Rlimit};

/// The limits of a container's cgroup; for `update` too.
///
/// # Errors
/// When a device is not there.
pub fn limits(host: &HostConfig) -> Result<Limits, ResolveError> {
    let memory = host.memory.filter(|&bytes| bytes > 0);
    // As much swap as memory, unless said otherwise.
    let swap = host
        .memory_swap
        .filter(|&bytes| bytes != 0)
        .or_else(|| memory.map(|bytes| bytes.saturating_mul(2)));
    let (quota, period) = cpu(host);
    Ok(Limits {
        memory,
        memory_swap: swap,
        memory_reservation: host.memory_reservation.filter(|&bytes| bytes > 0),
        memory_swappiness: host.memory_swappiness.filter(|&value| value >= 0),
        oom_kill_disable: host.oom_kill_disable,
        cpu_shares: host.cpu_shares.filter(|&shares| shares > 0),
        cpu_quota: quota,
        cpu_period: period,
        cpu_realtime_runtime: host.cpu_realtime_runtime.filter(|&value| value != 0),
        cpu_realtime_period: host.cpu_realtime_period.filter(|&value| value != 0),
        cpuset_cpus: host.cpuset_cpus.clone().filter(|cpus| !cpus.is_empty()),
        cpuset_mems: host.cpuset_mems.clone().filter(|mems| !mems.is_empty()),
        pids: host.pids_limit.filter(|&count| count != 0),
        blkio_weight: host.blkio_weight.filter(|&weight| weight != 0),
        blkio: block_limits(host)?,
    })
}

fn cpu(host: &HostConfig) -> (Option<i64>, Option<i64>) {
    const PERIOD: i64 = 100_000;
    match host.nano_cpus.filter(|&cpus| cpus > 0) {
        Some(cpus) => (Some(cpus / 10_000), Some(PERIOD)),
        None => (
            host.cpu_quota.filter(|&quota| quota != 0),
            host.cpu_period.filter(|&period| period > 0),
        ),
    }
}

fn block_limits(host: &HostConfig) -> Result<Vec<BlockLimit>, ResolveError> {
    let lists: [(&Option<Vec<ThrottleDevice>>, BlockLimitKind); 4] = [
        (&host.blkio_device_read_bps, BlockLimitKind::ReadBytes),
        (&host.blkio_device_write_bps, BlockLimitKind::WriteBytes),
        (&host.blkio_device_read_iops, BlockLimitKind::ReadOperations),
        (
            &host.blkio_device_write_iops,
            BlockLimitKind::WriteOperations,
        ),
    ];
    let mut limits = Vec::new();
    for (list, kind) in lists {
        for device in list.iter().flatten() {
            let rate = u64::try_from(device.rate.unwrap_or(0)).unwrap_or(0);
            limits.push(block_limit(
                device.path.as_deref().unwrap_or_default(),
                kind,
                rate,
            )?);
        }
    }
    for device in host.blkio_weight_device.iter().flatten() {
        let weight = device.weight.unwrap_or(0) as u64;
        limits.push(block_limit(
            device.path.as_deref().unwrap_or_default(),
            BlockLimitKind::Weight,
            weight,
        )?);
    }
    Ok(limits)
}

fn block_limit(path: &str, kind: BlockLimitKind, rate: u64) -> Result<BlockLimit, ResolveError> {
    let device = std::fs::metadata(path)
        .map_err(|source| ResolveError::Read {
            path: PathBuf::from(path),
            source,
        })?
        .rdev();
    Ok(BlockLimit {
        kind,
        major: rustix::fs::major(device),
        minor: rustix::fs::minor(device),
        rate,
    })
}

/// `ulimits`.
pub(super) fn rlimits(host: &HostConfig) -> Result<Vec<Rlimit>, ResolveError> {
    host.ulimits
        .iter()
        .flatten()
        .map(|limit| {
            let name = limit.name.clone().unwrap_or_default();
            if finish::resource(&name).is_none() {
                return Err(ResolveError::Invalid {
                    what: "ulimit type",
                    value: name,
                });
            }
            let hard = limit.hard.unwrap_or(limit.soft.unwrap_or(-1));
            Ok(Rlimit {
                name,
                soft: limit.soft.unwrap_or(hard),
                hard,
            })
        })
        .collect()
}
