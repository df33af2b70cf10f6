//! What each attribute means, in one sentence, for the published schema: editors show it beside the key.
//!
//! A row holds for every path that ends with its keys; of several rows the longest one counts.

/// Returns the sentence for a path of keys.
pub(super) fn describe(path: &[&str]) -> Option<&'static str> {
    let fits = |keys: &str| {
        let length = keys.split('.').count();
        length <= path.len()
            && keys
                .split('.')
                .eq(path[path.len() - length..].iter().copied())
    };
    let rows = ROWS.iter().filter(|(keys, _)| fits(keys));
    let longest = rows.max_by_key(|(keys, _)| keys.split('.').count());
    longest.map(|(_, text)| *text)
}

const ROWS: &[(&str, &str)] = &[
    ("configs", "Files of configuration that services may mount."),
    (
        "services.*.configs",
        "Configs of the project that are mounted into the containers.",
    ),
    ("content", "The text of the config, variables substituted."),
    (
        "environment",
        "Variables, as `NAME: value` or a list of `NAME=value`; a name alone takes the value of the environment.",
    ),
    (
        "configs.*.environment",
        "The variable of the environment that holds the content.",
    ),
    (
        "secrets.*.environment",
        "The variable of the environment that holds the value.",
    ),
    (
        "external",
        "Whether it exists already: it is then looked up, and neither made nor removed.",
    ),
    ("name", "The name of the project."),
    ("networks.*.name", "The name that the engine knows it by."),
    ("volumes.*.name", "The name that the engine knows it by."),
    ("configs.*.name", "The name that the engine knows it by."),
    ("secrets.*.name", "The name that the engine knows it by."),
    (
        "external.name",
        "The old place of the name of something external; write `name` beside `external: true`.",
    ),
    ("models.*.name", "The name of the model."),
    ("ports.name", "A name for the port, for people."),
    ("file", "The file that holds the content, on this machine."),
    (
        "extends.file",
        "The file that holds the service; without one it is this file.",
    ),
    (
        "credential_spec.file",
        "The file with the credential specification.",
    ),
    ("labels", "Labels, as a mapping or a list of `key=value`."),
    (
        "volumes.volume.labels",
        "Labels of the volume, where it is made for this mount.",
    ),
    (
        "deploy.labels",
        "Labels of the service as a whole in a swarm; containers do not get them.",
    ),
    ("build.labels", "Labels of the image that is built."),
    ("template_driver", "The driver of a template in a swarm."),
    (
        "include",
        "Other Compose files whose services and resources belong to this project.",
    ),
    (
        "watch.include",
        "Patterns of the only files that are watched.",
    ),
    (
        "env_file",
        "Files with variables for the containers, the later over the earlier.",
    ),
    (
        "include.env_file",
        "Files with the variables that the included files may use.",
    ),
    ("path", "A path."),
    (
        "include.path",
        "The file to include; of several, each lies over the one before.",
    ),
    ("env_file.path", "The file with variables."),
    ("watch.path", "The directory or file that is watched."),
    ("weight_device.path", "The device, such as `/dev/sda`."),
    ("device_read_bps.path", "The device, such as `/dev/sda`."),
    ("device_read_iops.path", "The device, such as `/dev/sda`."),
    ("device_write_bps.path", "The device, such as `/dev/sda`."),
    ("device_write_iops.path", "The device, such as `/dev/sda`."),
    (
        "project_directory",
        "The directory that relative paths of the included files start from.",
    ),
    ("models", "AI models of the project."),
    ("services.*.models", "AI models that the service uses."),
    ("context_size", "Tokens of context."),
    ("model", "The model, as an artifact of a registry."),
    ("runtime_flags", "Flags for the engine that runs the model."),
    ("networks", "Networks of the project."),
    (
        "services.*.networks",
        "Networks the containers are attached to; without any it is `default`.",
    ),
    (
        "attachable",
        "Whether containers outside of the project may be attached.",
    ),
    ("driver", "The driver."),
    (
        "logging.driver",
        "Where the output of the containers goes, such as `json-file`, `local` or `journald`.",
    ),
    (
        "networks.*.driver",
        "The driver, such as `bridge`, `overlay`, `macvlan` or `ipvlan`.",
    ),
    ("volumes.*.driver", "The driver, `local` by default."),
    ("ipam.driver", "Who gives out the addresses."),
    (
        "gpus.driver",
        "The driver of the devices, such as `nvidia`.",
    ),
    (
        "devices.driver",
        "The driver of the devices, such as `nvidia`.",
    ),
    ("driver_opts", "Options for the driver."),
    ("enable_ipv4", "Whether containers get IPv4 addresses."),
    ("enable_ipv6", "Whether containers get IPv6 addresses."),
    ("internal", "Whether the network has no way out."),
    ("ipam", "How addresses are given out."),
    ("config", "Pools of addresses."),
    (
        "credential_spec.config",
        "The config with the credential specification.",
    ),
    (
        "aux_addresses",
        "Addresses that are taken by something else, by host name.",
    ),
    ("gateway", "The address of the gateway."),
    (
        "ip_range",
        "The part of the subnet that containers get addresses from.",
    ),
    ("subnet", "The subnet, as `10.1.0.0/16`."),
    ("options", "Options."),
    (
        "logging.options",
        "Options of the log driver, such as `max-size`.",
    ),
    ("ipam.options", "Options of the address driver."),
    (
        "provider.options",
        "Options that the provider is started with.",
    ),
    ("secrets", "Confidential files that services may mount."),
    (
        "services.*.secrets",
        "Secrets of the project that are mounted into the containers.",
    ),
    (
        "build.secrets",
        "Secrets that steps of the build may mount.",
    ),
    (
        "services",
        "The services: each is the wish for one or more equal containers.",
    ),
    ("annotations", "Annotations for the OCI runtime."),
    ("attach", "Whether `up` shows the output of the service."),
    ("blkio_config", "Limits of block devices."),
    (
        "device_read_bps",
        "Bytes a second that are read of devices at most.",
    ),
    ("device_read_iops", "Reads a second of devices at most."),
    (
        "device_write_bps",
        "Bytes a second that are written to devices at most.",
    ),
    ("device_write_iops", "Writes a second to devices at most."),
    ("rate", "The limit, for bytes also as `12mb`."),
    ("weight", "The share among all containers, from 10 to 1000."),
    ("weight_device", "The share for single devices."),
    ("build", "How the image is built; a text is the context."),
    (
        "additional_contexts",
        "Further contexts by name, which a Dockerfile can copy from.",
    ),
    ("args", "Build arguments."),
    (
        "cache_from",
        "Where layers that are built already are looked for.",
    ),
    ("cache_to", "Where built layers are kept for others."),
    (
        "context",
        "The directory or the address that the build may read.",
    ),
    ("dockerfile", "The Dockerfile, from the context."),
    ("dockerfile_inline", "The text of the Dockerfile."),
    ("entitlements", "What the build may do beyond the usual."),
    ("extra_hosts", "Further host names with their addresses."),
    ("isolation", "The technology of isolation, on Windows."),
    ("network", "The network of the steps of the build."),
    ("no_cache", "Whether every step is run again."),
    ("no_cache_filter", "Stages whose steps are run again."),
    (
        "platforms",
        "The platforms that are built, as `linux/arm64`.",
    ),
    (
        "privileged",
        "Whether it may do what root may do on this machine.",
    ),
    (
        "provenance",
        "Whether a statement of how the image was built is added.",
    ),
    ("pull", "Whether base images are pulled again."),
    ("sbom", "Whether a list of what is in the image is added."),
    ("gid", "The group of the file in the container."),
    ("mode", "The permission bits of the file, such as `0440`."),
    (
        "ports.mode",
        "`host` publishes on each node, `ingress` on all nodes of a swarm.",
    ),
    (
        "deploy.mode",
        "`replicated`, or `global` for one container on each node.",
    ),
    (
        "tmpfs.mode",
        "The permission bits of the directory, such as `1777`.",
    ),
    ("source", "Where it comes from."),
    ("configs.source", "The config."),
    ("secrets.source", "The secret."),
    ("volumes.source", "The volume, or the path on this machine."),
    ("devices.source", "The device of this machine."),
    ("target", "The path in the container."),
    ("build.target", "The stage of the Dockerfile that is built."),
    ("ports.target", "The port in the container."),
    (
        "watch.target",
        "Where in the container changed files are copied to.",
    ),
    ("uid", "The owner of the file in the container."),
    ("shm_size", "The size of `/dev/shm`."),
    ("ssh", "Agents and keys that steps of the build may use."),
    ("tags", "Further names of the image."),
    ("ulimits", "Limits of the processes, such as `nofile`."),
    ("hard", "The limit that cannot be raised."),
    ("soft", "The limit that applies at first."),
    ("cap_add", "Capabilities beyond the usual ones."),
    (
        "cap_drop",
        "Capabilities that are taken away; `ALL` takes all.",
    ),
    ("cgroup", "The cgroup namespace: `host` or `private`."),
    (
        "cgroup_parent",
        "The cgroup that the containers are put below.",
    ),
    (
        "command",
        "The command instead of the image's; a text is split into words, and no shell runs it.",
    ),
    (
        "container_name",
        "A fixed name, which allows for one container only.",
    ),
    ("cpu_count", "Processors, on Windows."),
    ("cpu_percent", "Percent of the processors, on Windows."),
    ("cpu_period", "The period of the scheduler in microseconds."),
    ("cpu_quota", "Microseconds of each period that may be used."),
    (
        "cpu_rt_period",
        "The period of the real-time scheduler in microseconds.",
    ),
    (
        "cpu_rt_runtime",
        "Microseconds of each real-time period that may be used.",
    ),
    (
        "cpu_shares",
        "The share of the processors among all containers.",
    ),
    ("cpus", "How many processors may be used, as `0.5`."),
    (
        "reservations.cpus",
        "How many processors are kept free for it.",
    ),
    ("cpuset", "Which processors may be used, as `0-2,4`."),
    (
        "credential_spec",
        "Credentials of a managed account, on Windows.",
    ),
    (
        "registry",
        "The entry of the registry with the credential specification, on Windows.",
    ),
    (
        "depends_on",
        "Services that are started before, and stopped after.",
    ),
    ("condition", "When the other service is far enough."),
    (
        "restart_policy.condition",
        "When it is started again: `none`, `on-failure` or `any`.",
    ),
    ("required", "Whether the other service has to be there."),
    ("env_file.required", "Whether the file has to be there."),
    (
        "restart",
        "When a container that ended is started again: `no`, `always`, `on-failure[:N]`, `unless-stopped`.",
    ),
    (
        "depends_on.*.restart",
        "Whether it is started again when the other service is.",
    ),
    (
        "deploy",
        "How many containers there are, and with which resources.",
    ),
    (
        "endpoint_mode",
        "How clients find the service in a swarm: `vip` or `dnsrr`.",
    ),
    ("placement", "Which nodes of a swarm are chosen."),
    (
        "constraints",
        "What nodes have to be, as `node.role == worker`.",
    ),
    ("max_replicas_per_node", "Containers on one node at most."),
    ("preferences", "How containers are spread over nodes."),
    (
        "spread",
        "The label whose values containers are spread over.",
    ),
    ("replicas", "How many containers there are."),
    ("resources", "Limits and reservations."),
    ("limits", "What is used at most."),
    ("memory", "Memory, as `512m`."),
    ("pids", "Processes."),
    ("reservations", "What is kept free for it."),
    (
        "services.*.devices",
        "Devices of this machine, as `SOURCE:TARGET:rwm`.",
    ),
    ("devices", "Devices such as GPUs that are needed."),
    (
        "capabilities",
        "What the devices have to be able to do, such as `gpu`.",
    ),
    ("count", "How many devices, or `all`."),
    ("device_ids", "Which devices."),
    (
        "generic_resources",
        "Resources of nodes that only the user knows.",
    ),
    ("discrete_resource_spec", "A resource that is counted."),
    ("kind", "The name of the resource."),
    ("value", "How much of it."),
    (
        "restart_policy",
        "When a container that ended is started again.",
    ),
    ("delay", "The time to wait between two."),
    ("max_attempts", "How often it is tried."),
    (
        "window",
        "How long a container has to run to have been started well.",
    ),
    (
        "rollback_config",
        "How an update that failed is taken back.",
    ),
    (
        "failure_action",
        "What is done after a failure: `continue`, `pause` or `rollback`.",
    ),
    ("max_failure_ratio", "The share of failures that is borne."),
    (
        "monitor",
        "How long a new container is watched for a failure.",
    ),
    (
        "order",
        "Whether the old container is stopped first, or the new one started first.",
    ),
    ("parallelism", "How many containers are replaced at once."),
    (
        "update_config",
        "How containers are replaced by newer ones.",
    ),
    ("develop", "What happens while files are changed."),
    ("watch", "Rules for changed files."),
    ("action", "What a change leads to: rebuild, copy, restart."),
    (
        "exec",
        "The command that is run in the container after copying.",
    ),
    ("user", "The user, as `NAME`, `UID` or `UID:GID`."),
    ("working_dir", "The directory that the command starts in."),
    ("ignore", "Patterns of files that are not watched."),
    ("initial_sync", "Whether files are copied at the start too."),
    ("device_cgroup_rules", "Rules for devices, as `c 1:3 mr`."),
    (
        "permissions",
        "What may be done with the device: `r`, `w`, `m`.",
    ),
    ("dns", "Name servers."),
    ("dns_opt", "Options of the resolver."),
    ("dns_search", "Domains in which names are looked up."),
    ("domainname", "The domain of the containers."),
    ("entrypoint", "The entry point instead of the image's."),
    (
        "format",
        "How the file is written: dotenv with quotes and variables, or `raw`.",
    ),
    (
        "expose",
        "Ports that other services use; they are not published.",
    ),
    ("extends", "A service that this one is made from."),
    ("service", "The service that is extended."),
    (
        "external_links",
        "Containers outside of the project, as `NAME:ALIAS`.",
    ),
    ("gpus", "GPUs: `all`, or a list of requests."),
    ("group_add", "Further groups of the user."),
    ("healthcheck", "How a container's health is found out."),
    ("disable", "Whether the image's probe is left out."),
    ("interval", "The time between two probes."),
    (
        "retries",
        "Failures in a row after which the container is not healthy.",
    ),
    (
        "start_interval",
        "The time between two probes while it starts.",
    ),
    (
        "start_period",
        "How long failures do not count after the start.",
    ),
    (
        "test",
        "The probe: a command, or a list that starts with `CMD`, `CMD-SHELL` or `NONE`.",
    ),
    ("timeout", "How long a probe may take."),
    ("hostname", "The host name in the containers."),
    ("image", "The image the containers are made from."),
    ("volumes.image", "Options of a mount of type `image`."),
    ("pre_start.image", "The image the hook runs in."),
    (
        "init",
        "Whether an init process passes signals on and reaps processes.",
    ),
    (
        "ipc",
        "The IPC namespace: `shareable`, `private`, `host`, `service:NAME`.",
    ),
    ("label_file", "Files with labels."),
    (
        "links",
        "Services whose names get an alias, as `SERVICE:ALIAS`.",
    ),
    ("logging", "Where the output of the containers goes."),
    ("mac_address", "The MAC address."),
    ("mem_limit", "The memory that may be used."),
    ("mem_reservation", "The memory that is kept free for it."),
    (
        "mem_swappiness",
        "How readily the kernel swaps, from 0 to 100.",
    ),
    (
        "memswap_limit",
        "Memory and swap together; `-1` is without limit.",
    ),
    (
        "endpoint_var",
        "The variable that gets the address of the model.",
    ),
    ("model_var", "The variable that gets the name of the model."),
    (
        "network_mode",
        "`host`, `none`, `service:NAME` or `container:NAME` instead of networks.",
    ),
    ("aliases", "Further names in this network."),
    (
        "gw_priority",
        "The network with the greatest number has the default route.",
    ),
    (
        "interface_name",
        "The name of the interface in the containers.",
    ),
    ("ipv4_address", "A fixed IPv4 address."),
    ("ipv6_address", "A fixed IPv6 address."),
    ("link_local_ips", "Link-local addresses."),
    (
        "priority",
        "The network with the greatest number is attached first.",
    ),
    (
        "oom_kill_disable",
        "Whether the kernel does not end it when memory is short.",
    ),
    (
        "oom_score_adj",
        "How readily the kernel ends it when memory is short, from -1000 to 1000.",
    ),
    (
        "pid",
        "The PID namespace: `host`, `service:NAME` or `container:NAME`.",
    ),
    (
        "pids_limit",
        "How many processes there may be; `-1` is without limit.",
    ),
    ("platform", "The platform of the image, as `linux/amd64`."),
    (
        "ports",
        "Ports that are published, as `[[IP:]PUBLISHED:]TARGET[/PROTOCOL]`.",
    ),
    (
        "app_protocol",
        "What is spoken on the port, for people and tools.",
    ),
    (
        "host_ip",
        "The address of this machine that the port is published on.",
    ),
    ("protocol", "`tcp`, `udp` or `sctp`."),
    (
        "published",
        "The port of this machine, or a range to choose from.",
    ),
    (
        "post_start",
        "Commands that are run in each container after its start.",
    ),
    (
        "pre_start",
        "Containers that run to their end before the service starts.",
    ),
    (
        "per_replica",
        "Whether the hook runs once for each container.",
    ),
    (
        "pre_stop",
        "Commands that are run in each container before it is stopped.",
    ),
    (
        "profiles",
        "Profiles that enable the service; without any it always is.",
    ),
    (
        "provider",
        "A program outside that takes care of the service.",
    ),
    (
        "type",
        "The kind of mount: `volume`, `bind`, `tmpfs`, `image`, `npipe` or `cluster`.",
    ),
    ("provider.type", "The program that takes care of it."),
    (
        "pull_policy",
        "When the image is pulled: `always`, `never`, `missing`, `build`, `daily`, `weekly`, `every_DURATION`.",
    ),
    (
        "pull_refresh_after",
        "The time after which the image is pulled again.",
    ),
    ("read_only", "Whether nothing can be written."),
    ("runtime", "The OCI runtime."),
    ("scale", "How many containers there are."),
    ("security_opt", "Options of the security modules."),
    ("stdin_open", "Whether standard input stays open."),
    (
        "stop_grace_period",
        "How long a container may take to end before it is killed.",
    ),
    ("stop_signal", "The signal that asks a container to end."),
    ("storage_opt", "Options of the storage driver."),
    (
        "sysctls",
        "Parameters of the kernel, for the containers alone.",
    ),
    ("tmpfs", "Directories that lie in memory."),
    ("volumes.tmpfs", "Options of a mount of type `tmpfs`."),
    ("tty", "Whether there is a terminal."),
    (
        "use_api_socket",
        "Whether the containers may use the engine's socket.",
    ),
    ("userns_mode", "The user namespace: `host` or the engine's."),
    ("uts", "The UTS namespace: `host` or the own."),
    ("volumes", "Volumes of the project."),
    (
        "services.*.volumes",
        "Volumes and directories that are mounted, as `[SOURCE:]TARGET[:OPTIONS]`.",
    ),
    ("bind", "Options of a mount of type `bind`."),
    (
        "create_host_path",
        "Whether the directory is made where it is missing.",
    ),
    (
        "propagation",
        "How mounts below it are shared with this machine.",
    ),
    ("recursive", "What becomes of mounts below it."),
    ("selinux", "The SELinux label: `z` shared, `Z` private."),
    (
        "consistency",
        "How strictly both sides agree, on other systems.",
    ),
    ("subpath", "The part of it that is mounted."),
    ("size", "The size, in bytes or as `64m`."),
    ("volume", "Options of a mount of type `volume`."),
    (
        "nocopy",
        "Whether the volume does not get what the image has at that path.",
    ),
    (
        "volumes_from",
        "Services and containers whose volumes are mounted too.",
    ),
    ("version", "Obsolete, and without effect."),
];
