//! Which namespaces are new, shared or the host's, and what is set inside them.

use bollard_stubs::models::{HostConfig, HostConfigCgroupnsModeEnum};

use super::{ResolveError, ResolveInput, time};
use crate::runtime::container::request::{Namespace, Namespaces};

/// Reads all modes.
pub(super) fn resolve(input: &ResolveInput<'_>) -> Result<Namespaces, ResolveError> {
    let host = input.host_config;
    let time_offsets = time::offsets(input.config.labels.as_ref())?;
    let cgroup = match host.cgroupns_mode {
        Some(HostConfigCgroupnsModeEnum::HOST) => Namespace::Host,
        Some(HostConfigCgroupnsModeEnum::PRIVATE | HostConfigCgroupnsModeEnum::EMPTY) | None => {
            Namespace::New
        }
    };
    Ok(Namespaces {
        network: input.network.clone(),
        pid: mode(input, host.pid_mode.as_deref(), "pid", "PID mode")?,
        ipc: mode(input, host.ipc_mode.as_deref(), "ipc", "IPC mode")?,
        uts: mode(input, host.uts_mode.as_deref(), "uts", "UTS mode")?,
        cgroup: if host.privileged == Some(true) && host.cgroupns_mode.is_none() {
            Namespace::New
        } else {
            cgroup
        },
        user: match &input.remap {
            Some(_) => input.network.clone(),
            None => Namespace::Host,
        },
        time: if time_offsets.is_empty() {
            Namespace::Host
        } else {
            Namespace::New
        },
        time_offsets,
        uid_map: input.remap.clone().map_or_else(Vec::new, |maps| maps.users),
        gid_map: input
            .remap
            .clone()
            .map_or_else(Vec::new, |maps| maps.groups),
    })
}

fn mode(
    input: &ResolveInput<'_>,
    mode: Option<&str>,
    file: &str,
    what: &'static str,
) -> Result<Namespace, ResolveError> {
    let invalid = |value: &str| ResolveError::Invalid {
        what,
        value: value.to_owned(),
    };
    match mode.unwrap_or_default() {
        "" | "private" => Ok(Namespace::New),
        "shareable" | "none" if file == "ipc" => Ok(Namespace::New),
        "host" => Ok(Namespace::Host),
        other => {
            let peer = other
                .strip_prefix("container:")
                .filter(|_| file != "uts")
                .ok_or_else(|| invalid(other))?;
            let process = input.peers.get(peer).ok_or_else(|| invalid(other))?;
            Ok(Namespace::Path(process.join("ns").join(file)))
        }
    }
}

/// The host name to set; none where the UTS namespace is the host's.
pub(super) fn hostname(input: &ResolveInput<'_>, namespaces: &Namespaces) -> Option<String> {
    (namespaces.uts == Namespace::New)
        .then(|| visible_hostname(input))
        .flatten()
}

/// The host name that the container sees.
pub(super) fn visible_hostname(input: &ResolveInput<'_>) -> Option<String> {
    let own = input
        .config
        .hostname
        .clone()
        .filter(|name| !name.is_empty());
    let shares_host = input.host_config.network_mode.as_deref() == Some("host")
        || input.host_config.uts_mode.as_deref() == Some("host");
    own.or_else(|| {
        if shares_host {
            Some(
                rustix::system::uname()
                    .nodename()
                    .to_string_lossy()
                    .into_owned(),
            )
        } else {
            Some(input.id.chars().take(12).collect())
        }
    })
}

/// Kernel parameters that belong to a namespace of the container's own, and Docker's two defaults.
pub(super) fn sysctls(
    host: &HostConfig,
    namespaces: &Namespaces,
) -> Result<Vec<(String, String)>, ResolveError> {
    let joined = host
        .network_mode
        .as_deref()
        .is_some_and(|mode| mode.starts_with("container:"));
    let own_network = namespaces.network != Namespace::Host && !joined;
    let wished = host.sysctls.clone().unwrap_or_default();
    let mut sysctls: Vec<(String, String)> = Vec::new();
    let defaults = [
        ("net.ipv4.ip_unprivileged_port_start", "0"),
        ("net.ipv4.ping_group_range", "0 2147483647"),
    ];
    for (name, value) in defaults {
        if own_network && !wished.contains_key(name) {
            sysctls.push((name.to_owned(), value.to_owned()));
        }
    }
    for (name, value) in wished {
        let plain = name.replace('/', ".");
        let ours = if plain.starts_with("net.") {
            namespaces.network != Namespace::Host
        } else {
            belongs_to_ipc(&plain) && namespaces.ipc != Namespace::Host
        };
        if !ours || plain.contains("..") {
            return Err(ResolveError::Invalid {
                what: "sysctl (not in a namespace of the container's own)",
                value: name,
            });
        }
        sysctls.push((plain, value));
    }
    sysctls.sort();
    Ok(sysctls)
}

fn belongs_to_ipc(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    NAMES.contains(&name) || name.starts_with("fs.mqueue.")
}
