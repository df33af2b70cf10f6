//! The body of the create call: process, probe, ports, and the host's side of it.

use bollard_stubs::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigIsolationEnum, HostConfigLogConfig, PortBinding, PortMap, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::{
    Request, ResolveError, image_name, label, list, map, mount, network, resource, security, text,
};
use crate::model::{Environment, Healthcheck, Service};

pub(super) fn body(request: &Request<'_>) -> Result<ContainerCreateBody, ResolveError> {
    let service = request.service;
    let networks = network::attach(request)?;
    let mut exposed: Vec<String> = service
        .expose
        .iter()
        .map(|port| with_protocol(port))
        .chain(service.ports.iter().map(port_key))
        .collect();
    exposed.sort();
    exposed.dedup();
    Ok(ContainerCreateBody {
        hostname: text(&service.hostname),
        domainname: text(&service.domainname),
        user: text(&service.user),
        attach_stdin: Some(false),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        exposed_ports: list(&exposed),
        tty: Some(service.tty),
        open_stdin: Some(service.stdin_open),
        stdin_once: Some(false),
        env: list(&environment(&service.environment)),
        cmd: service
            .command
            .as_ref()
            .filter(|command| !command.is_empty())
            .cloned(),
        healthcheck: service.healthcheck.as_deref().map(health).transpose()?,
        image: Some(image_name(request.project, service, request.separator)),
        working_dir: text(&service.working_dir),
        entrypoint: service.entrypoint.clone(),
        network_disabled: (service.network_mode == "disabled").then_some(true),
        labels: Some(label::container_labels(request)),
        stop_signal: text(&service.stop_signal),
        stop_timeout: service
            .stop_grace_period
            .map(|period| period.0 / 1_000_000_000),
        host_config: Some(host_config(request, networks.mode.clone())?),
        networking_config: networks.config,
        ..ContainerCreateBody::default()
    })
}

/// `KEY=value`, or the bare key, which removes the image's variable (behaviours.md B044).
pub(super) fn environment(environment: &Environment) -> Vec<String> {
    environment
        .iter()
        .map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
        .collect()
}

fn health(probe: &Healthcheck) -> Result<HealthConfig, ResolveError> {
    if probe.start_interval.is_some() && probe.start_period.is_none() {
        return Err(ResolveError::StartInterval);
    }
    let test = if probe.disable {
        Some(vec!["NONE".to_owned()])
    } else {
        list(&probe.test)
    };
    Ok(HealthConfig {
        test,
        interval: probe.interval.map(|span| span.0),
        timeout: probe.timeout.map(|span| span.0),
        retries: probe
            .retries
            .and_then(|retries| i64::try_from(retries).ok()),
        start_period: probe.start_period.map(|span| span.0),
        start_interval: probe.start_interval.map(|span| span.0),
    })
}

fn with_protocol(port: &str) -> String {
    if port.contains('/') {
        port.to_owned()
    } else {
        format!("{port}/tcp")
    }
}

fn port_key(port: &crate::model::Port) -> String {
    let protocol = if port.protocol.is_empty() {
        "tcp"
    } else {
        &port.protocol
    };
    format!("{}/{protocol}", port.target)
}

fn port_bindings(service: &Service) -> Option<PortMap> {
    let mut bindings = PortMap::new();
    for port in &service.ports {
        let binding = PortBinding {
            host_ip: text(&port.host_ip),
            host_port: text(&port.published),
        };
        bindings
            .entry(port_key(port))
            .or_default()
            .get_or_insert_with(Vec::new)
            .push(binding);
    }
    (!bindings.is_empty()).then_some(bindings)
}

fn host_config(request: &Request<'_>, network_mode: String) -> Result<HostConfig, ResolveError> {
    let service = request.service;
    let mounts = mount::mounts(request)?;
    let security = security::security(service);
    let mut host = HostConfig {
        binds: list(&mounts.binds),
        mounts: list(&mounts.mounts),
        volumes_from: list(&volumes_from(service)),
        volume_driver: text(&service.volume_driver),
        tmpfs: tmpfs(service),
        network_mode: Some(network_mode),
        port_bindings: port_bindings(service),
        restart_policy: Some(restart_policy(service)),
        log_config: log_config(service),
        annotations: map(&service.annotations),
        cap_add: list(&service.cap_add),
        cap_drop: list(&service.cap_drop),
        cgroupns_mode: cgroup_namespace(service),
        dns: list(&service.dns),
        dns_options: list(&service.dns_opt),
        dns_search: list(&service.dns_search),
        extra_hosts: list(&extra_hosts(service)),
        group_add: list(&service.group_add),
        ipc_mode: text(&service.ipc),
        links: list(&network::links(request)),
        oom_score_adj: service.oom_score_adj,
        pid_mode: text(&service.pid),
        privileged: Some(service.privileged),
        readonly_rootfs: Some(service.read_only),
        security_opt: list(&security.options),
        storage_opt: map(&service.storage_opt),
        uts_mode: text(&service.uts),
        userns_mode: text(&service.userns_mode),
        shm_size: service.shm_size.map(|size| size.0),
        sysctls: map(&service.sysctls),
        runtime: text(&service.runtime),
        init: service.init,
        isolation: isolation(service),
        ..resource::limits(service)
    };
    if security.paths == security::Unconfined::Yes {
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
    Ok(host)
}

/// `service:mode` is passed without the mode (behaviours.md B157); references are container ids by now.
fn volumes_from(service: &Service) -> Vec<String> {
    service
        .volumes_from
        .iter()
        .map(|from| from.strip_prefix("container:").unwrap_or(from).to_owned())
        .collect()
}

fn tmpfs(service: &Service) -> Option<std::collections::HashMap<String, String>> {
    let entries = service.tmpfs.iter().map(|entry| {
        let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
        (path.to_owned(), options.to_owned())
    });
    (!service.tmpfs.is_empty()).then(|| entries.collect())
}

fn restart_policy(service: &Service) -> RestartPolicy {
    if let Some(policy) = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.restart_policy.as_ref())
    {
        let name = match policy.condition.as_str() {
            "none" | "no" => RestartPolicyNameEnum::NO,
            "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
            "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
            _ => RestartPolicyNameEnum::ALWAYS,
        };
        return RestartPolicy {
            name: Some(name),
            maximum_retry_count: policy
                .max_attempts
                .and_then(|count| i64::try_from(count).ok()),
        };
    }
    let (name, count) = service
        .restart
        .split_once(':')
        .unwrap_or((&service.restart, ""));
    RestartPolicy {
        name: Some(name.parse().unwrap_or(RestartPolicyNameEnum::NO)).filter(|_| !name.is_empty()),
        maximum_retry_count: count.parse().ok(),
    }
}

fn log_config(service: &Service) -> Option<HostConfigLogConfig> {
    let logging = service.logging.as_ref()?;
    Some(HostConfigLogConfig {
        typ: text(&logging.driver),
        config: map(&logging.options),
    })
}

fn cgroup_namespace(service: &Service) -> Option<HostConfigCgroupnsModeEnum> {
    text(&service.cgroup).and_then(|mode| mode.parse().ok())
}

fn isolation(service: &Service) -> Option<HostConfigIsolationEnum> {
    text(&service.isolation).and_then(|mode| mode.parse().ok())
}

fn extra_hosts(service: &Service) -> Vec<String> {
    service
        .extra_hosts
        .iter()
        .flat_map(|(host, addresses)| {
            addresses
                .iter()
                .map(move |address| format!("{host}:{address}"))
        })
        .collect()
}
