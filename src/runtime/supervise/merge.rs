//! The image's configuration under the client's, and the host part's defaults: what is asked for becomes what is.

use std::collections::HashMap;

use bollard_stubs::models::{
    ContainerConfig, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    ImageConfig, RestartPolicy, RestartPolicyNameEnum,
};

use super::host;

/// Name of the default runtime.
pub(super) const RUNTIME: &str = "hoist";

const DEFAULT_SHM_SIZE: i64 = 64 << 20;

/// Paths that a container sees empty.
pub(super) const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that a container cannot write.
pub(super) const READ_ONLY_PATHS: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Puts the image's configuration under the client's.
pub fn merge_image(config: &mut ContainerConfig, image: &ImageConfig) {
    fill_text(&mut config.user, image.user.as_ref());
    fill_text(&mut config.working_dir, image.working_dir.as_ref());
    fill_text(&mut config.stop_signal, image.stop_signal.as_ref());
    unite(&mut config.exposed_ports, image.exposed_ports.as_ref());
    unite(&mut config.volumes, image.volumes.as_ref());
    merge_environment(config, image);
    merge_labels(config, image);
    merge_command(config, image);
    if config.shell.as_ref().is_none_or(Vec::is_empty) {
        config.shell.clone_from(&image.shell);
    }
    merge_health(&mut config.healthcheck, image.healthcheck.as_ref());
    if config.on_build.is_none() {
        config.on_build.clone_from(&image.on_build);
    }
}

fn fill_text(mine: &mut Option<String>, image: Option<&String>) {
    if mine.as_ref().is_none_or(String::is_empty)
        && let Some(image) = image
    {
        *mine = Some(image.clone());
    }
}

fn unite(mine: &mut Option<Vec<String>>, image: Option<&Vec<String>>) {
    let Some(image) = image.filter(|image| !image.is_empty()) else {
        return;
    };
    let list = mine.get_or_insert_default();
    for item in image {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

fn merge_environment(config: &mut ContainerConfig, image: &ImageConfig) {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let mine = config.env.get_or_insert_default();
    let names: Vec<_> = mine.iter().map(|pair| name(pair)).collect();
    let inherited = image.env.iter().flatten();
    let inherited: Vec<_> = inherited
        .filter(|pair| !names.contains(&name(pair)))
        .cloned()
        .collect();
    mine.extend(inherited);
}

fn merge_labels(config: &mut ContainerConfig, image: &ImageConfig) {
    let mine = config.labels.get_or_insert_default();
    for (key, value) in image.labels.iter().flatten() {
        mine.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

fn merge_command(config: &mut ContainerConfig, image: &ImageConfig) {
    if config
        .entrypoint
        .as_ref()
        .is_some_and(|list| !list.is_empty())
    {
        return;
    }
    if config.cmd.as_ref().is_none_or(Vec::is_empty) {
        config.cmd.clone_from(&image.cmd);
    }
    if config.entrypoint.is_none() {
        config.entrypoint.clone_from(&image.entrypoint);
    }
}

fn merge_health(mine: &mut Option<HealthConfig>, image: Option<&HealthConfig>) {
    let Some(image) = image else { return };
    let Some(mine) = mine else {
        *mine = Some(image.clone());
        return;
    };
    if mine.test.as_ref().is_none_or(Vec::is_empty) {
        mine.test.clone_from(&image.test);
    }
    let fill = |mine: &mut Option<i64>, image: Option<i64>| {
        if mine.unwrap_or(0) == 0 {
            *mine = image;
        }
    };
    fill(&mut mine.interval, image.interval);
    fill(&mut mine.timeout, image.timeout);
    fill(&mut mine.start_period, image.start_period);
    fill(&mut mine.start_interval, image.start_interval);
    fill(&mut mine.retries, image.retries);
}

/// Fills in what the client left out of the host part.
pub(super) fn fill_defaults(host: &mut HostConfig) {
    let mode = host.network_mode.as_deref().unwrap_or_default();
    if matches!(mode, "" | "default") {
        host.network_mode = Some("bridge".to_owned());
    }
    if host.shm_size.unwrap_or(0) == 0 {
        host.shm_size = Some(DEFAULT_SHM_SIZE);
    }
    if host.ipc_mode.as_deref().unwrap_or_default().is_empty() {
        host.ipc_mode = Some("private".to_owned());
    }
    if host.runtime.as_deref().unwrap_or_default().is_empty() {
        host.runtime = Some(RUNTIME.to_owned());
    }
    fill_cgroup_namespace(host);
    fill_restart_policy(host);
    fill_log(host);
    fill_memory(host);
    fill_paths(host);
    for list in [&mut host.cap_add, &mut host.cap_drop] {
        normalize_capabilities(list);
    }
}

fn fill_cgroup_namespace(host: &mut HostConfig) {
    let given = host
        .cgroupns_mode
        .filter(|mode| *mode != HostConfigCgroupnsModeEnum::EMPTY);
    let unified = host::cgroup_version() == "2";
    let default = if unified && host.privileged != Some(true) {
        HostConfigCgroupnsModeEnum::PRIVATE
    } else {
        HostConfigCgroupnsModeEnum::HOST
    };
    host.cgroupns_mode = Some(given.unwrap_or(default));
}

fn fill_restart_policy(host: &mut HostConfig) {
    let policy = host
        .restart_policy
        .get_or_insert_with(RestartPolicy::default);
    if matches!(policy.name, None | Some(RestartPolicyNameEnum::EMPTY)) {
        policy.name = Some(RestartPolicyNameEnum::NO);
    }
    policy.maximum_retry_count.get_or_insert(0);
}

fn fill_log(host: &mut HostConfig) {
    let log = host
        .log_config
        .get_or_insert_with(HostConfigLogConfig::default);
    if log.typ.as_deref().unwrap_or_default().is_empty() {
        log.typ = Some("json-file".to_owned());
    }
    log.config.get_or_insert_with(HashMap::new);
}

fn fill_memory(host: &mut HostConfig) {
    let memory = host.memory.unwrap_or(0);
    if memory > 0 && host.memory_swap.unwrap_or(0) == 0 {
        host.memory_swap = Some(memory * 2);
    }
    if host::cgroup_version() == "1" {
        host.oom_kill_disable.get_or_insert(false);
    }
    if host.pids_limit.is_some_and(|limit| limit == 0) {
        host.pids_limit = None;
    }
}

fn fill_paths(host: &mut HostConfig) {
    let unconfined = |option: &String| {
        matches!(
            option.as_str(),
            "systempaths=unconfined" | "systempaths:unconfined"
        )
    };
    let open = host.privileged == Some(true) || host.security_opt.iter().flatten().any(unconfined);
    if open {
        host.masked_paths.get_or_insert_default();
        host.readonly_paths.get_or_insert_default();
        return;
    }
    let list = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    host.masked_paths.get_or_insert_with(|| list(MASKED_PATHS));
    host.readonly_paths
        .get_or_insert_with(|| list(READ_ONLY_PATHS));
}

fn normalize_capabilities(list: &mut Option<Vec<String>>) {
    for name in list.iter_mut().flatten() {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        *name = match bare {
            "ALL" => bare.to_owned(),
            _ => format!("CAP_{bare}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Option<Vec<String>> {
        Some(items.iter().map(|item| (*item).to_owned()).collect())
    }

    #[test]
    fn an_own_entrypoint_drops_the_images_command() {
        let image = ImageConfig {
            cmd: list(&["image"]),
            entrypoint: list(&["/entry"]),
            ..ImageConfig::default()
        };
        let mut config = ContainerConfig {
            entrypoint: list(&["mine"]),
            ..ContainerConfig::default()
        };
        merge_image(&mut config, &image);
        assert_eq!((config.entrypoint, config.cmd), (list(&["mine"]), None));
    }

    #[test]
    fn an_own_command_keeps_the_images_entrypoint() {
        let image = ImageConfig {
            cmd: list(&["image"]),
            entrypoint: list(&["/entry"]),
            ..ImageConfig::default()
        };
        let mut config = ContainerConfig {
            cmd: list(&["mine"]),
            ..ContainerConfig::default()
        };
        merge_image(&mut config, &image);
        assert_eq!(config.entrypoint, list(&["/entry"]));
        assert_eq!(config.cmd, list(&["mine"]));
    }

    #[test]
    fn own_variables_come_first_and_win() {
        let image = ImageConfig {
            env: list(&["A=image", "B=image"]),
            ..ImageConfig::default()
        };
        let mut config = ContainerConfig {
            env: list(&["B=mine"]),
            ..ContainerConfig::default()
        };
        merge_image(&mut config, &image);
        assert_eq!(config.env, list(&["B=mine", "A=image"]));
    }

    #[test]
    fn memory_alone_allows_as_much_swap() {
        let mut host = HostConfig {
            memory: Some(64 << 20),
            ..HostConfig::default()
        };
        fill_defaults(&mut host);
        assert_eq!(host.memory_swap, Some(128 << 20));
    }
}
