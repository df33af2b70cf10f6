//! What an ordinary user's engine cannot honour of a container's wishes: said when the container is made, never silently
//! left out.

use std::sync::atomic::Ordering;

use bollard_stubs::models::HostConfig;

use super::Supervisor;
use crate::runtime::container::cgroup::CgroupHost;
use crate::runtime::layout::Privilege;
use crate::runtime::rootless::Outlet;

impl Supervisor {
    /// The warnings for a new container; none for root's engine.
    pub(super) fn warn_of_user(&self, host: &HostConfig) -> Vec<String> {
        if self.layout().privilege() == Privilege::Rootful {
            return Vec::new();
        }
        let groups = CgroupHost::probe().is_ok_and(|groups| groups.is_usable());
        let mut warnings = warnings(host, groups);
        if let Outlet::Relay(reason) = &self.outlet
            && has_way_out(host)
            && !self.told_outlet.swap(true, Ordering::Relaxed)
        {
            // Once in the life of an engine: it is so for all containers.
            warnings.push(format!(
                "containers of this engine reach the outside by TCP over IPv4 alone: {reason}"
            ));
        }
        warnings
    }
}

fn has_way_out(host: &HostConfig) -> bool {
    let mode = host.network_mode.as_deref().unwrap_or_default();
    !matches!(mode, "none" | "host") && !mode.starts_with("container:")
}

fn warnings(host: &HostConfig, has_groups: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let limited = limits(host);
    if !has_groups && !limited.is_empty() {
        warnings.push(format!(
            "without effect, because this engine runs as an ordinary user to whom no control group of version 2 is delegated: {}",
            limited.join(", ")
        ));
    }
    if host.oom_score_adj.is_some_and(|score| score < 0) {
        warnings.push(
            "without effect, because only root may make a process less likely to be killed: oom_score_adj below 0"
                .to_owned(),
        );
    }
    let rules = host.device_cgroup_rules.as_deref().unwrap_or_default();
    if !rules.is_empty() {
        warnings.push(
            "without effect, because an ordinary user can make no device nodes: device_cgroup_rules".to_owned(),
        );
    }
    warnings
}

/// The limits that a container asks for, as the compose file names them.
fn limits(host: &HostConfig) -> Vec<&'static str> {
    let number = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let text = |value: Option<&str>| value.is_some_and(|text| !text.is_empty());
    let throttles = [
        &host.blkio_device_read_bps,
        &host.blkio_device_read_iops,
        &host.blkio_device_write_bps,
        &host.blkio_device_write_iops,
    ];
    let weights = host.blkio_weight_device.as_deref().unwrap_or_default();
    let block = number(host.blkio_weight.map(i64::from))
        || !weights.is_empty()
        || throttles
            .into_iter()
            .any(|list| list.as_ref().is_some_and(|list| !list.is_empty()));
    let asked = [
        ("memory", number(host.memory)),
        ("memory reservation", number(host.memory_reservation)),
        ("memswap_limit", number(host.memory_swap)),
        (
            "mem_swappiness",
            host.memory_swappiness.is_some_and(|value| value >= 0),
        ),
        ("oom_kill_disable", host.oom_kill_disable == Some(true)),
        ("cpus", number(host.nano_cpus)),
        ("cpu_shares", number(host.cpu_shares)),
        ("cpu_quota", number(host.cpu_quota)),
        ("cpu_period", number(host.cpu_period)),
        (
            "cpu_rt_runtime",
            number(host.cpu_realtime_runtime) || number(host.cpu_realtime_period),
        ),
        (
            "cpuset",
            text(host.cpuset_cpus.as_deref()) || text(host.cpuset_mems.as_deref()),
        ),
        ("pids_limit", host.pids_limit.is_some_and(|limit| limit > 0)),
        ("blkio_config", block),
    ];
    let wanted = asked.into_iter().filter(|(_, wanted)| *wanted);
    wanted.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_without_a_group_are_named_in_one_warning() {
        let host = HostConfig {
            memory: Some(1 << 20),
            pids_limit: Some(100),
            memory_swappiness: Some(-1),
            ..HostConfig::default()
        };
        let said = warnings(&host, false);
        assert_eq!(said.len(), 1);
        assert!(said[0].ends_with(": memory, pids_limit"), "{said:?}");
        assert_eq!(warnings(&host, true), Vec::<String>::new());
    }

    #[test]
    fn what_only_root_may_is_named() {
        let host = HostConfig {
            oom_score_adj: Some(-500),
            device_cgroup_rules: Some(vec!["c 1:3 rwm".to_owned()]),
            ..HostConfig::default()
        };
        assert_eq!(warnings(&host, true).len(), 2);
        assert_eq!(
            warnings(&HostConfig::default(), false),
            Vec::<String>::new()
        );
    }
}
