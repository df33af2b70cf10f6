//! The `deploy` section, and requests for devices.

use super::{Binder, Node, Path, json};
use crate::model::{
    Deploy, DeviceRequest, GenericResource, Placement, PlacementPreference, ResourceLimits,
    Resources, RestartPolicy, UpdateConfig,
};

impl Binder<'_> {
    pub(super) fn deploy(&mut self, node: &Node, path: Path<'_>) -> Deploy {
        let mut deploy = Deploy::default();
        deploy.extensions = self.fields(
            node,
            path,
            &mut deploy,
            |binder, target, key, node, path| match key {
                "mode" => target.mode = binder.text(node, path),
                "replicas" => target.replicas = (!node.is_null()).then(|| binder.int(node, path)),
                "labels" => target.labels = binder.mapping(node, path),
                "update_config" => {
                    target.update_config = binder.section(node, path, Binder::update_config);
                }
                "rollback_config" => {
                    target.rollback_config = binder.section(node, path, Binder::update_config);
                }
                "resources" => target.resources = binder.resources(node, path),
                "restart_policy" => {
                    target.restart_policy = binder.section(node, path, Binder::restart_policy);
                }
                "placement" => target.placement = binder.placement(node, path),
                "endpoint_mode" => target.endpoint_mode = binder.text(node, path),
                _ => {}
            },
        );
        deploy
    }

    fn update_config(&mut self, node: &Node, path: Path<'_>) -> UpdateConfig {
        let mut config = UpdateConfig::default();
        config.extensions = self.fields(
            node,
            path,
            &mut config,
            |binder, target, key, node, path| match key {
                "parallelism" => {
                    target.parallelism = (!node.is_null()).then(|| binder.number(node, path));
                }
                "delay" => target.delay = binder.duration(node, path).filter(|span| span.0 != 0),
                "failure_action" => target.failure_action = binder.text(node, path),
                "monitor" => {
                    target.monitor = binder.duration(node, path).filter(|span| span.0 != 0);
                }
                "max_failure_ratio" => target.max_failure_ratio = binder.float(node, path),
                "order" => target.order = binder.text(node, path),
                _ => {}
            },
        );
        config
    }

    fn resources(&mut self, node: &Node, path: Path<'_>) -> Resources {
        let mut resources = Resources::default();
        resources.extensions = self.fields(
            node,
            path,
            &mut resources,
            |binder, target, key, node, path| match key {
                "limits" => target.limits = binder.section(node, path, Binder::limits),
                "reservations" => target.reservations = binder.section(node, path, Binder::limits),
                _ => {}
            },
        );
        resources
    }

    fn limits(&mut self, node: &Node, path: Path<'_>) -> ResourceLimits {
        let mut limits = ResourceLimits::default();
        limits.extensions = self.fields(
            node,
            path,
            &mut limits,
            |binder, target, key, node, path| match key {
                "cpus" => {
                    let number = binder.float(node, path);
                    target.cpus = number.map(|number| number.to_string()).unwrap_or_default();
                }
                "memory" => target.memory = binder.bytes(node, path),
                "pids" => target.pids = binder.some_int(node, path),
                "devices" => target.devices = binder.list(node, path, Binder::device_request),
                "generic_resources" => {
                    target.generic_resources = binder.list(node, path, Binder::generic_resource);
                }
                _ => {}
            },
        );
        limits
    }

    fn generic_resource(&mut self, node: &Node, path: Path<'_>) -> GenericResource {
        let mut resource = GenericResource::default();
        resource.extensions = self.fields(
            node,
            path,
            &mut resource,
            |binder, target, key, node, path| {
                if key == "discrete_resource_spec" && !node.is_null() {
                    let kind = node.find("kind").map(json).unwrap_or_default();
                    let value = node
                        .find("value")
                        .map_or(0, |value| binder.int(value, path.key("value")));
                    let kind = kind.as_str().unwrap_or_default();
                    target.discrete_resource_spec =
                        Some(serde_json::json!({ "kind": kind, "value": value }));
                }
            },
        );
        resource
    }

    fn restart_policy(&mut self, node: &Node, path: Path<'_>) -> RestartPolicy {
        let mut policy = RestartPolicy::default();
        policy.extensions = self.fields(
            node,
            path,
            &mut policy,
            |binder, target, key, node, path| match key {
                "condition" => target.condition = binder.text(node, path),
                "delay" => target.delay = binder.duration(node, path),
                "max_attempts" => {
                    target.max_attempts = (!node.is_null()).then(|| binder.number(node, path));
                }
                "window" => target.window = binder.duration(node, path),
                _ => {}
            },
        );
        policy
    }

    fn placement(&mut self, node: &Node, path: Path<'_>) -> Placement {
        let mut placement = Placement::default();
        placement.extensions = self.fields(
            node,
            path,
            &mut placement,
            |binder, target, key, node, path| match key {
                "constraints" => target.constraints = binder.texts(node, path),
                "preferences" => target.preferences = binder.list(node, path, Binder::preference),
                "max_replicas_per_node" => {
                    let number: u64 = binder.number(node, path);
                    target.max_replicas_per_node = Some(number).filter(|number| *number != 0);
                }
                _ => {}
            },
        );
        placement
    }

    fn preference(&mut self, node: &Node, path: Path<'_>) -> PlacementPreference {
        let mut preference = PlacementPreference::default();
        preference.extensions = self.fields(
            node,
            path,
            &mut preference,
            |binder, target, key, node, path| {
                if key == "spread" {
                    target.spread = binder.text(node, path);
                }
            },
        );
        preference
    }

    pub(super) fn device_request(&mut self, node: &Node, path: Path<'_>) -> DeviceRequest {
        let mut request = DeviceRequest::default();
        self.fields(
            node,
            path,
            &mut request,
            |binder, target, key, node, path| match key {
                "capabilities" => target.capabilities = binder.texts(node, path),
                "driver" => target.driver = binder.text(node, path),
                "count" => {
                    let all = node
                        .as_text()
                        .is_some_and(|text| text.eq_ignore_ascii_case("all"));
                    target.count = if all {
                        Some(-1)
                    } else {
                        binder.some_int(node, path)
                    };
                }
                "device_ids" => target.device_ids = binder.texts(node, path),
                "options" => target.options = binder.mapping(node, path),
                _ => {}
            },
        );
        request
    }
}
