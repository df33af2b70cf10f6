//! The shape of a Compose file, as the Compose specification gives it (reference: attributes.tsv).

use super::shape::{BOOL, INT, LIST, MAP, NULL, NUM, Object, Others, Shape, TEXT, TextRule};

const CONTAINER_NAME_RULE: TextRule = TextRule {
    fits: has_name,
    wanted: "hold two or more of `a-z`, `A-Z`, `0-9`, `_`, `.`, `-`, the first a letter or digit",
    pattern: "[a-zA-Z0-9][a-zA-Z0-9_.-]+",
};

const PULL_POLICY_RULE: TextRule = TextRule {
    fits: is_pull_policy,
    wanted: "be `always`, `never`, `build`, `missing`, `if_not_present`, `daily`, `weekly` or `every_<duration>`",
    pattern: "always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+",
};

/// Says whether a container's name is somewhere in the text; docker compose does not ask for more.
fn has_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.as_bytes()
        .windows(2)
        .any(|pair| pair[0].is_ascii_alphanumeric() && allowed(pair[1]))
}

fn is_pull_policy(text: &str) -> bool {
    const WORDS: [&str; 8] = [
        "always",
        "never",
        "build",
        "if_not_present",
        "missing",
        "refresh",
        "daily",
        "weekly",
    ];
    let refreshes = |rest: &str| {
        let unit = rest.trim_start_matches(|next: char| next.is_ascii_digit());
        unit.len() < rest.len() && unit.starts_with(['w', 'd', 'h', 'm', 's'])
    };
    WORDS.iter().any(|word| text.contains(word))
        || text
            .match_indices("every_")
            .any(|(at, word)| refreshes(&text[at + word.len()..]))
}

pub(super) static FILE: Shape = Shape::of(MAP).object(&Object::new(&[
    ("configs", &FILE_CONFIGS),
    ("include", &FILE_INCLUDE),
    ("models", &FILE_MODELS),
    ("name", &STRING),
    ("networks", &FILE_NETWORKS),
    ("secrets", &FILE_SECRETS),
    ("services", &FILE_SERVICES),
    ("version", &STRING),
    ("volumes", &FILE_VOLUMES),
]));

static FILE_VOLUMES: Shape = Shape::of(MAP).object(&Object::map_of(Others::Names(&VOLUME)));

static VOLUME: Shape = Shape::of(NULL | MAP).object(&Object::new(&[
    ("driver", &STRING),
    ("driver_opts", &DRIVER_OPTIONS),
    ("external", &EXTERNAL),
    ("labels", &LIST_OR_DICT),
    ("name", &STRING),
]));

static FILE_SERVICES: Shape = Shape::of(MAP).object(&Object::map_of(Others::Names(&SERVICE)));

/// The keys of a service.
pub(super) fn service() -> &'static Object {
    SERVICE.object.unwrap_or(&NO_KEYS)
}

static NO_KEYS: Object = Object::new(&[]);

static SERVICE: Shape = Shape::of(MAP).object(&Object::new(&[
    ("annotations", &LIST_OR_DICT),
    ("attach", &TEXT_OR_BOOL),
    ("blkio_config", &BLKIO_CONFIG),
    ("build", &BUILD),
    ("cap_add", &LIST_OF_STRINGS),
    ("cap_drop", &LIST_OF_STRINGS),
    ("cgroup", &CGROUP),
    ("cgroup_parent", &STRING),
    ("command", &COMMAND),
    ("configs", &SERVICE_CONFIG_OR_SECRET),
    ("container_name", &CONTAINER_NAME),
    ("cpu_count", &CPU_COUNT),
    ("cpu_percent", &CPU_PERCENT),
    ("cpu_period", &TEXT_OR_NUM),
    ("cpu_quota", &TEXT_OR_NUM),
    ("cpu_rt_period", &TEXT_OR_NUM),
    ("cpu_rt_runtime", &TEXT_OR_NUM),
    ("cpu_shares", &TEXT_OR_NUM),
    ("cpus", &TEXT_OR_NUM),
    ("cpuset", &STRING),
    ("credential_spec", &CREDENTIAL_SPEC),
    ("depends_on", &DEPENDS_ON),
    ("deploy", &DEPLOYMENT),
    ("develop", &DEVELOPMENT),
    ("device_cgroup_rules", &LIST_OF_STRINGS),
    ("devices", &DEVICE_MAPPINGS),
    ("dns", &STRING_OR_LIST),
    ("dns_opt", &LIST_OF_STRINGS),
    ("dns_search", &STRING_OR_LIST),
    ("domainname", &STRING),
    ("entrypoint", &COMMAND),
    ("env_file", &ENV_FILE),
    ("environment", &LIST_OR_DICT),
    ("expose", &EXPOSE),
    ("extends", &EXTENDS),
    ("external_links", &LIST_OF_STRINGS),
    ("extra_hosts", &EXTRA_HOSTS),
    ("gpus", &GPUS),
    ("group_add", &EXPOSE),
    ("healthcheck", &HEALTHCHECK),
    ("hostname", &STRING),
    ("image", &STRING),
    ("init", &TEXT_OR_BOOL),
    ("ipc", &STRING),
    ("isolation", &STRING),
    ("label_file", &LABEL_FILE),
    ("labels", &LIST_OR_DICT),
    ("links", &LIST_OF_STRINGS),
    ("logging", &LOGGING),
    ("mac_address", &STRING),
    ("mem_limit", &TEXT_OR_NUM),
    ("mem_reservation", &TEXT_OR_INT),
    ("mem_swappiness", &TEXT_OR_INT),
    ("memswap_limit", &TEXT_OR_NUM),
    ("models", &MODELS),
    ("network_mode", &STRING),
    ("networks", &NETWORKS),
    ("oom_kill_disable", &TEXT_OR_BOOL),
    ("oom_score_adj", &OOM_SCORE_ADJ),
    ("pid", &TEXT_OR_NULL),
    ("pids_limit", &TEXT_OR_NUM),
    ("platform", &STRING),
    ("ports", &PORTS),
    ("post_start", &POST_START),
    ("pre_start", &PRE_START),
    ("pre_stop", &POST_START),
    ("privileged", &TEXT_OR_BOOL),
    ("profiles", &LIST_OF_STRINGS),
    ("provider", &PROVIDER),
    ("pull_policy", &PULL_POLICY),
    ("pull_refresh_after", &STRING),
    ("read_only", &TEXT_OR_BOOL),
    ("restart", &STRING),
    ("runtime", &STRING),
    ("scale", &TEXT_OR_INT),
    ("secrets", &SERVICE_CONFIG_OR_SECRET),
    ("security_opt", &LIST_OF_STRINGS),
    ("shm_size", &TEXT_OR_NUM),
    ("stdin_open", &TEXT_OR_BOOL),
    ("stop_grace_period", &STRING),
    ("stop_signal", &STRING),
    ("storage_opt", &MAPPING),
    ("sysctls", &LIST_OR_DICT),
    ("tmpfs", &STRING_OR_LIST),
    ("tty", &TEXT_OR_BOOL),
    ("ulimits", &ULIMITS),
    ("use_api_socket", &BOOLEAN),
    ("user", &STRING),
    ("userns_mode", &STRING),
    ("uts", &STRING),
    ("volumes", &MOUNTS),
    ("volumes_from", &LIST_OF_STRINGS),
    ("working_dir", &STRING),
]));

static MOUNTS: Shape = Shape::of(LIST).items(&MOUNT).unique();

static MOUNT: Shape = Shape::of(TEXT | MAP).object(
    &Object::new(&[
        ("bind", &MOUNT_BIND),
        ("consistency", &STRING),
        ("image", &MOUNT_IMAGE),
        ("read_only", &TEXT_OR_BOOL),
        ("source", &STRING),
        ("target", &STRING),
        ("tmpfs", &MOUNT_TMPFS),
        ("type", &MOUNT_TYPE),
        ("volume", &MOUNT_VOLUME),
    ])
    .required(&["type"]),
);

static MOUNT_VOLUME: Shape = Shape::of(MAP).object(&Object::new(&[
    ("labels", &LIST_OR_DICT),
    ("nocopy", &TEXT_OR_BOOL),
    ("subpath", &STRING),
]));

static MOUNT_TYPE: Shape =
    Shape::of(TEXT).one_of(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]);

static MOUNT_TMPFS: Shape = Shape::of(MAP).object(&Object::new(&[
    ("mode", &TEXT_OR_NUM),
    ("size", &MOUNT_TMPFS_SIZE),
]));

static MOUNT_TMPFS_SIZE: Shape = Shape::of(INT | TEXT).range(0, i64::MAX);

static MOUNT_IMAGE: Shape = Shape::of(MAP).object(&Object::new(&[("subpath", &STRING)]));

static MOUNT_BIND: Shape = Shape::of(MAP).object(&Object::new(&[
    ("create_host_path", &TEXT_OR_BOOL),
    ("propagation", &STRING),
    ("recursive", &MOUNT_BIND_RECURSIVE),
    ("selinux", &MOUNT_BIND_SELINUX),
]));

static MOUNT_BIND_SELINUX: Shape = Shape::of(TEXT).one_of(&["z", "Z"]);

static MOUNT_BIND_RECURSIVE: Shape =
    Shape::of(TEXT).one_of(&["enabled", "disabled", "writable", "readonly"]);

static MAPPING: Shape = Shape::of(MAP);

static PULL_POLICY: Shape = Shape::of(TEXT).text(PULL_POLICY_RULE);

static PROVIDER: Shape = Shape::of(MAP)
    .object(&Object::new(&[("options", &PROVIDER_OPTIONS), ("type", &STRING)]).required(&["type"]));

static PROVIDER_OPTIONS: Shape =
    Shape::of(MAP).object(&Object::map_of(Others::Keys(&PROVIDER_OPTIONS_VALUE)));

static PROVIDER_OPTIONS_VALUE: Shape =
    Shape::of(BOOL | NUM | TEXT | LIST).items(&TEXT_OR_NUM_OR_BOOL);

static TEXT_OR_NUM_OR_BOOL: Shape = Shape::of(BOOL | NUM | TEXT);

static PRE_START: Shape = Shape::of(LIST).items(&PRE_START_HOOK);

static PRE_START_HOOK: Shape = Shape::of(MAP).object(&Object::new(&[
    ("command", &COMMAND),
    ("environment", &LIST_OR_DICT),
    ("image", &STRING),
    ("per_replica", &TEXT_OR_BOOL),
    ("privileged", &TEXT_OR_BOOL),
    ("user", &STRING),
    ("working_dir", &STRING),
]));

static POST_START: Shape = Shape::of(LIST).items(&SERVICE_HOOK);

static PORTS: Shape = Shape::of(LIST).items(&PORTS_ITEM).unique();

static PORTS_ITEM: Shape = Shape::of(NUM | TEXT | MAP).object(&Object::new(&[
    ("app_protocol", &STRING),
    ("host_ip", &STRING),
    ("mode", &STRING),
    ("name", &STRING),
    ("protocol", &STRING),
    ("published", &TEXT_OR_INT),
    ("target", &TEXT_OR_INT),
]));

static TEXT_OR_NULL: Shape = Shape::of(NULL | TEXT);

static OOM_SCORE_ADJ: Shape = Shape::of(INT | TEXT).range(-1000, 1000);

static NETWORKS: Shape = Shape::of(LIST | MAP)
    .items(&STRING)
    .unique()
    .object(&Object::map_of(Others::Names(&NETWORKS_VALUE)));

static NETWORKS_VALUE: Shape = Shape::of(NULL | MAP).object(&Object::new(&[
    ("aliases", &LIST_OF_STRINGS),
    ("driver_opts", &DRIVER_OPTIONS),
    ("gw_priority", &NUMBER),
    ("interface_name", &STRING),
    ("ipv4_address", &STRING),
    ("ipv6_address", &STRING),
    ("link_local_ips", &LIST_OF_STRINGS),
    ("mac_address", &STRING),
    ("priority", &NUMBER),
]));

static NUMBER: Shape = Shape::of(NUM);

static MODELS: Shape = Shape::of(LIST | MAP)
    .items(&STRING)
    .unique()
    .object(&Object::map_of(Others::OpenNames(&MODELS_VALUE)));

static MODELS_VALUE: Shape = Shape::of(NULL | MAP).object(&Object::new(&[
    ("endpoint_var", &STRING),
    ("model_var", &STRING),
]));

static LOGGING: Shape = Shape::of(MAP).object(&Object::new(&[
    ("driver", &STRING),
    ("options", &LOGGING_OPTIONS),
]));

static LOGGING_OPTIONS: Shape =
    Shape::of(MAP).object(&Object::map_of(Others::Keys(&TEXT_OR_NUM_OR_NULL)));

static TEXT_OR_NUM_OR_NULL: Shape = Shape::of(NULL | NUM | TEXT);

static LABEL_FILE: Shape = Shape::of(TEXT | LIST).items(&STRING);

static HEALTHCHECK: Shape = Shape::of(MAP).object(&Object::new(&[
    ("disable", &TEXT_OR_BOOL),
    ("interval", &STRING),
    ("retries", &TEXT_OR_NUM),
    ("start_interval", &STRING),
    ("start_period", &STRING),
    ("test", &HEALTHCHECK_TEST),
    ("timeout", &STRING),
]));

static HEALTHCHECK_TEST: Shape = Shape::of(TEXT | LIST).items(&STRING);

static GPUS: Shape = Shape::of(TEXT | LIST).one_of(&["all"]).items(&GPUS_ITEM);

static GPUS_ITEM: Shape = Shape::of(MAP).object(&Object {
    fields: &[
        ("capabilities", &LIST_OF_STRINGS),
        ("count", &TEXT_OR_INT),
        ("device_ids", &LIST_OF_STRINGS),
        ("driver", &STRING),
        ("options", &LIST_OR_DICT),
    ],
    required: &[],
    others: Others::Any,
});

static EXTENDS: Shape = Shape::of(TEXT | MAP)
    .object(&Object::closed(&[("file", &STRING), ("service", &STRING)]).required(&["service"]));

static EXPOSE: Shape = Shape::of(LIST).items(&TEXT_OR_NUM).unique();

static ENV_FILE: Shape = Shape::of(TEXT | LIST).items(&ENV_FILE_ITEM);

static ENV_FILE_ITEM: Shape = Shape::of(TEXT | MAP).object(
    &Object::closed(&[
        ("format", &STRING),
        ("path", &STRING),
        ("required", &TEXT_OR_BOOL),
    ])
    .required(&["path"]),
);

static DEVICE_MAPPINGS: Shape = Shape::of(LIST).items(&DEVICE_MAPPING);

static DEVICE_MAPPING: Shape = Shape::of(TEXT | MAP).object(
    &Object::new(&[
        ("permissions", &STRING),
        ("source", &STRING),
        ("target", &STRING),
    ])
    .required(&["source"]),
);

static DEVELOPMENT: Shape =
    Shape::of(NULL | MAP).object(&Object::new(&[("watch", &DEVELOPMENT_WATCH)]));

static DEVELOPMENT_WATCH: Shape = Shape::of(LIST).items(&DEVELOPMENT_WATCH_ITEM);

static DEVELOPMENT_WATCH_ITEM: Shape = Shape::of(MAP).object(
    &Object::new(&[
        ("action", &DEVELOPMENT_WATCH_ITEM_ACTION),
        ("exec", &SERVICE_HOOK),
        ("ignore", &STRING_OR_LIST),
        ("include", &STRING_OR_LIST),
        ("initial_sync", &BOOLEAN),
        ("path", &STRING),
        ("target", &STRING),
    ])
    .required(&["path", "action"]),
);

static SERVICE_HOOK: Shape = Shape::of(MAP).object(
    &Object::new(&[
        ("command", &COMMAND),
        ("environment", &LIST_OR_DICT),
        ("privileged", &TEXT_OR_BOOL),
        ("user", &STRING),
        ("working_dir", &STRING),
    ])
    .required(&["command"]),
);

static DEVELOPMENT_WATCH_ITEM_ACTION: Shape =
    Shape::of(TEXT).one_of(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]);

static DEPLOYMENT: Shape = Shape::of(NULL | MAP).object(&Object::new(&[
    ("endpoint_mode", &STRING),
    ("labels", &LIST_OR_DICT),
    ("mode", &STRING),
    ("placement", &DEPLOYMENT_PLACEMENT),
    ("replicas", &TEXT_OR_INT),
    ("resources", &DEPLOYMENT_RESOURCES),
    ("restart_policy", &DEPLOYMENT_RESTART_POLICY),
    ("rollback_config", &UPDATE_CONFIG),
    ("update_config", &UPDATE_CONFIG),
]));

static UPDATE_CONFIG: Shape = Shape::of(MAP).object(&Object::new(&[
    ("delay", &STRING),
    ("failure_action", &STRING),
    ("max_failure_ratio", &TEXT_OR_NUM),
    ("monitor", &STRING),
    ("order", &UPDATE_ORDER),
    ("parallelism", &TEXT_OR_INT),
]));

static UPDATE_ORDER: Shape = Shape::of(TEXT).one_of(&["start-first", "stop-first"]);

static DEPLOYMENT_RESTART_POLICY: Shape = Shape::of(MAP).object(&Object::new(&[
    ("condition", &STRING),
    ("delay", &STRING),
    ("max_attempts", &TEXT_OR_INT),
    ("window", &STRING),
]));

static DEPLOYMENT_RESOURCES: Shape = Shape::of(MAP).object(&Object::new(&[
    ("limits", &DEPLOYMENT_RESOURCES_LIMITS),
    ("reservations", &DEPLOYMENT_RESOURCES_RESERVATIONS),
]));

static DEPLOYMENT_RESOURCES_RESERVATIONS: Shape = Shape::of(MAP).object(&Object::new(&[
    ("cpus", &TEXT_OR_NUM),
    ("devices", &DEVICE_REQUESTS),
    ("generic_resources", &GENERIC_RESOURCES),
    ("memory", &STRING),
]));

static GENERIC_RESOURCES: Shape = Shape::of(LIST).items(&GENERIC_RESOURCES_ITEM);

static GENERIC_RESOURCES_ITEM: Shape = Shape::of(MAP).object(&Object::new(&[(
    "discrete_resource_spec",
    &GENERIC_RESOURCES_ITEM_DISCRETE_RESOURCE_SPEC,
)]));

static GENERIC_RESOURCES_ITEM_DISCRETE_RESOURCE_SPEC: Shape =
    Shape::of(MAP).object(&Object::new(&[("kind", &STRING), ("value", &TEXT_OR_NUM)]));

static DEVICE_REQUESTS: Shape = Shape::of(LIST).items(&DEVICE_REQUEST);

static DEVICE_REQUEST: Shape = Shape::of(MAP).object(
    &Object::new(&[
        ("capabilities", &LIST_OF_STRINGS),
        ("count", &TEXT_OR_INT),
        ("device_ids", &LIST_OF_STRINGS),
        ("driver", &STRING),
        ("options", &LIST_OR_DICT),
    ])
    .required(&["capabilities"]),
);

static LIST_OF_STRINGS: Shape = Shape::of(LIST).items(&STRING).unique();

static DEPLOYMENT_RESOURCES_LIMITS: Shape = Shape::of(MAP).object(&Object::new(&[
    ("cpus", &TEXT_OR_NUM),
    ("memory", &STRING),
    ("pids", &TEXT_OR_INT),
]));

static DEPLOYMENT_PLACEMENT: Shape = Shape::of(MAP).object(&Object::new(&[
    ("constraints", &STRINGS),
    ("max_replicas_per_node", &TEXT_OR_INT),
    ("preferences", &DEPLOYMENT_PLACEMENT_PREFERENCES),
]));

static DEPLOYMENT_PLACEMENT_PREFERENCES: Shape =
    Shape::of(LIST).items(&DEPLOYMENT_PLACEMENT_PREFERENCES_ITEM);

static DEPLOYMENT_PLACEMENT_PREFERENCES_ITEM: Shape =
    Shape::of(MAP).object(&Object::new(&[("spread", &STRING)]));

static DEPENDS_ON: Shape = Shape::of(LIST | MAP)
    .items(&STRING)
    .unique()
    .object(&Object::map_of(Others::Names(&DEPENDS_ON_VALUE)));

static DEPENDS_ON_VALUE: Shape = Shape::of(MAP).object(
    &Object::new(&[
        ("condition", &DEPENDS_ON_VALUE_CONDITION),
        ("required", &BOOLEAN),
        ("restart", &TEXT_OR_BOOL),
    ])
    .required(&["condition"]),
);

static BOOLEAN: Shape = Shape::of(BOOL);

static DEPENDS_ON_VALUE_CONDITION: Shape = Shape::of(TEXT).one_of(&[
    "service_started",
    "service_healthy",
    "service_completed_successfully",
]);

static CREDENTIAL_SPEC: Shape = Shape::of(MAP).object(&Object::new(&[
    ("config", &STRING),
    ("file", &STRING),
    ("registry", &STRING),
]));

static CPU_PERCENT: Shape = Shape::of(INT | TEXT).range(0, 100);

static CPU_COUNT: Shape = Shape::of(INT | TEXT).range(0, i64::MAX);

static CONTAINER_NAME: Shape = Shape::of(TEXT).text(CONTAINER_NAME_RULE);

static COMMAND: Shape = Shape::of(NULL | TEXT | LIST).items(&STRING);

static CGROUP: Shape = Shape::of(TEXT).one_of(&["host", "private"]);

static BUILD: Shape = Shape::of(TEXT | MAP).object(&Object::new(&[
    ("additional_contexts", &LIST_OR_DICT),
    ("args", &LIST_OR_DICT),
    ("cache_from", &STRINGS),
    ("cache_to", &STRINGS),
    ("context", &STRING),
    ("dockerfile", &STRING),
    ("dockerfile_inline", &STRING),
    ("entitlements", &STRINGS),
    ("extra_hosts", &EXTRA_HOSTS),
    ("isolation", &STRING),
    ("labels", &LIST_OR_DICT),
    ("network", &STRING),
    ("no_cache", &TEXT_OR_BOOL),
    ("no_cache_filter", &STRING_OR_LIST),
    ("platforms", &STRINGS),
    ("privileged", &TEXT_OR_BOOL),
    ("provenance", &TEXT_OR_BOOL),
    ("pull", &TEXT_OR_BOOL),
    ("sbom", &TEXT_OR_BOOL),
    ("secrets", &SERVICE_CONFIG_OR_SECRET),
    ("shm_size", &TEXT_OR_INT),
    ("ssh", &LIST_OR_DICT),
    ("tags", &STRINGS),
    ("target", &STRING),
    ("ulimits", &ULIMITS),
]));

static ULIMITS: Shape = Shape::of(MAP).object(&Object::map_of(Others::Words(&ULIMITS_VALUE)));

static ULIMITS_VALUE: Shape = Shape::of(INT | TEXT | MAP).object(
    &Object::new(&[("hard", &TEXT_OR_INT), ("soft", &TEXT_OR_INT)]).required(&["soft", "hard"]),
);

static SERVICE_CONFIG_OR_SECRET: Shape = Shape::of(LIST).items(&SERVICE_CONFIG_OR_SECRET_ITEM);

static SERVICE_CONFIG_OR_SECRET_ITEM: Shape = Shape::of(TEXT | MAP).object(&Object::new(&[
    ("gid", &STRING),
    ("mode", &TEXT_OR_NUM),
    ("source", &STRING),
    ("target", &STRING),
    ("uid", &STRING),
]));

static EXTRA_HOSTS: Shape = Shape::of(LIST | MAP)
    .items(&STRING)
    .unique()
    .object(&Object::map_of(Others::Keys(&EXTRA_HOSTS_VALUE)));

static EXTRA_HOSTS_VALUE: Shape = Shape::of(TEXT | LIST).items(&STRING);

static BLKIO_CONFIG: Shape = Shape::of(MAP).object(&Object::closed(&[
    ("device_read_bps", &BLKIO_CONFIG_DEVICE_READ_BPS),
    ("device_read_iops", &BLKIO_CONFIG_DEVICE_READ_BPS),
    ("device_write_bps", &BLKIO_CONFIG_DEVICE_READ_BPS),
    ("device_write_iops", &BLKIO_CONFIG_DEVICE_READ_BPS),
    ("weight", &TEXT_OR_INT),
    ("weight_device", &BLKIO_CONFIG_WEIGHT_DEVICE),
]));

static BLKIO_CONFIG_WEIGHT_DEVICE: Shape = Shape::of(LIST).items(&BLKIO_WEIGHT);

static BLKIO_WEIGHT: Shape = Shape::of(MAP).object(&Object::closed(&[
    ("path", &STRING),
    ("weight", &TEXT_OR_INT),
]));

static BLKIO_CONFIG_DEVICE_READ_BPS: Shape = Shape::of(LIST).items(&BLKIO_LIMIT);

static BLKIO_LIMIT: Shape = Shape::of(MAP).object(&Object::closed(&[
    ("path", &STRING),
    ("rate", &TEXT_OR_INT),
]));

static TEXT_OR_INT: Shape = Shape::of(INT | TEXT);

static FILE_SECRETS: Shape = Shape::of(MAP).object(&Object::map_of(Others::Names(&SECRET)));

static SECRET: Shape = Shape::of(MAP).object(&Object::new(&[
    ("driver", &STRING),
    ("driver_opts", &DRIVER_OPTIONS),
    ("environment", &STRING),
    ("external", &CONFIG_EXTERNAL),
    ("file", &STRING),
    ("labels", &LIST_OR_DICT),
    ("name", &STRING),
    ("template_driver", &STRING),
]));

static FILE_NETWORKS: Shape = Shape::of(MAP).object(&Object::map_of(Others::OpenNames(&NETWORK)));

static NETWORK: Shape = Shape::of(NULL | MAP).object(&Object::new(&[
    ("attachable", &TEXT_OR_BOOL),
    ("driver", &STRING),
    ("driver_opts", &DRIVER_OPTIONS),
    ("enable_ipv4", &TEXT_OR_BOOL),
    ("enable_ipv6", &TEXT_OR_BOOL),
    ("external", &EXTERNAL),
    ("internal", &TEXT_OR_BOOL),
    ("ipam", &NETWORK_IPAM),
    ("labels", &LIST_OR_DICT),
    ("name", &STRING),
]));

static NETWORK_IPAM: Shape = Shape::of(MAP).object(&Object::new(&[
    ("config", &NETWORK_IPAM_CONFIG),
    ("driver", &STRING),
    ("options", &NETWORK_IPAM_CONFIG_ITEM_AUX_ADDRESSES),
]));

static NETWORK_IPAM_CONFIG: Shape = Shape::of(LIST).items(&NETWORK_IPAM_CONFIG_ITEM);

static NETWORK_IPAM_CONFIG_ITEM: Shape = Shape::of(MAP).object(&Object::new(&[
    ("aux_addresses", &NETWORK_IPAM_CONFIG_ITEM_AUX_ADDRESSES),
    ("gateway", &STRING),
    ("ip_range", &STRING),
    ("subnet", &STRING),
]));

static NETWORK_IPAM_CONFIG_ITEM_AUX_ADDRESSES: Shape =
    Shape::of(MAP).object(&Object::map_of(Others::Keys(&STRING)));

static EXTERNAL: Shape = Shape::of(BOOL | TEXT | MAP).object(&Object::new(&[("name", &STRING)]));

static DRIVER_OPTIONS: Shape = Shape::of(MAP).object(&Object::map_of(Others::Keys(&TEXT_OR_NUM)));

static TEXT_OR_NUM: Shape = Shape::of(NUM | TEXT);

static TEXT_OR_BOOL: Shape = Shape::of(BOOL | TEXT);

static FILE_MODELS: Shape = Shape::of(MAP).object(&Object::map_of(Others::OpenNames(&MODEL)));

static MODEL: Shape = Shape::of(MAP).object(
    &Object::new(&[
        ("context_size", &INTEGER),
        ("model", &STRING),
        ("name", &STRING),
        ("runtime_flags", &STRINGS),
    ])
    .required(&["model"]),
);

static STRINGS: Shape = Shape::of(LIST).items(&STRING);

static INTEGER: Shape = Shape::of(INT);

static FILE_INCLUDE: Shape = Shape::of(LIST).items(&INCLUDE);

static INCLUDE: Shape = Shape::of(TEXT | MAP).object(&Object::closed(&[
    ("env_file", &STRING_OR_LIST),
    ("path", &STRING_OR_LIST),
    ("project_directory", &STRING),
]));

static STRING_OR_LIST: Shape = Shape::of(TEXT | LIST).items(&STRING).unique();

static FILE_CONFIGS: Shape = Shape::of(MAP).object(&Object::map_of(Others::Names(&CONFIG)));

static CONFIG: Shape = Shape::of(MAP).object(&Object::new(&[
    ("content", &STRING),
    ("environment", &STRING),
    ("external", &CONFIG_EXTERNAL),
    ("file", &STRING),
    ("labels", &LIST_OR_DICT),
    ("name", &STRING),
    ("template_driver", &STRING),
]));

static LIST_OR_DICT: Shape = Shape::of(LIST | MAP)
    .items(&STRING)
    .unique()
    .object(&Object::map_of(Others::Keys(&TEXT_OR_NUM_OR_BOOL_OR_NULL)));

static TEXT_OR_NUM_OR_BOOL_OR_NULL: Shape = Shape::of(NULL | BOOL | NUM | TEXT);

static CONFIG_EXTERNAL: Shape = Shape::of(BOOL | TEXT | MAP).object(&Object {
    fields: &[("name", &STRING)],
    required: &[],
    others: Others::Any,
});

static STRING: Shape = Shape::of(TEXT);
