//! Control groups of version 1, version 2, and both at once (hybrid).
//!
//! [`CgroupHost`] is what the machine offers, read once; [`CgroupHandle`] is one container's group in all hierarchies.
//! The keeper creates, limits and removes; the engine freezes, updates and reads figures through the same handle.

mod device;
mod limit;
mod stats;

pub use stats::{BlockFigure, Stats};

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, Mode, OFlags};

use super::request::{DeviceRule, Limits};
use crate::runtime::sys::userns;

/// The group of an ordinary user's engine and keeper, in the group that was delegated to it.
const LEAF: &str = "hoist-engine";
/// The groups of the keeper, as `/proc/PID/cgroup` has them, for an engine that was started elsewhere.
pub(crate) const VARIABLE: &str = "HOIST_ROOTLESS_CGROUP";

/// One mounted hierarchy of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers, or `name=…`.
    pub controllers: Vec<String>,
}

impl Hierarchy {
    /// The name of its folder in a container.
    #[must_use]
    pub fn folder(&self) -> String {
        let name = self.controllers.join(",");
        name.trim_start_matches("name=").to_owned()
    }

    /// Its controllers, where they are several.
    pub fn links(&self) -> impl Iterator<Item = String> {
        let several = self.controllers.len() > 1;
        self.controllers
            .iter()
            .filter(move |name| several && !name.contains('='))
            .cloned()
    }
}

/// The hierarchies of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CgroupHost {
    /// Hierarchies of version 1; empty on a machine with version 2 only.
    pub v1: Vec<Hierarchy>,
    /// The mount of version 2.
    pub v2: Option<PathBuf>,
}

/// Which version carries the controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// Version 1, perhaps with an empty hierarchy of version 2 beside it.
    V1,
    /// Version 2 only.
    V2,
}

impl CgroupHost {
    /// Reads what is mounted.
    ///
    /// # Errors
    /// When the list of mounts cannot be read.
    pub fn probe() -> io::Result<Self> {
        let host = Self::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        if userns::is_first() {
            return Ok(host);
        }
        let own = std::env::var(VARIABLE)
            .or_else(|_| fs::read_to_string("/proc/self/cgroup"))
            .unwrap_or_default();
        Ok(host.delegated(&own, &|folder| {
            rustix::fs::access(folder, Access::WRITE_OK).is_ok()
        }))
    }

    /// What of it an ordinary user may use: hierarchies of version 1 hardly ever; of version 2 the caller's own group,
    /// where the system has delegated it. `own` is `/proc/self/cgroup`.
    fn delegated(self, own: &str, writable: &dyn Fn(&Path) -> bool) -> Self {
        let v1 = self
            .v1
            .into_iter()
            .filter(|hierarchy| writable(&hierarchy.mount))
            .collect();
        let v2 = self.v2.and_then(|mount| {
            if writable(&mount.join("cgroup.subtree_control")) {
                return Some(mount);
            }
            let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
            let group = mount.join(
                path.strip_suffix(LEAF)
                    .unwrap_or(path)
                    .trim_end_matches('/'),
            );
            let files = [".", "cgroup.procs", "cgroup.subtree_control"];
            let ours = files.iter().all(|file| writable(&group.join(file)));
            ours.then_some(group)
        });
        Self { v1, v2 }
    }

    /// Moves the caller out of the way: a group of version 2 that hands controllers down has no processes of its own.
    ///
    /// # Errors
    /// When the group cannot be made or entered.
    pub fn enter_leaf(&self) -> io::Result<()> {
        let Some(folder) = self.v2.as_ref().map(|group| group.join(LEAF)) else {
            return Ok(());
        };
        if std::env::var_os(VARIABLE).is_some() {
            return Ok(()); // it is in nobody's way
        }
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("cgroup.procs"), "0")
    }

    /// The controllers that can limit something.
    #[must_use]
    pub fn controllers(&self) -> Vec<String> {
        let v2 = self
            .v2
            .as_ref()
            .map(|group| group.join("cgroup.controllers"));
        let v2 = v2.and_then(|file| fs::read_to_string(file).ok());
        let v2 = v2.unwrap_or_default();
        let v1 = self.v1.iter().flat_map(|hierarchy| &hierarchy.controllers);
        v1.cloned()
            .chain(v2.split_ascii_whitespace().map(str::to_owned))
            .collect()
    }

    /// Whether there is any group to put limits on.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.v2.is_some() || !self.v1.is_empty()
    }

    /// Parses a list of mounts as `/proc/self/mountinfo` has it.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Self {
        let mut host = Self::default();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let Some(mount) = before.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            let mut fields = after.split(' ');
            match fields.next() {
                Some("cgroup2") if host.v2.is_none() => host.v2 = Some(mount),
                Some("cgroup") => host.add_v1(mount, fields.nth(1).unwrap_or_default()),
                _ => {}
            }
        }
        host
    }

    fn add_v1(&mut self, mount: PathBuf, options: &str) {
        let ignored = [
            "rw",
            "ro",
            "xattr",
            "clone_children",
            "noprefix",
            "favordynmods",
            "none",
        ];
        let controllers: Vec<String> = options
            .split(',')
            .filter(|option| !ignored.contains(option) && !option.starts_with("release_agent="))
            .map(str::to_owned)
            .collect();
        let known = self
            .v1
            .iter()
            .any(|hierarchy| hierarchy.controllers == controllers);
        if !controllers.is_empty() && !known {
            self.v1.push(Hierarchy { mount, controllers });
        }
    }

    /// Removes a group that no container is left in, with its empty children, from every hierarchy.
    pub fn remove_parent(&self, path: &str) {
        let v1 = self.v1.iter().map(|hierarchy| &hierarchy.mount);
        for folder in v1.chain(&self.v2).map(|mount| mount.join(path)) {
            // A group with members stays: the kernel refuses, and that is right.
            drop(remove_tree(&folder));
        }
    }

    /// The version that carries the controllers.
    #[must_use]
    pub fn version(&self) -> CgroupVersion {
        if self.v1.is_empty() {
            CgroupVersion::V2
        } else {
            CgroupVersion::V1
        }
    }

    /// The hierarchy of a controller of version 1.
    fn controller(&self, name: &str) -> Option<&Path> {
        self.v1
            .iter()
            .find(|hierarchy| {
                hierarchy
                    .controllers
                    .iter()
                    .any(|controller| controller == name)
            })
            .map(|hierarchy| hierarchy.mount.as_path())
    }
}

/// One group, by its path below the root of each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupHandle {
    host: CgroupHost,
    path: String,
}

impl CgroupHandle {
    /// The group at `path`, whether it exists or not.
    #[must_use]
    pub fn new(host: &CgroupHost, path: &str) -> Self {
        Self {
            host: host.clone(),
            path: path.trim_matches('/').to_owned(),
        }
    }

    /// The folder in version 2.
    fn v2(&self) -> Option<PathBuf> {
        self.host.v2.as_ref().map(|mount| mount.join(&self.path))
    }

    /// The folder of a controller of version 1.
    fn v1(&self, controller: &str) -> Option<PathBuf> {
        self.host
            .controller(controller)
            .map(|mount| mount.join(&self.path))
    }

    /// All folders of the group.
    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        let v1 = self.host.v1.iter().map(|hierarchy| &hierarchy.mount);
        v1.chain(&self.host.v2).map(|mount| mount.join(&self.path))
    }

    /// Makes the group in every hierarchy.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn create(&self) -> io::Result<()> {
        if self.host.version() == CgroupVersion::V2 {
            self.enable_controllers();
        }
        for folder in self.folders() {
            fs::create_dir_all(&folder)?;
        }
        if let Some(mount) = self.host.controller("cpuset") {
            inherit_cpuset(mount, &self.path)?;
        }
        Ok(())
    }

    /// Hands the controllers down to the group's parent; what the machine does not delegate shows when a limit is set.
    fn enable_controllers(&self) {
        let Some(mut folder) = self.host.v2.clone() else {
            return;
        };
        for part in Path::new(&self.path) {
            let available =
                fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
            for controller in available.split_whitespace() {
                fs::write(
                    folder.join("cgroup.subtree_control"),
                    format!("+{controller}"),
                )
                .unwrap_or_default();
            }
            folder.push(part);
            if fs::create_dir_all(&folder).is_err() {
                return;
            }
        }
    }

    /// Sets limits; each that did not take is a warning.
    #[must_use]
    pub fn apply(&self, limits: &Limits) -> Vec<String> {
        limit::apply(self, limits)
    }

    /// Restricts devices; an empty list leaves all allowed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn restrict_devices(&self, rules: &[DeviceRule]) -> io::Result<()> {
        if rules.is_empty() {
            return Ok(());
        }
        match (self.v1("devices"), self.v2()) {
            (Some(folder), _) => device::apply_v1(&folder, rules),
            // In a user namespace no device node can be made in the first place, and the kernel takes no filter.
            (None, Some(_)) if !userns::is_first() => Ok(()),
            (None, Some(folder)) => device::apply_v2(&folder, rules),
            (None, None) => Ok(()),
        }
    }

    /// The version 2 folder, to be born in.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open_v2(&self) -> io::Result<Option<OwnedFd>> {
        let Some(folder) = self.v2() else {
            return Ok(None);
        };
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        Ok(Some(rustix::fs::open(&folder, flags, Mode::empty())?))
    }

    /// The `cgroup.procs` files of version 1; writing `0` moves the writer.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open_v1_members(&self) -> io::Result<Vec<OwnedFd>> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let folders = self
            .host
            .v1
            .iter()
            .map(|hierarchy| hierarchy.mount.join(&self.path));
        folders
            .map(|folder| {
                Ok(rustix::fs::open(
                    folder.join("cgroup.procs"),
                    flags,
                    Mode::empty(),
                )?)
            })
            .collect()
    }

    /// Whether the machine has any hierarchy that this engine may use.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.host.is_usable()
    }

    /// Whether the memory of its members is counted.
    #[must_use]
    pub fn counts_memory(&self) -> bool {
        let v2 = || {
            self.v2()
                .is_some_and(|folder| folder.join("memory.current").exists())
        };
        self.v1("memory").is_some() || v2()
    }

    /// Pids of the members, as the reader's pid namespace has them.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        let Some(folder) = self
            .v1("pids")
            .or_else(|| self.v2())
            .or_else(|| self.folders().next())
        else {
            return Vec::new();
        };
        let mut pids = Vec::new();
        collect_pids(&folder, &mut pids);
        pids
    }

    /// Stops all members until [`Self::thaw`].
    ///
    /// # Errors
    /// When the kernel refuses, or they do not stop within ten seconds.
    pub fn freeze(&self) -> io::Result<()> {
        match (self.v1("freezer"), self.v2()) {
            (Some(folder), _) => freeze_v1(&folder.join("freezer.state")),
            (None, Some(folder)) => {
                fs::write(folder.join("cgroup.freeze"), "1")?;
                wait_for(|| {
                    let events = fs::read_to_string(folder.join("cgroup.events"))?;
                    Ok(events.contains("frozen 1"))
                })
            }
            (None, None) => Err(no_group()),
        }
        // A member that is stuck in freezing could not even be killed.
        .inspect_err(|_| self.thaw().unwrap_or_default())
    }

    /// Lets all members run on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn thaw(&self) -> io::Result<()> {
        match (self.v1("freezer"), self.v2()) {
            (Some(folder), _) => fs::write(folder.join("freezer.state"), "THAWED"),
            (None, Some(folder)) => fs::write(folder.join("cgroup.freeze"), "0"),
            (None, None) => Err(no_group()),
        }
    }

    /// Kills all members.
    pub fn kill_all(&self) {
        let killed = self
            .v2()
            .is_some_and(|folder| fs::write(folder.join("cgroup.kill"), "1").is_ok());
        if !killed || self.host.version() == CgroupVersion::V1 {
            for pid in self.pids() {
                crate::runtime::sys::process::send_signal(pid, libc::SIGKILL).unwrap_or_default();
            }
        }
        self.thaw().unwrap_or_default();
    }

    /// How often the kernel killed a member for want of memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let file = match (self.v1("memory"), self.v2()) {
            (Some(folder), _) => folder.join("memory.oom_control"),
            (None, Some(folder)) => folder.join("memory.events"),
            (None, None) => return 0,
        };
        stats::keyed(&fs::read_to_string(file).unwrap_or_default(), "oom_kill")
    }

    /// Raw figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        stats::read(self)
    }

    /// Removes the group from every hierarchy, with groups that the container made below.
    ///
    /// # Errors
    /// When a hierarchy still has members.
    pub fn remove(&self) -> io::Result<()> {
        self.folders().try_for_each(|folder| remove_tree(&folder))
    }
}

fn no_group() -> io::Error {
    io::Error::other("no control group is delegated to this engine")
}

fn collect_pids(folder: &Path, pids: &mut Vec<i32>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in child_folders(folder) {
        collect_pids(&child, pids);
    }
}

fn child_folders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    for child in child_folders(folder) {
        remove_tree(&child)?;
    }
    fs::remove_dir(folder)
}

/// A cpuset of version 1 is born empty, and nothing can join it before it has CPUs and memory nodes.
fn inherit_cpuset(mount: &Path, path: &str) -> io::Result<()> {
    let mut folder = mount.to_owned();
    for part in Path::new(path) {
        let child = folder.join(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(child.join(file))?.trim().is_empty() {
                fs::write(
                    child.join(file),
                    fs::read_to_string(folder.join(file))?.trim(),
                )?;
            }
        }
        folder = child;
    }
    Ok(())
}

/// A member that forks at this moment keeps version 1 in `FREEZING` for ever, until it is asked once more; one that does
/// so again and again needs to be let go in between.
fn freeze_v1(state: &Path) -> io::Result<()> {
    let mut tries = 0_u32;
    wait_for(|| {
        tries += 1;
        if tries.is_multiple_of(50) {
            fs::write(state, "THAWED")?;
        }
        fs::write(state, "FROZEN")?;
        Ok(fs::read_to_string(state)?.trim() == "FROZEN")
    })
}

/// The kernel has no event for these files everywhere, so they are read again until the state is reached.
fn wait_for(mut reached: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while !reached()? {
        if Instant::now() > end {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_is_version_1() {
        let host = CgroupHost::parse(
            "30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             31 29 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             32 29 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(host.version(), CgroupVersion::V1);
        assert_eq!(
            host.controller("cpuacct"),
            Some(Path::new("/sys/fs/cgroup/cpu,cpuacct"))
        );
        assert_eq!(host.v1[1].controllers, ["name=systemd"]);
        assert_eq!(
            host.v2.as_deref(),
            Some(Path::new("/sys/fs/cgroup/unified"))
        );
    }

    #[test]
    fn an_ordinary_user_has_the_group_that_was_delegated() {
        let host = CgroupHost {
            v1: vec![Hierarchy {
                mount: PathBuf::from("/sys/fs/cgroup/memory"),
                controllers: vec!["memory".to_owned()],
            }],
            v2: Some(PathBuf::from("/sys/fs/cgroup")),
        };
        let below = |folder: &Path| folder.starts_with("/sys/fs/cgroup/user/run");
        for own in ["0::/user/run\n", "4:memory:/\n0::/user/run/hoist-engine\n"] {
            let found = host.clone().delegated(own, &below);
            assert_eq!(
                found.v2.as_deref(),
                Some(Path::new("/sys/fs/cgroup/user/run"))
            );
            assert!(found.v1.is_empty());
        }
        assert!(!host.delegated("0::/user\n", &below).is_usable());
    }

    #[test]
    fn a_machine_without_version_1_is_version_2() {
        let host = CgroupHost::parse(
            "32 29 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert_eq!(host.version(), CgroupVersion::V2);
    }
}
