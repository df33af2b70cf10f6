//! What to run, with no choice left: the value that travels from the engine to the keeper.
//!
//! Made by [`super::resolve()`], read by the set-up list and by the child. Everything in it is plain data, so that it
//! can be printed, compared and sent as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A container, fully resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRequest {
    /// The container's id (64 hexadecimal digits).
    pub id: String,
    /// The process to run as the container's first.
    pub process: Process,
    /// Where `/` comes from.
    pub rootfs: Rootfs,
    /// Which namespaces are new, joined or the host's.
    pub namespaces: Namespaces,
    /// Name set in a UTS namespace of the container's own.
    pub hostname: Option<String>,
    /// NIS domain name set in a UTS namespace of the container's own.
    pub domainname: Option<String>,
    /// Binds, volumes and tmpfs, parents before children.
    pub mounts: Vec<Mount>,
    /// Small files bound over the root (`/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`).
    pub files: Vec<ExtraFile>,
    /// Device nodes beyond the usual ones.
    pub devices: Vec<Device>,
    /// Size of `/dev/shm` in bytes; 0 mounts none.
    pub shm_size: u64,
    /// How `/sys`, `/proc/sys` and the like are protected.
    pub paths: PathProtection,
    /// Kernel parameters to write inside the namespaces.
    pub sysctls: Vec<(String, String)>,
    /// The cgroup and its limits.
    pub cgroup: Cgroup,
    /// Standard streams.
    pub stdio: Stdio,
    /// Where the keeper writes the log; none for the `none` driver.
    pub log: Option<LogFile>,
    /// Folder of the container in the run directory (streams, state of the keeper); made by the keeper.
    pub run_dir: PathBuf,
    /// Where the exit record is written.
    pub exit_record: PathBuf,
    /// User namespaces whose maps show the owners of a bind, by its target.
    #[serde(default)]
    pub bind_owners: BTreeMap<String, PathBuf>,
    /// The installed OCI runtime that runs it; without one the keeper does.
    #[serde(default)]
    pub runtime: Option<OciRuntime>,
}

/// An installed OCI runtime, and what only it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciRuntime {
    /// The user's name for it.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Arguments before all others.
    pub args: Vec<String>,
    /// The system call filter as the runtime specification has it, JSON; none is unconfined.
    pub seccomp: Option<String>,
    /// Annotations of the container.
    pub annotations: Vec<(String, String)>,
    /// This program, for `init: true`: the engine's, for the keeper runs from a mount that cannot be bound.
    pub init: PathBuf,
}

/// A process of a container: its first, or one by exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value` pairs; `PATH`, `HOME`, `HOSTNAME` and `TERM` are already in it except `HOME`, which is the user's.
    pub env: Vec<String>,
    /// Working directory; made when the image has it not.
    pub cwd: String,
    /// `user`, `uid`, `user:group` …, looked up in the image's own files; empty is root.
    pub user: String,
    /// More groups, by name or number.
    pub group_add: Vec<String>,
    /// Capability mask of the bounding, permitted and effective sets.
    pub capabilities: u64,
    /// Whether set-user-id programs gain nothing.
    pub privileges: NewPrivileges,
    /// The system call filter.
    pub seccomp: Seccomp,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Score adjustment for the out-of-memory killer.
    pub oom_score_adj: Option<i32>,
    /// Label for `AppArmor`, where it is loaded.
    pub apparmor: Option<String>,
    /// Label for `SELinux`, where it is enabled.
    pub selinux: Option<String>,
    /// Whether our own tiny init is process 1.
    pub init: Init,
    /// Whether there is a terminal, and its size.
    pub terminal: Option<TerminalSize>,
}

/// May set-user-id programs raise privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewPrivileges {
    /// As usual (Docker's default).
    Allowed,
    /// `no-new-privileges`.
    Refused,
}

/// Who is process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// The program itself.
    Program,
    /// Our init, which reaps and forwards signals.
    Own,
}

/// The system call filter of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// None.
    Unconfined,
    /// A compiled BPF program: eight bytes an instruction, as hexadecimal digits.
    Program(String),
}

/// One resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Docker's name: `nofile`, `nproc`, …
    pub name: String,
    /// Soft limit; -1 is unlimited.
    pub soft: i64,
    /// Hard limit; -1 is unlimited.
    pub hard: i64,
}

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Rows; 0 leaves the kernel's default.
    pub rows: u16,
    /// Columns; 0 leaves the kernel's default.
    pub columns: u16,
}

/// Where the root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Image layers, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// The container's own layer.
    pub upper: PathBuf,
    /// The scratch folder of overlayfs, beside `upper`.
    pub work: PathBuf,
    /// Whether `/` is read-only.
    pub access: Access,
}

/// Whether something may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// Read only.
    ReadOnly,
}

/// The namespaces of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network: always a prepared, pinned namespace, unless the host's.
    pub network: Namespace,
    /// Processes.
    pub pid: Namespace,
    /// System V and POSIX queues, shared memory.
    pub ipc: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// Control groups.
    pub cgroup: Namespace,
    /// Users: the engine's, or by a path the owner of a namespace (the network's), with the maps below.
    pub user: Namespace,
    /// Clocks: the engine's, or new ones.
    pub time: Namespace,
    /// How far new clocks are ahead of the engine's.
    #[serde(default)]
    pub time_offsets: Vec<TimeOffset>,
    /// User id mappings (inside, outside, count) of the user namespace.
    pub uid_map: Vec<(u32, u32, u32)>,
    /// Group id mappings of the user namespace.
    pub gid_map: Vec<(u32, u32, u32)>,
}

/// How far a clock is ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    /// Whole seconds; negative is behind.
    pub seconds: i64,
    /// Nanoseconds on top of them.
    pub nanoseconds: u32,
}

impl Namespaces {
    /// The user and group outside that are root inside; none where the user namespace is the engine's.
    #[must_use]
    pub fn root_outside(&self) -> Option<(u32, u32)> {
        let root = |map: &[(u32, u32, u32)]| {
            let first = map.iter().find(|(inside, _, _)| *inside == 0)?;
            Some(first.1)
        };
        if self.user == Namespace::Host {
            return None;
        }
        Some((root(&self.uid_map)?, root(&self.gid_map)?))
    }

    /// A user of the container as seen outside; one that is not mapped stays what it is.
    #[must_use]
    pub fn outside_uid(&self, uid: u32) -> u32 {
        outside(&self.uid_map, uid)
    }

    /// A group of the container as seen outside; one that is not mapped stays what it is.
    #[must_use]
    pub fn outside_gid(&self, gid: u32) -> u32 {
        outside(&self.gid_map, gid)
    }
}

fn outside(map: &[(u32, u32, u32)], id: u32) -> u32 {
    let range = map
        .iter()
        .find(|(inside, _, count)| id >= *inside && id - inside < *count);
    range.map_or(id, |(inside, outside, _)| outside + (id - inside))
}

/// Where one namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// A new one.
    New,
    /// The engine's own.
    Host,
    /// An existing one: `/proc/PID/ns/ipc`, or a pinned file.
    Path(PathBuf),
}

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the container.
    pub target: String,
    /// What is mounted.
    pub kind: MountKind,
    /// Whether it may be written.
    pub access: Access,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or folder of the host (a bind, a volume).
    Bind {
        /// Path on the host.
        source: PathBuf,
        /// Whether mounts below the source come along.
        recursion: Recursion,
        /// Propagation of later mounts.
        propagation: Propagation,
    },
    /// A tmpfs with mount options such as `size=64m,mode=1777,noexec`.
    Tmpfs {
        /// Options, separated by commas; may be empty.
        options: String,
    },
}

/// Whether mounts below a bind's source come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recursion {
    /// With all mounts below; read-only then holds for all of them (Docker's default).
    Recursive,
    /// With all mounts below, of which only the topmost is made read-only.
    RecursiveTopReadOnly,
    /// Only the mount itself.
    Single,
}

/// Propagation of mounts between host and container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Nothing in either direction, all mounts below (Docker's default).
    RecursivePrivate,
    /// Nothing in either direction.
    Private,
    /// Both directions.
    Shared,
    /// Both directions, all mounts below.
    RecursiveShared,
    /// From the host only.
    Slave,
    /// From the host only, all mounts below.
    RecursiveSlave,
}

/// A file of the host bound over a path of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraFile {
    /// Path on the host.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may write it.
    pub access: Access,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path in the container.
    pub path: String,
    /// Character or block.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The same node on the host, bound where nodes cannot be made.
    pub host_path: PathBuf,
}

/// Character or block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Character device.
    Character,
    /// Block device.
    Block,
}

/// Protection of the kernel's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathProtection {
    /// Hidden behind `/dev/null` or an empty folder.
    pub masked: Vec<String>,
    /// Made read-only.
    pub read_only: Vec<String>,
    /// Whether `/sys` and the cgroup mounts are writable (privileged).
    pub kernel: Access,
}

/// The cgroup of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Path below the root of each hierarchy, without a leading slash: `hoist/<id>`.
    pub path: String,
    /// The limits.
    pub limits: Limits,
    /// Rules for devices, in order; an empty list allows all (privileged).
    pub devices: Vec<DeviceRule>,
}

/// Limits of a cgroup, in Docker's units; `None` is not set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory, bytes.
    pub memory: Option<i64>,
    /// Memory and swap together, bytes; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Soft limit of memory, bytes.
    pub memory_reservation: Option<i64>,
    /// Swappiness, 0 to 100 (v1 only).
    pub memory_swappiness: Option<i64>,
    /// Never kill on out-of-memory (v1 only).
    pub oom_kill_disable: Option<bool>,
    /// CPU weight, 1024 is the default.
    pub cpu_shares: Option<i64>,
    /// Microseconds of CPU per period.
    pub cpu_quota: Option<i64>,
    /// Period in microseconds.
    pub cpu_period: Option<i64>,
    /// Real-time microseconds per period (v1 only).
    pub cpu_realtime_runtime: Option<i64>,
    /// Real-time period (v1 only).
    pub cpu_realtime_period: Option<i64>,
    /// CPUs, `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Most processes; -1 is unlimited.
    pub pids: Option<i64>,
    /// Weight of block I/O, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Throttles of block devices.
    pub blkio: Vec<BlockLimit>,
}

/// One throttle (or weight) of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockLimit {
    /// Which figure is limited.
    pub kind: BlockLimitKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Bytes or operations a second, or the weight.
    pub rate: u64,
}

/// Which figure of a block device is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockLimitKind {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Read operations.
    ReadOperations,
    /// Write operations.
    WriteOperations,
    /// Weight.
    Weight,
}

/// One rule of the device controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Allow or deny.
    pub verdict: Verdict,
    /// `a`, `b` or `c`.
    pub kind: char,
    /// Major number; `None` is any.
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// Allow or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Allowed.
    Allow,
    /// Denied.
    Deny,
}

/// Standard input of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    Closed,
    /// Kept open until it is closed by request.
    Open,
    /// Closed when the first client that attached has gone.
    Once,
}

/// Standard streams of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// Standard input; output goes to the keeper in any case.
    pub stdin: Stdin,
}

/// The log of a container in Docker's json-file format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Rotates before the file would grow beyond; `None` never rotates.
    pub max_size: Option<u64>,
    /// How many files are kept, the current one included.
    pub max_file: u32,
    /// Whether rotated files are compressed.
    pub compression: Compression,
}

/// Whether rotated files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// As they are.
    Plain,
    /// By gzip, with `.gz` appended to the name.
    Gzip,
}

/// A process to run in a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Id of the exec (64 hexadecimal digits).
    pub id: String,
    /// The container.
    pub container: String,
    /// What to run.
    pub process: Process,
    /// Whether standard input is taken from the client.
    pub stdin: Stdin,
    /// The OCI runtime that runs the container.
    #[serde(default)]
    pub runtime: Option<OciRuntime>,
}
