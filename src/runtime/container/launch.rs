//! The keeper's side of a start or exec: cgroup, clone, and nothing that waits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::cgroup::{CgroupHandle, CgroupHost};
use super::channel::{Receiver, channel};
use super::failure::Failure;
use super::init::{self, Given, Joined};
use super::membership::{self, Membership};
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
        let mut launched = fork_container(request, host, &group, stdio)?;
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
    let forked = with_pid_namespace(&request.namespaces.pid, || {
        process::fork_with(flags, v2.as_ref().map(AsFd::as_fd))
    });
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
        Forked::Parent { pid, pidfd } => Ok(Launched {
            pid,
            pidfd,
            receiver,
            helper: fork_helper(&members, pid, &helper_word),
            warnings: Vec::new(),
        }),
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
    group
        .restrict_devices(&request.cgroup.devices)
        .map_err(|error| Failure::step("cannot restrict devices", error))?;
    Ok(warnings)
}

/// Runs `fork` so that the child is born in another pid namespace, and comes back to our own.
fn with_pid_namespace(
    namespace: &Namespace,
    fork: impl FnOnce() -> io::Result<Forked>,
) -> io::Result<Forked> {
    let Namespace::Path(path) = namespace else {
        return fork();
    };
    let target = open_namespace(path.as_os_str())?;
    in_pid_namespace(&target, fork)
}

fn open_namespace(path: &std::ffi::OsStr) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn in_pid_namespace(
    target: &OwnedFd,
    fork: impl FnOnce() -> io::Result<Forked>,
) -> io::Result<Forked> {
    let own = open_namespace("/proc/self/ns/pid".as_ref())?;
    process::join_namespaces(target.as_fd(), libc::CLONE_NEWPID)?;
    let forked = fork();
    if !matches!(forked, Ok(Forked::Child)) {
        process::join_namespaces(own.as_fd(), libc::CLONE_NEWPID)?;
    }
    forked
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
    let forked = in_pid_namespace(container, || {
        process::fork_with(0, v2.as_ref().map(AsFd::as_fd))
    });
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

/// All kinds but pid; the user namespace only where it is another, for one cannot join one's own.
fn what_to_join(pid: i32) -> Joined {
    let own = std::fs::read_link("/proc/self/ns/user");
    let other = std::fs::read_link(format!("/proc/{pid}/ns/user"));
    let is_other = matches!((own, other), (Ok(own), Ok(other)) if own != other);
    let root = |file: &str| {
        let map = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        map.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "0").then(|| words.next()?.parse().ok())?
        })
    };
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP;
    let user = if is_other { libc::CLONE_NEWUSER } else { 0 };
    Joined {
        namespaces: namespaces | user,
        root: is_other
            .then(|| Some((root("uid_map")?, root("gid_map")?)))
            .flatten(),
    }
}
