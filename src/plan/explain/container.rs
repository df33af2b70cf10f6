//! The attributes of a service that an engine keeps, as a table, and what differs between two containers.
//!
//! Both sides are read in the shape of the create call. What an engine fills in by itself is no difference: the values
//! of the image, and the defaults named in the table.

use bollard_stubs::models::{ContainerInspectResponse, ImageInspect};
use serde_json::{Map, Value, json};

use super::attribute::{
    cap_add, cap_drop, devices, exposed, hostname, hosts, image, itself, labels, links, mounts,
    network_mode, networks, ports, probe, processors, restart, security, ulimits,
};
use super::place::{Places, Section};
use super::reading::{Difference, Entries, Keys, Values, bytes, pairs, scalar, switch, texts};
use super::{Answers, Mentioned};
use crate::engine::label;
use crate::model::{FileReference, Service};
use crate::plan::hash::service_hash;
use crate::plan::{Change, ChangeKind, CreateContainer};

/// How an attribute is read.
#[derive(Clone, Copy)]
enum Read {
    /// Text or number.
    Scalar,
    /// On or off; off where nothing is said.
    Switch,
    /// A number of bytes.
    Bytes,
    /// Billionths of a processor.
    Processors,
    /// Seconds.
    Seconds,
    /// A list whose order matters.
    Words,
    /// A list whose order does not.
    List,
    /// A map.
    Map,
    /// `KEY=VALUE` texts.
    Pairs,
    /// Anything else, from the whole call.
    Special(fn(&Value) -> Entries),
}

/// An attribute of the file and what the engine calls it.
struct Row(
    &'static [&'static str],
    &'static str,
    Read,
    Values,
    /// Entries that an engine adds without being asked; `*` for any.
    &'static [&'static str],
);

const ANY: &[&str] = &["*"];
const NONE: &[&str] = &[];

/// The attributes, in the order in which they are told.
const ROWS: &[Row] = {
    use Read::{Bytes, List, Map, Pairs, Processors, Scalar, Seconds, Special, Switch, Words};
    use Values::{Hidden, Shown};
    &[
        Row(&["image"], "", Special(image), Shown, NONE),
        Row(&["command"], "/Cmd", Words, Shown, NONE),
        Row(&["entrypoint"], "/Entrypoint", Words, Shown, NONE),
        Row(
            &["environment"],
            "/Env",
            Pairs,
            Hidden,
            &["PATH", "HOME", "HOSTNAME", "TERM", "container"],
        ),
        Row(&["ports"], "", Special(ports), Shown, NONE),
        Row(&["expose"], "", Special(exposed), Shown, NONE),
        Row(&["volumes"], "", Special(mounts), Shown, NONE),
        Row(&["labels"], "", Special(labels), Shown, NONE),
        Row(&["healthcheck"], "", Special(probe), Shown, NONE),
        Row(&["user"], "/User", Scalar, Shown, NONE),
        Row(&["working_dir"], "/WorkingDir", Scalar, Shown, &["/"]),
        Row(&["hostname"], "", Special(hostname), Shown, NONE),
        Row(&["domainname"], "/Domainname", Scalar, Shown, NONE),
        Row(&["tty"], "/Tty", Switch, Shown, NONE),
        Row(&["stdin_open"], "/OpenStdin", Switch, Shown, NONE),
        Row(
            &["stop_signal"],
            "/StopSignal",
            Scalar,
            Shown,
            &["SIGTERM", "15"],
        ),
        Row(
            &["stop_grace_period"],
            "/StopTimeout",
            Seconds,
            Shown,
            &["10s"],
        ),
        Row(
            &["network_mode"],
            "",
            Special(network_mode),
            Shown,
            &["none", "bridge", "default"],
        ),
        Row(&["networks"], "", Special(networks), Shown, NONE),
        Row(
            &["deploy.restart_policy", "restart"],
            "",
            Special(restart),
            Shown,
            NONE,
        ),
        Row(
            &["logging.driver"],
            "/HostConfig/LogConfig/Type",
            Scalar,
            Shown,
            ANY,
        ),
        Row(
            &["logging.options"],
            "/HostConfig/LogConfig/Config",
            Map,
            Hidden,
            ANY,
        ),
        Row(&["tmpfs"], "/HostConfig/Tmpfs", Map, Shown, NONE),
        Row(
            &["volumes_from"],
            "/HostConfig/VolumesFrom",
            List,
            Shown,
            NONE,
        ),
        Row(
            &["volume_driver"],
            "/HostConfig/VolumeDriver",
            Scalar,
            Shown,
            NONE,
        ),
        Row(
            &["links", "external_links"],
            "",
            Special(links),
            Shown,
            NONE,
        ),
        Row(&["annotations"], "/HostConfig/Annotations", Map, Shown, ANY),
        Row(
            &["cap_add"],
            "/HostConfig/CapAdd",
            Special(cap_add),
            Shown,
            NONE,
        ),
        Row(
            &["cap_drop"],
            "/HostConfig/CapDrop",
            Special(cap_drop),
            Shown,
            NONE,
        ),
        Row(&["cgroup"], "/HostConfig/CgroupnsMode", Scalar, Shown, ANY),
        Row(
            &["cgroup_parent"],
            "/HostConfig/CgroupParent",
            Scalar,
            Shown,
            ANY,
        ),
        Row(&["dns"], "/HostConfig/Dns", List, Shown, NONE),
        Row(&["dns_opt"], "/HostConfig/DnsOptions", List, Shown, NONE),
        Row(&["dns_search"], "/HostConfig/DnsSearch", List, Shown, NONE),
        Row(&["extra_hosts"], "", Special(hosts), Shown, NONE),
        Row(&["group_add"], "/HostConfig/GroupAdd", List, Shown, NONE),
        Row(
            &["ipc"],
            "/HostConfig/IpcMode",
            Scalar,
            Shown,
            &["private", "shareable"],
        ),
        Row(&["pid"], "/HostConfig/PidMode", Scalar, Shown, &["private"]),
        Row(&["uts"], "/HostConfig/UTSMode", Scalar, Shown, &["private"]),
        Row(
            &["userns_mode"],
            "/HostConfig/UsernsMode",
            Scalar,
            Shown,
            ANY,
        ),
        Row(
            &["privileged"],
            "/HostConfig/Privileged",
            Switch,
            Shown,
            NONE,
        ),
        Row(
            &["read_only"],
            "/HostConfig/ReadonlyRootfs",
            Switch,
            Shown,
            NONE,
        ),
        Row(
            &["security_opt"],
            "",
            Special(security),
            Shown,
            &["label=disable"],
        ),
        Row(&["storage_opt"], "/HostConfig/StorageOpt", Map, Shown, NONE),
        Row(&["sysctls"], "/HostConfig/Sysctls", Map, Shown, NONE),
        Row(&["runtime"], "/HostConfig/Runtime", Scalar, Shown, ANY),
        Row(&["init"], "/HostConfig/Init", Switch, Shown, NONE),
        Row(&["isolation"], "/HostConfig/Isolation", Scalar, Shown, ANY),
        Row(
            &["oom_score_adj"],
            "/HostConfig/OomScoreAdj",
            Scalar,
            Shown,
            NONE,
        ),
        Row(
            &["oom_kill_disable"],
            "/HostConfig/OomKillDisable",
            Switch,
            Shown,
            NONE,
        ),
        Row(&["shm_size"], "/HostConfig/ShmSize", Bytes, Shown, ANY),
        Row(
            &["deploy.resources.limits.memory", "mem_limit"],
            "/HostConfig/Memory",
            Bytes,
            Shown,
            NONE,
        ),
        Row(
            &["deploy.resources.reservations.memory", "mem_reservation"],
            "/HostConfig/MemoryReservation",
            Bytes,
            Shown,
            NONE,
        ),
        Row(
            &["memswap_limit"],
            "/HostConfig/MemorySwap",
            Bytes,
            Shown,
            ANY,
        ),
        Row(
            &["mem_swappiness"],
            "/HostConfig/MemorySwappiness",
            Scalar,
            Shown,
            ANY,
        ),
        Row(
            &["deploy.resources.limits.cpus", "cpus"],
            "/HostConfig/NanoCpus",
            Processors,
            Shown,
            NONE,
        ),
        Row(
            &["cpu_shares"],
            "/HostConfig/CpuShares",
            Scalar,
            Shown,
            NONE,
        ),
        Row(&["cpu_quota"], "/HostConfig/CpuQuota", Scalar, Shown, ANY),
        Row(&["cpu_period"], "/HostConfig/CpuPeriod", Scalar, Shown, ANY),
        Row(
            &["cpu_rt_runtime"],
            "/HostConfig/CpuRealtimeRuntime",
            Scalar,
            Shown,
            NONE,
        ),
        Row(
            &["cpu_rt_period"],
            "/HostConfig/CpuRealtimePeriod",
            Scalar,
            Shown,
            NONE,
        ),
        Row(&["cpuset"], "/HostConfig/CpusetCpus", Scalar, Shown, NONE),
        Row(
            &["deploy.resources.limits.pids", "pids_limit"],
            "/HostConfig/PidsLimit",
            Scalar,
            Shown,
            &["-1", "2048"],
        ),
        Row(
            &["blkio_config.weight"],
            "/HostConfig/BlkioWeight",
            Scalar,
            Shown,
            NONE,
        ),
        Row(
            &["blkio_config.weight_device"],
            "/HostConfig/BlkioWeightDevice",
            Scalar,
            Shown,
            NONE,
        ),
        Row(
            &["blkio_config.device_read_bps"],
            "/HostConfig/BlkioDeviceReadBps",
            Scalar,
            Shown,
            NONE,
        ),
        Row(
            &["blkio_config.device_write_bps"],
            "/HostConfig/BlkioDeviceWriteBps",
            Scalar,
            Shown,
            NONE,
        ),
        Row(
            &["blkio_config.device_read_iops"],
            "/HostConfig/BlkioDeviceReadIOps",
            Scalar,
            Shown,
            NONE,
        ),
        Row(
            &["blkio_config.device_write_iops"],
            "/HostConfig/BlkioDeviceWriteIOps",
            Scalar,
            Shown,
            NONE,
        ),
        Row(&["devices"], "", Special(devices), Shown, NONE),
        Row(
            &["device_cgroup_rules"],
            "/HostConfig/DeviceCgroupRules",
            List,
            Shown,
            NONE,
        ),
        Row(
            &["deploy.resources.reservations.devices", "gpus", "devices"],
            "/HostConfig/DeviceRequests",
            Scalar,
            Shown,
            NONE,
        ),
        // Podman tells its own defaults.
        Row(
            &["ulimits"],
            "",
            Special(ulimits),
            Shown,
            &["nofile", "nproc"],
        ),
    ]
};

/// Options of logging drivers that hold no secret.
const PLAIN_OPTIONS: &[&str] = &[
    "cache-disabled",
    "compress",
    "env",
    "labels",
    "max-buffer-size",
    "max-file",
    "max-size",
    "mode",
    "tag",
];

/// Attributes that count for the hash and that no engine keeps.
const UNSEEN: &[&str] = &[
    "attach",
    "credential_spec",
    "deploy",
    "develop",
    "env_file",
    "label_file",
    "models",
    "platform",
    "post_start",
    "pre_start",
    "pre_stop",
];

/// What is known beside a container and its successor.
struct Known<'a> {
    answers: &'a Answers,
    image_known: bool,
    /// Whether what an engine may have added counts as its own.
    doubt: Doubt,
}

/// Whose a value is that the file does not have and an engine may have added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// The engine's.
    Engine,
    /// The file's: nothing else differs, and something must.
    File,
}

/// What differs between a container, of which the image may be known, and the one that is to replace it.
pub(super) fn changes(
    places: &Places<'_>,
    create: &CreateContainer,
    (container, image): (&ContainerInspectResponse, Option<&ImageInspect>),
    answers: &Answers,
) -> Vec<Change> {
    let Some(service) = places.project().services.get(&create.service) else {
        return Vec::new();
    };
    let value = serde_json::to_value(service).unwrap_or_default();
    let section = places.section("services", &service.name, value);
    let old = observed(container);
    let mut new = serde_json::to_value(&create.spec.body).unwrap_or_default();
    new["Name"] = json!(create.display);
    let known_image = image.and_then(|image| image.config.as_ref());
    if let Some(config) = known_image {
        inherit(&mut new, &serde_json::to_value(config).unwrap_or_default());
    }
    let differing = |doubt: Doubt| -> Vec<Change> {
        let known = Known {
            answers,
            image_known: known_image.is_some(),
            doubt,
        };
        let rows = ROWS.iter();
        rows.flat_map(|row| row.changes(&section, service, (&old, &new), &known))
            .collect()
    };
    let mut found = differing(Doubt::Engine);
    found.extend(renamed(&section, create, container));
    if !found.is_empty() {
        return found;
    }
    found = unseen(&section);
    if answers.defaults.are_known() {
        let mut doubtful = differing(Doubt::File);
        if !found.is_empty() {
            doubtful.iter_mut().for_each(Change::doubt);
        }
        found.extend(doubtful);
    }
    if found.is_empty() {
        let mentioned = &answers.mentioned;
        found.extend(undelivered(&section, service, container, mentioned));
    }
    found
}

/// A container in the shape of the call that creates one.
fn observed(container: &ContainerInspectResponse) -> Value {
    let mut call = serde_json::to_value(&container.config).unwrap_or_default();
    if !call.is_object() {
        call = json!({});
    }
    call["HostConfig"] = serde_json::to_value(&container.host_config).unwrap_or_default();
    let networks = container
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    call["NetworkingConfig"] = json!({ "EndpointsConfig": networks });
    call["Id"] = json!(container.id);
    call["Name"] = json!(container.name);
    call
}

/// Fills in what a container takes from its image.
fn inherit(call: &mut Value, image: &Value) {
    let unset = |call: &Value, key: &str| scalar(&call[key]).is_empty();
    // An entrypoint of the file's own makes the image's command void.
    let keys: &[&str] = if unset(call, "Entrypoint") {
        &["Cmd", "Entrypoint"]
    } else {
        &[]
    };
    let others = ["User", "WorkingDir", "StopSignal", "Healthcheck"];
    for key in keys.iter().chain(&others) {
        if unset(call, key) {
            call[*key] = image[*key].clone();
        }
    }
    let own: Vec<String> = texts(&call["Env"]);
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = texts(&image["Env"]);
    env.retain(|entry| !own.iter().any(|set| name(set) == name(entry)));
    env.extend(own);
    call["Env"] = json!(env);
    let mut labels: Map<String, Value> = image["Labels"].as_object().cloned().unwrap_or_default();
    labels.extend(call["Labels"].as_object().cloned().unwrap_or_default());
    call["Labels"] = Value::Object(labels);
    let mut ports = texts(&call["ExposedPorts"]);
    ports.extend(texts(&image["ExposedPorts"]));
    call["ExposedPorts"] = json!(ports);
}

impl Row {
    fn changes(
        &self,
        section: &Section<'_>,
        service: &Service,
        (old, new): (&Value, &Value),
        known: &Known<'_>,
    ) -> Vec<Change> {
        let Self(attributes, _, _, values, _) = self;
        let before = self.read(old);
        let after = self.read(new);
        let expected = self.expected(old, known);
        let of_image = |key: &str| {
            !known.image_known
                && matches!(
                    attributes[0],
                    "command"
                        | "entrypoint"
                        | "environment"
                        | "labels"
                        | "expose"
                        | "user"
                        | "working_dir"
                        | "healthcheck"
                        | "stop_signal"
                )
                && !after.of.contains_key(key)
        };
        let by_engine = |key: &str, value: &str| {
            let added = |name: &String| name == "*" || name == key || name == value;
            of_image(key) || expected.iter().any(added)
        };
        let keys = if after.of.is_empty() {
            before.keys
        } else {
            after.keys
        };
        let differences = before.differences(&after, by_engine);
        let told = differences.into_iter().map(|difference| {
            let mentioned = &known.answers.mentioned;
            let own = mount_attribute(service, attributes, &difference, mentioned);
            let values = shown(attributes[0], &difference.key, *values);
            section.change(
                own.as_deref().unwrap_or(attributes),
                difference,
                (keys, values),
            )
        });
        let told = told.map(without_common_target).collect();
        match attributes[0] {
            "healthcheck" => switched_off(section, service, told),
            _ => told,
        }
    }

    /// What the engine adds without being asked.
    fn expected(&self, old: &Value, known: &Known<'_>) -> Vec<String> {
        let Self(attributes, _, _, _, expected) = self;
        let attribute = attributes.last().unwrap_or(&"");
        if let Some(values) = known.answers.defaults.of(attribute, old) {
            return values;
        }
        let is_doubtful = *expected == ANY || attributes == &["ulimits"];
        if is_doubtful && known.doubt == Doubt::File {
            return Vec::new();
        }
        expected.iter().map(|text| (*text).to_owned()).collect()
    }

    fn read(&self, call: &Value) -> Entries {
        let Self(_, pointer, read, _, _) = self;
        let value = call.pointer(pointer).unwrap_or(&Value::Null);
        match read {
            Read::Scalar => Entries::scalar(scalar(value)),
            Read::Switch => switch(value, false),
            Read::Bytes => Entries::scalar(bytes(value)),
            Read::Processors => Entries::scalar(processors(value)),
            Read::Seconds => Entries::scalar(match value.as_i64() {
                Some(seconds) => format!("{seconds}s"),
                None => String::new(),
            }),
            Read::Words => Entries::scalar(texts(value).join(" ")),
            Read::List => itself(texts(value)),
            Read::Map => Entries::named(pairs(value)),
            Read::Pairs => Entries::named(texts(value).into_iter().filter_map(|entry| {
                let (key, value) = entry.split_once('=')?;
                Some((key.to_owned(), value.to_owned()))
            })),
            Read::Special(read) => read(call),
        }
    }
}

/// Labels may carry passwords of routers and the like.
fn is_secret(attribute: &str, key: &str) -> bool {
    const WORDS: [&str; 6] = ["pass", "secret", "token", "auth", "credential", "key"];
    let key = key.to_ascii_lowercase();
    matches!(attribute, "labels" | "annotations" | "sysctls")
        && WORDS.iter().any(|word| key.contains(word))
}

/// Whether the values of an entry may be told.
fn shown(attribute: &str, key: &str, values: Values) -> Values {
    if is_secret(attribute, key) {
        Values::Hidden
    } else if attribute == "logging.options" && PLAIN_OPTIONS.contains(&key) {
        Values::Shown
    } else {
        values
    }
}

/// A probe that is switched off needs no word on what it was made of.
fn switched_off(section: &Section<'_>, service: &Service, told: Vec<Change>) -> Vec<Change> {
    let probe = service.healthcheck.as_ref();
    if told.is_empty() || !probe.is_some_and(|probe| probe.disable) {
        return told;
    }
    let difference = Difference {
        key: String::new(),
        kind: ChangeKind::Added,
        from: None,
        to: Some("true".to_owned()),
    };
    let how = (Keys::None, Values::Shown);
    vec![section.change(&["healthcheck.disable"], difference, how)]
}

/// Secrets and configs are mounts to the engine.
fn mount_attribute(
    service: &Service,
    attributes: &[&'static str],
    difference: &Difference,
    mentioned: &Mentioned,
) -> Option<Vec<&'static str>> {
    if attributes != ["volumes"] {
        return None;
    }
    let target = difference.key.as_str();
    // Of what is gone only the top-level entry is left, if that.
    let was_config = || {
        let from = difference.from.as_deref().unwrap_or_default();
        let source = from.split(':').next().unwrap_or_default();
        let mut files = mentioned.configs.values();
        difference.to.is_none() && files.any(|file| !file.is_empty() && file == source)
    };
    let is = |reference: &crate::model::FileReference, folder: &str| {
        let name = if reference.target.is_empty() {
            &reference.source
        } else {
            &reference.target
        };
        target == *name || target == format!("{folder}{name}")
    };
    if target.starts_with("/run/secrets/") {
        Some(vec!["secrets"])
    } else if service.configs.iter().any(|config| is(config, "/")) || was_config() {
        Some(vec!["configs"])
    } else {
        None
    }
}

/// Of a published port that only moved on the host, the host's side says it all.
fn without_common_target(mut change: Change) -> Change {
    if change.field != "ports" || change.change != ChangeKind::Changed {
        return change;
    }
    if let (Some(from), Some(to)) = (&change.from, &change.to)
        && let (Some((old, target)), Some((new, other))) =
            (from.rsplit_once(':'), to.rsplit_once(':'))
        && target == other
    {
        (change.from, change.to) = (Some(old.to_owned()), Some(new.to_owned()));
    }
    change
}

fn renamed(
    section: &Section<'_>,
    create: &CreateContainer,
    container: &ContainerInspectResponse,
) -> Option<Change> {
    let old = container.name.as_deref()?.trim_start_matches('/');
    // A replacement that was cut short has `<12 digits>_` before its name.
    if old == create.display || old.ends_with(&format!("_{}", create.display)) {
        return None;
    }
    let difference = Entries::scalar(old)
        .differences(&Entries::scalar(create.display.as_str()), |_, _| false)
        .pop()?;
    Some(section.change(&["container_name"], difference, (Keys::None, Values::Shown)))
}

/// What the hash covers and no engine keeps, where nothing else differs.
fn unseen(section: &Section<'_>) -> Vec<Change> {
    let present = UNSEEN.iter().filter(|name| {
        section
            .value
            .get(name)
            .is_some_and(|value| !scalar(value).is_empty())
    });
    present
        .map(|name| {
            let difference = Difference {
                key: String::new(),
                kind: ChangeKind::Possible,
                from: None,
                to: None,
            };
            section.change(&[name], difference, (Keys::None, Values::Hidden))
        })
        .collect()
}

/// Secrets and configs that are no files of the host are copied into a container, and no engine tells of them: one
/// that is gone is found by the hash that the service had with it.
fn undelivered(
    section: &Section<'_>,
    service: &Service,
    container: &ContainerInspectResponse,
    mentioned: &Mentioned,
) -> Option<Change> {
    let labels = container.config.as_ref()?.labels.as_ref()?;
    let hash = labels.get(label::CONFIG_HASH)?;
    let with_secret = |name: &str| {
        let mut before = service.clone();
        before.secrets.push(FileReference {
            source: name.to_owned(),
            target: format!("/run/secrets/{name}"),
            ..FileReference::default()
        });
        before
    };
    let with_config = |name: &str| {
        let mut before = service.clone();
        before.configs.push(FileReference {
            source: name.to_owned(),
            ..FileReference::default()
        });
        before
    };
    let secrets = mentioned.secrets.keys();
    let secrets = secrets.map(|name| ("secrets", name, with_secret(name)));
    let configs = mentioned.configs.keys();
    let configs = configs.map(|name| ("configs", name, with_config(name)));
    let (attribute, name, _) = secrets
        .chain(configs)
        .find(|(_, _, before)| service_hash(before) == *hash)?;
    let difference = Difference {
        key: name.clone(),
        kind: ChangeKind::Removed,
        from: Some(name.clone()),
        to: None,
    };
    Some(section.change(&[attribute], difference, (Keys::Stems, Values::Shown)))
}
