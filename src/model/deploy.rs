//! The `deploy` section: replicas, resources, updates.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::{ByteSize, Duration, Labels, Mapping};

/// How a service is deployed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Deploy {
    /// `replicated` or `global`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Number of containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Labels of the Swarm service.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub labels: Labels,
    /// How containers are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_config: Option<UpdateConfig>,
    /// How a failed update is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_config: Option<UpdateConfig>,
    /// Limits and reservations.
    #[serde(skip_serializing_if = "super::form::no_section")]
    pub resources: Resources,
    /// What happens after an exit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// Where containers run.
    #[serde(skip_serializing_if = "super::form::no_section")]
    pub placement: Placement,
    /// `vip` or `dnsrr`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint_mode: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Rules of an update or a rollback.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct UpdateConfig {
    /// Containers replaced at once; 0 is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u64>,
    /// Time between two groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// `pause`, `continue` or `rollback`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub failure_action: String,
    /// Time a new container is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Duration>,
    /// Share of failures that is tolerated.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "super::form::number"
    )]
    pub max_failure_ratio: Option<f64>,
    /// `stop-first` or `start-first`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub order: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Limits and reservations.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Resources {
    /// Upper bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
    /// What is set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservations: Option<ResourceLimits>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Amounts of resources.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ResourceLimits {
    /// Processors, as text.
    #[serde(
        skip_serializing_if = "String::is_empty",
        serialize_with = "super::form::number_text"
    )]
    pub cpus: String,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<i64>,
    /// Devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRequest>,
    /// Other resources (Swarm).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub generic_resources: Vec<GenericResource>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// A wish for devices, such as GPUs.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct DeviceRequest {
    /// Required capabilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Driver.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Number of devices, -1 is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// Devices by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_ids: Vec<String>,
    /// Driver options.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub options: Mapping,
}

/// A generic resource of Swarm.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct GenericResource {
    /// A counted resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discrete_resource_spec: Option<Value>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// What happens after an exit.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RestartPolicy {
    /// `none`, `on-failure` or `any`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// Time before a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Number of restarts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    /// Time after which a restart counts as a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// Where containers run (Swarm).
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Placement {
    /// Conditions on nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    /// Wishes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<PlacementPreference>,
    /// Containers per node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replicas_per_node: Option<u64>,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}

/// A wish for the spread over nodes.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct PlacementPreference {
    /// Node label to spread over.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub spread: String,
    /// `x-` attributes.
    #[serde(flatten, skip_serializing_if = "super::form::no_extensions")]
    pub extensions: IndexMap<String, Value>,
}
