//! Readers of attributes that are more than a text, a number or a list, from a container in the shape of the create call.

use serde_json::Value;

use super::reading::{Entries, pairs, scalar, span, texts};
use crate::engine::label;

/// Entries of a list that share nothing with others.
pub(super) fn itself(texts: Vec<String>) -> Entries {
    Entries::listed(texts.into_iter().map(|text| (text.clone(), text)))
}

pub(super) fn image(call: &Value) -> Entries {
    let name = scalar(&call["Image"]);
    let name = name.strip_prefix("docker.io/").unwrap_or(&name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    Entries::scalar(name.strip_suffix(":latest").unwrap_or(name))
}

pub(super) fn ports(call: &Value) -> Entries {
    let bindings = call.pointer("/HostConfig/PortBindings");
    let ports = bindings.and_then(Value::as_object).into_iter().flatten();
    let published = ports.flat_map(|(port, bindings)| {
        let target = port.strip_suffix("/tcp").unwrap_or(port);
        let bindings = bindings.as_array().into_iter().flatten();
        bindings.map(move |binding| {
            let address = scalar(&binding["HostIp"]);
            let address = match address.as_str() {
                "" | "0.0.0.0" => String::new(),
                address => format!("{address}:"),
            };
            let text = match scalar(&binding["HostPort"]).as_str() {
                "" | "0" => format!("{address}{target}"),
                port => format!("{address}{port}:{target}"),
            };
            (target.to_owned(), text)
        })
    });
    Entries::listed(published)
}

/// Exposed ports that are not published.
pub(super) fn exposed(call: &Value) -> Entries {
    let published = call.pointer("/HostConfig/PortBindings");
    let ports = texts(&call["ExposedPorts"]);
    let hidden = ports
        .into_iter()
        .filter(|port| published.and_then(|map| map.get(port)).is_none());
    itself(
        hidden
            .map(|port| port.strip_suffix("/tcp").unwrap_or(&port).to_owned())
            .collect(),
    )
}

pub(super) fn mounts(call: &Value) -> Entries {
    let host = &call["HostConfig"];
    let binds = texts(&host["Binds"]).into_iter().filter_map(|bind| {
        let mut parts = bind.split(':');
        let (source, target) = (parts.next()?, parts.next()?);
        let options = parts.next().unwrap_or_default();
        mount(
            source,
            target,
            options.split(',').any(|option| option == "ro"),
        )
    });
    let mounts = host["Mounts"].as_array().into_iter().flatten();
    let mounts = mounts.filter_map(|entry| {
        let kind = scalar(&entry["Type"]);
        let source = scalar(&entry["Source"]);
        let source = if kind == "tmpfs" { kind } else { source };
        let target = scalar(&entry["Target"]);
        mount(&source, &target, entry["ReadOnly"] == true)
    });
    Entries::listed(binds.chain(mounts))
}

/// Anonymous volumes, whose names the engine makes up, are none.
fn mount(source: &str, target: &str, read_only: bool) -> Option<(String, String)> {
    let made_up = source.len() == 64 && source.bytes().all(|byte| byte.is_ascii_hexdigit());
    let access = if read_only { ":ro" } else { "" };
    (!source.is_empty() && !made_up)
        .then(|| (target.to_owned(), format!("{source}:{target}{access}")))
}

pub(super) fn labels(call: &Value) -> Entries {
    let own = pairs(&call["Labels"]).into_iter();
    Entries::named(
        own.filter(|(key, _)| {
            !key.starts_with("com.docker.") && !key.starts_with("desktop.docker.")
        }),
    )
}

pub(super) fn probe(call: &Value) -> Entries {
    let probe = &call["Healthcheck"];
    let entries = [
        ("test", texts(&probe["Test"]).join(" ")),
        ("interval", span(&probe["Interval"])),
        ("timeout", span(&probe["Timeout"])),
        ("retries", scalar(&probe["Retries"])),
        ("start_period", span(&probe["StartPeriod"])),
        ("start_interval", span(&probe["StartInterval"])),
    ];
    let set = entries.into_iter().filter(|(_, value)| !value.is_empty());
    Entries::named(set.map(|(key, value)| (key.to_owned(), value)))
}

/// What an engine calls a container that has no name of its own.
fn is_short_id(id: &str, name: &str) -> bool {
    name.len() >= 12 && id.starts_with(name)
}

/// Without a name of its own a container has its id's, or that of whose network it shares.
pub(super) fn hostname(call: &Value) -> Entries {
    let name = scalar(&call["Hostname"]);
    let mode = scalar(&call["HostConfig"]["NetworkMode"]);
    let id = scalar(&call["Id"]);
    let shared = mode == "host" || mode.starts_with("container:");
    if shared || is_short_id(&id, &name) {
        return Entries::default();
    }
    Entries::scalar(name)
}

/// Modes that are no network of the project.
pub(super) fn network_mode(call: &Value) -> Entries {
    let mode = scalar(&call["HostConfig"]["NetworkMode"]);
    let special = matches!(
        mode.as_str(),
        "host" | "none" | "bridge" | "default" | "disabled"
    ) || mode.starts_with("container:")
        || mode.starts_with("service:");
    Entries::scalar(if special { mode } else { String::new() })
}

/// Networks with what the file may say about an attachment. What an engine chose is not in it.
pub(super) fn networks(call: &Value) -> Entries {
    let map = call.pointer("/NetworkingConfig/EndpointsConfig");
    let id = scalar(&call["Id"]);
    let service = scalar(&call["Labels"][label::SERVICE]);
    let own_name = scalar(&call["Name"]);
    let map = map.and_then(Value::as_object).into_iter().flatten();
    let map = map.filter(|(name, _)| !matches!(name.as_str(), "host" | "none" | "bridge"));
    let attached = map.map(|(name, endpoint)| {
        let mut aliases = texts(&endpoint["Aliases"]);
        aliases.retain(|alias| *alias != service && !own_name.ends_with(alias.as_str()));
        aliases.retain(|alias| !is_short_id(&id, alias));
        aliases.sort();
        aliases.dedup();
        let fixed = &endpoint["IPAMConfig"];
        let mut text = name.clone();
        for address in ["IPv4Address", "IPv6Address"] {
            let address = scalar(&fixed[address]);
            if !address.is_empty() {
                text = format!("{text} {address}");
            }
        }
        if !aliases.is_empty() {
            text = format!("{text} ({})", aliases.join(", "));
        }
        (name.clone(), text)
    });
    Entries::listed(attached)
}

pub(super) fn restart(call: &Value) -> Entries {
    let policy = &call["HostConfig"]["RestartPolicy"];
    let name = scalar(&policy["Name"]);
    let count = scalar(&policy["MaximumRetryCount"]);
    Entries::scalar(match (name.as_str(), count.as_str()) {
        ("" | "no", _) => String::new(),
        (_, "") => name,
        (_, count) => format!("{name}:{count}"),
    })
}

pub(super) fn links(call: &Value) -> Entries {
    let of_host = texts(&call["HostConfig"]["Links"]);
    let endpoints = call.pointer("/NetworkingConfig/EndpointsConfig");
    let endpoints = endpoints.and_then(Value::as_object).into_iter().flatten();
    let mut all: Vec<_> = endpoints
        .flat_map(|(_, endpoint)| texts(&endpoint["Links"]))
        .chain(of_host)
        .collect();
    all.sort();
    all.dedup();
    itself(all)
}

/// `NET_ADMIN` and `CAP_NET_ADMIN` are the same.
fn capabilities(call: &Value, key: &str) -> Entries {
    let names = texts(&call["HostConfig"][key]).into_iter();
    itself(
        names
            .map(|name| name.to_ascii_uppercase())
            .map(|name| name.strip_prefix("CAP_").unwrap_or(&name).to_owned())
            .collect(),
    )
}

pub(super) fn cap_add(call: &Value) -> Entries {
    capabilities(call, "CapAdd")
}

pub(super) fn cap_drop(call: &Value) -> Entries {
    capabilities(call, "CapDrop")
}

pub(super) fn hosts(call: &Value) -> Entries {
    let hosts = texts(&call["HostConfig"]["ExtraHosts"]).into_iter();
    Entries::listed(hosts.map(|entry| {
        let stem = entry.split(':').next().unwrap_or_default().to_owned();
        (stem, entry)
    }))
}

/// A seccomp profile travels as its text, and is named in the file by its path.
pub(super) fn security(call: &Value) -> Entries {
    let options = texts(&call["HostConfig"]["SecurityOpt"]).into_iter();
    itself(
        options
            .map(|option| match option.strip_prefix("seccomp=") {
                Some("unconfined" | "builtin") | None => option,
                Some(_) => "seccomp=<profile>".to_owned(),
            })
            .collect(),
    )
}

pub(super) fn devices(call: &Value) -> Entries {
    let devices = call["HostConfig"]["Devices"]
        .as_array()
        .into_iter()
        .flatten();
    Entries::listed(devices.map(|device| {
        let target = scalar(&device["PathInContainer"]);
        let source = scalar(&device["PathOnHost"]);
        let text = format!("{source}:{target}:{}", scalar(&device["CgroupPermissions"]));
        (target, text)
    }))
}

pub(super) fn ulimits(call: &Value) -> Entries {
    let limits = call["HostConfig"]["Ulimits"]
        .as_array()
        .into_iter()
        .flatten();
    Entries::named(limits.map(|limit| {
        let number = |key: &str| limit[key].as_i64().unwrap_or_default();
        let (soft, hard) = (number("Soft"), number("Hard"));
        let text = if soft == hard {
            soft.to_string()
        } else {
            format!("{soft}:{hard}")
        };
        // Podman has the names of the system's call.
        let name = scalar(&limit["Name"]).to_ascii_lowercase();
        let name = name.strip_prefix("rlimit_").unwrap_or(&name).to_owned();
        (name, text)
    }))
}

pub(super) fn processors(value: &Value) -> String {
    let nanos = value.as_f64().filter(|nanos| *nanos != 0.0);
    nanos.map_or_else(String::new, |nanos| (nanos / 1e9).to_string())
}
