//! The machine below the engine, as `/info` and `/version` tell it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::runtime::container::DEVICE_FOLDERS;
use crate::runtime::container::cgroup::CgroupHost;
use crate::runtime::layout::{Layout, Privilege};

/// The kernel's release.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// The architecture as images name it.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Memory of the machine in bytes.
#[must_use]
pub fn memory_total() -> i64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<i64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

/// Number of processors that this process may use.
#[must_use]
pub fn processors() -> i64 {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    i64::try_from(count).unwrap_or(1)
}

/// Whether the unified cgroup hierarchy is the machine's only one.
#[must_use]
pub fn cgroup_version() -> &'static str {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "2"
    } else {
        "1"
    }
}

/// The constant part of `/info`.
#[must_use]
pub fn describe(layout: &Layout) -> Value {
    let uname = rustix::system::uname();
    let mut info = json!({
        "ID": engine_id(layout),
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"], ["userxattr", match layout.privilege() { Privilege::Rootful => "false", Privilege::Rootless => "true" }]],
        "Plugins": plugins(),
        "NFd": 0,
        "NGoroutines": 0,
        "NEventsListener": 0,
        "SystemTime": jiff::Timestamp::now().to_string(),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup_version(),
        "KernelVersion": kernel_release(),
        "OperatingSystem": operating_system(),
        "OSVersion": "",
        "OSType": "linux",
        "Architecture": uname.machine().to_string_lossy(),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registry_config(),
        "NCPU": processors(),
        "MemTotal": memory_total(),
        "DockerRootDir": layout.root(),
        "Name": uname.nodename().to_string_lossy(),
        "Labels": [],
        "ExperimentalBuild": false,
    });
    let abilities = abilities(layout.privilege());
    if let (Value::Object(info), Value::Object(more)) = (&mut info, abilities) {
        info.extend(more);
    }
    info
}

fn abilities(privilege: Privilege) -> Value {
    let mut security = vec!["name=seccomp,profile=builtin", "name=cgroupns"];
    let limits = match privilege {
        Privilege::Rootful => true,
        Privilege::Rootless => {
            security.push("name=rootless");
            CgroupHost::probe().is_ok_and(|host| host.controllers().iter().any(|it| it == "memory"))
        }
    };
    json!({
        "MemoryLimit": limits,
        "SwapLimit": limits,
        "CpuCfsPeriod": limits,
        "CpuCfsQuota": limits,
        "CPUShares": limits,
        "CPUSet": limits,
        "PidsLimit": limits,
        "OomKillDisable": limits && cgroup_version() == "1",
        "IPv4Forwarding": true,
        "Debug": false,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Runtimes": super::runtime::describe(),
        "DefaultRuntime": "hoist",
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "",
            "RemoteManagers": null,
        },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "hoist",
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": "" },
        "InitCommit": { "ID": "" },
        "SecurityOptions": security,
        "CDISpecDirs": DEVICE_FOLDERS,
        "Warnings": null,
    })
}

fn plugins() -> Value {
    json!({
        "Volume": ["local"],
        "Network": ["bridge", "host", "ipvlan", "macvlan", "null", "overlay"],
        "Authorization": null,
        "Log": ["journald", "json-file", "local", "none", "syslog"],
    })
}

fn registry_config() -> Value {
    json!({
        "AllowNondistributableArtifactsCIDRs": null,
        "AllowNondistributableArtifactsHostnames": null,
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "IndexConfigs": {
            "docker.io": { "Name": "docker.io", "Mirrors": [], "Secure": true, "Official": true },
        },
        "Mirrors": null,
    })
}

fn engine_id(layout: &Layout) -> String {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(format!(
        "{}{}",
        machine.trim(),
        layout.root().display()
    ));
    let hex = hex::encode(&digest[..16]);
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

fn operating_system() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(
        || "Linux".to_owned(),
        |name| name.trim_matches('"').to_owned(),
    )
}

/// The machine's own name.
#[must_use]
pub fn node_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
