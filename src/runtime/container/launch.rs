//! The keeper's side of a start or exec: cgroup, clone, and nothing that waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::process::{Pid, PidfdFlags};

use super::cgroup::{CgroupHandle, CgroupHost};
use super::channel::{Receiver, channel};
use super::failure::Failure;
use super::init::{self, Given, Joined};
use super::membership::{self, Membership};
use super::oci;
use super::request::{ContainerRequest, ExecRequest, Namespace};
use super::setup::{self, Powers};
use crate::runtime::sys::process::{self, Forked};
use crate::runtime::sys::userns;

pub(crate) use super::operation::resize;

/// A child on its way to its program.
#[derive(Debug)]
pub(crate) struct Launched {
    /// Its pid.
    pub pid: i32,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// What it says.
    pub receiver: Receiver,
    /// The process that moves it into its cgroups, to be reaped.
    pub helper: Option<OwnedFd>,
    /// Limits that did not take.
    pub warnings: Vec<String>,
}

/// Makes the cgroup and the child of a container.
pub(crate) fn start(
    request: &ContainerRequest,
    host: &CgroupHost,
    stdio: [OwnedFd; 3],
) -> Result<Launched, Failure> {
    let group = CgroupHandle::new(host, &request.cgroup.path);
    let launched = prepare_group(&group, request).and_then(|warnings| {
        let mut launched = match &request.runtime {
            None => fork_container(request, host, &group, stdio)?,
            Some(runtime) => {
                let told = if warnings.is_empty() {
                    oci::Told::Limits
                } else {
                    // A runtime would refuse what could not be set.
                    oci::Told::Devices
                };
                oci::start(request, runtime, (host, &group), told, stdio)?
            }
        };
        launched.warnings = warnings;
        Ok(launched)
    });
    if launched.is_err() {
        group.remove().unwrap_or_default();
    }
    launched
}

fn fork_container(
    request: &ContainerRequest,
    host: &CgroupHost,
    group: &CgroupHandle,
    stdio: [OwnedFd; 3],
) -> Result<Launched, Failure> {
    let powers = if userns::is_first() {
        Powers::Root
    } else {
        Powers::User
    };
    let steps = setup::operations(request, host, powers);
    let (sender, receiver) =
        channel().map_err(|error| Failure::step("cannot make a channel", error))?;
    let (word, helper_word) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Failure::step("cannot make a pipe", error))?;
    let open = |error| Failure::step("cannot open the cgroup", error);
    let members = group.open_v1_members().map_err(open)?;
    let v2 = group.open_v2().map_err(open)?;
    let flags = setup::clone_flags(request);
    let forked = fork_into(&request.namespaces.pid, flags, v2.as_ref().map(AsFd::as_fd));
    match forked.map_err(|error| Failure::step("cannot make the process", error))? {
        Forked::Child => {
            // Its end must be the only one, for a helper that dies to be noticed.
            drop(helper_word);
            let membership = Membership::Helped(word);
            init::run(
                request,
                &steps,
                Given {
                    sender,
                    stdio,
                    membership,
                },
            )
        }
        Forked::Parent { pid, pidfd } => {
            // The child's alone, before the helper gets copies: a program that ends at once closes them all.
            drop((sender, stdio));
            Ok(Launched {
                pid,
                pidfd,
                receiver,
                helper: fork_helper(&members, pid, &helper_word),
                warnings: Vec::new(),
            })
        }
    }
}

/// Without a helper the child finds the pipe closed, and gives up.
fn fork_helper(members: &[OwnedFd], pid: i32, word: &OwnedFd) -> Option<OwnedFd> {
    if members.is_empty() {
        return None;
    }
    match process::fork_with(0, None) {
        Ok(Forked::Child) => {
            membership::help(members, pid, word);
            process::exit_now(0)
        }
        Ok(Forked::Parent { pidfd, .. }) => Some(pidfd),
        Err(_) => None,
    }
}

fn prepare_group(group: &CgroupHandle, request: &ContainerRequest) -> Result<Vec<String>, Failure> {
    group
        .create()
        .map_err(|error| Failure::step("cannot make the cgroup", error))?;
    let warnings = group.apply(&request.cgroup.limits);
    if request.runtime.is_none() {
        group
            .restrict_devices(&request.cgroup.devices)
            .map_err(|error| Failure::step("cannot restrict devices", error))?;
    }
    Ok(warnings)
}

/// Forks, with the child born in another pid namespace where one is named.
fn fork_into(
    namespace: &Namespace,
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Forked> {
    let Namespace::Path(path) = namespace else {
        return process::fork_with(flags, cgroup);
    };
    fork_in_pid_namespace(&open_namespace(path.as_os_str())?, flags, cgroup)
}

fn open_namespace(path: &std::ffi::OsStr) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Goes over to the namespace for the fork and comes back.
fn fork_in_pid_namespace(
    target: &OwnedFd,
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Forked> {
    if !userns::is_first() {
        return fork_by_another(target, flags, cgroup);
    }
    let own = open_namespace("/proc/self/ns/pid".as_ref())?;
    process::join_namespaces(target.as_fd(), libc::CLONE_NEWPID)?;
    let forked = process::fork_with(flags, cgroup);
    if !matches!(forked, Ok(Forked::Child)) {
        process::join_namespaces(own.as_fd(), libc::CLONE_NEWPID)?;
    }
    forked
}

/// An ordinary user has no way back: another process goes, forks a sibling of itself, which is a child of ours, and ends.
fn fork_by_another(
    target: &OwnedFd,
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Forked> {
    let (answer, word) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let Forked::Parent { pidfd, .. } = process::fork_with(0, None)? else {
        drop(answer);
        let sibling = flags | u64::from(libc::CLONE_PARENT.unsigned_abs());
        let forked = process::join_namespaces(target.as_fd(), libc::CLONE_NEWPID)
            .and_then(|()| process::fork_with(sibling, cgroup));
        let said = match forked {
            Ok(Forked::Child) => return Ok(Forked::Child),
            Ok(Forked::Parent { pid, .. }) => pid,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        };
        // A word that does not arrive is a failure to the reader.
        rustix::io::write(&word, &said.to_ne_bytes()).unwrap_or_default();
        process::exit_now(0);
    };
    drop(word);
    let mut said = [0_u8; 4];
    let read = rustix::io::read(&answer, &mut said);
    let _reaped = rustix::process::waitid(
        rustix::process::WaitId::PidFd(pidfd.as_fd()),
        rustix::process::WaitIdOptions::EXITED,
    );
    let said = match read? {
        4 => i32::from_ne_bytes(said),
        _ => -libc::ECHILD,
    };
    // Whatever has become of it, it is there until it is reaped.
    if said <= 0 {
        return Err(io::Error::from_raw_os_error(-said));
    }
    let pid = Pid::from_raw(said).ok_or(io::ErrorKind::NotFound)?;
    Ok(Forked::Parent {
        pid: said,
        pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())?,
    })
}

/// Makes a further process in the container whose first process is `container`.
pub(crate) fn exec(
    request: &ExecRequest,
    container: &OwnedFd,
    pid: i32,
    group: &CgroupHandle,
    stdio: [OwnedFd; 3],
) -> Result<Launched, Failure> {
    let (sender, receiver) =
        channel().map_err(|error| Failure::step("cannot make a channel", error))?;
    let open = |error| Failure::step("cannot open the cgroup", error);
    let cgroups = group.open_v1_members().map_err(open)?;
    let v2 = group.open_v2().map_err(open)?;
    let joined = what_to_join(pid);
    let group = v2.as_ref().map(AsFd::as_fd);
    let forked = if userns::is_first() || differs(pid, "pid") {
        fork_in_pid_namespace(container, 0, group)
    } else {
        process::fork_with(0, group)
    };
    match forked.map_err(|error| Failure::step("cannot make the process", error))? {
        Forked::Child => init::run_exec(
            request,
            container,
            joined,
            Given {
                sender,
                stdio,
                membership: Membership::Own(cgroups),
            },
        ),
        Forked::Parent { pid, pidfd } => Ok(Launched {
            pid,
            pidfd,
            receiver,
            helper: None,
            warnings: Vec::new(),
        }),
    }
}

/// Whether a namespace of a process is another than ours. An ordinary user cannot join the host's, not even from within.
fn differs(pid: i32, name: &str) -> bool {
    let own = std::fs::read_link(format!("/proc/self/ns/{name}"));
    let other = std::fs::read_link(format!("/proc/{pid}/ns/{name}"));
    !matches!((own, other), (Ok(own), Ok(other)) if own == other)
}

/// All kinds but pid; the user namespace only where it is another, for one cannot join one's own, and clocks likewise.
fn what_to_join(pid: i32) -> Joined {
    let is_other = Path::new("/proc/self/ns/user").exists() && differs(pid, "user");
    let root = |file: &str| {
        let map = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        map.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "0").then(|| words.next()?.parse().ok())?
        })
    };
    let kinds = [
        ("mnt", libc::CLONE_NEWNS),
        ("uts", libc::CLONE_NEWUTS),
        ("ipc", libc::CLONE_NEWIPC),
        ("net", libc::CLONE_NEWNET),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ];
    // Not on every kernel, and mostly the host's.
    let clocks = Path::new("/proc/self/ns/time").exists() && differs(pid, "time");
    let all = userns::is_first();
    let namespaces = kinds
        .into_iter()
        .filter(|(name, _)| all || differs(pid, name))
        .fold(0, |flags, (_, flag)| flags | flag);
    let clocks = if clocks { libc::CLONE_NEWTIME } else { 0 };
    let user = if is_other { libc::CLONE_NEWUSER } else { 0 };
    Joined {
        namespaces: namespaces | user | clocks,
        root: is_other
            .then(|| Some((root("uid_map")?, root("gid_map")?)))
            .flatten(),
    }
}
