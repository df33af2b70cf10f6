//! What a create or update call must not say: Docker's rules with Docker's texts. Pure, apart from the number of
//! processors of the machine.

use bollard_stubs::models::{
    ContainerConfig, HealthConfig, HostConfig, PortMap, RestartPolicy, RestartPolicyNameEnum,
};

use super::host;
use super::signal::parse_signal;
use crate::runtime::error::{RuntimeError, RuntimeResult};

const LEAST_MEMORY: i64 = 6 << 20;
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
const LOG_OPTIONS: &[&str] = &[
    "max-file",
    "max-size",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
    "syslog-address",
    "syslog-facility",
    "syslog-format",
];
const LOG_DRIVERS: &[&str] = &["json-file", "local", "none", "journald", "syslog"];

fn refuse<T>(text: impl Into<String>) -> RuntimeResult<T> {
    Err(RuntimeError::invalid(text))
}

#[expect(
    clippy::ref_option,
    reason = "the types of the API hold their texts so"
)]
fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// Checks the container's own part.
pub(super) fn check_config(config: &ContainerConfig) -> RuntimeResult<()> {
    let folder = text(&config.working_dir);
    if !folder.is_empty() && !folder.starts_with('/') {
        return refuse(format!(
            "the working directory '{folder}' is invalid, it needs to be an absolute path"
        ));
    }
    if let Some(bad) = config
        .env
        .iter()
        .flatten()
        .find(|pair| pair.is_empty() || pair.starts_with('='))
    {
        return refuse(format!("invalid environment variable: {bad}"));
    }
    let signal = text(&config.stop_signal);
    if !signal.is_empty() {
        parse_signal(signal)?;
    }
    super::health::check_labels(config)?;
    match &config.healthcheck {
        Some(health) => check_health(health),
        None => Ok(()),
    }
}

fn check_health(health: &HealthConfig) -> RuntimeResult<()> {
    let times = [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ];
    for (name, value) in times {
        if value.is_some_and(|value| value != 0 && value < 1_000_000) {
            return refuse(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    if health.retries.is_some_and(|retries| retries < 0) {
        return refuse("Retries in Healthcheck cannot be negative");
    }
    Ok(())
}

/// Checks the host's part, defaults not yet filled in.
pub(super) fn check_host(host: &HostConfig) -> RuntimeResult<()> {
    check_memory(host)?;
    check_processors(host)?;
    check_restart(host.restart_policy.as_ref(), host.auto_remove == Some(true))?;
    check_names(host)?;
    check_numbers(host)?;
    check_log(host)?;
    check_ports(host.port_bindings.as_ref())?;
    check_modes(host)
}

/// Checks the limits of memory.
pub(super) fn check_memory(host: &HostConfig) -> RuntimeResult<()> {
    let value = |value: Option<i64>| value.unwrap_or(0);
    let (memory, swap, reserved) = (
        value(host.memory),
        value(host.memory_swap),
        value(host.memory_reservation),
    );
    if memory != 0 && memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if memory > 0 && reserved > 0 && memory < reserved {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    if reserved != 0 && reserved < LEAST_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    match host.memory_swappiness {
        Some(value) if !(-1..=100).contains(&value) => refuse(format!(
            "Invalid value: {value}, valid memory swappiness range is 0-100"
        )),
        _ => Ok(()),
    }
}

/// Checks the limits of processors.
pub(super) fn check_processors(host: &HostConfig) -> RuntimeResult<()> {
    let value = |value: Option<i64>| value.unwrap_or(0);
    let (nano, period, quota) = (
        value(host.nano_cpus),
        value(host.cpu_period),
        value(host.cpu_quota),
    );
    let count = host::processors();
    if nano > 0 && period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if nano > 0 && quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if nano < 0 || nano > count * 1_000_000_000 {
        return refuse(format!(
            "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        ));
    }
    if period != 0 && !(1000..=1_000_000).contains(&period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if quota > 0 && quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    check_cpuset(text(&host.cpuset_cpus), count)
}

fn check_cpuset(set: &str, count: i64) -> RuntimeResult<()> {
    for part in set.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<i64>(), last.trim().parse::<i64>())
        else {
            return refuse(format!("Invalid value {set} for cpuset cpus"));
        };
        if first > last || last >= count {
            return refuse(format!(
                "Requested CPUs are not available - requested {set}, available: 0-{}",
                count - 1
            ));
        }
    }
    Ok(())
}

/// Checks a restart policy.
pub(super) fn check_restart(
    policy: Option<&RestartPolicy>,
    auto_remove: bool,
) -> RuntimeResult<()> {
    let Some(policy) = policy else { return Ok(()) };
    let most = policy.maximum_retry_count.unwrap_or(0);
    let restarts = !matches!(
        policy.name,
        None | Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY)
    );
    if most < 0 {
        return refuse("invalid restart policy: maximum retry count cannot be negative");
    }
    if most > 0 && policy.name != Some(RestartPolicyNameEnum::ON_FAILURE) {
        return refuse(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        );
    }
    if restarts && auto_remove {
        return refuse("can't create 'AutoRemove' container with restart policy");
    }
    Ok(())
}

fn check_names(host: &HostConfig) -> RuntimeResult<()> {
    for name in [&host.cap_add, &host.cap_drop]
        .into_iter()
        .flatten()
        .flatten()
    {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if !CAPABILITIES.contains(&bare) {
            return refuse(format!("invalid CapAdd: unknown capability: \"{name}\""));
        }
    }
    for option in host.security_opt.iter().flatten() {
        check_security_option(option)?;
    }
    for line in host.extra_hosts.iter().flatten() {
        if !line.contains(':') {
            return refuse(format!("bad format for add-host: \"{line}\""));
        }
    }
    Ok(())
}

fn check_security_option(option: &str) -> RuntimeResult<()> {
    if matches!(option, "no-new-privileges" | "disable") {
        return Ok(());
    }
    let parts = option.split_once('=').or_else(|| option.split_once(':'));
    match parts {
        Some((
            "seccomp" | "apparmor" | "label" | "no-new-privileges" | "systempaths"
            | "writable-cgroups",
            _,
        )) => Ok(()),
        _ => refuse(format!("invalid --security-opt 2: \"{option}\"")),
    }
}

fn check_numbers(host: &HostConfig) -> RuntimeResult<()> {
    if let Some(score) = host.oom_score_adj
        && !(-1000..=1000).contains(&score)
    {
        return refuse(format!(
            "Invalid value {score}, range for oom score adj is [-1000, 1000]"
        ));
    }
    if host.shm_size.is_some_and(|size| size < 0) {
        return refuse("SHM size can not be less than 0");
    }
    Ok(())
}

fn check_log(host: &HostConfig) -> RuntimeResult<()> {
    let Some(log) = &host.log_config else {
        return Ok(());
    };
    let driver = text(&log.typ);
    if !driver.is_empty() && !LOG_DRIVERS.contains(&driver) {
        return refuse(format!(
            "error looking up logging plugin {driver}: plugin \"{driver}\" not found"
        ));
    }
    let unknown = log
        .config
        .iter()
        .flatten()
        .find(|(key, _)| !LOG_OPTIONS.contains(&key.as_str()));
    match unknown {
        Some((key, _)) if driver != "none" => refuse(format!(
            "unknown log opt '{key}' for {} log driver",
            if driver.is_empty() {
                "json-file"
            } else {
                driver
            }
        )),
        _ => Ok(()),
    }
}

fn check_ports(ports: Option<&PortMap>) -> RuntimeResult<()> {
    for (port, bindings) in ports.into_iter().flatten() {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        if !is_port_range(number) || !["tcp", "udp", "sctp"].contains(&protocol) {
            return refuse(format!("invalid port specification: \"{port}\""));
        }
        for binding in bindings.iter().flatten() {
            let host = text(&binding.host_port);
            if !host.is_empty() && !is_port_range(host) {
                return refuse(format!("invalid port specification: \"{host}\""));
            }
        }
    }
    Ok(())
}

fn is_port_range(range: &str) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
}

fn check_modes(host: &HostConfig) -> RuntimeResult<()> {
    let pid = text(&host.pid_mode);
    if !(matches!(pid, "" | "host" | "private") || is_container_mode(pid)) {
        return refuse(format!("invalid PID mode: {pid}"));
    }
    let ipc = text(&host.ipc_mode);
    if !(matches!(ipc, "" | "none" | "private" | "shareable" | "host") || is_container_mode(ipc)) {
        return refuse(format!("invalid IPC mode: {ipc}"));
    }
    let uts = text(&host.uts_mode);
    if !matches!(uts, "" | "host" | "private") {
        return refuse(format!("invalid UTS mode: {uts}"));
    }
    let user = text(&host.userns_mode);
    if !(matches!(user, "" | "host" | "private" | "auto") || user.starts_with("auto:")) {
        return refuse(format!("invalid user namespace mode: {user}"));
    }
    Ok(())
}

fn is_container_mode(mode: &str) -> bool {
    mode.strip_prefix("container:")
        .is_some_and(|peer| !peer.is_empty())
}

/// Checks what the two parts say together about shared namespaces.
pub(super) fn check_conflicts(config: &ContainerConfig, host: &HostConfig) -> RuntimeResult<()> {
    let network = text(&host.network_mode);
    let shared = network.starts_with("container:");
    let has_hostname = !text(&config.hostname).is_empty();
    let filled = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let conflict = |what: &str| refuse(format!("conflicting options: {what}"));
    if network.strip_prefix("container:") == Some("") {
        return refuse("invalid container format container:<name|id>");
    }
    if has_hostname && (shared || text(&host.uts_mode) == "host") {
        return conflict("hostname and the network mode");
    }
    if (network == "host" || shared) && filled(&host.links) {
        return conflict(
            "host type networking can't be used with links. This would result in undefined behavior",
        );
    }
    if shared && filled(&host.dns) {
        return conflict("dns and the network mode");
    }
    if shared && filled(&host.extra_hosts) {
        return conflict("custom host-to-IP mapping and the network mode");
    }
    let published = host
        .port_bindings
        .as_ref()
        .is_some_and(|ports| !ports.is_empty());
    if shared && (published || host.publish_all_ports == Some(true)) {
        return conflict("port publishing and the container type network mode");
    }
    if shared
        && config
            .exposed_ports
            .as_ref()
            .is_some_and(|ports| !ports.is_empty())
    {
        return conflict("port exposing and the container type network mode");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(result: RuntimeResult<()>, part: &str) -> bool {
        result.is_err_and(|error| error.chain().contains(part))
    }

    #[test]
    fn memory_has_a_least_value() {
        let host = HostConfig {
            memory: Some(1 << 20),
            ..HostConfig::default()
        };
        assert!(says(check_host(&host), "6MB"));
    }

    #[test]
    fn processors_must_exist() {
        let host = HostConfig {
            cpuset_cpus: Some("9999".to_owned()),
            ..HostConfig::default()
        };
        assert!(says(check_host(&host), "CPUs are not available"));
    }

    #[test]
    fn ports_are_numbers_or_ranges() {
        assert!(is_port_range("80") && is_port_range("80-90"));
        assert!(!is_port_range("90-80") && !is_port_range("99999") && !is_port_range("x"));
    }

    #[test]
    fn a_shared_network_has_no_hostname_of_its_own() {
        let config = ContainerConfig {
            hostname: Some("x".to_owned()),
            ..ContainerConfig::default()
        };
        let host = HostConfig {
            network_mode: Some("container:y".to_owned()),
            ..HostConfig::default()
        };
        assert!(says(check_conflicts(&config, &host), "conflicting options"));
    }
}
