//! The labels by which docker compose knows its own (behaviours.md B122-B128): a project may be handled by either tool.

/// Project name.
pub const PROJECT: &str = "com.docker.compose.project";
/// Service name.
pub const SERVICE: &str = "com.docker.compose.service";
/// Hash of the configuration.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Number of the container within its service.
pub const CONTAINER_NUMBER: &str = "com.docker.compose.container-number";
/// `True` for containers made by `run`.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Random part of a one-off's name.
pub const SLUG: &str = "com.docker.compose.slug";
/// Identity of the image.
pub const IMAGE: &str = "com.docker.compose.image";
/// Identity of the images mounted as volumes.
pub const IMAGE_VOLUME: &str = "com.docker.compose.image-volume-digest";
/// Id of the container that this one replaced.
pub const REPLACE: &str = "com.docker.compose.replace";
/// Dependencies, `service:condition:restart,…`.
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Project directory.
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The project's files, comma separated.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// The project's `--env-file`s, comma separated.
pub const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";
/// Version of the tool.
pub const VERSION: &str = "com.docker.compose.version";
/// Key of a network.
pub const NETWORK: &str = "com.docker.compose.network";
/// Key of a volume.
pub const VOLUME: &str = "com.docker.compose.volume";
/// Hook that a container runs.
pub const HOOK: &str = "com.docker.compose.hook";
/// Name of the volume whose data waits in this one while it is made again.
pub const MIGRATION: &str = "hoist.migration";
/// The version hoist is compatible with, as written into [`VERSION`].
pub const COMPOSE_VERSION: &str = "5.5.0";
