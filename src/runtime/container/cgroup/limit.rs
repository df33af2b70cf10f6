//! Limits: which file gets which value, in both versions, and reading back.

use std::fs;
use std::path::{Path, PathBuf};

use super::{CgroupHandle, CgroupVersion};
use crate::runtime::container::request::{BlockLimit, BlockLimitKind, Limits};

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// Controller of version 1; ignored in version 2.
    controller: &'static str,
    /// Name of the file.
    file: &'static str,
    /// What is written.
    value: String,
}

fn setting(controller: &'static str, file: &'static str, value: impl ToString) -> Setting {
    Setting {
        controller,
        file,
        value: value.to_string(),
    }
}

pub(super) fn apply(group: &CgroupHandle, limits: &Limits) -> Vec<String> {
    if !group.host.is_usable() {
        return without_groups(limits);
    }
    let (settings, mut warnings) = match group.host.version() {
        CgroupVersion::V1 => (settings_v1(limits), Vec::new()),
        CgroupVersion::V2 => (settings_v2(limits), unsupported_v2(limits)),
    };
    warnings.extend(settings.iter().filter_map(|setting| write(group, setting)));
    warnings
}

/// One warning for all that an engine without control groups cannot limit.
fn without_groups(limits: &Limits) -> Vec<String> {
    let settings = settings_v2(limits);
    let files: Vec<String> = settings
        .iter()
        .map(|setting| format!("`{}`", setting.file))
        .collect();
    if files.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "no control group is delegated to this engine: without effect are {}",
        files.join(", ")
    )]
}

/// Writes one setting and reads it back; a value that did not take is a warning.
fn write(group: &CgroupHandle, setting: &Setting) -> Option<String> {
    let folder: Option<PathBuf> = match group.host.version() {
        CgroupVersion::V1 => group.v1(setting.controller),
        CgroupVersion::V2 => group.v2(),
    };
    let Some(file) = folder.map(|folder| folder.join(setting.file)) else {
        return Some(format!(
            "the kernel has no `{}` controller here: `{}` is not limited",
            setting.controller, setting.file
        ));
    };
    if let Err(error) = fs::write(&file, &setting.value) {
        // A limit below what the new value of the pair allows is set in the other order.
        return Some(format!(
            "cannot set `{}` to `{}`: {error}",
            setting.file, setting.value
        ));
    }
    read_back(&file, &setting.value)
}

fn read_back(file: &Path, wanted: &str) -> Option<String> {
    let wanted_number: i64 = wanted.trim().parse().ok()?;
    let found = fs::read_to_string(file).ok()?;
    let found_number: i64 = found.trim().parse().ok()?;
    // The kernel rounds memory down to whole pages.
    let taken = wanted_number < 0 || (wanted_number - found_number).abs() < 65_536;
    (!taken).then(|| {
        let name = file.file_name().unwrap_or_default().display();
        format!(
            "`{name}` was set to `{wanted}`, but the kernel made it `{}`",
            found.trim()
        )
    })
}

/// Memory and swap together have to be raised before and lowered after the memory alone; a fresh group takes memory
/// first.
fn settings_v1(limits: &Limits) -> Vec<Setting> {
    let numbers: [(&'static str, &'static str, Option<i64>); 10] = [
        (
            "memory",
            "memory.limit_in_bytes",
            limits.memory.filter(|&bytes| bytes != 0),
        ),
        (
            "memory",
            "memory.memsw.limit_in_bytes",
            limits.memory_swap.filter(|&bytes| bytes != 0),
        ),
        (
            "memory",
            "memory.soft_limit_in_bytes",
            limits.memory_reservation.filter(|&bytes| bytes != 0),
        ),
        (
            "memory",
            "memory.swappiness",
            limits.memory_swappiness.filter(|&value| value >= 0),
        ),
        (
            "memory",
            "memory.oom_control",
            limits.oom_kill_disable.filter(|&off| off).map(i64::from),
        ),
        (
            "cpu",
            "cpu.shares",
            limits.cpu_shares.filter(|&shares| shares != 0),
        ),
        (
            "cpu",
            "cpu.cfs_period_us",
            limits.cpu_period.filter(|&period| period != 0),
        ),
        (
            "cpu",
            "cpu.cfs_quota_us",
            limits.cpu_quota.filter(|&quota| quota != 0),
        ),
        (
            "cpu",
            "cpu.rt_period_us",
            limits.cpu_realtime_period.filter(|&period| period != 0),
        ),
        (
            "cpu",
            "cpu.rt_runtime_us",
            limits.cpu_realtime_runtime.filter(|&runtime| runtime != 0),
        ),
    ];
    let mut settings: Vec<Setting> = numbers
        .into_iter()
        .filter_map(|(controller, file, value)| value.map(|value| setting(controller, file, value)))
        .collect();
    settings.extend(cpuset(limits));
    settings.extend(pids(limits));
    if let Some(weight) = limits.blkio_weight.filter(|&weight| weight != 0) {
        settings.push(setting("blkio", "blkio.weight", weight));
    }
    settings.extend(limits.blkio.iter().map(block_v1));
    settings
}

fn cpuset(limits: &Limits) -> impl Iterator<Item = Setting> {
    let cpus = limits
        .cpuset_cpus
        .iter()
        .map(|cpus| setting("cpuset", "cpuset.cpus", cpus));
    let mems = limits
        .cpuset_mems
        .iter()
        .map(|mems| setting("cpuset", "cpuset.mems", mems));
    cpus.chain(mems).filter(|setting| !setting.value.is_empty())
}

fn pids(limits: &Limits) -> Option<Setting> {
    match limits.pids {
        None | Some(0) => None,
        Some(count) if count < 0 => Some(setting("pids", "pids.max", "max")),
        Some(count) => Some(setting("pids", "pids.max", count)),
    }
}

fn block_v1(limit: &BlockLimit) -> Setting {
    let file = match limit.kind {
        BlockLimitKind::ReadBytes => "blkio.throttle.read_bps_device",
        BlockLimitKind::WriteBytes => "blkio.throttle.write_bps_device",
        BlockLimitKind::ReadOperations => "blkio.throttle.read_iops_device",
        BlockLimitKind::WriteOperations => "blkio.throttle.write_iops_device",
        BlockLimitKind::Weight => "blkio.weight_device",
    };
    setting(
        "blkio",
        file,
        format!("{}:{} {}", limit.major, limit.minor, limit.rate),
    )
}

fn settings_v2(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let memory = limits.memory.filter(|&bytes| bytes != 0);
    if let Some(bytes) = memory {
        settings.push(setting("memory", "memory.max", maximum(bytes)));
    }
    if let Some(swap) = limits.memory_swap.filter(|&bytes| bytes != 0) {
        // Docker's figure counts memory and swap together, the kernel's swap alone.
        let swap = if swap < 0 {
            swap
        } else {
            swap - memory.unwrap_or(0)
        };
        settings.push(setting("memory", "memory.swap.max", maximum(swap)));
    }
    if let Some(bytes) = limits.memory_reservation.filter(|&bytes| bytes != 0) {
        settings.push(setting("memory", "memory.low", bytes));
    }
    if let Some(shares) = limits.cpu_shares.filter(|&shares| shares != 0) {
        settings.push(setting("cpu", "cpu.weight", weight_of_shares(shares)));
    }
    if let Some(value) = cpu_max(limits) {
        settings.push(setting("cpu", "cpu.max", value));
    }
    settings.extend(cpuset(limits));
    settings.extend(pids(limits));
    if let Some(weight) = limits.blkio_weight.filter(|&weight| weight != 0) {
        // 10..1000 onto 1..10000, as runc has it.
        let weight = 1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990;
        settings.push(setting("io", "io.weight", format!("default {weight}")));
    }
    settings.extend(limits.blkio.iter().map(block_v2));
    settings
}

fn maximum(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

/// 2..262144 onto 1..10000, as runc has it.
fn weight_of_shares(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn cpu_max(limits: &Limits) -> Option<String> {
    let quota = limits.cpu_quota.filter(|&quota| quota != 0);
    let period = limits.cpu_period.filter(|&period| period != 0);
    if quota.is_none() && period.is_none() {
        return None;
    }
    Some(format!(
        "{} {}",
        maximum(quota.unwrap_or(-1)),
        period.unwrap_or(100_000)
    ))
}

fn block_v2(limit: &BlockLimit) -> Setting {
    let key = match limit.kind {
        BlockLimitKind::ReadBytes => "rbps=",
        BlockLimitKind::WriteBytes => "wbps=",
        BlockLimitKind::ReadOperations => "riops=",
        BlockLimitKind::WriteOperations => "wiops=",
        BlockLimitKind::Weight => "",
    };
    let file = if key.is_empty() {
        "io.weight"
    } else {
        "io.max"
    };
    setting(
        "io",
        file,
        format!("{}:{} {key}{}", limit.major, limit.minor, limit.rate),
    )
}

/// What version 2 has no word for.
fn unsupported_v2(limits: &Limits) -> Vec<String> {
    let wishes = [
        (
            limits.memory_swappiness.is_some_and(|value| value >= 0),
            "memory swappiness",
        ),
        (
            limits.oom_kill_disable == Some(true),
            "disabling the out-of-memory killer",
        ),
        (
            limits.cpu_realtime_runtime.is_some_and(|value| value != 0),
            "a real-time runtime",
        ),
        (
            limits.cpu_realtime_period.is_some_and(|value| value != 0),
            "a real-time period",
        ),
    ];
    wishes
        .into_iter()
        .filter(|(wished, _)| *wished)
        .map(|(_, what)| format!("cgroup v2 does not support {what}: discarded"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            memory: Some(64 << 20),
            memory_swap: Some(128 << 20),
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            pids: Some(-1),
            ..Limits::default()
        }
    }

    #[test]
    fn version_1_takes_memory_before_memory_and_swap() {
        let settings = settings_v1(&limits());
        let files: Vec<_> = settings.iter().map(|setting| setting.file).collect();
        assert_eq!(
            files[..2],
            ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        );
    }

    #[test]
    fn version_2_counts_swap_alone() {
        let settings = settings_v2(&limits());
        assert!(settings.contains(&setting("memory", "memory.swap.max", 64 << 20)));
        assert!(settings.contains(&setting("cpu", "cpu.weight", 39)));
        assert!(settings.contains(&setting("cpu", "cpu.max", "50000 100000")));
        assert!(settings.contains(&setting("pids", "pids.max", "max")));
    }
}
