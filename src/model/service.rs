//! A service and its scalar sections.

use indexmap::IndexMap;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{
    AttachedNetwork, Build, ByteSize, Deploy, Develop, DeviceRequest, Duration, Environment,
    FileReference, Healthcheck, Hook, Labels, Mapping, Mount, Port, Ulimit,
};

/// A service: the wish for one or more equal containers.
///
/// Sections that most services do not have are boxed: a project has thousands of services, and each would pay for all.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the attributes are the specification's"
)]
pub struct Service {
    /// Its key.
    #[serde(skip)]
    pub name: String,
    /// Profiles that enable it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// Annotations of the OCI runtime.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub annotations: Mapping,
    /// Whether `up` shows its logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach: Option<bool>,
    /// How its image is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Box<Build>>,
    /// Rules for development.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub develop: Option<Box<Develop>>,
    /// Block I/O limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio_config: Option<Box<BlkioConfig>>,
    /// Capabilities to add.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// Parent cgroup.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroup_parent: String,
    /// Cgroup namespace: `host` or `private`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroup: String,
    /// Number of processors (Windows).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<i64>,
    /// Share of the processors (Windows).
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "super::form::number"
    )]
    pub cpu_percent: Option<f64>,
    /// CFS period in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<i64>,
    /// CFS quota in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// Real-time period in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_rt_period: Option<i64>,
    /// Real-time runtime in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_rt_runtime: Option<i64>,
    /// Number of processors.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "super::form::number"
    )]
    pub cpus: Option<f64>,
    /// Processors it may use.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpuset: String,
    /// Relative weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<i64>,
    /// Command; `None` is the image's.
    #[serde(skip_serializing_if = "super::form::no_command")]
    pub command: Option<Vec<String>>,
    /// Configs it uses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<FileReference>,
    /// Fixed container name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_name: String,
    /// Credentials (Windows).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_spec: Option<Box<CredentialSpec>>,
    /// Services it waits for.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub depends_on: IndexMap<String, Dependency>,
    /// How it is deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Box<Deploy>>,
    /// Device rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_cgroup_rules: Vec<String>,
    /// Devices of the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceMapping>,
    /// DNS servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// DNS options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_opt: Vec<String>,
    /// DNS search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// Legacy attribute.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dockerfile: String,
    /// Domain name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// Entry point; `None` is the image's.
    #[serde(skip_serializing_if = "super::form::no_command")]
    pub entrypoint: Option<Vec<String>>,
    /// External provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Box<Provider>>,
    /// Environment.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub environment: Environment,
    /// Files with environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_file: Vec<EnvFile>,
    /// Ports other services may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// The service it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<Value>,
    /// Links to containers outside of the project.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_links: Vec<String>,
    /// Entries of `/etc/hosts`, host to addresses.
    #[serde(
        skip_serializing_if = "IndexMap::is_empty",
        serialize_with = "super::form::hosts"
    )]
    pub extra_hosts: IndexMap<String, Vec<String>>,
    /// Further groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// GPUs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<DeviceRequest>,
    /// Host name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Health probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Box<Healthcheck>>,
    /// Image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Runs an init as PID 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// IPC namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipc: String,
    /// Isolation technology (Windows).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub isolation: String,
    /// Labels.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub labels: Labels,
    /// Files with labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_file: Vec<String>,
    /// Links to services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// Log driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Box<Logging>>,
    /// Legacy attribute.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_driver: String,
    /// Legacy attribute.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub log_opt: Mapping,
    /// Memory limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_limit: Option<ByteSize>,
    /// Memory reservation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_reservation: Option<ByteSize>,
    /// Limit of memory and swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memswap_limit: Option<ByteSize>,
    /// Swappiness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_swappiness: Option<ByteSize>,
    /// MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    /// AI models it uses.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub models: IndexMap<String, Option<ServiceModel>>,
    /// Legacy attribute.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub net: String,
    /// `host`, `none`, `service:NAME`, `container:NAME`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network_mode: String,
    /// Networks it is attached to.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub networks: IndexMap<String, Option<AttachedNetwork>>,
    /// Without OOM killer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub oom_kill_disable: bool,
    /// OOM preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i64>,
    /// PID namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pid: String,
    /// Number of processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<i64>,
    /// Platform.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// Published ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// With every capability and device.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// When its image is pulled.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pull_policy: String,
    /// Read-only root file system.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Restart policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub restart: String,
    /// OCI runtime.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runtime: String,
    /// Number of containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<i64>,
    /// Secrets it uses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<FileReference>,
    /// Security options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
    /// Size of `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<ByteSize>,
    /// Keeps standard input open.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stdin_open: bool,
    /// Time between the stop signal and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Duration>,
    /// Stop signal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Storage options.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub storage_opt: Mapping,
    /// Kernel parameters.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub sysctls: Mapping,
    /// Memory file systems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    /// With a terminal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// Resource limits.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub ulimits: IndexMap<String, Ulimit>,
    /// With the engine's socket.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub use_api_socket: bool,
    /// User.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// User namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub userns_mode: String,
    /// UTS namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uts: String,
    /// Legacy attribute.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub volume_driver: String,
    /// Mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Mount>,
    /// Containers whose volumes it shares.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<String>,
    /// Working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Hooks before the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pre_start: Vec<Hook>,
    /// Hooks after the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub post_start: Vec<Hook>,
    /// Hooks before the stop.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pre_stop: Vec<Hook>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// What a dependant waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyCondition {
    /// The service was started.
    #[default]
    ServiceStarted,
    /// Every container of the service is healthy.
    ServiceHealthy,
    /// Every container of the service exited with 0.
    ServiceCompletedSuccessfully,
}

/// One entry of `depends_on`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Dependency {
    /// What is waited for.
    pub condition: DependencyCondition,
    /// Restarts the dependant when the dependency is restarted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
    /// Fails where the dependency is missing or fails.
    pub required: bool,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Block I/O limits.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct BlkioConfig {
    /// Weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Weight per device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<BlkioWeight>,
    /// Bytes read per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_read_bps: Vec<BlkioLimit>,
    /// Reads per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_read_iops: Vec<BlkioLimit>,
    /// Bytes written per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_write_bps: Vec<BlkioLimit>,
    /// Writes per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_write_iops: Vec<BlkioLimit>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Weight of a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlkioWeight {
    /// Device.
    pub path: String,
    /// Weight.
    pub weight: u16,
}

impl Serialize for BlkioWeight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = if super::form::is_yaml() {
            ["path", "weight"]
        } else {
            ["Path", "Weight"]
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(keys[0], &self.path)?;
        map.serialize_entry(keys[1], &self.weight)?;
        map.end()
    }
}

/// Rate of a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlkioLimit {
    /// Device.
    pub path: String,
    /// Rate per second.
    pub rate: ByteSize,
}

impl Serialize for BlkioLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = if super::form::is_yaml() {
            ["path", "rate"]
        } else {
            ["Path", "Rate"]
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(keys[0], &self.path)?;
        map.serialize_entry(keys[1], &self.rate)?;
        map.end()
    }
}

/// Credentials (Windows).
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CredentialSpec {
    /// Config.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub config: String,
    /// File.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// Registry.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub registry: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// A device of the host in the container.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct DeviceMapping {
    /// Path on the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Path in the container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// `r`, `w`, `m`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub permissions: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// A file with environment variables.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct EnvFile {
    /// Path.
    pub path: String,
    /// Fails where it is missing; written where it does not.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub required: bool,
    /// `raw`, or empty for dotenv.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub format: String,
}

/// Log driver.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Logging {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Options.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub options: Mapping,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// External provider of a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Provider {
    /// Name of the program.
    pub r#type: String,
    /// Options.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub options: IndexMap<String, Vec<String>>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// A service's use of a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ServiceModel {
    /// Variable for the address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint_var: String,
    /// Variable for the name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model_var: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// An AI model.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Model {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Reference.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Context size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_size: Option<i64>,
    /// Flags of the runtime.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runtime_flags: Vec<String>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}
