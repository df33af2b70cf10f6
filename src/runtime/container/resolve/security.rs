//! What a container may do: capabilities, `security_opt`, protected paths.

use std::path::PathBuf;

use bollard_stubs::models::HostConfig;

use super::ResolveError;
use crate::runtime::container::request::{Access, NewPrivileges, PathProtection, Seccomp};
use crate::runtime::container::{capability, seccomp};

/// The security of a process.
#[derive(Debug)]
pub(super) struct Security {
    pub capabilities: u64,
    pub privileges: NewPrivileges,
    pub seccomp: Seccomp,
    pub apparmor: Option<String>,
    pub selinux: Option<String>,
}

fn invalid(value: &str) -> ResolveError {
    ResolveError::Invalid {
        what: "--security-opt",
        value: value.to_owned(),
    }
}

/// Reads `cap_add`, `cap_drop`, `privileged` and `security_opt`.
pub(super) fn options(
    host: &HostConfig,
    warnings: &mut Vec<String>,
) -> Result<Security, ResolveError> {
    let privileged = host.privileged == Some(true);
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let mask = capability::mask(&list(&host.cap_add), &list(&host.cap_drop)).map_err(|value| {
        ResolveError::Invalid {
            what: "capability",
            value,
        }
    })?;
    let capabilities = if privileged {
        capability::available()
    } else {
        mask
    };
    let mut security = Security {
        capabilities,
        privileges: NewPrivileges::Allowed,
        seccomp: if privileged {
            Seccomp::Unconfined
        } else {
            Seccomp::Program(seccomp::default_program(capabilities))
        },
        apparmor: (!privileged && apparmor_has("docker-default"))
            .then(|| "docker-default".to_owned()),
        selinux: None,
    };
    for option in list(&host.security_opt) {
        apply(&option, &mut security, warnings)?;
    }
    Ok(security)
}

fn apply(
    option: &str,
    security: &mut Security,
    warnings: &mut Vec<String>,
) -> Result<(), ResolveError> {
    let (name, value) = option
        .split_once('=')
        .or_else(|| option.split_once(':'))
        .unwrap_or((option, ""));
    match (name, value) {
        ("no-new-privileges", "" | "true") => security.privileges = NewPrivileges::Refused,
        ("no-new-privileges", "false") => security.privileges = NewPrivileges::Allowed,
        ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
        ("seccomp", "builtin" | "default") => {
            security.seccomp = Seccomp::Program(seccomp::default_program(security.capabilities));
        }
        ("seccomp", profile) => security.seccomp = custom_seccomp(profile, security.capabilities)?,
        ("apparmor", "unconfined") => security.apparmor = None,
        ("apparmor", profile) if apparmor_has(profile) => {
            security.apparmor = Some(profile.to_owned());
        }
        ("apparmor", profile) => {
            if PathBuf::from("/sys/kernel/security/apparmor").exists() {
                return Err(ResolveError::Invalid {
                    what: "AppArmor profile (not loaded)",
                    value: profile.to_owned(),
                });
            }
            warnings.push(format!(
                "AppArmor is not enabled here: the profile `{profile}` is ignored"
            ));
        }
        ("label", _) => label(value, security, warnings),
        ("systempaths", "unconfined") => {}
        _ => return Err(invalid(option)),
    }
    Ok(())
}

/// The JSON itself (clients read the file), or the path of a file on this host.
fn custom_seccomp(profile: &str, capabilities: u64) -> Result<Seccomp, ResolveError> {
    seccomp::custom_program(&profile_text(profile)?, capabilities)
        .map(Seccomp::Program)
        .map_err(ResolveError::Seccomp)
}

fn profile_text(profile: &str) -> Result<String, ResolveError> {
    if profile.trim_start().starts_with('{') {
        return Ok(profile.to_owned());
    }
    let path = PathBuf::from(profile);
    std::fs::read_to_string(&path).map_err(|source| ResolveError::Read { path, source })
}

/// The filter for an OCI runtime, as the runtime specification has it; none is unconfined.
pub(super) fn runtime_filter(
    host: &HostConfig,
    capabilities: u64,
) -> Result<Option<String>, ResolveError> {
    let options = host.security_opt.iter().flatten();
    let wished = options
        .filter_map(|option| option.split_once('=').or_else(|| option.split_once(':')))
        .rfind(|(name, _)| *name == "seccomp");
    match wished {
        None if host.privileged == Some(true) => Ok(None),
        Some((_, "unconfined")) => Ok(None),
        None | Some((_, "builtin" | "default")) => {
            Ok(Some(seccomp::default_specification(capabilities)))
        }
        Some((_, profile)) => seccomp::custom_specification(&profile_text(profile)?, capabilities)
            .map(Some)
            .map_err(ResolveError::Seccomp),
    }
}

fn apparmor_has(profile: &str) -> bool {
    std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").is_ok_and(|loaded| {
        loaded
            .lines()
            .any(|line| line.split(' ').next() == Some(profile))
    })
}

/// `SELinux`: a whole label is only known with type and level; without `SELinux` all of it is moot.
fn label(value: &str, security: &mut Security, warnings: &mut Vec<String>) {
    if !PathBuf::from("/sys/fs/selinux/enforce").exists() {
        if value != "disable" {
            warnings.push(format!(
                "SELinux is not enabled here: the label `{value}` is ignored"
            ));
        }
        return;
    }
    let current = security
        .selinux
        .clone()
        .unwrap_or_else(|| "system_u:system_r:container_t:s0".to_owned());
    let mut parts: Vec<String> = current.splitn(4, ':').map(str::to_owned).collect();
    let (key, text) = value.split_once(':').unwrap_or((value, ""));
    let index = match key {
        "user" => 0,
        "role" => 1,
        "type" => 2,
        "level" => 3,
        _ => {
            security.selinux = None;
            return;
        }
    };
    if let Some(part) = parts.get_mut(index) {
        text.clone_into(part);
    }
    security.selinux = Some(parts.join(":"));
}

/// Docker's lists; those of the request replace them, and a privileged container has none.
pub(super) fn paths(host: &HostConfig) -> Result<PathProtection, ResolveError> {
    let privileged = host.privileged == Some(true);
    let open = host.security_opt.iter().flatten().any(|option| {
        matches!(
            option.as_str(),
            "systempaths=unconfined" | "systempaths:unconfined"
        )
    });
    let choose = |wished: &Option<Vec<String>>, usual: Vec<String>| match wished {
        Some(wished) => wished.clone(),
        None if privileged || open => Vec::new(),
        None => usual,
    };
    let masked = choose(&host.masked_paths, masked());
    let read_only = choose(&host.readonly_paths, read_only());
    if let Some(path) = masked
        .iter()
        .chain(&read_only)
        .find(|path| !path.starts_with('/'))
    {
        return Err(ResolveError::Invalid {
            what: "masked or read-only path",
            value: path.clone(),
        });
    }
    let kernel = if privileged {
        Access::ReadWrite
    } else {
        Access::ReadOnly
    };
    Ok(PathProtection {
        masked,
        read_only,
        kernel,
    })
}

fn masked() -> Vec<String> {
    let usual = [
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
    let mut masked: Vec<String> = usual.map(str::to_owned).to_vec();
    masked.extend(thermal_throttles());
    masked
}

/// Of each CPU that has one, as Docker does.
fn thermal_throttles() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/cpu") else {
        return Vec::new();
    };
    let paths = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("thermal_throttle"));
    let mut paths: Vec<String> = paths
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    paths.sort();
    paths
}

fn read_only() -> Vec<String> {
    [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ]
    .map(str::to_owned)
    .to_vec()
}
