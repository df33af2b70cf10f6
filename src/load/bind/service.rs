//! Services.

use super::{Binder, Node, Path, Value, json};
use crate::model::{
    AttachedNetwork, BlkioConfig, BlkioLimit, BlkioWeight, CredentialSpec, Dependency,
    DependencyCondition, Develop, EnvFile, FileReference, Healthcheck, Hook, Logging, Mapping,
    Provider, Service, ServiceModel, WatchRule,
};

impl Binder<'_> {
    pub(super) fn service(&mut self, node: &Node, path: Path<'_>) -> Service {
        let mut service = Service::default();
        service.extensions = self.fields(node, path, &mut service, Self::service_field);
        service
    }

    /// Sets one attribute; simple ones are found by the tables below.
    fn service_field(&mut self, service: &mut Service, key: &str, node: &Node, path: Path<'_>) {
        if let Some(field) = text_field(service, key) {
            *field = self.text(node, path);
        } else if let Some(field) = texts_field(service, key) {
            *field = self.texts(node, path);
        } else if let Some(field) = flag_field(service, key) {
            *field = self.flag(node, path);
        } else if let Some(field) = int_field(service, key) {
            *field = self.some_int(node, path);
        } else if let Some(field) = mapping_field(service, key) {
            *field = self.mapping(node, path);
        } else if let Some(field) = size_field(service, key) {
            *field = self.bytes(node, path);
        } else {
            self.service_section(service, key, node, path);
        }
    }

    fn service_section(&mut self, service: &mut Service, key: &str, node: &Node, path: Path<'_>) {
        match key {
            "attach" => service.attach = self.some_flag(node, path),
            "init" => service.init = self.some_flag(node, path),
            "cpu_percent" => service.cpu_percent = self.float(node, path),
            "cpus" => service.cpus = self.float(node, path),
            "scale" => service.scale = (!node.is_null()).then(|| self.int(node, path)),
            "command" => service.command = self.command(node, path),
            "entrypoint" => service.entrypoint = self.command(node, path),
            "stop_grace_period" => service.stop_grace_period = self.duration(node, path),
            "environment" => service.environment = self.environment(node, path),
            "extra_hosts" => service.extra_hosts = self.hosts(node, path),
            "expose" => service.expose = self.loose_texts(node, path),
            "extends" => service.extends = Some(json(node)),
            "ulimits" => service.ulimits = self.table(node, path, Self::ulimit),
            "build" => service.build = self.boxed(node, path, Self::build),
            "deploy" => service.deploy = self.boxed(node, path, Self::deploy),
            "develop" => service.develop = self.boxed(node, path, Self::develop),
            "blkio_config" => service.blkio_config = self.boxed(node, path, Self::blkio),
            "healthcheck" => service.healthcheck = self.boxed(node, path, Self::healthcheck),
            "logging" => service.logging = self.boxed(node, path, Self::logging),
            "provider" => service.provider = self.boxed(node, path, Self::provider),
            "credential_spec" => {
                service.credential_spec = self.boxed(node, path, Self::credential_spec);
            }
            _ => self.service_list(service, key, node, path),
        }
    }

    fn service_list(&mut self, service: &mut Service, key: &str, node: &Node, path: Path<'_>) {
        match key {
            "configs" => service.configs = self.list(node, path, Self::file_reference),
            "secrets" => service.secrets = self.list(node, path, Self::file_reference),
            "devices" => service.devices = self.list(node, path, Self::device),
            "env_file" => service.env_file = self.list(node, path, Self::env_file),
            "gpus" => service.gpus = self.list(node, path, Self::device_request),
            "ports" => service.ports = self.list(node, path, Self::port),
            "volumes" => service.volumes = self.list(node, path, Self::mount),
            "pre_start" => service.pre_start = self.list(node, path, Self::hook),
            "post_start" => service.post_start = self.list(node, path, Self::hook),
            "pre_stop" => service.pre_stop = self.list(node, path, Self::hook),
            "depends_on" => service.depends_on = self.table(node, path, Self::dependency),
            "networks" => service.networks = self.table(node, path, Self::attached_network),
            "models" => service.models = self.table(node, path, Self::service_model),
            _ => {}
        }
    }

    /// Reads a section that may be empty.
    pub(super) fn section<T>(
        &mut self,
        node: &Node,
        path: Path<'_>,
        read: fn(&mut Self, &Node, Path<'_>) -> T,
    ) -> Option<T> {
        (!node.is_null()).then(|| read(self, node, path))
    }

    /// Reads a section that may be empty and that few services have.
    fn boxed<T>(
        &mut self,
        node: &Node,
        path: Path<'_>,
        read: fn(&mut Self, &Node, Path<'_>) -> T,
    ) -> Option<Box<T>> {
        self.section(node, path, read).map(Box::new)
    }

    pub(super) fn some_flag(&mut self, node: &Node, path: Path<'_>) -> Option<bool> {
        (!node.is_null()).then(|| self.flag(node, path))
    }

    fn dependency(&mut self, node: &Node, path: Path<'_>) -> Dependency {
        let mut dependency = Dependency::default();
        dependency.extensions = self.fields(
            node,
            path,
            &mut dependency,
            |binder, target, key, node, path| match key {
                "condition" => {
                    target.condition = match binder.text(node, path).as_str() {
                        "service_healthy" => DependencyCondition::ServiceHealthy,
                        "service_completed_successfully" => {
                            DependencyCondition::ServiceCompletedSuccessfully
                        }
                        _ => DependencyCondition::ServiceStarted,
                    }
                }
                "restart" => target.restart = binder.flag(node, path),
                "required" => target.required = binder.flag(node, path),
                _ => {}
            },
        );
        dependency
    }

    fn attached_network(&mut self, node: &Node, path: Path<'_>) -> Option<AttachedNetwork> {
        if node.is_null() {
            return None;
        }
        let mut network = AttachedNetwork::default();
        network.extensions = self.fields(
            node,
            path,
            &mut network,
            |binder, target, key, node, path| match key {
                "aliases" => target.aliases = binder.texts(node, path),
                "driver_opts" => target.driver_opts = binder.mapping(node, path),
                "gw_priority" => target.gw_priority = binder.some_int(node, path),
                "interface_name" => target.interface_name = binder.text(node, path),
                "ipv4_address" => target.ipv4_address = binder.text(node, path),
                "ipv6_address" => target.ipv6_address = binder.text(node, path),
                "link_local_ips" => target.link_local_ips = binder.texts(node, path),
                "mac_address" => target.mac_address = binder.text(node, path),
                "priority" => target.priority = binder.some_int(node, path),
                _ => {}
            },
        );
        Some(network)
    }

    fn service_model(&mut self, node: &Node, path: Path<'_>) -> Option<ServiceModel> {
        if node.is_null() {
            return None;
        }
        let mut model = ServiceModel::default();
        model.extensions = self.fields(
            node,
            path,
            &mut model,
            |binder, target, key, node, path| match key {
                "endpoint_var" => target.endpoint_var = binder.text(node, path),
                "model_var" => target.model_var = binder.text(node, path),
                _ => {}
            },
        );
        Some(model)
    }

    fn healthcheck(&mut self, node: &Node, path: Path<'_>) -> Healthcheck {
        let mut check = Healthcheck::default();
        check.extensions = self.fields(
            node,
            path,
            &mut check,
            |binder, target, key, node, path| match key {
                "test" => {
                    target.test = match &node.value {
                        Value::Text(text) => vec!["CMD-SHELL".to_owned(), text.to_string()],
                        _ => binder.texts(node, path),
                    }
                }
                "timeout" => target.timeout = binder.duration(node, path),
                "interval" => target.interval = binder.duration(node, path),
                "retries" => target.retries = (!node.is_null()).then(|| binder.number(node, path)),
                "start_period" => target.start_period = binder.duration(node, path),
                "start_interval" => target.start_interval = binder.duration(node, path),
                "disable" => target.disable = binder.flag(node, path),
                _ => {}
            },
        );
        check
    }

    fn logging(&mut self, node: &Node, path: Path<'_>) -> Logging {
        let mut logging = Logging::default();
        logging.extensions = self.fields(
            node,
            path,
            &mut logging,
            |binder, target, key, node, path| match key {
                "driver" => target.driver = binder.text(node, path),
                "options" => target.options = binder.mapping(node, path),
                _ => {}
            },
        );
        logging
    }

    fn provider(&mut self, node: &Node, path: Path<'_>) -> Provider {
        let mut provider = Provider::default();
        provider.extensions = self.fields(
            node,
            path,
            &mut provider,
            |binder, target, key, node, path| match key {
                "type" => target.r#type = binder.text(node, path),
                "options" => target.options = binder.table(node, path, Binder::loose_texts),
                _ => {}
            },
        );
        provider
    }

    fn credential_spec(&mut self, node: &Node, path: Path<'_>) -> CredentialSpec {
        let mut spec = CredentialSpec::default();
        spec.extensions =
            self.fields(
                node,
                path,
                &mut spec,
                |binder, target, key, node, path| match key {
                    "config" => target.config = binder.text(node, path),
                    "file" => target.file = binder.text(node, path),
                    "registry" => target.registry = binder.text(node, path),
                    _ => {}
                },
            );
        spec
    }

    pub(super) fn file_reference(&mut self, node: &Node, path: Path<'_>) -> FileReference {
        let mut reference = FileReference::default();
        reference.extensions = self.fields(
            node,
            path,
            &mut reference,
            |binder, target, key, node, path| match key {
                "source" => target.source = binder.text(node, path),
                "target" => target.target = binder.text(node, path),
                "uid" => target.uid = binder.text(node, path),
                "gid" => target.gid = binder.text(node, path),
                "mode" => target.mode = binder.mode(node, path),
                _ => {}
            },
        );
        reference
    }

    /// Reads permission bits: a text is octal, a number is taken as it is.
    fn mode(&mut self, node: &Node, path: Path<'_>) -> Option<u32> {
        let mode = match &node.value {
            Value::Null => return None,
            Value::Text(text) => u32::from_str_radix(text, 8).ok(),
            Value::Int(number) => u32::try_from(*number).ok(),
            _ => None,
        };
        if mode.is_none() {
            self.wrong(node, path, "permission bits such as `\"0440\"`");
        }
        mode
    }

    fn env_file(&mut self, node: &Node, path: Path<'_>) -> EnvFile {
        let mut file = EnvFile::default();
        self.fields(
            node,
            path,
            &mut file,
            |binder, target, key, node, path| match key {
                "path" => target.path = binder.text(node, path),
                "required" => target.required = binder.flag(node, path),
                "format" => target.format = binder.text(node, path),
                _ => {}
            },
        );
        file
    }

    fn hook(&mut self, node: &Node, path: Path<'_>) -> Hook {
        let mut hook = Hook::default();
        hook.extensions =
            self.fields(
                node,
                path,
                &mut hook,
                |binder, target, key, node, path| match key {
                    "command" => target.command = binder.command(node, path),
                    "image" => target.image = binder.text(node, path),
                    "user" => target.user = binder.text(node, path),
                    "privileged" => target.privileged = binder.flag(node, path),
                    "working_dir" => target.working_dir = binder.text(node, path),
                    "environment" => target.environment = binder.environment(node, path),
                    "per_replica" => target.per_replica = binder.flag(node, path),
                    _ => {}
                },
            );
        hook
    }

    fn develop(&mut self, node: &Node, path: Path<'_>) -> Develop {
        let mut develop = Develop::default();
        develop.extensions = self.fields(
            node,
            path,
            &mut develop,
            |binder, target, key, node, path| {
                if key == "watch" {
                    target.watch = binder.list(node, path, Binder::watch_rule);
                }
            },
        );
        develop
    }

    fn watch_rule(&mut self, node: &Node, path: Path<'_>) -> WatchRule {
        let mut rule = WatchRule::default();
        rule.extensions =
            self.fields(
                node,
                path,
                &mut rule,
                |binder, target, key, node, path| match key {
                    "path" => target.path = binder.text(node, path),
                    "action" => target.action = binder.text(node, path),
                    "target" => target.target = binder.text(node, path),
                    "exec" => target.exec = binder.section(node, path, Binder::hook),
                    "include" => target.include = binder.texts(node, path),
                    "ignore" => target.ignore = binder.texts(node, path),
                    "initial_sync" => target.initial_sync = binder.flag(node, path),
                    _ => {}
                },
            );
        rule
    }

    fn blkio(&mut self, node: &Node, path: Path<'_>) -> BlkioConfig {
        let mut config = BlkioConfig::default();
        config.extensions = self.fields(
            node,
            path,
            &mut config,
            |binder, target, key, node, path| match key {
                "weight" => {
                    target.weight = Some(binder.number(node, path)).filter(|weight| *weight != 0);
                }
                "weight_device" => {
                    target.weight_device = binder.list(node, path, Binder::blkio_weight);
                }
                "device_read_bps" => {
                    target.device_read_bps = binder.list(node, path, Binder::blkio_limit);
                }
                "device_read_iops" => {
                    target.device_read_iops = binder.list(node, path, Binder::blkio_limit);
                }
                "device_write_bps" => {
                    target.device_write_bps = binder.list(node, path, Binder::blkio_limit);
                }
                "device_write_iops" => {
                    target.device_write_iops = binder.list(node, path, Binder::blkio_limit);
                }
                _ => {}
            },
        );
        config
    }

    fn blkio_weight(&mut self, node: &Node, path: Path<'_>) -> BlkioWeight {
        let mut weight = BlkioWeight::default();
        self.fields(
            node,
            path,
            &mut weight,
            |binder, target, key, node, path| match key {
                "path" => target.path = binder.text(node, path),
                "weight" => target.weight = binder.number(node, path),
                _ => {}
            },
        );
        weight
    }

    fn blkio_limit(&mut self, node: &Node, path: Path<'_>) -> BlkioLimit {
        let mut limit = BlkioLimit::default();
        self.fields(
            node,
            path,
            &mut limit,
            |binder, target, key, node, path| match key {
                "path" => target.path = binder.text(node, path),
                "rate" => target.rate = binder.bytes(node, path).unwrap_or_default(),
                _ => {}
            },
        );
        limit
    }
}

fn text_field<'s>(service: &'s mut Service, key: &str) -> Option<&'s mut String> {
    Some(match key {
        "cgroup_parent" => &mut service.cgroup_parent,
        "cgroup" => &mut service.cgroup,
        "cpuset" => &mut service.cpuset,
        "container_name" => &mut service.container_name,
        "dockerfile" => &mut service.dockerfile,
        "domainname" => &mut service.domainname,
        "hostname" => &mut service.hostname,
        "image" => &mut service.image,
        "ipc" => &mut service.ipc,
        "isolation" => &mut service.isolation,
        "log_driver" => &mut service.log_driver,
        "mac_address" => &mut service.mac_address,
        "net" => &mut service.net,
        "network_mode" => &mut service.network_mode,
        "pid" => &mut service.pid,
        "platform" => &mut service.platform,
        "pull_policy" => &mut service.pull_policy,
        "restart" => &mut service.restart,
        "runtime" => &mut service.runtime,
        "stop_signal" => &mut service.stop_signal,
        "user" => &mut service.user,
        "userns_mode" => &mut service.userns_mode,
        "uts" => &mut service.uts,
        "volume_driver" => &mut service.volume_driver,
        "working_dir" => &mut service.working_dir,
        _ => return None,
    })
}

fn texts_field<'s>(service: &'s mut Service, key: &str) -> Option<&'s mut Vec<String>> {
    Some(match key {
        "profiles" => &mut service.profiles,
        "cap_add" => &mut service.cap_add,
        "cap_drop" => &mut service.cap_drop,
        "device_cgroup_rules" => &mut service.device_cgroup_rules,
        "dns" => &mut service.dns,
        "dns_opt" => &mut service.dns_opt,
        "dns_search" => &mut service.dns_search,
        "external_links" => &mut service.external_links,
        "group_add" => &mut service.group_add,
        "label_file" => &mut service.label_file,
        "links" => &mut service.links,
        "security_opt" => &mut service.security_opt,
        "tmpfs" => &mut service.tmpfs,
        "volumes_from" => &mut service.volumes_from,
        _ => return None,
    })
}

fn flag_field<'s>(service: &'s mut Service, key: &str) -> Option<&'s mut bool> {
    Some(match key {
        "oom_kill_disable" => &mut service.oom_kill_disable,
        "privileged" => &mut service.privileged,
        "read_only" => &mut service.read_only,
        "stdin_open" => &mut service.stdin_open,
        "tty" => &mut service.tty,
        "use_api_socket" => &mut service.use_api_socket,
        _ => return None,
    })
}

fn int_field<'s>(service: &'s mut Service, key: &str) -> Option<&'s mut Option<i64>> {
    Some(match key {
        "cpu_count" => &mut service.cpu_count,
        "cpu_period" => &mut service.cpu_period,
        "cpu_quota" => &mut service.cpu_quota,
        "cpu_rt_period" => &mut service.cpu_rt_period,
        "cpu_rt_runtime" => &mut service.cpu_rt_runtime,
        "cpu_shares" => &mut service.cpu_shares,
        "oom_score_adj" => &mut service.oom_score_adj,
        "pids_limit" => &mut service.pids_limit,
        _ => return None,
    })
}

fn mapping_field<'s>(service: &'s mut Service, key: &str) -> Option<&'s mut Mapping> {
    Some(match key {
        "annotations" => &mut service.annotations,
        "labels" => &mut service.labels,
        "log_opt" => &mut service.log_opt,
        "storage_opt" => &mut service.storage_opt,
        "sysctls" => &mut service.sysctls,
        _ => return None,
    })
}

fn size_field<'s>(
    service: &'s mut Service,
    key: &str,
) -> Option<&'s mut Option<crate::model::ByteSize>> {
    Some(match key {
        "mem_limit" => &mut service.mem_limit,
        "mem_reservation" => &mut service.mem_reservation,
        "memswap_limit" => &mut service.memswap_limit,
        "mem_swappiness" => &mut service.mem_swappiness,
        "shm_size" => &mut service.shm_size,
        _ => return None,
    })
}
