//! What callers see of an image, and what they ask for.

use std::path::PathBuf;

use bollard_stubs::models::ImageConfig;

use super::Digest;

/// A resolved image: all that is needed to create a container from it.
#[derive(Debug, Clone)]
pub struct ImageRecord {
    /// `sha256:…` of the config, or the `rootfs:/PATH` reference itself.
    pub id: String,
    /// Defaults for containers.
    pub config: ImageConfig,
    /// Chain ids of the layers, lowest first; empty for a host directory.
    pub layers: Vec<Digest>,
    /// Names with tags, as people write them.
    pub repo_tags: Vec<String>,
    /// Names with digests of manifests.
    pub repo_digests: Vec<String>,
    /// Machine architecture, in Go's names.
    pub architecture: String,
    /// Operating system.
    pub os: String,
    /// When it was made (RFC 3339), where known.
    pub created: Option<String>,
    /// Where its files are.
    pub source: ImageSource,
}

impl ImageRecord {
    /// The id as clients see it: a digest in any case. A `rootfs:` image has no config to take one of, so it is the
    /// digest of its reference; with the reference itself, `docker ps` would show `/` for `rootfs:/`.
    #[must_use]
    pub fn public_id(id: &str) -> String {
        if id.starts_with("rootfs:") {
            Digest::of(id.as_bytes()).to_string()
        } else {
            id.to_owned()
        }
    }
}

/// Where the files of an image are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// Layers of the store.
    Stored,
    /// A directory of the host, used read-only and never changed.
    HostDirectory(PathBuf),
}

/// A container that uses an image; the caller knows them, the store does not.
#[derive(Debug, Clone)]
pub struct ImageUse {
    /// Id of the container.
    pub container: String,
    /// Id of the image (`sha256:…`).
    pub image: String,
    /// Whether the container runs.
    pub state: UseState,
}

/// Tells which containers use images, when asked.
pub type Uses<'a> = dyn Fn() -> Vec<ImageUse> + 'a;

/// Whether a container that uses an image runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseState {
    /// Running, paused or restarting.
    Running,
    /// Created or exited.
    Stopped,
}

/// How insistently an image is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Only when nothing uses it.
    Plain,
    /// All names, and although stopped containers use it.
    Forced,
}

/// What happens to untagged parents of a removed image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parents {
    /// They go too.
    Prune,
    /// They stay.
    Keep,
}

/// Filters of a list or prune, as in the API: name to values.
pub type Filters = std::collections::HashMap<String, Vec<String>>;

/// What a list of images should contain.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// `reference`, `label`, `label!`, `dangling`, `before`, `since`, `until`.
    pub filters: Filters,
    /// Intermediate images too, or only named and leaf ones.
    pub scope: ListScope,
    /// Whether `SharedSize` is computed.
    pub shared_size: SharedSize,
}

/// Which images a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListScope {
    /// Named ones, and unnamed ones on which none is built.
    #[default]
    Leaves,
    /// All (`all=1`).
    All,
}

/// Whether a list computes the size of shared layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SharedSize {
    /// It stays -1.
    #[default]
    Skip,
    /// It is computed.
    Compute,
}

/// News while an archive is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadProgress {
    /// A layer that was not known is being unpacked.
    Layer {
        /// Its diff id.
        id: Digest,
        /// Bytes read so far.
        current: u64,
        /// All its bytes.
        total: u64,
    },
    /// An image is in the store.
    Loaded {
        /// `Loaded image: NAME`, or `Loaded image ID: sha256:…` without a name.
        message: String,
        /// Its id.
        id: Digest,
        /// Its name, if the archive has one.
        name: Option<String>,
    },
}

/// An `import`: a tar of a root file system becomes an image.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// Name of the image, without or with tag; `None` leaves it unnamed.
    pub repository: Option<String>,
    /// Tag, when not part of the name.
    pub tag: Option<String>,
    /// Instructions of a Dockerfile that set the config: `CMD ["x"]`, `ENV A=1`, …
    pub changes: Vec<String>,
    /// Comment of the history entry; empty means Docker's `Imported from -`.
    pub message: String,
    /// `os/arch[/variant]`; empty means this machine.
    pub platform: String,
}

/// A `commit`: what a container changed becomes a layer on its image.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// Id of the image of the container (`sha256:…`); `None` or a `rootfs:` id makes a one-layer image.
    pub parent: Option<String>,
    /// The overlay's upper directory.
    pub upper: PathBuf,
    /// Paths in the upper directory that only carry mounts and stay out.
    pub mount_points: Vec<String>,
    /// Config of the new image: the container's, replaced by the request's.
    pub config: ImageConfig,
    /// Instructions that change the config.
    pub changes: Vec<String>,
    /// Name of the image, without or with tag; `None` leaves it unnamed.
    pub repository: Option<String>,
    /// Tag, when not part of the name.
    pub tag: Option<String>,
    /// Author.
    pub author: String,
    /// Comment of the history entry.
    pub comment: String,
    /// What the history shows as the step: the container's command.
    pub created_by: String,
    /// Id of the container.
    pub container: String,
}
