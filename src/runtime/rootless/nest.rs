//! The way into the nest: a new one, or the one whose keeper runs. A process of one thread, before anything else of the
//! program runs.
//!
//! The maps of a user namespace are written by `newuidmap` and `newgidmap`, which look at `/etc/subuid` and `/etc/subgid`
//! themselves: nothing here runs with more than the user has. They must run outside of the namespace, so a forked helper
//! starts them, for the process that unshares is to stay the one that the client has started.

use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountPropagationFlags;
use rustix::process::{DumpableBehavior, Pid, WaitOptions};
use thiserror::Error;

use super::ids::{self, Range};
use super::{Obstacle, VARIABLE};
use crate::runtime::container::cgroup;
use crate::runtime::keeper::{self, KeeperPaths};
use crate::runtime::layout::Layout;
use crate::runtime::sys::{process, userns};

/// How long a keeper that was there may take to be back.
const KEEPER_PATIENCE: Duration = Duration::from_secs(2);

/// The kernel's switches for user namespaces: value that forbids them, value that does not.
const SWITCHES: [(&str, &str, &str, &str); 2] = [
    (
        "user.max_user_namespaces",
        "/proc/sys/user/max_user_namespaces",
        "0",
        "15000",
    ),
    (
        "kernel.unprivileged_userns_clone",
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "1",
    ),
];

/// Why the nest was not entered.
#[derive(Debug, Error)]
enum NestError {
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    #[error("cannot {step}")]
    Step {
        step: &'static str,
        source: io::Error,
    },
    #[error(
        "cannot make a user namespace: the kernel refuses ordinary users; on Ubuntu `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` allows it"
    )]
    Refused { source: io::Error },
    #[error("cannot map the ids of the user namespace ({ranges}): {said}")]
    Map { ranges: String, said: String },
}

fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> NestError {
    move |error| NestError::Step {
        step,
        source: error.into(),
    }
}

/// What the nest is made from.
#[derive(Debug)]
pub(super) struct Materials {
    users: Vec<Range>,
    groups: Vec<Range>,
}

/// Finds the materials, or what is missing.
pub(super) fn look_around() -> Result<Materials, Obstacle> {
    for (name, file, forbidding, mend) in SWITCHES {
        let value = fs::read_to_string(file).unwrap_or_default();
        if value.trim() == forbidding {
            return Err(Obstacle::Forbidden {
                name,
                value: forbidding.to_owned(),
                mend,
            });
        }
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    for program in ["newuidmap", "newgidmap"] {
        if !std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()) {
            return Err(Obstacle::NoHelper { program });
        }
    }
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let passwd = read("/etc/passwd");
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let user = (uid, ids::name_of(uid, &passwd));
    let ranges = |own: u32, file: &'static str| {
        let text = read(file);
        ids::map(own, user, &text).ok_or_else(|| {
            let (first, last) = ids::free_range(&text);
            Obstacle::NoRange {
                file,
                user: user.1.map_or_else(|| uid.to_string(), str::to_owned),
                first,
                last,
            }
        })
    };
    Ok(Materials {
        users: ranges(uid, "/etc/subuid")?,
        groups: ranges(gid, "/etc/subgid")?,
    })
}

/// Enters, and runs the program with these arguments in the nest.
pub(super) fn main(arguments: &[OsString]) -> i32 {
    let uid = rustix::process::getuid().as_raw();
    let layout = Layout::of_process();
    let paths = KeeperPaths::new(layout.run());
    let entered = match keeper_of(&paths) {
        Some(keeper) => join(keeper),
        None => match orphan(&paths) {
            Some(orphan) => join_orphan(orphan).map(|()| None),
            None => make().map(|()| None),
        },
    };
    let error = match entered {
        Ok(groups) => {
            let more = [
                Some((VARIABLE, uid.to_string())),
                groups.map(|groups| (cgroup::VARIABLE, groups)),
            ];
            step("run the engine in the user namespace")(run_again(arguments, more))
        }
        Err(error) => error,
    };
    let mut text = format!("cannot start the engine of an ordinary user: {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    rustix::io::write(rustix::stdio::stderr(), format!("{text}\n").as_bytes()).unwrap_or_default();
    1
}

/// The keeper that has this user's containers. One that was killed is brought back by its guard within a moment.
fn keeper_of(paths: &KeeperPaths) -> Option<Pid> {
    let end = Instant::now() + KEEPER_PATIENCE;
    loop {
        let peer = UnixStream::connect(paths.socket())
            .and_then(|socket| Ok(rustix::net::sockopt::socket_peercred(&socket)?));
        // In a folder that all may write to, the socket may be somebody else's.
        if let Some(peer) = peer
            .ok()
            .filter(|peer| peer.uid == rustix::process::getuid())
        {
            return Some(peer.pid);
        }
        let keeps = fs::read_dir(paths.containers()).is_ok_and(|mut found| found.next().is_some());
        if !keeps || Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A container that runs in a nest without engine, keeper and guard.
fn orphan(paths: &KeeperPaths) -> Option<Pid> {
    let space = |process: &str| fs::read_link(format!("/proc/{process}/ns/user"));
    let own = space("self").ok()?;
    let mut living = keeper::living_processes(paths).into_iter();
    let pid = living.find(|pid| space(&pid.to_string()).is_ok_and(|other| other != own))?;
    Pid::from_raw(pid)
}

/// Only the user namespace is left of such a nest: enough to see to the end of its processes, which are other users'. The
/// network of the bridges has gone with the mounts.
fn join_orphan(orphan: Pid) -> Result<(), NestError> {
    let path = format!("/proc/{}/ns/user", orphan.as_raw_nonzero());
    let user = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(step("open the user namespace of a container that runs"))?;
    process::join_namespaces(user.as_fd(), libc::CLONE_NEWUSER)
        .and_then(|()| process::unshare(libc::CLONE_NEWNS))
        .map_err(step("join the user namespace of a container that runs"))?;
    detach_mounts()
}

/// What the host mounts is seen here; what is mounted here is nobody else's.
fn detach_mounts() -> Result<(), NestError> {
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).map_err(step("detach the mounts from the host's"))
}

fn join(keeper: Pid) -> Result<Option<String>, NestError> {
    let open = |kind: &str| -> Result<OwnedFd, NestError> {
        let path = format!("/proc/{}/ns/{kind}", keeper.as_raw_nonzero());
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(step("open the namespaces of the keeper that runs"))
    };
    let (user, mounts) = (open("user")?, open("mnt")?);
    // Its containers are in groups beside its own, wherever this process was started.
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", keeper.as_raw_nonzero()));
    process::join_namespaces(user.as_fd(), libc::CLONE_NEWUSER)
        .and_then(|()| process::join_namespaces(mounts.as_fd(), libc::CLONE_NEWNS))
        .map_err(step("join the namespaces of the keeper that runs"))?;
    Ok(groups.ok())
}

fn make() -> Result<(), NestError> {
    let materials = look_around()?;
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (word, give_word) = pipe().map_err(step("make a pipe"))?;
    let (answer, give_answer) = pipe().map_err(step("make a pipe"))?;
    let own = rustix::process::getpid();
    let helper = process::fork_plain().map_err(step("start a helper"))?;
    if helper == 0 {
        drop((give_word, answer));
        map_ids(own, &materials, word, give_answer);
        process::exit_now(0);
    }
    drop((word, give_answer));
    let made = process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS);
    if made.is_ok() {
        // The helpers find out by the owner of `/proc/PID` whose process this is.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap_or_default();
        rustix::io::write(&give_word, b"1").map_err(step("talk to the helper"))?;
    }
    drop(give_word);
    let mut said = String::new();
    fs::File::from(answer)
        .read_to_string(&mut said)
        .map_err(step("listen to the helper"))?;
    let _reaped = rustix::process::waitpid(Pid::from_raw(helper), WaitOptions::empty());
    made.map_err(|source| NestError::Refused { source })?;
    if said != "done" {
        return Err(NestError::Map {
            ranges: format!(
                "users {}; groups {}",
                ids::text(&materials.users),
                ids::text(&materials.groups)
            ),
            said: if said.is_empty() {
                "the helper ended early".to_owned()
            } else {
                said
            },
        });
    }
    detach_mounts()
}

/// The helper: when the namespace is there, has its maps written.
fn map_ids(nest: Pid, materials: &Materials, word: OwnedFd, answer: OwnedFd) {
    let mut heard = [0_u8; 1];
    if !matches!(rustix::io::read(&word, &mut heard), Ok(1)) {
        return;
    }
    let pid = nest.as_raw_nonzero().to_string();
    let run = |program: &str, ranges: &[Range]| -> Result<(), String> {
        let output = Command::new(program)
            .arg(&pid)
            .args(ids::arguments(ranges))
            .output()
            .map_err(|error| format!("cannot run `{program}`: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{program}` refused: {}", said.trim()))
    };
    let said = run("newuidmap", &materials.users)
        .and_then(|()| run("newgidmap", &materials.groups))
        .map_or_else(|said| said, |()| "done".to_owned());
    fs::File::from(answer)
        .write_all(said.as_bytes())
        .unwrap_or_default();
}

/// Runs the program again, with the mark of the nest. Comes back only with what went wrong.
fn run_again(arguments: &[OsString], more: [Option<(&str, String)>; 2]) -> io::Error {
    if userns::is_first() {
        return io::Error::other("the kernel did not enter it");
    }
    let text = |text: &[u8]| CString::new(text);
    let argv = std::iter::once(text(b"hoist"))
        .chain(arguments.iter().map(|argument| text(argument.as_bytes())))
        .collect::<Result<Vec<_>, _>>();
    let more = more
        .into_iter()
        .flatten()
        .map(|(name, value)| text(format!("{name}={value}").as_bytes()));
    let environment = std::env::vars_os()
        .filter(|(name, _)| name != VARIABLE && name != cgroup::VARIABLE)
        .map(|(name, value)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
        .chain(more)
        .collect::<Result<Vec<_>, _>>();
    let program = text(Path::new("/proc/self/exe").as_os_str().as_bytes());
    match (program, argv, environment) {
        (Ok(program), Ok(argv), Ok(environment)) => process::execute(&program, &argv, &environment),
        (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => error.into(),
    }
}
