//! A Compose file out of containers that exist, whoever made them: what `up` with it would make again.
//!
//! Pure: what the engine tells of the containers and their images comes in, a document goes out. What an image gives by
//! itself is left out, and so is what an engine fills in. Networks and volumes are there already and may belong to
//! others, so they are external. Caller: `alpha generate`.

use bollard_stubs::models::{ContainerInspectResponse, ImageInspect};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::engine::label;
use crate::model::Duration;

use super::content::CONTENT_LABEL;

/// A container with the image that it was made from, where that is still there.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The container.
    pub container: ContainerInspectResponse,
    /// Its image.
    pub image: Option<ImageInspect>,
}

/// What a file is made with beside the containers.
#[derive(Debug, Clone, Default)]
pub struct GenerateOptions {
    /// The project's name; empty is none.
    pub name: String,
    /// The project's directory: binds below it become relative; empty is none.
    pub directory: String,
    /// The logging driver that the engine takes by itself.
    pub logging_driver: String,
}

/// The parts of a container that a service is made of, as the engine's API has them.
struct Source {
    id: String,
    name: String,
    config: Value,
    host: Value,
    mounts: Value,
    networks: Value,
    /// The image's own configuration.
    image: Value,
}

/// What was made of containers.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The document; `$` is doubled in it, so that a reader substitutes nothing.
    pub document: Value,
    /// What services have that is not in it: `service: attributes`.
    pub left_out: Vec<String>,
}

/// Makes the document.
#[must_use]
pub fn generate(seen: &[Seen], options: &GenerateOptions) -> Generated {
    let sources: Vec<Source> = seen.iter().map(Source::new).collect();
    let names: IndexMap<&str, String> = sources
        .iter()
        .map(|source| (source.id.as_str(), source.service_name()))
        .collect();
    let mut services: IndexMap<String, (Value, usize)> = IndexMap::new();
    let (mut networks, mut volumes) = (Map::new(), Map::new());
    let mut left_out = Vec::new();
    for source in &sources {
        let name = source.service_name();
        // Further replicas are as the first.
        if let Some((_, count)) = services.get_mut(&name) {
            *count += 1;
            continue;
        }
        let service = source.service(&names, options);
        for key in source.network_names() {
            networks.insert(key.clone(), json!({ "name": key, "external": true }));
        }
        for key in source.volume_names() {
            volumes.insert(key.clone(), json!({ "name": key, "external": true }));
        }
        let missing = source.left_out();
        if !missing.is_empty() {
            left_out.push(format!("{name}: {}", missing.join(", ")));
        }
        services.insert(name, (service, 1));
    }
    let services = services.into_iter().map(|(name, (mut service, count))| {
        if count > 1 {
            service["scale"] = json!(count);
        }
        (name, service)
    });
    let mut document = Map::new();
    put(&mut document, "name", json!(options.name));
    document.insert("services".to_owned(), Value::Object(services.collect()));
    put(&mut document, "networks", Value::Object(networks));
    put(&mut document, "volumes", Value::Object(volumes));
    Generated {
        document: doubled(Value::Object(document)),
        left_out,
    }
}

impl Source {
    fn new(seen: &Seen) -> Self {
        let container = &seen.container;
        let image = seen.image.as_ref().and_then(|image| image.config.as_ref());
        let settings = container.network_settings.as_ref();
        Self {
            id: container.id.clone().unwrap_or_default(),
            name: container
                .name
                .as_deref()
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned(),
            config: json!(container.config),
            host: json!(container.host_config),
            mounts: json!(container.mounts),
            networks: json!(settings.and_then(|settings| settings.networks.as_ref())),
            image: json!(image),
        }
    }

    /// The service that it is of in a project, else its own name.
    fn service_name(&self) -> String {
        let service = text(&self.config["Labels"][label::SERVICE]);
        if service.is_empty() {
            self.name.clone()
        } else {
            service
        }
    }

    fn service(&self, names: &IndexMap<&str, String>, options: &GenerateOptions) -> Value {
        let mut service = Map::new();
        self.put_process(&mut service);
        self.put_network(&mut service, names);
        self.put_dependencies(&mut service, names);
        put(&mut service, "ports", self.ports());
        put(&mut service, "expose", self.exposed());
        put(&mut service, "volumes", self.volumes(&options.directory));
        put(&mut service, "labels", self.labels());
        put(&mut service, "healthcheck", self.probe());
        put(&mut service, "logging", self.logging(options));
        put(&mut service, "restart", self.restart());
        self.put_rights(&mut service);
        self.put_limits(&mut service);
        Value::Object(service)
    }

    /// What of the configuration is not the image's.
    fn own(&self, key: &str) -> Value {
        let value = &self.config[key];
        if *value == self.image[key] {
            return Value::Null;
        }
        value.clone()
    }

    fn put_process(&self, service: &mut Map<String, Value>) {
        put(service, "image", self.config["Image"].clone());
        let entrypoint = self.own("Entrypoint");
        // An entrypoint of the file's own makes the image's command void.
        let command = if is_nothing(&entrypoint) {
            self.own("Cmd")
        } else {
            self.config["Cmd"].clone()
        };
        put(service, "entrypoint", entrypoint);
        put(service, "command", command);
        let of_image = texts(&self.image["Env"]);
        let own = texts(&self.config["Env"]).into_iter();
        let own = own.filter(|entry| !of_image.contains(entry));
        let pairs = own.map(|entry| match entry.split_once('=') {
            Some((key, value)) => (key.to_owned(), json!(value)),
            None => (entry, Value::Null),
        });
        put(service, "environment", Value::Object(pairs.collect()));
        let attributes = [
            ("user", "User"),
            ("working_dir", "WorkingDir"),
            ("stop_signal", "StopSignal"),
            ("domainname", "Domainname"),
            ("tty", "Tty"),
            ("stdin_open", "OpenStdin"),
        ];
        for (attribute, key) in attributes {
            put(service, attribute, self.own(key));
        }
        if let Some(seconds) = self.config["StopTimeout"].as_i64() {
            put(service, "stop_grace_period", json!(format!("{seconds}s")));
        }
        put(service, "init", self.host["Init"].clone());
    }

    fn mode(&self) -> String {
        text(&self.host["NetworkMode"])
    }

    /// Whether the network is one of the engine's own, or a container's.
    fn is_special(&self) -> bool {
        let mode = self.mode();
        matches!(mode.as_str(), "host" | "none" | "bridge" | "default" | "")
            || mode.starts_with("container:")
    }

    fn put_network(&self, service: &mut Map<String, Value>, names: &IndexMap<&str, String>) {
        let mode = self.mode();
        if let Some(id) = mode.strip_prefix("container:") {
            let shared = names.get(id).map(|name| format!("service:{name}"));
            put(service, "network_mode", json!(shared.unwrap_or(mode)));
            return;
        }
        let hostname = text(&self.config["Hostname"]);
        if mode != "host" && !self.id.starts_with(&hostname) {
            put(service, "hostname", json!(hostname));
        }
        if self.is_special() {
            let mode = if matches!(mode.as_str(), "default" | "") {
                "bridge"
            } else {
                mode.as_str()
            };
            put(service, "network_mode", json!(mode));
            return;
        }
        let attached = self.network_names().into_iter().map(|name| {
            let attachment = self.attachment(&self.networks[&name]);
            (name, attachment)
        });
        put(service, "networks", Value::Object(attached.collect()));
    }

    fn attachment(&self, endpoint: &Value) -> Value {
        let mut aliases = texts(&endpoint["Aliases"]);
        let own = self.service_name();
        aliases.retain(|alias| *alias != own && *alias != self.name);
        aliases.retain(|alias| !self.id.starts_with(alias.as_str()));
        let fixed = &endpoint["IPAMConfig"];
        let mut attachment = Map::new();
        put(&mut attachment, "aliases", json!(aliases));
        put(
            &mut attachment,
            "ipv4_address",
            fixed["IPv4Address"].clone(),
        );
        put(
            &mut attachment,
            "ipv6_address",
            fixed["IPv6Address"].clone(),
        );
        if attachment.is_empty() {
            return Value::Null;
        }
        Value::Object(attachment)
    }

    fn network_names(&self) -> Vec<String> {
        if self.is_special() {
            return Vec::new();
        }
        let names = self.networks.as_object().into_iter().flatten();
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Dependencies as docker compose writes them into a label: `db:service_healthy:false`.
    fn put_dependencies(&self, service: &mut Map<String, Value>, names: &IndexMap<&str, String>) {
        let written = text(&self.config["Labels"][label::DEPENDS_ON]);
        let others = written.split(',').filter_map(|entry| {
            let mut parts = entry.split(':');
            let (name, condition) = (parts.next()?, parts.next()?);
            let known = names.values().any(|other| other == name);
            let restart = parts.next() == Some("true");
            let mut wish = json!({ "condition": condition });
            if restart {
                wish["restart"] = json!(true);
            }
            known.then(|| (name.to_owned(), wish))
        });
        put(service, "depends_on", Value::Object(others.collect()));
    }

    fn ports(&self) -> Value {
        let ports = self.host["PortBindings"].as_object().into_iter().flatten();
        let published = ports.flat_map(|(port, bindings)| {
            let (target, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            let target: u16 = target.parse().unwrap_or_default();
            let bindings = bindings.as_array().into_iter().flatten();
            bindings.map(move |binding| {
                let mut port = Map::new();
                port.insert("target".to_owned(), json!(target));
                let public = text(&binding["HostPort"]);
                put(&mut port, "published", json!(public));
                put(&mut port, "host_ip", binding["HostIp"].clone());
                if protocol != "tcp" {
                    put(&mut port, "protocol", json!(protocol));
                }
                Value::Object(port)
            })
        });
        Value::Array(published.collect())
    }

    fn exposed(&self) -> Value {
        let published = &self.host["PortBindings"];
        let of_image = &self.image["ExposedPorts"];
        let mut ports = keys(&self.config["ExposedPorts"]);
        ports.retain(|port| published.get(port).is_none() && of_image.get(port).is_none());
        json!(ports)
    }

    fn volume_names(&self) -> Vec<String> {
        let mounts = self.mounts.as_array().into_iter().flatten();
        let named = mounts.filter(|mount| mount["Type"] == "volume");
        let names = named.map(|mount| text(&mount["Name"]));
        names.filter(|name| !is_made_up(name)).collect()
    }

    fn volumes(&self, directory: &str) -> Value {
        let mut volumes: Vec<Value> = Vec::new();
        for mount in self.mounts.as_array().into_iter().flatten() {
            let kind = text(&mount["Type"]);
            let target = text(&mount["Destination"]);
            let source = match kind.as_str() {
                "volume" => Some(text(&mount["Name"])).filter(|name| !is_made_up(name)),
                "bind" => Some(relative(&text(&mount["Source"]), directory)),
                _ => None,
            };
            // The image asks for it by itself.
            if kind == "volume" && source.is_none() && self.image["Volumes"].get(&target).is_some()
            {
                continue;
            }
            let mut volume = Map::new();
            put(&mut volume, "type", json!(kind));
            put(&mut volume, "source", json!(source));
            put(&mut volume, "target", json!(target));
            put(&mut volume, "read_only", json!(mount["RW"] == false));
            volumes.push(Value::Object(volume));
        }
        Value::Array(volumes)
    }

    fn labels(&self) -> Value {
        let of_image = &self.image["Labels"];
        let labels = self.config["Labels"].as_object().into_iter().flatten();
        let own = labels.filter(|(key, value)| {
            let by_tools = ["com.docker.", "desktop.docker.", CONTENT_LABEL];
            let is_own = !by_tools.iter().any(|start| key.starts_with(start));
            is_own && of_image.get(key.as_str()) != Some(value)
        });
        let own = own.map(|(key, value)| (key.clone(), value.clone()));
        Value::Object(own.collect())
    }

    fn probe(&self) -> Value {
        let probe = self.own("Healthcheck");
        let test = texts(&probe["Test"]);
        if test == ["NONE"] {
            return json!({ "disable": true });
        }
        let mut section = Map::new();
        put(&mut section, "test", json!(test));
        let spans = [
            ("interval", "Interval"),
            ("timeout", "Timeout"),
            ("start_period", "StartPeriod"),
            ("start_interval", "StartInterval"),
        ];
        for (attribute, key) in spans {
            if let Some(nanos) = probe[key].as_i64().filter(|nanos| *nanos != 0) {
                put(&mut section, attribute, json!(Duration(nanos).to_string()));
            }
        }
        put(&mut section, "retries", probe["Retries"].clone());
        Value::Object(section)
    }

    fn logging(&self, options: &GenerateOptions) -> Value {
        let config = &self.host["LogConfig"];
        let driver = text(&config["Type"]);
        let is_usual = driver == options.logging_driver && is_nothing(&config["Config"]);
        if is_usual || driver.is_empty() {
            return Value::Null;
        }
        let mut logging = Map::new();
        put(&mut logging, "driver", json!(driver));
        put(&mut logging, "options", config["Config"].clone());
        Value::Object(logging)
    }

    fn restart(&self) -> Value {
        let policy = &self.host["RestartPolicy"];
        match (
            text(&policy["Name"]).as_str(),
            policy["MaximumRetryCount"].as_i64(),
        ) {
            ("" | "no", _) => Value::Null,
            (name, Some(count)) if count > 0 => json!(format!("{name}:{count}")),
            (name, _) => json!(name),
        }
    }

    /// What the container has that a file can say, and that is not made.
    fn left_out(&self) -> Vec<&'static str> {
        let attributes = [
            ("volumes_from", "VolumesFrom"),
            ("gpus", "DeviceRequests"),
            ("device_cgroup_rules", "DeviceCgroupRules"),
            ("storage_opt", "StorageOpt"),
            ("cpu_rt_period", "CpuRealtimePeriod"),
            ("cpu_rt_runtime", "CpuRealtimeRuntime"),
            ("blkio_config", "BlkioWeight"),
            ("blkio_config", "BlkioWeightDevice"),
            ("blkio_config", "BlkioDeviceReadBps"),
            ("blkio_config", "BlkioDeviceWriteBps"),
            ("blkio_config", "BlkioDeviceReadIOps"),
            ("blkio_config", "BlkioDeviceWriteIOps"),
        ];
        let host = &self.host;
        let mut found: Vec<_> = attributes
            .into_iter()
            .filter(|(_, key)| !is_nothing(&host[*key]))
            .map(|(attribute, _)| attribute)
            .collect();
        let of_container = |key: &str| text(&host[key]).starts_with("container:");
        found.extend(Some("pid").filter(|_| of_container("PidMode")));
        found.extend(Some("ipc").filter(|_| of_container("IpcMode")));
        let profile = texts(&host["SecurityOpt"])
            .iter()
            .any(|option| option.contains('{'));
        found.extend(Some("security_opt (a profile)").filter(|_| profile));
        found.dedup();
        found
    }

    fn put_rights(&self, service: &mut Map<String, Value>) {
        let attributes = [
            ("privileged", "Privileged"),
            ("read_only", "ReadonlyRootfs"),
            ("cap_add", "CapAdd"),
            ("cap_drop", "CapDrop"),
            ("group_add", "GroupAdd"),
            ("dns", "Dns"),
            ("dns_opt", "DnsOptions"),
            ("dns_search", "DnsSearch"),
            ("extra_hosts", "ExtraHosts"),
            ("sysctls", "Sysctls"),
            ("annotations", "Annotations"),
            ("cgroup_parent", "CgroupParent"),
        ];
        for (attribute, key) in attributes {
            put(service, attribute, self.host[key].clone());
        }
        let spaces = [
            ("pid", "PidMode"),
            ("ipc", "IpcMode"),
            ("uts", "UTSMode"),
            ("userns_mode", "UsernsMode"),
        ];
        for (attribute, key) in spaces {
            put(
                service,
                attribute,
                json!(Some("host").filter(|mode| self.host[key] == **mode)),
            );
        }
        // A profile travels as its text; its file is not known.
        let mut security = texts(&self.host["SecurityOpt"]);
        security.retain(|option| !option.contains('{'));
        put(service, "security_opt", json!(security));
        let tmpfs = self.host["Tmpfs"].as_object().into_iter().flatten();
        let tmpfs = tmpfs.map(|(target, options)| match text(options).as_str() {
            "" => target.clone(),
            options => format!("{target}:{options}"),
        });
        put(service, "tmpfs", json!(tmpfs.collect::<Vec<_>>()));
        let devices = self.host["Devices"].as_array().into_iter().flatten();
        let devices = devices.map(|device| {
            let part = |key: &str| text(&device[key]);
            let (host, inside) = (part("PathOnHost"), part("PathInContainer"));
            format!("{host}:{inside}:{}", part("CgroupPermissions"))
        });
        put(service, "devices", json!(devices.collect::<Vec<_>>()));
    }

    fn put_limits(&self, service: &mut Map<String, Value>) {
        let host = &self.host;
        let numbers = [
            ("mem_limit", "Memory"),
            ("mem_reservation", "MemoryReservation"),
            ("cpu_shares", "CpuShares"),
            ("cpu_quota", "CpuQuota"),
            ("cpu_period", "CpuPeriod"),
            ("oom_score_adj", "OomScoreAdj"),
        ];
        for (attribute, key) in numbers {
            put(service, attribute, host[key].clone());
        }
        put(service, "cpuset", host["CpusetCpus"].clone());
        let number = |key: &str| host[key].as_i64().unwrap_or_default();
        let swap = number("MemorySwap");
        if swap != number("Memory") * 2 && swap != 0 {
            put(service, "memswap_limit", json!(swap));
        }
        if number("PidsLimit") > 0 {
            put(service, "pids_limit", json!(number("PidsLimit")));
        }
        if !matches!(number("ShmSize"), 0 | 67_108_864) {
            put(service, "shm_size", json!(number("ShmSize")));
        }
        if let Some(nanos) = host["NanoCpus"].as_f64().filter(|nanos| *nanos > 0.0) {
            put(service, "cpus", json!(nanos / 1e9));
        }
        let limits = host["Ulimits"].as_array().into_iter().flatten();
        let limits = limits.map(|limit| {
            let (soft, hard) = (&limit["Soft"], &limit["Hard"]);
            let limits = json!({ "soft": soft, "hard": hard });
            (text(&limit["Name"]), limits)
        });
        put(service, "ulimits", Value::Object(limits.collect()));
    }
}

/// Puts a value in that says something.
fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    if !is_nothing(&value) {
        map.insert(key.to_owned(), value);
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// The entries of a set, which the API has as a list or as a map of nothing.
fn keys(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => map.keys().cloned().collect(),
        other => texts(other),
    }
}

/// The engine's name of a volume that nobody named.
fn is_made_up(name: &str) -> bool {
    name.is_empty() || (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A path as seen from the project's directory, where it is below that.
fn relative(path: &str, directory: &str) -> String {
    let directory = directory.trim_end_matches('/');
    match path.strip_prefix(directory) {
        Some("") if !directory.is_empty() => ".".to_owned(),
        Some(rest) if !directory.is_empty() && rest.starts_with('/') => format!(".{rest}"),
        _ => path.to_owned(),
    }
}

fn doubled(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('$', "$$")),
        Value::Array(list) => Value::Array(list.into_iter().map(doubled).collect()),
        Value::Object(map) => {
            let entries = map.into_iter().map(|(key, value)| (key, doubled(value)));
            Value::Object(entries.collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{GenerateOptions, Generated, Seen, generate, relative};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn seen(container: Value, image: Value) -> Result<Seen, serde_json::Error> {
        Ok(Seen {
            container: serde_json::from_value(container)?,
            image: Some(serde_json::from_value(image)?),
        })
    }

    #[test]
    fn what_the_image_gives_is_left_out() -> TestResult {
        let container = json!({
            "Id": "0123456789abcdef", "Name": "/web",
            "Config": {
                "Image": "nginx:1", "Hostname": "0123456789ab", "WorkingDir": "/srv", "Cmd": ["nginx"],
                "Env": ["PATH=/bin", "TOKEN=a$b"], "Labels": {"maintainer": "x", "own": "yes"},
            },
            "HostConfig": {
                "NetworkMode": "front", "Memory": 67_108_864, "MemorySwap": 134_217_728, "ShmSize": 67_108_864,
                "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
                "LogConfig": {"Type": "json-file", "Config": {}},
            },
            "Mounts": [
                {"Type": "volume", "Name": "data", "Destination": "/data", "RW": true},
                {"Type": "bind", "Source": "/home/me/shop/app", "Destination": "/app", "RW": false},
            ],
            "NetworkSettings": {"Networks": {"front": {"Aliases": ["web", "www", "0123456789ab"]}}},
        });
        let image = json!({"Config": {
            "Cmd": ["nginx"], "Env": ["PATH=/bin"], "Labels": {"maintainer": "x"}, "WorkingDir": "/",
        }});
        let options = GenerateOptions {
            directory: "/home/me/shop".to_owned(),
            logging_driver: "json-file".to_owned(),
            ..GenerateOptions::default()
        };
        let Generated {
            document: made,
            left_out,
        } = generate(&[seen(container, image)?], &options);
        assert_eq!(left_out, Vec::<String>::new());
        let wanted = json!({
            "services": {"web": {
                "image": "nginx:1",
                "environment": {"TOKEN": "a$$b"},
                "working_dir": "/srv",
                "networks": {"front": {"aliases": ["www"]}},
                "ports": [{"target": 80, "published": "8080", "host_ip": "127.0.0.1"}],
                "volumes": [
                    {"type": "volume", "source": "data", "target": "/data"},
                    {"type": "bind", "source": "./app", "target": "/app", "read_only": true},
                ],
                "labels": {"own": "yes"},
                "restart": "on-failure:3",
                "mem_limit": 67_108_864,
            }},
            "networks": {"front": {"name": "front", "external": true}},
            "volumes": {"data": {"name": "data", "external": true}},
        });
        assert_eq!(made, wanted);
        Ok(())
    }

    #[test]
    fn replicas_are_one_service_with_what_it_waits_for() -> TestResult {
        let of = |id: &str, service: &str, depends_on: &str| {
            let labels = json!({
                "com.docker.compose.service": service,
                "com.docker.compose.depends_on": depends_on,
            });
            let container = json!({
                "Id": id, "Name": format!("/p-{service}-{id}"),
                "Config": {"Image": "a", "Labels": labels},
                "HostConfig": {"NetworkMode": if id == "3" { "container:2" } else { "none" }},
            });
            seen(container, json!({}))
        };
        let all = vec![
            of(
                "1",
                "web",
                "db:service_healthy:true,gone:service_started:false",
            )?,
            of("11", "web", "")?,
            of("2", "db", "")?,
            of("3", "side", "")?,
        ];
        let made = generate(&all, &GenerateOptions::default()).document;
        let db = json!({"condition": "service_healthy", "restart": true});
        assert_eq!(made["services"]["web"]["depends_on"], json!({ "db": db }));
        assert_eq!(made["services"]["web"]["scale"], 2);
        assert_eq!(made["services"]["side"]["network_mode"], "service:db");
        Ok(())
    }

    #[test]
    fn what_is_not_written_is_named() -> TestResult {
        let container = json!({
            "Id": "1", "Name": "/web", "Config": {"Image": "a"},
            "HostConfig": {
                "NetworkMode": "none", "VolumesFrom": ["data"], "PidMode": "container:2", "IpcMode": "private",
                "BlkioWeight": 300, "BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1}],
                "SecurityOpt": ["no-new-privileges", "seccomp={}"],
            },
        });
        let made = generate(&[seen(container, json!({}))?], &GenerateOptions::default());
        let want = "web: volumes_from, blkio_config, pid, security_opt (a profile)";
        assert_eq!(made.left_out, [want]);
        Ok(())
    }

    #[test]
    fn only_what_is_below_the_directory_is_relative() {
        assert_eq!(relative("/a/b/c", "/a/b/"), "./c");
        assert_eq!(relative("/a/b", "/a/b"), ".");
        assert_eq!(relative("/a/bc", "/a/b"), "/a/bc");
        assert_eq!(relative("/a", ""), "/a");
    }
}
