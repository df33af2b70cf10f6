//! The whole truth about a container, field by field as Docker writes it.

use std::sync::Arc;

use bollard_stubs::models::EndpointSettings;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::runtime::container::request::Access;
use crate::runtime::image::ImageRecord;
use crate::runtime::supervise::mount::propagation_name;
use crate::runtime::supervise::record::{HealthRecord, MountRecord, MountType, NO_TIME, Record};
use crate::runtime::supervise::status::Status;
use crate::runtime::supervise::{Container, Supervisor};

/// The answer of `/containers/ID/json`.
pub(crate) fn inspect(engine: &Arc<Supervisor>, container: &Container, with_size: bool) -> Value {
    let record = container.record();
    let command = record.command();
    let (path, args) = command
        .split_first()
        .map_or((String::new(), Vec::new()), |(path, args)| {
            (path.clone(), args.to_vec())
        });
    let file = |name: &str| container.folder().join(name);
    let started = record.state.started_at.is_some();
    let log_path = match log_driver(&record) {
        "json-file" if started => container.log_path().display().to_string(),
        _ => String::new(),
    };
    let mut value = json!({
        "Id": record.id,
        "Created": record.created.to_string(),
        "Path": path,
        "Args": args,
        "State": state(&record),
        "Image": ImageRecord::public_id(&record.image),
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": log_path,
        "Name": format!("/{}", record.name),
        "RestartCount": record.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": exec_ids(engine, &record),
        "HostConfig": host_config(engine, &record),
        "GraphDriver": graph_driver(container, &record),
        "Mounts": record.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Config": config(&record),
        "NetworkSettings": network_settings(engine, &record),
    });
    if with_size {
        let own = engine.layer_size(container);
        value["SizeRw"] = json!(own);
        value["SizeRootFs"] = json!(own + engine.image_size(container));
    }
    value
}

fn log_driver(record: &Record) -> &str {
    let log = record.host_config.log_config.as_ref();
    log.and_then(|log| log.typ.as_deref())
        .unwrap_or("json-file")
}

fn exec_ids(engine: &Supervisor, record: &Record) -> Value {
    let ids = engine.running_execs(&record.id);
    if ids.is_empty() {
        Value::Null
    } else {
        json!(ids)
    }
}

/// A time, or Docker's word for none.
pub(crate) fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NO_TIME.to_owned(), |at| at.to_string())
}

fn state(record: &Record) -> Value {
    let state = &record.state;
    let status = state.status;
    let mut value = json!({
        "Status": status.name(),
        "Running": status.is_running(),
        "Paused": status == Status::Paused,
        "Restarting": status == Status::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": status == Status::Dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": time(state.started_at),
        "FinishedAt": time(state.finished_at),
    });
    if let Some(record) = &record.health {
        value["Health"] = health(record);
    }
    value
}

fn health(health: &HealthRecord) -> Value {
    let log: Vec<_> = health
        .log
        .iter()
        .map(|probe| {
            json!({
                "Start": probe.start.to_string(),
                "End": probe.end.to_string(),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            })
        })
        .collect();
    json!({ "Status": health.status.name(), "FailingStreak": health.failing_streak, "Log": log })
}

/// Lays what is known over what Docker writes where nothing is known.
fn over(template: Value, known: &impl Serialize) -> Value {
    let Value::Object(mut template) = template else {
        return template;
    };
    if let Ok(Value::Object(known)) = serde_json::to_value(known) {
        template.extend(known);
    }
    Value::Object(template)
}

/// Links as Docker shows them: `/target:/container/alias`.
fn links(engine: &Supervisor, record: &Record) -> Value {
    let Some(links) = record
        .host_config
        .links
        .as_ref()
        .filter(|links| !links.is_empty())
    else {
        return Value::Null;
    };
    let shown = links.iter().map(|link| {
        let (reference, alias) = link.split_once(':').unwrap_or((link, link));
        let target = engine
            .find(reference)
            .map(|target| target.with(|target| target.name.clone()));
        let target = target.unwrap_or_else(|| reference.to_owned());
        format!("/{target}:/{}/{alias}", record.name)
    });
    json!(shown.collect::<Vec<_>>())
}

fn host_config(engine: &Supervisor, record: &Record) -> Value {
    let mut value = over(host_template(), &record.host_config);
    let resources = over(resource_template(), &record.host_config);
    if let (Value::Object(value), Value::Object(resources)) = (&mut value, resources) {
        for (key, resource) in resources {
            value.entry(key).or_insert(resource);
        }
    }
    value["Links"] = links(engine, record);
    if value["Annotations"].is_null() {
        let _absent = value
            .as_object_mut()
            .and_then(|object| object.remove("Annotations"));
    }
    value
}

fn host_template() -> Value {
    json!({
        "Binds": null, "ContainerIDFile": "", "LogConfig": { "Type": "json-file", "Config": {} },
        "NetworkMode": "bridge", "PortBindings": {}, "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
        "AutoRemove": false, "VolumeDriver": "", "VolumesFrom": null, "ConsoleSize": [0, 0], "CapAdd": null,
        "CapDrop": null, "CgroupnsMode": "private", "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": null,
        "GroupAdd": null, "IpcMode": "private", "Cgroup": "", "Links": null, "OomScoreAdj": 0, "PidMode": "",
        "Privileged": false, "PublishAllPorts": false, "ReadonlyRootfs": false, "SecurityOpt": null, "UTSMode": "",
        "UsernsMode": "", "ShmSize": 67_108_864, "Runtime": "hoist", "Isolation": "",
    })
}

fn resource_template() -> Value {
    json!({
        "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0, "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [],
        "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "",
        "CpusetMems": "", "Devices": [], "DeviceCgroupRules": null, "DeviceRequests": null, "MemoryReservation": 0,
        "MemorySwap": 0, "MemorySwappiness": null, "OomKillDisable": null, "PidsLimit": null, "Ulimits": [],
        "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "MaskedPaths": null,
        "ReadonlyPaths": null,
    })
}

fn config(record: &Record) -> Value {
    let template = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": [], "Cmd": null,
        "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null, "OnBuild": null, "Labels": {},
    });
    let mut value = over(template, &record.config);
    if let Value::Object(object) = &mut value {
        drop_if_empty(object, "ExposedPorts");
        if object
            .get("Volumes")
            .is_some_and(|volumes| volumes == &json!({}))
        {
            object.insert("Volumes".to_owned(), Value::Null);
        }
    }
    value
}

fn drop_if_empty(object: &mut Map<String, Value>, key: &str) {
    if object.get(key).is_some_and(|value| value == &json!({})) {
        object.remove(key);
    }
}

fn graph_driver(container: &Container, record: &Record) -> Value {
    let lower: Vec<_> = record
        .lower
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    json!({
        "Name": "overlay2",
        "Data": {
            "ID": record.id,
            "LowerDir": lower.join(":"),
            "MergedDir": container.folder().join("merged"),
            "UpperDir": container.upper(),
            "WorkDir": container.work(),
        },
    })
}

/// A mount as clients see it.
pub(crate) fn mount(mount: &MountRecord) -> Value {
    let mut value = Map::new();
    value.insert("Type".to_owned(), json!(mount.kind.name()));
    if matches!(mount.kind, MountType::Volume | MountType::Image) {
        value.insert("Name".to_owned(), json!(mount.name));
    }
    value.insert("Source".to_owned(), json!(mount.source));
    value.insert("Destination".to_owned(), json!(mount.destination));
    if mount.kind == MountType::Volume {
        value.insert("Driver".to_owned(), json!("local"));
    }
    value.insert("Mode".to_owned(), json!(mount.mode));
    value.insert("RW".to_owned(), json!(mount.access == Access::ReadWrite));
    let propagation = match mount.kind {
        MountType::Bind => propagation_name(mount.propagation),
        MountType::Volume | MountType::Tmpfs | MountType::Image => "",
    };
    value.insert("Propagation".to_owned(), json!(propagation));
    Value::Object(value)
}

fn network_settings(engine: &Arc<Supervisor>, record: &Record) -> Value {
    let alive = record.state.status.is_alive();
    let sandbox = if alive {
        sandbox_id(record)
    } else {
        String::new()
    };
    let key = match engine.networks().namespace_of(&record.id) {
        Some(path) if alive => path.display().to_string(),
        _ if alive => format!("/proc/{}/ns/net", record.state.pid),
        _ => String::new(),
    };
    let mut value = json!({
        "Bridge": "", "SandboxID": sandbox, "SandboxKey": key, "Ports": ports(record), "HairpinMode": false,
        "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0, "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null, "EndpointID": "", "Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "MacAddress": "",
    });
    let endpoints = networks(engine, record);
    if let Some(bridge) = endpoints.get("bridge") {
        for name in [
            "EndpointID",
            "Gateway",
            "GlobalIPv6Address",
            "GlobalIPv6PrefixLen",
            "IPAddress",
            "IPPrefixLen",
            "IPv6Gateway",
            "MacAddress",
        ] {
            value[name] = bridge[name].clone();
        }
    }
    value["Networks"] = Value::Object(endpoints);
    value
}

fn sandbox_id(record: &Record) -> String {
    hex::encode(Sha256::digest(format!(
        "{}{}",
        record.id, record.state.start_time
    )))
}

/// The endpoints of a container by network.
pub(crate) fn networks(engine: &Arc<Supervisor>, record: &Record) -> Map<String, Value> {
    let endpoints = engine.endpoints(record);
    endpoints
        .into_iter()
        .map(|(name, settings)| {
            let shown = endpoint(engine, record, &name, &settings);
            (name, shown)
        })
        .collect()
}

fn endpoint(
    engine: &Arc<Supervisor>,
    record: &Record,
    network: &str,
    settings: &EndpointSettings,
) -> Value {
    let template = json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "", "DriverOpts": null, "GwPriority": 0,
        "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": null,
    });
    let mut value = over(template, settings);
    if value["NetworkID"] == ""
        && let Ok(found) = engine.networks().inspect(network)
    {
        value["NetworkID"] = json!(found.id);
    }
    if value["EndpointID"] == "" && network == "host" && record.state.status.is_alive() {
        value["EndpointID"] = json!(sandbox_id(record));
    }
    value
}

/// Published and exposed ports, in the form of `NetworkSettings.Ports`.
pub(crate) fn ports(record: &Record) -> Value {
    if !record.state.status.is_alive() || record.network_mode() == "host" {
        return json!({});
    }
    let mut ports = Map::new();
    for port in record.config.exposed_ports.iter().flatten() {
        let port = if port.contains('/') {
            port.clone()
        } else {
            format!("{port}/tcp")
        };
        ports.insert(port, Value::Null);
    }
    for (port, bindings) in &record.ports {
        ports.insert(port.clone(), json!(bindings));
    }
    Value::Object(ports)
}
