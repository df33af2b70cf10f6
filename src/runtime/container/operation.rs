//! Performs the steps of the set-up list, one small function each.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use rustix::pty::OpenptFlags;

use super::borrowed;
use super::channel::Sender;
use super::clock;
use super::failure::Failure;
use super::finish;
use super::membership::Membership;
use super::remap;
use super::request::{
    Access, ContainerRequest, Device, DeviceKind, Propagation, Recursion, TerminalSize,
};
use super::rootfs;
use super::setup::{Owners, Place, SetupOp};
use crate::runtime::sys::mount::{Reach, mount_overlay_by_text, set_attributes};
use crate::runtime::sys::{process, userns};

/// What the steps leave for each other.
#[derive(Debug)]
pub(super) struct Performer<'a> {
    request: &'a ContainerRequest,
    stdio: &'a [OwnedFd; 3],
    sender: &'a Sender,
    membership: Membership,
    pub(super) sources: Vec<OwnedFd>,
    user: Option<OwnedFd>,
    root: Option<OwnedFd>,
    pub(super) proc: Option<OwnedFd>,
    empty: Option<OwnedFd>,
    terminal: Option<[OwnedFd; 3]>,
}

/// A step with its name in words, for errors.
pub(super) type Step = Result<(), (String, io::Error)>;

pub(super) fn named<T>(
    result: Result<T, impl Into<io::Error>>,
    what: impl FnOnce() -> String,
) -> Result<T, (String, io::Error)> {
    result.map_err(|error| (what(), error.into()))
}

impl<'a> Performer<'a> {
    pub(super) fn new(
        request: &'a ContainerRequest,
        stdio: &'a [OwnedFd; 3],
        sender: &'a Sender,
        membership: Membership,
    ) -> Self {
        Self {
            request,
            stdio,
            user: None,
            sender,
            membership,
            sources: Vec::new(),
            root: None,
            proc: None,
            empty: None,
            terminal: None,
        }
    }

    /// Performs all steps and returns the descriptor of the container's own `/proc`, unless all that needs it and its
    /// privileges is done.
    pub(super) fn perform_all(&mut self, steps: &[SetupOp]) -> Result<Option<OwnedFd>, Failure> {
        self.perform_some(steps)?;
        if self.request.namespaces.root_outside().is_some() {
            return Ok(None);
        }
        self.own_proc()?;
        Ok(self.proc.take())
    }

    /// Performs steps that are not the whole way to a program.
    pub(super) fn perform_some(&mut self, steps: &[SetupOp]) -> Result<(), Failure> {
        steps.iter().try_for_each(|step| self.perform(step))
    }

    fn own_proc(&self) -> Result<BorrowedFd<'_>, Failure> {
        let proc = self.proc.as_ref().map(AsFd::as_fd);
        proc.ok_or_else(|| Failure::step("cannot use `/proc`", "it was not mounted"))
    }

    fn join_user(&self, uid: u32, gid: u32) -> Result<(), Failure> {
        let process = &self.request.process;
        finish::with_privileges(process, self.own_proc()?)?;
        let namespace = self
            .user
            .as_ref()
            .ok_or_else(|| Failure::step("cannot join the user namespace", "it was not opened"))?;
        remap::give_streams(self.stdio, (uid, gid))
            .and_then(|()| remap::join(namespace.as_fd()))
            .map_err(|error| Failure::step("cannot join the user namespace", error))
    }

    /// The standard streams on the container's terminal.
    pub(super) fn take_terminal(&mut self) -> Option<[OwnedFd; 3]> {
        self.terminal.take()
    }

    fn perform(&mut self, step: &SetupOp) -> Result<(), Failure> {
        match step {
            SetupOp::JoinCgroups => self.membership.settle(),
            SetupOp::OpenTerminal(size) => self.open_terminal(*size),
            SetupOp::Sysctl { name, value } => self.sysctl(name, value),
            SetupOp::JoinUser { uid, gid } => self.join_user(*uid, *gid),
            _ => self.perform_plain(step).map_err(|(what, error)| {
                Failure::step(format!("cannot {what}"), finish::plain(&error))
            }),
        }
    }

    fn perform_plain(&mut self, step: &SetupOp) -> Step {
        match step {
            SetupOp::NewSession => named(rustix::process::setsid().map(drop), || {
                "start a session".into()
            }),
            SetupOp::JoinNamespace { kind, path } => join_namespace(path, kind.flag()),
            SetupOp::OwnCgroupNamespace => named(process::unshare(libc::CLONE_NEWCGROUP), || {
                "make a cgroup namespace".into()
            }),
            SetupOp::OwnKeyring => named(own_keyring(&self.request.id), || {
                "make a session keyring".into()
            }),
            SetupOp::Hostname(name) => named(rustix::system::sethostname(name.as_bytes()), || {
                format!("set the host name `{name}`")
            }),
            SetupOp::Domainname(name) => {
                named(rustix::system::setdomainname(name.as_bytes()), || {
                    format!("set the domain name `{name}`")
                })
            }
            SetupOp::OomScore(score) => set_oom_score(*score),
            SetupOp::OwnClocks(offsets) => {
                named(clock::own_clocks(offsets), || "set the clocks".into())
            }
            SetupOp::OpenPeerSource { mounts, path, .. } => self.open_peer_source(mounts, path),
            SetupOp::OpenSource {
                path,
                recursion,
                owners,
                ..
            } => self.open_source(path, *recursion, owners),
            SetupOp::OpenUser(path) => self.open_user(path),
            SetupOp::OwnMounts => own_mounts(),
            SetupOp::MountRoot {
                lower,
                upper,
                work,
                at,
            } => named(mount_root(lower, upper, work, at), || {
                "mount the root".into()
            }),
            SetupOp::MountMappedRoot {
                lower,
                upper,
                work,
                at,
                uid,
                gid,
            } => {
                let mounted = self.user().and_then(|user| {
                    remap::mount_mapped_root(lower, (upper, work), at, user, (*uid, *gid))
                });
                named(mounted, || "mount the root".into())
            }
            SetupOp::EnterRoot { at } => self.enter_root(at),
            SetupOp::MountKernel {
                place,
                filesystem,
                options,
                attributes,
            } => {
                let result = self.mount_kernel(place, filesystem, options, *attributes);
                named(result, || match place {
                    Place::Chosen(target) => format!("mount `{filesystem}` on `{target}`"),
                    Place::Top(_) | Place::Below(_) => format!("mount `{filesystem}`"),
                })
            }
            SetupOp::MakeDevice(device) => named(self.make_device(device), || {
                format!("make the device `{}`", device.path)
            }),
            SetupOp::LinkDevice { name, target } => named(self.link_device(name, target), || {
                format!("make the link `/dev/{name}`")
            }),
            SetupOp::MakeDirectory(path) => {
                named(rootfs::make_directory(self.root(), path), || {
                    format!("make the folder `{path}`")
                })
                .map(drop)
            }
            SetupOp::AttachSource {
                slot,
                target,
                access,
                recursion,
                propagation,
            } => {
                let result = self.attach_source(*slot, target, *access, *recursion, *propagation);
                named(result, || format!("mount on `{target}`"))
            }
            _ => self.perform_late(step),
        }
    }

    /// The steps that come when everything is mounted.
    fn perform_late(&mut self, step: &SetupOp) -> Step {
        match step {
            SetupOp::AttachCgroup {
                slot,
                target,
                attributes,
            } => {
                let result = self.attach_cgroup(*slot, target, *attributes);
                named(result, || format!("mount the cgroup on `{target}`"))
            }
            SetupOp::PlaceSource {
                slot,
                at,
                access,
                recursion,
            } => named(self.place_source(*slot, at, *access, *recursion), || {
                format!("mount on `{}`", at.display())
            }),
            SetupOp::LinkCgroup { name, target } => named(self.link_cgroup(name, target), || {
                format!("make the link `/sys/fs/cgroup/{name}`")
            }),
            SetupOp::Protect(path) => {
                named(self.protect(path), || format!("make `{path}` read-only"))
            }
            SetupOp::Mask(path) => named(self.mask(path), || format!("mask `{path}`")),
            SetupOp::ReadOnlyMount(path) => named(self.read_only_mount(path), || {
                format!("make `{path}` read-only")
            }),
            _ => self.perform_borrowed(step),
        }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_ref().map_or(CWD, AsFd::as_fd)
    }

    fn open_user(&mut self, path: &Path) -> Step {
        let owner = named(remap::open_owner(path), || {
            format!("open the user namespace of `{}`", path.display())
        })?;
        self.user = Some(owner);
        Ok(())
    }

    fn user(&self) -> io::Result<BorrowedFd<'_>> {
        let user = self.user.as_ref().map(AsFd::as_fd);
        user.ok_or_else(|| io::Error::other("the user namespace was not opened"))
    }

    fn open_source(&mut self, path: &Path, recursion: Recursion, owners: &Owners) -> Step {
        let recursive = match recursion {
            Recursion::Single => OpenTreeFlags::empty(),
            Recursion::Recursive | Recursion::RecursiveTopReadOnly => OpenTreeFlags::AT_RECURSIVE,
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | recursive;
        let source = named(rustix::mount::open_tree(CWD, path, flags), || {
            format!("open the source `{}`", path.display())
        })?;
        let mapped = match owners {
            Owners::Plain => Ok(()),
            Owners::Mapped => self
                .user()
                .and_then(|user| remap::map_source(source.as_fd(), user)),
            Owners::By(namespace) => remap::map_exactly(source.as_fd(), namespace),
        };
        named(mapped, || format!("map the owners in `{}`", path.display()))?;
        self.sources.push(source);
        Ok(())
    }

    /// Goes over to another container's mounts and comes back; the clone belongs to neither.
    fn open_peer_source(&mut self, mounts: &Path, path: &Path) -> Step {
        let open = |path: &Path| -> io::Result<OwnedFd> {
            Ok(rustix::fs::open(
                path,
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )?)
        };
        let what = || format!("open `{}` of another container", path.display());
        let own = named(open(Path::new("/proc/self/ns/mnt")), what)?;
        let peer = named(open(mounts), what)?;
        named(
            process::join_namespaces(peer.as_fd(), libc::CLONE_NEWNS),
            what,
        )?;
        let opened = self.open_source(path, Recursion::Single, &Owners::Plain);
        named(
            process::join_namespaces(own.as_fd(), libc::CLONE_NEWNS),
            what,
        )?;
        opened
    }

    fn enter_root(&mut self, at: &Path) -> Step {
        let enter = || -> io::Result<OwnedFd> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open(at, flags, Mode::empty())?;
            rustix::process::fchdir(&root)?;
            rustix::process::pivot_root(".", ".")?;
            // The old root now lies over the new one, and goes with everything below it.
            rustix::mount::unmount(".", UnmountFlags::DETACH)?;
            rustix::process::chdir("/")?;
            Ok(rustix::fs::open("/", flags, Mode::empty())?)
        };
        self.root = Some(named(enter(), || "enter the root".into())?);
        Ok(())
    }

    fn mount_kernel(
        &mut self,
        place: &Place,
        filesystem: &str,
        options: &[(String, String)],
        attributes: u64,
    ) -> io::Result<()> {
        let mount = new_mount(filesystem, options, attributes)?;
        let target = match place {
            Place::Top(name) => rootfs::real_directory(self.root(), name)?,
            Place::Below(path) => rootfs::make_directory(self.root(), path)?,
            Place::Chosen(path) => {
                let target = rootfs::make_directory(self.root(), path)?;
                refuse_proc(target.as_fd(), path)?;
                target
            }
        };
        attach(mount.as_fd(), target.as_fd())?;
        if filesystem == "proc" {
            self.proc = Some(mount);
        }
        Ok(())
    }

    fn device_place(&self, path: &str) -> io::Result<(OwnedFd, String)> {
        let path = Path::new(path);
        let parent = path.parent().and_then(Path::to_str).unwrap_or("/dev");
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        Ok((
            rootfs::make_directory(self.root(), parent)?,
            name.to_owned(),
        ))
    }

    fn make_device(&self, device: &Device) -> io::Result<()> {
        let (folder, name) = self.device_place(&device.path)?;
        let kind = match device.kind {
            DeviceKind::Character => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
        };
        let mode = Mode::from_raw_mode(device.mode & 0o7777);
        rustix::fs::mknodat(
            &folder,
            &name,
            kind,
            mode,
            rustix::fs::makedev(device.major, device.minor),
        )?;
        // The node is ours and new; the mode of mknod went through the umask.
        let node = rustix::fs::openat(
            &folder,
            &name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::fs::chmodat(&folder, &name, mode, AtFlags::empty())?;
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(device.uid),
            rustix::fs::Gid::from_raw(device.gid),
        );
        rustix::fs::chownat(&node, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        Ok(())
    }

    fn link_device(&self, name: &str, target: &str) -> io::Result<()> {
        let folder = rootfs::resolve(self.root(), "/dev")?;
        Ok(rustix::fs::symlinkat(target, &folder, name)?)
    }

    fn attach_source(
        &self,
        slot: usize,
        target: &str,
        access: Access,
        recursion: Recursion,
        propagation: Propagation,
    ) -> io::Result<()> {
        let source = self.source(slot)?;
        let (flags, reach) = propagation_flags(propagation);
        if flags != 0 {
            set_attributes(source, 0, flags, reach)?;
        }
        protect_source(source, access, recursion)?;
        let place = rootfs::make_like(self.root(), target, source)?;
        refuse_proc(place.as_fd(), target)?;
        attach(source, place.as_fd())
    }

    /// At a path of ours: nothing of the container has a part in it.
    fn place_source(
        &self,
        slot: usize,
        at: &Path,
        access: Access,
        recursion: Recursion,
    ) -> io::Result<()> {
        let source = self.source(slot)?;
        protect_source(source, access, recursion)?;
        std::fs::create_dir_all(at.parent().unwrap_or(at))?;
        if rootfs::is_directory(source)? {
            std::fs::create_dir(at)?;
        } else {
            std::fs::File::create_new(at)?;
        }
        let place = rustix::fs::open(at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        attach(source, place.as_fd())
    }

    fn attach_cgroup(&self, slot: usize, target: &str, attributes: u64) -> io::Result<()> {
        let source = self.source(slot)?;
        set_attributes(source, attributes, libc::MS_PRIVATE, Reach::Single)?;
        let target = rootfs::make_directory(self.root(), target)?;
        attach(source, target.as_fd())
    }

    fn link_cgroup(&self, name: &str, target: &str) -> io::Result<()> {
        let folder = rootfs::resolve(self.root(), "/sys/fs/cgroup")?;
        Ok(rustix::fs::symlinkat(target, &folder, name)?)
    }

    pub(super) fn source(&self, slot: usize) -> io::Result<BorrowedFd<'_>> {
        let source = self.sources.get(slot).map(AsFd::as_fd);
        source.ok_or_else(|| io::Error::other("the source was not opened"))
    }

    fn open_terminal(&mut self, size: TerminalSize) -> Result<(), Failure> {
        let streams = terminal(size, self.sender)?;
        let bind = || -> io::Result<()> {
            let console = rootfs::make_file(self.root(), "/dev/console")?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            let slave = rustix::mount::open_tree(&streams[0], "", flags)?;
            attach(slave.as_fd(), console.as_fd())
        };
        bind().map_err(|error| Failure::step("cannot mount `/dev/console`", error))?;
        self.terminal = Some(streams);
        Ok(())
    }

    fn sysctl(&self, name: &str, value: &str) -> Result<(), Failure> {
        let file = format!("sys/{}", name.replace('.', "/"));
        let proc = self
            .proc
            .as_ref()
            .ok_or_else(|| Failure::step("cannot use `/proc`", "it was not mounted"))?;
        let mut written = finish::write_below(proc.as_fd(), &file, value.as_bytes());
        if name == "net.ipv4.ping_group_range" && written.is_err() && !userns::is_first() {
            // All groups that there are: the kernel takes no others.
            let all = format!("0 {}", userns::last_group());
            written = finish::write_below(proc.as_fd(), &file, all.as_bytes());
        }
        written.map_err(|error| {
            Failure::step(
                format!("cannot set the sysctl `{name}` to `{value}`"),
                finish::plain(&error),
            )
        })
    }

    /// Read-only by a clone of the mount laid over the path itself.
    fn protect(&self, path: &str) -> io::Result<()> {
        let Some(target) = self.existing(path)? else {
            return Ok(());
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let copy = rustix::mount::open_tree(&target, "", flags)?;
        set_attributes(copy.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, Reach::Recursive)?;
        attach(copy.as_fd(), target.as_fd())
    }

    fn mask(&mut self, path: &str) -> io::Result<()> {
        let Some(target) = self.existing(path)? else {
            return Ok(());
        };
        let cover = if rootfs::is_directory(target.as_fd())? {
            match &self.empty {
                Some(empty) => clone_mount(empty.as_fd())?,
                None => return self.first_empty_folder(target.as_fd()),
            }
        } else {
            clone_mount(self.null()?.as_fd())?
        };
        attach(cover.as_fd(), target.as_fd())
    }

    /// Our own node; looked at again, because something of the user's may have been mounted over it.
    fn null(&self) -> io::Result<OwnedFd> {
        let null = rootfs::resolve(self.root(), "/dev/null")?;
        let stat = rustix::fs::statat(&null, "", AtFlags::EMPTY_PATH)?;
        let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        if !character || stat.st_rdev != rustix::fs::makedev(1, 3) {
            return Err(io::Error::other("`/dev/null` is another file"));
        }
        Ok(null)
    }

    fn existing(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        match rootfs::resolve(self.root(), path) {
            Ok(target) => Ok(Some(target)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// One read-only folder covers all masked ones: the first place gets it, the others clones of it.
    fn first_empty_folder(&mut self, target: BorrowedFd<'_>) -> io::Result<()> {
        let options = [
            ("size".to_owned(), "0k".to_owned()),
            ("nr_inodes".to_owned(), "1".to_owned()),
        ];
        let mount = new_mount("tmpfs", &options, libc::MOUNT_ATTR_RDONLY)?;
        attach(mount.as_fd(), target)?;
        self.empty = Some(mount);
        Ok(())
    }

    fn read_only_mount(&self, path: &str) -> io::Result<()> {
        let mount = rootfs::resolve(self.root(), path)?;
        set_attributes(mount.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, Reach::Single)
    }
}

fn protect_source(source: BorrowedFd<'_>, access: Access, recursion: Recursion) -> io::Result<()> {
    let reach = match recursion {
        Recursion::Recursive => Reach::Recursive,
        Recursion::RecursiveTopReadOnly | Recursion::Single => Reach::Single,
    };
    match access {
        Access::ReadOnly => set_attributes(source, libc::MOUNT_ATTR_RDONLY, 0, reach),
        Access::ReadWrite => Ok(()),
    }
}

/// Joins the session keyring of a container, and makes it where it is not there.
pub(super) fn own_keyring(container: &str) -> io::Result<()> {
    let name = CString::new(format!("_ses.{container}")).unwrap_or_default();
    match process::join_session_keyring(&name) {
        // Kernels without keyrings, and outer filters that forbid them: nothing to separate then.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        result => result,
    }
}

fn join_namespace(path: &Path, flag: i32) -> Step {
    let join = || -> io::Result<()> {
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        process::join_namespaces(file.as_fd(), flag)
    };
    named(join(), || {
        format!("join the namespace `{}`", path.display())
    })
}

fn set_oom_score(score: i32) -> Step {
    let write = || -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open("/proc/self/oom_score_adj", flags, Mode::empty())?;
        rustix::io::write(&file, score.to_string().as_bytes())?;
        Ok(())
    };
    match write() {
        // Only a privileged process may lower it; the default need not be forced then, and an ordinary user was warned.
        Err(error)
            if error.raw_os_error() == Some(libc::EACCES)
                && (score == 0 || !userns::is_first()) =>
        {
            Ok(())
        }
        result => named(result, || {
            format!("set the out-of-memory score to `{score}`")
        }),
    }
}

fn own_mounts() -> Step {
    use rustix::mount::MountPropagationFlags;
    named(process::unshare(libc::CLONE_NEWNS), || {
        "make a mount namespace".into()
    })?;
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    named(rustix::mount::mount_change("/", flags), || {
        "detach the mounts from the host's".into()
    })
}

/// Mounts an overlay.
pub(super) fn mount_root(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    at: &Path,
) -> io::Result<()> {
    let mount = || -> io::Result<()> {
        let filesystem = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let fs = filesystem.as_fd();
        rustix::mount::fsconfig_set_string(fs, "source", "overlay")?;
        for layer in lower {
            rustix::mount::fsconfig_set_string(fs, "lowerdir+", layer)?;
        }
        rustix::mount::fsconfig_set_string(fs, "upperdir", upper)?;
        rustix::mount::fsconfig_set_string(fs, "workdir", work)?;
        if !userns::is_first() {
            rustix::mount::fsconfig_set_flag(fs, "userxattr")?;
        }
        rustix::mount::fsconfig_create(fs)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        let mount = rustix::mount::fsmount(fs, flags, MountAttrFlags::empty())?;
        let target = rustix::fs::open(
            at,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        attach(mount.as_fd(), target.as_fd())
    };
    match mount() {
        // Kernels before 6.8 take the layers only as one text.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            if userns::is_first() {
                return mount_overlay_by_text(lower, Some((upper, work)), "", at);
            }
            if let Some(layer) = lower.iter().find(|layer| borrowed::has_mounts(layer)) {
                return Err(io::Error::other(format!(
                    "other file systems are mounted below `{}`, and only root can leave them out",
                    layer.display()
                )));
            }
            mount_overlay_by_text(lower, Some((upper, work)), "userxattr", at)
        }
        result => result,
    }
}

/// A new, unattached mount of a file system.
pub(super) fn new_mount(
    filesystem: &str,
    options: &[(String, String)],
    attributes: u64,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", filesystem)?;
    for (key, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), key.as_str())?;
        } else {
            rustix::mount::fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str())?;
        }
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes =
        MountAttrFlags::from_bits_retain(u32::try_from(attributes).map_err(io::Error::other)?);
    Ok(rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

/// A `/proc` of the caller's pid namespace that is attached nowhere.
pub(super) fn mount_proc() -> io::Result<OwnedFd> {
    new_mount(
        "proc",
        &[],
        libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC,
    )
}

fn clone_mount(mount: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(mount, "", flags)?)
}

/// Attaches a mount to a place, both by descriptor: no path is walked.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", target, "", flags)?)
}

/// A path into `/proc` was judged by its name when the request was made; a link of the image must not lead there.
fn refuse_proc(place: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let in_proc = rustix::fs::fstatfs(place)?.f_type == rustix::fs::PROC_SUPER_MAGIC;
    if in_proc && !path.starts_with("/proc/") {
        return Err(io::Error::other("it leads into `/proc`"));
    }
    Ok(())
}

fn propagation_flags(propagation: Propagation) -> (u64, Reach) {
    match propagation {
        Propagation::RecursivePrivate => (libc::MS_PRIVATE, Reach::Recursive),
        Propagation::Private => (libc::MS_PRIVATE, Reach::Single),
        Propagation::Slave => (libc::MS_SLAVE, Reach::Single),
        Propagation::RecursiveSlave => (libc::MS_SLAVE, Reach::Recursive),
        Propagation::Shared => (libc::MS_SHARED, Reach::Single),
        Propagation::RecursiveShared => (libc::MS_SHARED, Reach::Recursive),
    }
}

/// Makes a terminal in the caller's `/dev/pts`, sends its master to the keeper and takes its other end as streams.
pub(super) fn terminal(size: TerminalSize, sender: &Sender) -> Result<[OwnedFd; 3], Failure> {
    let make = || -> io::Result<[OwnedFd; 3]> {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let master = rootfs::open(root.as_fd(), Path::new("/dev/pts/ptmx"), flags)?;
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        resize(master.as_fd(), size)?;
        sender.terminal(master.as_fd())?;
        process::take_terminal(slave.as_fd())?;
        Ok([rustix::io::dup(&slave)?, rustix::io::dup(&slave)?, slave])
    };
    make().map_err(|error| Failure::step("cannot make a terminal", finish::plain(&error)))
}

/// Sets the size of a terminal; zeros leave it.
pub(crate) fn resize(master: BorrowedFd<'_>, size: TerminalSize) -> io::Result<()> {
    if size == TerminalSize::default() {
        return Ok(());
    }
    let size = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}
