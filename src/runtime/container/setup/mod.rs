//! The list of steps between clone and exec, computed before anything is done.
//!
//! [`operations`] is pure: the order, which is what safety depends on, is tested on the list. The child performs it in
//! `init`. In short: open what the host has to give, leave the host's tree, build the kernel's mounts, attach the
//! user's, write what `/proc` takes, close doors.

mod borrowed;

use std::path::{Path, PathBuf};

use super::cgroup::{CgroupHost, CgroupVersion, Hierarchy};
use super::remap;
use super::request::{
    Access, ContainerRequest, Device, DeviceKind, Init, Mount, MountKind, Namespace, Propagation,
    Recursion, TerminalSize, TimeOffset,
};
use borrowed::Borrowed;

/// Where a container sees its control groups.
const CGROUP_TOP: &str = "/sys/fs/cgroup";

/// One step of the child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SetupOp {
    /// Move into the prepared cgroups of version 1.
    JoinCgroups,
    /// Join an existing namespace.
    JoinNamespace { kind: NamespaceKind, path: PathBuf },
    /// Make the cgroup the root of a namespace of its own.
    OwnCgroupNamespace,
    /// Leave the session of the keeper.
    NewSession,
    /// Open the user namespace that owns the namespace at a path, for what is mapped and for the end.
    OpenUser(PathBuf),
    /// Give up everything outside of the user namespace and be its root, which is this user and group outside.
    JoinUser { uid: u32, gid: u32 },
    /// A session keyring of the container's own.
    OwnKeyring,
    /// Set the host name.
    Hostname(String),
    /// Set the domain name.
    Domainname(String),
    /// Set the out-of-memory score.
    OomScore(i32),
    /// Clocks of the container's own, ahead of the host's.
    OwnClocks(Vec<TimeOffset>),
    /// Clone a mount of the host for later, into a slot.
    OpenSource {
        slot: usize,
        path: PathBuf,
        recursion: Recursion,
        owners: Owners,
    },
    /// Clone a mount of another container for later, into a slot.
    OpenPeerSource {
        slot: usize,
        mounts: PathBuf,
        path: PathBuf,
    },
    /// Mount a file system of the kernel for later, into a slot: for an ordinary user, whom the kernel allows it only
    /// while the host's own is in sight.
    OpenKernel {
        slot: usize,
        filesystem: &'static str,
        attributes: u64,
    },
    /// A mount namespace of the container's own, cut off from the host's.
    OwnMounts,
    /// Mount the root below the host's tree.
    MountRoot {
        lower: Vec<PathBuf>,
        upper: PathBuf,
        work: PathBuf,
        at: PathBuf,
    },
    /// The same with the layers' owners mapped, and be the namespace's root for files from here on.
    MountMappedRoot {
        lower: Vec<PathBuf>,
        upper: PathBuf,
        work: PathBuf,
        at: PathBuf,
        uid: u32,
        gid: u32,
    },
    /// Make it `/` and let the host's tree go.
    EnterRoot { at: PathBuf },
    /// Mount a file system of the kernel.
    MountKernel {
        place: Place,
        filesystem: &'static str,
        options: Vec<(String, String)>,
        attributes: u64,
    },
    /// Make a device node on our `/dev`.
    MakeDevice(Device),
    /// Attach the host's device node in a slot: for an ordinary user, who can make none.
    AttachDevice { slot: usize, path: String },
    /// Attach the `/proc` or `/sys` in a slot.
    AttachKernel {
        slot: usize,
        name: &'static str,
        attributes: u64,
    },
    /// Make a symbolic link on our `/dev`.
    LinkDevice {
        name: &'static str,
        target: &'static str,
    },
    /// Attach the container's own cgroup in a slot as a hierarchy of version 1.
    AttachCgroup {
        slot: usize,
        target: String,
        attributes: u64,
    },
    /// A hierarchy with several controllers is found by each of their names.
    LinkCgroup { name: String, target: String },
    /// Make a folder of a mount that is not made yet.
    MakeDirectory(String),
    /// Attach the mount in a slot.
    AttachSource {
        slot: usize,
        target: String,
        access: Access,
        recursion: Recursion,
        propagation: Propagation,
    },
    /// Attach the mount in a slot at a path of the host, in our own mount namespace, for an OCI runtime.
    PlaceSource {
        slot: usize,
        at: PathBuf,
        access: Access,
        recursion: Recursion,
    },
    /// Make a terminal in the container's own devpts and send its master to the keeper.
    OpenTerminal(TerminalSize),
    /// Write a kernel parameter.
    Sysctl { name: String, value: String },
    /// Make a path read-only.
    Protect(String),
    /// Hide a path.
    Mask(String),
    /// Make a mount read-only.
    ReadOnlyMount(String),
}

/// What the kernel lets the keeper do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Powers {
    /// All.
    Root,
    /// What an ordinary user may in a user namespace of its own: no device nodes, and file systems of the kernel only
    /// for namespaces that belong to it.
    User,
}

/// How the owners of files in a mount are shown to a container with a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owners {
    /// As they are outside.
    Plain,
    /// 0 is the container's root, where the file system can do it.
    Mapped,
    /// As this user namespace has them; the file system has to do it.
    By(PathBuf),
}

/// Where a file system of the kernel goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder of the root that must be a real one.
    Top(&'static str),
    /// A path whose parents are mounts of ours already.
    Below(String),
    /// A path that the user chose.
    Chosen(String),
}

/// Namespaces that are joined by the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamespaceKind {
    /// Network.
    Network,
    /// Queues and shared memory.
    Ipc,
    /// Host name.
    Uts,
    /// Control groups.
    Cgroup,
}

impl NamespaceKind {
    /// The kernel's flag.
    pub(crate) fn flag(self) -> i32 {
        match self {
            Self::Network => libc::CLONE_NEWNET,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
        }
    }
}

const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const HARDENED: u64 = NOSUID | NODEV | NOEXEC;

/// The flags of the clone; the mount namespace comes later, when the host has given what it has to give.
pub(crate) fn clone_flags(request: &ContainerRequest) -> u64 {
    let namespaces = &request.namespaces;
    let wanted = [
        (&namespaces.network, libc::CLONE_NEWNET),
        (&namespaces.pid, libc::CLONE_NEWPID),
        (&namespaces.ipc, libc::CLONE_NEWIPC),
        (&namespaces.uts, libc::CLONE_NEWUTS),
    ];
    let flags = wanted
        .iter()
        .filter(|(namespace, _)| **namespace == Namespace::New)
        .fold(0, |flags, (_, flag)| flags | flag);
    u64::from(flags.cast_unsigned())
}

/// The steps of a container, in order.
pub(crate) fn operations(
    request: &ContainerRequest,
    cgroups: &CgroupHost,
    powers: Powers,
) -> Vec<SetupOp> {
    let mut steps = vec![SetupOp::NewSession];
    identity(request, &mut steps);
    let sources = open_sources(request, &mut steps);
    let own_groups = open_groups(request, cgroups, powers, &mut steps);
    let borrowed = borrowed::open(request, powers, &mut steps);
    root(request, &mut steps);
    kernel_mounts(request, &borrowed, &mut steps);
    devices(request, &borrowed, &mut steps);
    cgroup_mounts(request, cgroups, own_groups.as_deref(), &mut steps);
    attach_sources(request, sources, &mut steps);
    if let Some(size) = request.process.terminal {
        steps.push(SetupOp::OpenTerminal(size));
    }
    close_doors(request, &mut steps);
    if let Some((uid, gid)) = request.namespaces.root_outside() {
        steps.push(SetupOp::JoinUser { uid, gid });
        steps.push(SetupOp::OwnKeyring);
    }
    steps
}

/// Where the container finds our tiny init when an OCI runtime starts it.
pub(super) const INIT_PATH: &str = "/dev/init";

/// The steps before an OCI runtime takes over, and the mounts that it makes. Sources were opened as always and lie
/// below the run folder, in a mount namespace that nobody else sees: so they may be named by a descriptor of the engine
/// and stay peers of the host's.
pub(crate) fn runtime_operations(request: &ContainerRequest) -> (Vec<SetupOp>, Vec<Mount>) {
    let mut steps = vec![SetupOp::NewSession];
    let sources = open_sources(request, &mut steps);
    steps.push(SetupOp::OwnMounts);
    steps.push(SetupOp::MountRoot {
        lower: request.rootfs.lower.clone(),
        upper: request.rootfs.upper.clone(),
        work: request.rootfs.work.clone(),
        at: request.run_dir.join("rootfs"),
    });
    let mut mounts = Vec::new();
    for (slot, mut mount) in sources {
        if let (
            Some(slot),
            MountKind::Bind {
                source, recursion, ..
            },
        ) = (slot, &mut mount.kind)
        {
            let at = request.run_dir.join("sources").join(slot.to_string());
            steps.push(SetupOp::PlaceSource {
                slot,
                at: at.clone(),
                access: mount.access,
                recursion: *recursion,
            });
            *source = at;
        }
        mounts.push(mount);
    }
    (steps, mounts)
}

fn identity(request: &ContainerRequest, steps: &mut Vec<SetupOp>) {
    let namespaces = &request.namespaces;
    let joined = [
        (NamespaceKind::Network, &namespaces.network),
        (NamespaceKind::Ipc, &namespaces.ipc),
        (NamespaceKind::Uts, &namespaces.uts),
    ];
    for (kind, namespace) in joined {
        if let Namespace::Path(path) = namespace {
            steps.push(SetupOp::JoinNamespace {
                kind,
                path: path.clone(),
            });
        }
    }
    steps.push(SetupOp::OomScore(
        request.process.oom_score_adj.unwrap_or(0),
    ));
    match &namespaces.user {
        Namespace::Path(path) => steps.push(SetupOp::OpenUser(path.clone())),
        // The keyring belongs to whoever makes it.
        Namespace::Host | Namespace::New => steps.push(SetupOp::OwnKeyring),
    }
    if namespaces.time == Namespace::New {
        steps.push(SetupOp::OwnClocks(namespaces.time_offsets.clone()));
    }
    if namespaces.uts == Namespace::New {
        steps.extend(request.hostname.clone().map(SetupOp::Hostname));
        steps.extend(request.domainname.clone().map(SetupOp::Domainname));
    }
}

fn bind(source: &Path, target: &str, access: Access) -> Mount {
    Mount {
        target: target.to_owned(),
        access,
        kind: MountKind::Bind {
            source: source.to_owned(),
            recursion: Recursion::Recursive,
            propagation: Propagation::RecursivePrivate,
        },
    }
}

/// What is attached later: the mounts of the user, files, and shared memory of another IPC namespace.
fn wanted_sources(request: &ContainerRequest) -> Vec<Mount> {
    let mut wanted = Vec::new();
    if request.namespaces.ipc == Namespace::Host {
        wanted.push(bind(Path::new("/dev/shm"), "/dev/shm", Access::ReadWrite));
        let queues = Path::new("/dev/mqueue");
        if queues.exists() {
            wanted.push(bind(queues, "/dev/mqueue", Access::ReadWrite));
        }
    }
    wanted.extend(
        request
            .files
            .iter()
            .map(|file| bind(&file.source, &file.target, file.access)),
    );
    if let (Some(runtime), Init::Own) = (&request.runtime, request.process.init) {
        wanted.push(bind(&runtime.init, INIT_PATH, Access::ReadOnly));
    }
    wanted.extend(request.mounts.iter().cloned());
    wanted.sort_by_key(|mount| mount.target.matches('/').count());
    wanted
}

/// Opens the sources in the host's mount namespace: a shared bind stays a peer of the host's, and a source may be named
/// by a descriptor of the engine (`/proc/PID/fd/N`).
fn open_sources(
    request: &ContainerRequest,
    steps: &mut Vec<SetupOp>,
) -> Vec<(Option<usize>, Mount)> {
    let mut slot = 0;
    let mut sources = Vec::new();
    if let Namespace::Path(namespace) = &request.namespaces.ipc {
        // Shared memory goes with the namespace of queues: that of the same process.
        let (mounts, path) = (namespace.with_file_name("mnt"), PathBuf::from("/dev/shm"));
        sources.push((Some(slot), bind(&path, "/dev/shm", Access::ReadWrite)));
        steps.push(SetupOp::OpenPeerSource { slot, mounts, path });
        slot += 1;
    }
    for mount in wanted_sources(request) {
        if let MountKind::Bind {
            source, recursion, ..
        } = &mount.kind
        {
            steps.push(SetupOp::OpenSource {
                slot,
                path: source.clone(),
                recursion: *recursion,
                owners: owners_of(request, &mount),
            });
            sources.push((Some(slot), mount));
            slot += 1;
        } else {
            sources.push((None, mount));
        }
    }
    sources
}

/// Shared memory of the host stays everybody's.
fn owners_of(request: &ContainerRequest, mount: &Mount) -> Owners {
    if let Some(namespace) = request.bind_owners.get(&mount.target) {
        return Owners::By(namespace.clone());
    }
    let shared = request.namespaces.ipc == Namespace::Host
        && matches!(mount.target.as_str(), "/dev/shm" | "/dev/mqueue");
    if request.namespaces.user == Namespace::Host || shared {
        Owners::Plain
    } else {
        Owners::Mapped
    }
}

/// How many slots are taken.
fn opened(steps: &[SetupOp]) -> usize {
    let slots = steps.iter().filter(|step| {
        matches!(
            step,
            SetupOp::OpenSource { .. }
                | SetupOp::OpenPeerSource { .. }
                | SetupOp::OpenKernel { .. }
        )
    });
    slots.count()
}

/// In the host's cgroup namespace a hierarchy of version 1 would show the host's root: the container is given its own
/// group of each instead. Of version 2 an ordinary user cannot mount the host's. Returns their slots.
fn open_groups(
    request: &ContainerRequest,
    cgroups: &CgroupHost,
    powers: Powers,
    steps: &mut Vec<SetupOp>,
) -> Option<Vec<usize>> {
    if request.namespaces.cgroup != Namespace::Host {
        return None;
    }
    let v1 = cgroups.v1.iter().map(|hierarchy| &hierarchy.mount);
    let borrows = powers == Powers::User && cgroups.version() == CgroupVersion::V2;
    let v2 = cgroups.v2.iter().filter(|_| borrows);
    let mut slots = Vec::new();
    for mount in v1.chain(v2) {
        let slot = opened(steps);
        steps.push(SetupOp::OpenSource {
            slot,
            path: mount.join(&request.cgroup.path),
            recursion: Recursion::Single,
            owners: Owners::Plain,
        });
        slots.push(slot);
    }
    Some(slots)
}

fn root(request: &ContainerRequest, steps: &mut Vec<SetupOp>) {
    let at = request.run_dir.join("rootfs");
    steps.push(SetupOp::OwnMounts);
    if let Some((uid, gid)) = request.namespaces.root_outside() {
        steps.push(SetupOp::MountMappedRoot {
            lower: request.rootfs.lower.clone(),
            upper: request.rootfs.upper.clone(),
            work: request.rootfs.work.clone(),
            at: at.clone(),
            uid,
            gid,
        });
        let at = at.join(remap::MERGED);
        steps.push(SetupOp::EnterRoot { at });
        return;
    }
    steps.push(SetupOp::MountRoot {
        lower: request.rootfs.lower.clone(),
        upper: request.rootfs.upper.clone(),
        work: request.rootfs.work.clone(),
        at: at.clone(),
    });
    steps.push(SetupOp::EnterRoot { at });
}

fn kernel(
    place: Place,
    filesystem: &'static str,
    options: &[(&str, &str)],
    attributes: u64,
) -> SetupOp {
    let options = options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    SetupOp::MountKernel {
        place,
        filesystem,
        options,
        attributes,
    }
}

fn kernel_mounts(request: &ContainerRequest, borrowed: &Borrowed, steps: &mut Vec<SetupOp>) {
    let locked = match request.paths.kernel {
        Access::ReadOnly => READ_ONLY,
        Access::ReadWrite => 0,
    };
    let below = |path: &str| Place::Below(path.to_owned());
    let dev = [("size", "65536k"), ("mode", "755")];
    let terminals = request.namespaces.outside_gid(5).to_string();
    let pts = [
        ("newinstance", ""),
        ("ptmxmode", "0666"),
        ("mode", "0620"),
        ("gid", terminals.as_str()),
    ];
    steps.push(borrowed.kernel("proc", HARDENED));
    steps.push(kernel(
        Place::Top("dev"),
        "tmpfs",
        &dev,
        NOSUID | libc::MOUNT_ATTR_STRICTATIME,
    ));
    steps.push(kernel(below("/dev/pts"), "devpts", &pts, NOSUID | NOEXEC));
    steps.push(borrowed.kernel("sys", HARDENED | locked));
    if request.namespaces.ipc != Namespace::Host {
        steps.push(kernel(below("/dev/mqueue"), "mqueue", &[], HARDENED));
    }
    if request.namespaces.ipc == Namespace::New && request.shm_size > 0 {
        let size = request.shm_size.to_string();
        steps.push(kernel(
            below("/dev/shm"),
            "tmpfs",
            &[("mode", "1777"), ("size", &size)],
            HARDENED,
        ));
    }
}

/// As late as the user's mounts allow: until here the child need not be in its cgroups of version 1. The namespace
/// takes the cgroups of the moment as its roots, so it comes between.
fn cgroup_mounts(
    request: &ContainerRequest,
    cgroups: &CgroupHost,
    own_groups: Option<&[usize]>,
    steps: &mut Vec<SetupOp>,
) {
    let locked = match request.paths.kernel {
        Access::ReadOnly => READ_ONLY,
        Access::ReadWrite => 0,
    };
    if cgroups.version() == CgroupVersion::V1 {
        steps.push(SetupOp::JoinCgroups);
    }
    match &request.namespaces.cgroup {
        Namespace::New => steps.push(SetupOp::OwnCgroupNamespace),
        Namespace::Path(path) => steps.push(SetupOp::JoinNamespace {
            kind: NamespaceKind::Cgroup,
            path: path.clone(),
        }),
        Namespace::Host => {}
    }
    let top = || Place::Below(CGROUP_TOP.to_owned());
    if cgroups.version() == CgroupVersion::V2 {
        let attributes = HARDENED | locked;
        match own_groups.and_then(<[usize]>::first) {
            Some(&slot) => steps.push(SetupOp::AttachCgroup {
                slot,
                target: CGROUP_TOP.to_owned(),
                attributes,
            }),
            None if cgroups.v2.is_some() => {
                steps.push(kernel(top(), "cgroup2", &[], attributes));
            }
            None => {}
        }
        return;
    }
    steps.push(kernel(top(), "tmpfs", &[("mode", "755")], HARDENED));
    for (index, hierarchy) in cgroups.v1.iter().enumerate() {
        let target = format!("{CGROUP_TOP}/{}", hierarchy.folder());
        let attributes = HARDENED | locked;
        steps.push(match own_groups {
            Some(slots) => SetupOp::AttachCgroup {
                slot: slots[index],
                target,
                attributes,
            },
            None => mount_hierarchy(hierarchy, target, attributes),
        });
        steps.extend(hierarchy.links().map(|name| SetupOp::LinkCgroup {
            name,
            target: hierarchy.folder(),
        }));
    }
    if locked != 0 {
        steps.push(SetupOp::ReadOnlyMount(CGROUP_TOP.to_owned()));
    }
}

fn mount_hierarchy(hierarchy: &Hierarchy, target: String, attributes: u64) -> SetupOp {
    let options = hierarchy.controllers.iter().map(|controller| {
        let (key, value) = controller.split_once('=').unwrap_or((controller, ""));
        (key.to_owned(), value.to_owned())
    });
    SetupOp::MountKernel {
        place: Place::Below(target),
        filesystem: "cgroup",
        options: options.collect(),
        attributes,
    }
}

/// The nodes that every container has.
fn usual_devices() -> impl Iterator<Item = Device> {
    let nodes = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ];
    nodes.into_iter().map(|(name, major, minor)| Device {
        path: format!("/dev/{name}"),
        kind: DeviceKind::Character,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        host_path: PathBuf::from(format!("/dev/{name}")),
    })
}

fn devices(request: &ContainerRequest, borrowed: &Borrowed, steps: &mut Vec<SetupOp>) {
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("core", "/proc/kcore"),
        ("ptmx", "pts/ptmx"),
    ];
    let namespaces = &request.namespaces;
    let made = |mut device: Device| {
        device.uid = namespaces.outside_uid(device.uid);
        device.gid = namespaces.outside_gid(device.gid);
        borrowed.device(device)
    };
    steps.extend(usual_devices().map(made));
    steps.extend(
        links
            .into_iter()
            // A kernel that shows no memory of its own gets no dangling link.
            .filter(|(_, target)| *target != "/proc/kcore" || Path::new(target).exists())
            .map(|(name, target)| SetupOp::LinkDevice { name, target }),
    );
    let usual: Vec<Device> = usual_devices().collect();
    steps.extend(further_devices(request, &usual).map(made));
}

fn further_devices(request: &ContainerRequest, usual: &[Device]) -> impl Iterator<Item = Device> {
    let more = request.devices.iter();
    more.filter(|device| usual.iter().all(|node| node.path != device.path))
        .cloned()
}

fn attach_sources(
    request: &ContainerRequest,
    sources: Vec<(Option<usize>, Mount)>,
    steps: &mut Vec<SetupOp>,
) {
    for (slot, mount) in sources {
        match (slot, mount.kind) {
            (
                Some(slot),
                MountKind::Bind {
                    recursion,
                    propagation,
                    ..
                },
            ) => {
                steps.push(SetupOp::AttachSource {
                    slot,
                    target: mount.target,
                    access: mount.access,
                    recursion,
                    propagation,
                });
            }
            (_, MountKind::Tmpfs { options }) => {
                let (options, attributes) = tmpfs_options(&options, mount.access);
                let place = Place::Chosen(mount.target);
                steps.push(SetupOp::MountKernel {
                    place,
                    filesystem: "tmpfs",
                    options,
                    attributes,
                });
            }
            (None, MountKind::Bind { .. }) => {}
        }
    }
    if request.process.cwd != "/" {
        steps.push(SetupOp::MakeDirectory(request.process.cwd.clone()));
    }
}

/// Splits mount options of a tmpfs into what the file system and what the mount takes.
fn tmpfs_options(text: &str, access: Access) -> (Vec<(String, String)>, u64) {
    let mut attributes = match access {
        Access::ReadOnly => READ_ONLY,
        Access::ReadWrite => 0,
    };
    let mut options = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => attributes |= READ_ONLY,
            "rw" => attributes &= !READ_ONLY,
            "nosuid" => attributes |= NOSUID,
            "suid" => attributes &= !NOSUID,
            "nodev" => attributes |= NODEV,
            "dev" => attributes &= !NODEV,
            "noexec" => attributes |= NOEXEC,
            "exec" => attributes &= !NOEXEC,
            "noatime" => attributes |= libc::MOUNT_ATTR_NOATIME,
            "nodiratime" => attributes |= libc::MOUNT_ATTR_NODIRATIME,
            "strictatime" => attributes |= libc::MOUNT_ATTR_STRICTATIME,
            "relatime" | "defaults" | "async" | "atime" | "diratime" => {}
            _ => {
                let (key, value) = option.split_once('=').unwrap_or((option, ""));
                options.push((key.to_owned(), value.to_owned()));
            }
        }
    }
    (options, attributes)
}

fn close_doors(request: &ContainerRequest, steps: &mut Vec<SetupOp>) {
    let sysctls = request.sysctls.iter().cloned();
    steps.extend(sysctls.map(|(name, value)| SetupOp::Sysctl { name, value }));
    if request.rootfs.access == Access::ReadOnly {
        steps.push(SetupOp::ReadOnlyMount("/".to_owned()));
    }
    steps.extend(
        request
            .paths
            .read_only
            .iter()
            .cloned()
            .map(SetupOp::Protect),
    );
    steps.extend(request.paths.masked.iter().cloned().map(SetupOp::Mask));
}

#[cfg(test)]
mod tests;
