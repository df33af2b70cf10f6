//! A container's request in the words of the OCI runtime specification: `config.json`. Pure.

use serde_json::{Map, Value, json};

use super::Told;
use crate::runtime::container::capability;
use crate::runtime::container::finish;
use crate::runtime::container::request::{
    Access, BlockLimitKind, ContainerRequest, Device, DeviceKind, DeviceRule, Init, Limits, Mount,
    MountKind, Namespace, NewPrivileges, Process, Propagation, Recursion, TerminalSize, Verdict,
};
use crate::runtime::container::setup::INIT_PATH;
use crate::runtime::container::user::Identity;

/// What a configuration is made from.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// The container.
    pub request: &'a ContainerRequest,
    /// Its user.
    pub identity: &'a Identity,
    /// Its mounts, with sources that the runtime can open.
    pub mounts: &'a [Mount],
    /// What of its limits the runtime is to know.
    pub told: Told,
}

/// The whole configuration; its root lies beside the bundle.
pub(super) fn container(subject: &Subject<'_>) -> Value {
    let request = subject.request;
    let mut first = process(&request.process, subject.identity);
    if request.process.init == Init::Own {
        let mut argv = vec![INIT_PATH.to_owned(), "--".to_owned()];
        argv.extend(request.process.argv.iter().cloned());
        first["args"] = json!(argv);
    }
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": first,
        "root": {
            "path": request.run_dir.join("rootfs"),
            "readonly": request.rootfs.access == Access::ReadOnly,
        },
        "mounts": mounts(request, subject.mounts),
        "linux": linux(subject),
    });
    if request.namespaces.uts == Namespace::New {
        config["hostname"] = json!(request.hostname.clone().unwrap_or_default());
    }
    if let Some(runtime) = &request.runtime {
        let annotations = runtime.annotations.iter();
        let annotations: Map<String, Value> = annotations
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        config["annotations"] = Value::Object(annotations);
    }
    config
}

/// One process: the first, or an exec's.
pub(super) fn process(wanted: &Process, identity: &Identity) -> Value {
    let bounding = capability::names(wanted.capabilities);
    // As an exec of the kernel would leave them to an ordinary user.
    let held = if identity.uid == 0 {
        bounding.clone()
    } else {
        Vec::new()
    };
    let limits = wanted.rlimits.iter().map(|limit| {
        let value = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
        json!({
            "type": format!("RLIMIT_{}", limit.name.to_ascii_uppercase()),
            "soft": value(limit.soft),
            "hard": value(limit.hard),
        })
    });
    let mut process = json!({
        "terminal": wanted.terminal.is_some(),
        "user": { "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups },
        "args": wanted.argv,
        "env": finish::environment(&wanted.env, identity),
        "cwd": wanted.cwd,
        "capabilities": { "bounding": bounding, "effective": held, "permitted": held },
        "rlimits": limits.collect::<Vec<_>>(),
        "noNewPrivileges": wanted.privileges == NewPrivileges::Refused,
        "oomScoreAdj": wanted.oom_score_adj.unwrap_or(0),
    });
    // Known before the program runs; the keeper sets what comes later.
    if let Some(size) = wanted
        .terminal
        .filter(|size| *size != TerminalSize::default())
    {
        process["consoleSize"] = json!({ "height": size.rows, "width": size.columns });
    }
    let labels = [
        ("apparmorProfile", &wanted.apparmor),
        ("selinuxLabel", &wanted.selinux),
    ];
    for (key, label) in labels {
        if let Some(label) = label {
            process[key] = json!(label);
        }
    }
    process
}

fn mounts(request: &ContainerRequest, wanted: &[Mount]) -> Vec<Value> {
    let kernel = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    let access = match request.paths.kernel {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    };
    let hardened = ["nosuid", "noexec", "nodev"];
    let locked = ["nosuid", "noexec", "nodev", access];
    let dev = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let pts = [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5",
    ];
    let mut mounts = vec![
        kernel("/proc", "proc", &hardened),
        kernel("/dev", "tmpfs", &dev),
        kernel("/dev/pts", "devpts", &pts),
        kernel("/sys", "sysfs", &locked),
    ];
    if request.namespaces.ipc != Namespace::Host {
        mounts.push(kernel("/dev/mqueue", "mqueue", &hardened));
    }
    if request.namespaces.ipc == Namespace::New && request.shm_size > 0 {
        let size = format!("size={}", request.shm_size);
        let options = ["nosuid", "noexec", "nodev", "mode=1777", &size];
        let mut shm = kernel("/dev/shm", "tmpfs", &options);
        shm["source"] = json!("shm");
        mounts.push(shm);
    }
    mounts.push(kernel("/sys/fs/cgroup", "cgroup", &locked));
    mounts.extend(wanted.iter().map(mount));
    mounts
}

fn mount(mount: &Mount) -> Value {
    let access = match mount.access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    };
    match &mount.kind {
        MountKind::Bind {
            source,
            recursion,
            propagation,
        } => {
            let bind = match recursion {
                Recursion::Single => "bind",
                Recursion::Recursive | Recursion::RecursiveTopReadOnly => "rbind",
            };
            json!({
                "destination": mount.target,
                "type": "bind",
                "source": source,
                "options": [bind, propagation_word(*propagation), access],
            })
        }
        MountKind::Tmpfs { options } => {
            let options = options.split(',').filter(|option| !option.is_empty());
            let mut options: Vec<&str> = options.collect();
            options.push(access);
            json!({
                "destination": mount.target,
                "type": "tmpfs",
                "source": "tmpfs",
                "options": options,
            })
        }
    }
}

fn propagation_word(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::RecursivePrivate => "rprivate",
        Propagation::Private => "private",
        Propagation::Shared => "shared",
        Propagation::RecursiveShared => "rshared",
        Propagation::Slave => "slave",
        Propagation::RecursiveSlave => "rslave",
    }
}

/// A bind stays a peer of the host's only below a root that lets it.
fn root_propagation(mounts: &[Mount]) -> Option<&'static str> {
    let binds = mounts.iter().filter_map(|mount| match mount.kind {
        MountKind::Bind { propagation, .. } => Some(propagation),
        MountKind::Tmpfs { .. } => None,
    });
    binds
        .filter_map(|propagation| match propagation {
            Propagation::Shared | Propagation::RecursiveShared => Some((1, "shared")),
            Propagation::Slave | Propagation::RecursiveSlave => Some((0, "rslave")),
            Propagation::Private | Propagation::RecursivePrivate => None,
        })
        .max()
        .map(|(_, word)| word)
}

fn linux(subject: &Subject<'_>) -> Value {
    let request = subject.request;
    let mut linux = json!({
        "cgroupsPath": format!("/{}", request.cgroup.path),
        "namespaces": namespaces(request),
        "devices": request.devices.iter().map(device).collect::<Vec<_>>(),
        "resources": resources(request, subject.told),
        "sysctl": sysctls(request),
        "maskedPaths": request.paths.masked,
        "readonlyPaths": request.paths.read_only,
    });
    if let Some(word) = root_propagation(subject.mounts) {
        linux["rootfsPropagation"] = json!(word);
    }
    let filter = request
        .runtime
        .as_ref()
        .and_then(|runtime| runtime.seccomp.as_deref())
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(filter) = filter {
        linux["seccomp"] = filter;
    }
    if request.namespaces.time == Namespace::New {
        let offsets = request.namespaces.time_offsets.iter().map(|offset| {
            let value = json!({ "secs": offset.seconds, "nanosecs": offset.nanoseconds });
            (offset.clock.clone(), value)
        });
        linux["timeOffsets"] = Value::Object(offsets.collect());
    }
    linux
}

fn namespaces(request: &ContainerRequest) -> Vec<Value> {
    let own = &request.namespaces;
    let kinds = [
        ("network", &own.network),
        ("pid", &own.pid),
        ("ipc", &own.ipc),
        ("uts", &own.uts),
        ("cgroup", &own.cgroup),
        ("time", &own.time),
        ("mount", &Namespace::New),
    ];
    kinds
        .into_iter()
        .filter_map(|(kind, namespace)| match namespace {
            Namespace::New => Some(json!({ "type": kind })),
            Namespace::Path(path) => Some(json!({ "type": kind, "path": path })),
            Namespace::Host => None,
        })
        .collect()
}

fn sysctls(request: &ContainerRequest) -> Value {
    let mut sysctls: Map<String, Value> = request
        .sysctls
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    if let (Namespace::New, Some(name)) = (&request.namespaces.uts, &request.domainname) {
        sysctls.insert("kernel.domainname".to_owned(), json!(name));
    }
    Value::Object(sysctls)
}

fn device(device: &Device) -> Value {
    json!({
        "path": device.path,
        "type": match device.kind { DeviceKind::Character => "c", DeviceKind::Block => "b" },
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode & 0o7777,
        "uid": device.uid,
        "gid": device.gid,
    })
}

fn resources(request: &ContainerRequest, told: Told) -> Value {
    let mut resources = match told {
        Told::Limits => limits(&request.cgroup.limits),
        Told::Devices => Map::new(),
    };
    let rules = &request.cgroup.devices;
    let all = json!({ "allow": rules.is_empty(), "access": "rwm" });
    let rules = std::iter::once(all).chain(rules.iter().map(device_rule));
    resources.insert("devices".to_owned(), rules.collect());
    Value::Object(resources)
}

fn device_rule(rule: &DeviceRule) -> Value {
    let mut text = json!({
        "allow": rule.verdict == Verdict::Allow,
        "type": rule.kind.to_string(),
        "access": rule.access,
    });
    for (key, number) in [("major", rule.major), ("minor", rule.minor)] {
        if let Some(number) = number {
            text[key] = json!(number);
        }
    }
    text
}

/// Only what is set: a runtime may take a zero for a limit.
fn limits(limits: &Limits) -> Map<String, Value> {
    let memory = [
        ("limit", limits.memory.map(Value::from)),
        ("swap", limits.memory_swap.map(Value::from)),
        ("reservation", limits.memory_reservation.map(Value::from)),
        ("swappiness", limits.memory_swappiness.map(Value::from)),
        ("disableOOMKiller", limits.oom_kill_disable.map(Value::from)),
    ];
    let cpu = [
        ("shares", limits.cpu_shares.map(Value::from)),
        ("quota", limits.cpu_quota.map(Value::from)),
        ("period", limits.cpu_period.map(Value::from)),
        (
            "realtimeRuntime",
            limits.cpu_realtime_runtime.map(Value::from),
        ),
        (
            "realtimePeriod",
            limits.cpu_realtime_period.map(Value::from),
        ),
        ("cpus", limits.cpuset_cpus.clone().map(Value::from)),
        ("mems", limits.cpuset_mems.clone().map(Value::from)),
    ];
    let processes = [("limit", limits.pids.map(Value::from))];
    let mut parts = Map::new();
    let tables = [
        ("memory", memory.as_slice()),
        ("cpu", &cpu),
        ("pids", &processes),
    ];
    for (name, table) in tables {
        let set: Map<String, Value> = table
            .iter()
            .filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)))
            .collect();
        if !set.is_empty() {
            parts.insert(name.to_owned(), Value::Object(set));
        }
    }
    if let Some(block) = block(limits) {
        parts.insert("blockIO".to_owned(), block);
    }
    parts
}

fn block(limits: &Limits) -> Option<Value> {
    let mut block = Map::new();
    if let Some(weight) = limits.blkio_weight {
        block.insert("weight".to_owned(), json!(weight));
    }
    for limit in &limits.blkio {
        let (list, figure) = match limit.kind {
            BlockLimitKind::ReadBytes => ("throttleReadBpsDevice", "rate"),
            BlockLimitKind::WriteBytes => ("throttleWriteBpsDevice", "rate"),
            BlockLimitKind::ReadOperations => ("throttleReadIOPSDevice", "rate"),
            BlockLimitKind::WriteOperations => ("throttleWriteIOPSDevice", "rate"),
            BlockLimitKind::Weight => ("weightDevice", "weight"),
        };
        let entry = json!({ "major": limit.major, "minor": limit.minor, figure: limit.rate });
        let list = block.entry(list).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(entry);
        }
    }
    (!block.is_empty()).then_some(Value::Object(block))
}

#[cfg(test)]
mod tests;
