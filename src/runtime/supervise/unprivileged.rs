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
        let controllers = CgroupHost::probe().map(|host| host.controllers());
        let mut warnings = warnings(host, &controllers.unwrap_or_default());
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

fn warnings(host: &HostConfig, controllers: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    let missing: Vec<&str> = limits(host)
        .into_iter()
        .filter(|(_, names)| !controllers.iter().any(|it| names.contains(&it.as_str())))
        .map(|(limit, _)| limit)
        .collect();
    if !missing.is_empty() {
        warnings.push(format!(
            "without effect, because this engine runs as an ordinary user to whom no control group is delegated for it: {}",
            missing.join(", ")
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

type Limit = (&'static str, &'static [&'static str]);

/// The limits that a container asks for, as the compose file names them, with the controllers that could keep them.
fn limits(host: &HostConfig) -> Vec<Limit> {
    const MEMORY: &[&str] = &["memory"];
    const CPU: &[&str] = &["cpu"];
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
    let asked: [(&str, &[&str], bool); 13] = [
        ("memory", MEMORY, number(host.memory)),
        (
            "memory reservation",
            MEMORY,
            number(host.memory_reservation),
        ),
        ("memswap_limit", MEMORY, number(host.memory_swap)),
        (
            "mem_swappiness",
            MEMORY,
            host.memory_swappiness.is_some_and(|value| value >= 0),
        ),
        (
            "oom_kill_disable",
            MEMORY,
            host.oom_kill_disable == Some(true),
        ),
        ("cpus", CPU, number(host.nano_cpus)),
        ("cpu_shares", CPU, number(host.cpu_shares)),
        ("cpu_quota", CPU, number(host.cpu_quota)),
        ("cpu_period", CPU, number(host.cpu_period)),
        (
            "cpu_rt_runtime",
            CPU,
            number(host.cpu_realtime_runtime) || number(host.cpu_realtime_period),
        ),
        (
            "cpuset",
            &["cpuset"],
            text(host.cpuset_cpus.as_deref()) || text(host.cpuset_mems.as_deref()),
        ),
        (
            "pids_limit",
            &["pids"],
            host.pids_limit.is_some_and(|limit| limit > 0),
        ),
        ("blkio_config", &["io", "blkio"], block),
    ];
    let wanted = asked.into_iter().filter(|(_, _, wanted)| *wanted);
    wanted
        .map(|(name, controllers, _)| (name, controllers))
        .collect()
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
        let said = warnings(&host, &[]);
        assert_eq!(said.len(), 1);
        assert!(said[0].ends_with(": memory, pids_limit"), "{said:?}");
        let said = warnings(&host, &["pids".to_owned()]);
        assert!(said[0].ends_with(": memory"), "{said:?}");
        let both = ["pids".to_owned(), "memory".to_owned()];
        assert_eq!(warnings(&host, &both), Vec::<String>::new());
    }

    #[test]
    fn what_only_root_may_is_named() {
        let host = HostConfig {
            oom_score_adj: Some(-500),
            device_cgroup_rules: Some(vec!["c 1:3 rwm".to_owned()]),
            ..HostConfig::default()
        };
        assert_eq!(warnings(&host, &[]).len(), 2);
        assert_eq!(warnings(&HostConfig::default(), &[]), Vec::<String>::new());
    }
}
