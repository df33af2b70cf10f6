//! What a build is asked for, what it tells on the way, and what it needs of its host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use bollard_stubs::models::ImageConfig;

use super::exchange::{CachePlace, CacheTarget};
use crate::runtime::image::{Descriptor, Digest, LayerOf};

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// Directory with the context, unless it is fetched.
    pub context: PathBuf,
    /// Address that the context is fetched from: a repository, an archive, or a Dockerfile.
    pub remote: Option<String>,
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// Names of the image.
    pub tags: Vec<String>,
    /// Build arguments; without a value the variable is unset.
    pub args: BTreeMap<String, String>,
    /// Labels added to the image.
    pub labels: BTreeMap<String, String>,
    /// Rules of what nobody sees of the context, in place of those in its files.
    pub ignore: Option<String>,
    /// Name or number of the last stage to build; the last of the file by default.
    pub target: Option<String>,
    /// `os/arch[/variant]` of the image; this machine's by default.
    pub platform: Option<String>,
    /// Network of RUN steps.
    pub network: Network,
    /// More lines of `/etc/hosts` for RUN steps: host and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Size of `/dev/shm` in RUN steps, bytes.
    pub shm_size: Option<u64>,
    /// Limits of RUN steps, `nofile=1024:2048`.
    pub ulimits: Vec<String>,
    /// Whether the cache is used.
    pub cache: CacheUse,
    /// Stages whose steps are done in any case.
    pub no_cache_stages: Vec<String>,
    /// When base images are pulled.
    pub pull: PullPolicy,
    /// Contents of secrets by id.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Sockets of SSH agents by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// Further contexts by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// What steps may do beyond a container.
    pub entitlements: Entitlements,
    /// Caches of other machines to use.
    pub cache_from: Vec<CachePlace>,
    /// Where this build's cache goes.
    pub cache_to: Vec<CacheTarget>,
}

/// What steps may do beyond a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entitlements(BTreeSet<Entitlement>);

/// One thing that a step may do beyond a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `RUN --security=insecure`.
    InsecureSecurity,
    /// `RUN --network=host`.
    HostNetwork,
}

impl Entitlement {
    /// Reads `security.insecure` and `network.host`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "security.insecure" => Some(Self::InsecureSecurity),
            "network.host" => Some(Self::HostNetwork),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InsecureSecurity => "security.insecure",
            Self::HostNetwork => "network.host",
        }
    }
}

impl Entitlements {
    /// Whether a step may do it.
    #[must_use]
    pub fn allow(&self, what: Entitlement) -> bool {
        self.0.contains(&what)
    }
}

impl FromIterator<Entitlement> for Entitlements {
    fn from_iter<T: IntoIterator<Item = Entitlement>>(entitlements: T) -> Self {
        Self(entitlements.into_iter().collect())
    }
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfileSource {
    /// A path within the context.
    Context(String),
    /// Its text.
    Text(String),
}

impl Default for DockerfileSource {
    fn default() -> Self {
        Self::Context("Dockerfile".to_owned())
    }
}

/// Network of a RUN step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// The engine's default bridge.
    #[default]
    Default,
    /// Only loopback.
    None,
    /// The host's.
    Host,
    /// A network by name, or `container:ID`.
    Named(String),
}

/// Whether the cache is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheUse {
    /// Known steps are taken from the cache.
    #[default]
    Use,
    /// Every step is done (`nocache`).
    Skip,
}

/// When base images are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// When they are not in the store.
    #[default]
    Missing,
    /// Always (`pull`).
    Always,
}

/// A context besides the main one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory.
    Directory(PathBuf),
    /// An image.
    Image(String),
    /// What is at an address: a repository, or an archive.
    Remote(String),
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// Id of the image.
    pub id: Digest,
    /// Its names, as people write them.
    pub tags: Vec<String>,
}

/// News of a build. Events of stages that are built at once come interleaved; `stage` tells them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step begins.
    Step {
        /// Index of its stage.
        stage: usize,
        /// Its number among all steps of the build, from 1.
        number: usize,
        /// How many there are.
        total: usize,
        /// The instruction.
        instruction: String,
        /// What it is called where steps of several stages come at once, `[builder 2/4] RUN make`; empty for steps
        /// that only change the config.
        title: String,
    },
    /// The step's result was known.
    Cached {
        /// Index of the stage.
        stage: usize,
    },
    /// A container runs the step.
    Running {
        /// Index of the stage.
        stage: usize,
        /// Id of the container.
        container: String,
    },
    /// A step printed something.
    Output {
        /// Index of the stage.
        stage: usize,
        /// Where it printed it.
        stream: OutputStream,
        /// What.
        text: String,
    },
    /// The step is done.
    Done {
        /// Index of the stage.
        stage: usize,
        /// Short id of the state after it.
        state: String,
    },
    /// A stage has come to its end, or failed.
    StageEnded {
        /// Its index.
        stage: usize,
    },
    /// Something that was asked for is not done, or not needed.
    Warning(String),
    /// Something else that is done.
    Note(String),
    /// Progress of a pull: a message in the API's form.
    Pull(serde_json::Value),
    /// The image is in the store.
    Built(Digest),
    /// It has a name.
    Tagged(String),
    /// Where the Dockerfile failed: its lines around the instruction, and the last output.
    Excerpt(String),
}

/// Where a step printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One RUN step: a container without a choice left.
#[derive(Debug, Clone)]
pub struct RunStep {
    /// An id for the container (64 hexadecimal digits).
    pub id: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Config so far: environment, user and working directory hold for the step.
    pub config: ImageConfig,
    /// Environment of this step, `NAME=value`: the config's and the build arguments.
    pub env: Vec<String>,
    /// Layers below, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// What the step changes goes here.
    pub upper: PathBuf,
    /// Scratch folder of the overlay.
    pub work: PathBuf,
    /// What is mounted for this step.
    pub mounts: Vec<StepMount>,
    /// Its network.
    pub network: Network,
    /// Its privileges.
    pub security: Security,
    /// More lines of `/etc/hosts`: host and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Size of `/dev/shm`, bytes.
    pub shm_size: Option<u64>,
    /// Limits, `nofile=1024:2048`.
    pub ulimits: Vec<String>,
    /// A directory for the host's own files of this step; it goes with the step.
    pub scratch: PathBuf,
}

/// Privileges of a RUN step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// A container's.
    #[default]
    Sandbox,
    /// All (`--security=insecure`).
    Insecure,
}

/// A mount of a RUN step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMount {
    /// Absolute path in the container.
    pub target: String,
    /// What is mounted.
    pub kind: StepMountKind,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepMountKind {
    /// A host path that the step may change.
    ReadWrite(PathBuf),
    /// A host path that the step may read.
    ReadOnly(PathBuf),
    /// Memory, at most so many bytes.
    Tmpfs(Option<u64>),
}

/// What the builder needs done for it.
pub trait BuildHost: Send + Sync {
    /// Runs a step to its end and gives the exit code; `output` is called with what it prints.
    ///
    /// # Errors
    /// When it could not be run.
    fn run(
        &self,
        step: &RunStep,
        output: &mut dyn FnMut(OutputStream, &[u8]),
    ) -> Result<i64, HostError>;

    /// Pulls an image into the store.
    ///
    /// # Errors
    /// When it cannot be pulled.
    fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        progress: &mut dyn FnMut(serde_json::Value),
    ) -> Result<(), HostError>;

    /// Downloads a file over HTTP.
    ///
    /// # Errors
    /// When it cannot be had.
    fn download(&self, url: &str, to: &Path) -> Result<Downloaded, HostError>;

    /// Runs a program of this machine to its end, or ends it when nobody waits for the build any more.
    ///
    /// # Errors
    /// When it cannot be started, or the build was cancelled.
    fn run_program(&self, command: Command) -> Result<ExitStatus, HostError>;

    /// Manifest and config of a build cache in a registry.
    ///
    /// # Errors
    /// When it cannot be had.
    fn cache_documents(&self, reference: &str) -> Result<(Vec<u8>, Vec<u8>), HostError>;

    /// A layer of a build cache in a registry.
    ///
    /// # Errors
    /// When it cannot be had.
    fn cache_layer(&self, reference: &str, layer: &Descriptor) -> Result<File, HostError>;

    /// Puts a build cache into a registry.
    ///
    /// # Errors
    /// When it cannot be put there.
    fn push_cache(
        &self,
        reference: &str,
        config: Vec<u8>,
        layers: Vec<LayerOf>,
    ) -> Result<(), HostError>;

    /// Whether nobody waits for the build any more.
    fn is_cancelled(&self) -> bool;
}

/// What a server said of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Downloaded {
    /// `Last-Modified`, in seconds since the epoch.
    pub modified: Option<i64>,
    /// Name in `Content-Disposition`.
    pub name: Option<String>,
}

/// Why the host could not do something; the text is for the user.
#[derive(Debug)]
pub struct HostError(pub String);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HostError {}
