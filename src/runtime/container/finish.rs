//! The last steps before the program runs, the same for a container's first process and for an exec: who it is, what
//! it may do, where it stands, which file it is.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Access as Permission, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::channel::Sender;
use super::failure::{Failure, FailureKind};
use super::reaper;
use super::request::{self, Init, NewPrivileges, Process, Seccomp};
use super::rootfs;
use super::user::{self, Identity};
use crate::runtime::sys::{process, userns};

/// What the host's root alone may do: before a user namespace is joined.
pub(super) fn with_privileges(wanted: &Process, proc: BorrowedFd<'_>) -> Result<(), Failure> {
    set_limits(&wanted.rlimits)?;
    write_labels(wanted, proc)
}

/// Becomes the program; returns only what went wrong. The root must be the container's already. Without `proc` what
/// needs the privileges of the host's root was done before.
pub(super) fn finish(
    wanted: &Process,
    stdio: [OwnedFd; 3],
    proc: Option<BorrowedFd<'_>>,
    sender: &Sender,
) -> Failure {
    match prepare(wanted, &stdio, proc, sender) {
        Ok(env) => run_program(wanted, &env),
        Err(failure) => failure,
    }
}

fn prepare(
    wanted: &Process,
    stdio: &[OwnedFd; 3],
    proc: Option<BorrowedFd<'_>>,
    sender: &Sender,
) -> Result<Vec<String>, Failure> {
    let identity = identify(wanted)?;
    own_streams(stdio, &identity)?;
    change_directory(&wanted.cwd)?;
    if let Some(proc) = proc {
        with_privileges(wanted, proc)?;
    }
    sender
        .executing()
        .map_err(|error| Failure::step("cannot talk to the keeper", error))?;
    restrict(wanted, &identity)?;
    process::close_on_exec_from(3)
        .map_err(|error| Failure::step("cannot close descriptors", error))?;
    if wanted.init == Init::Own {
        own_init(wanted.terminal.is_some())?;
    }
    process::default_signals();
    Ok(environment(&wanted.env, &identity))
}

fn root() -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty())
        .map_err(|error| Failure::step("cannot open the root", error))
}

fn identify(wanted: &Process) -> Result<Identity, Failure> {
    let root = root()?;
    let passwd = rootfs::read_small(root.as_fd(), "/etc/passwd");
    let group = rootfs::read_small(root.as_fd(), "/etc/group");
    user::look_up(&wanted.user, &wanted.group_add, &passwd, &group)
        .map_err(|error| Failure::new(FailureKind::Refused, error.to_string()))
}

/// Gives pipes and terminals to the user, who could not open `/dev/stdout` otherwise, and puts them on 0, 1 and 2.
fn own_streams(stdio: &[OwnedFd; 3], identity: &Identity) -> Result<(), Failure> {
    for stream in stdio {
        let Ok(stat) = rustix::fs::fstat(stream) else {
            continue;
        };
        let null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && rustix::fs::major(stat.st_rdev) == 1;
        if !null && stat.st_uid != identity.uid {
            // Refused where the id is not mapped; the stream is open already, so the program runs all the same.
            rustix::fs::fchown(stream, Some(Uid::from_raw(identity.uid)), None).unwrap_or_default();
        }
    }
    let [input, output, error] = stdio;
    rustix::stdio::dup2_stdin(input)
        .and_then(|()| rustix::stdio::dup2_stdout(output))
        .and_then(|()| rustix::stdio::dup2_stderr(error))
        .map_err(|error| Failure::step("cannot set up the standard streams", error))
}

/// After the root was entered: a folder outside of it shows as unreachable.
fn change_directory(cwd: &str) -> Result<(), Failure> {
    let refuse = |error: io::Error| {
        let text = format!(
            "chdir to cwd (\"{cwd}\") set in config.json failed: {}",
            plain(&error)
        );
        Failure::new(FailureKind::Refused, text)
    };
    let root = root()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let folder = rootfs::open(root.as_fd(), Path::new(cwd), flags).map_err(refuse)?;
    rustix::process::fchdir(&folder).map_err(|error| refuse(error.into()))?;
    let reached = rustix::process::getcwd(Vec::new()).map_err(|error| refuse(error.into()))?;
    if reached.as_bytes().first() == Some(&b'/') {
        return Ok(());
    }
    let text = "current working directory is outside of container mount namespace root -- possible container breakout attempt";
    Err(Failure::new(FailureKind::Refused, text))
}

fn set_limits(limits: &[request::Rlimit]) -> Result<(), Failure> {
    for limit in limits {
        let resource = resource(&limit.name).ok_or_else(|| {
            Failure::new(
                FailureKind::Refused,
                format!("invalid ulimit type: {}", limit.name),
            )
        })?;
        let value = |value: i64| u64::try_from(value).ok();
        let new = Rlimit {
            current: value(limit.soft),
            maximum: value(limit.hard),
        };
        let old = rustix::process::getrlimit(resource).maximum;
        rustix::process::setrlimit(resource, new).map_err(|error| {
            let what = format!("error setting rlimit type {}", limit.name);
            match (error, old) {
                (rustix::io::Errno::PERM, Some(most)) if !userns::is_first() => Failure::step(
                    what,
                    format!("an ordinary user's engine cannot raise it above {most}"),
                ),
                _ => Failure::step(what, error),
            }
        })?;
    }
    Ok(())
}

/// The kernel's limit of Docker's name.
pub(super) fn resource(name: &str) -> Option<Resource> {
    let table = [
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::Fsize),
        ("locks", Resource::Locks),
        ("memlock", Resource::Memlock),
        ("msgqueue", Resource::Msgqueue),
        ("nice", Resource::Nice),
        ("nofile", Resource::Nofile),
        ("nproc", Resource::Nproc),
        ("rss", Resource::Rss),
        ("rtprio", Resource::Rtprio),
        ("rttime", Resource::Rttime),
        ("sigpending", Resource::Sigpending),
        ("stack", Resource::Stack),
    ];
    table
        .into_iter()
        .find(|(known, _)| *known == name)
        .map(|(_, resource)| resource)
}

/// Labels of security modules, through a `/proc` of our own that nothing can be mounted over.
fn write_labels(wanted: &Process, proc: BorrowedFd<'_>) -> Result<(), Failure> {
    let labels = [
        (
            wanted
                .apparmor
                .as_ref()
                .map(|label| format!("exec {label}")),
            "self/attr/apparmor/exec",
        ),
        (wanted.selinux.clone(), "self/attr/exec"),
    ];
    for (label, file) in labels {
        let Some(label) = label else { continue };
        write_below(proc, file, label.as_bytes())
            .map_err(|error| Failure::step(format!("cannot set the label `{label}`"), error))?;
    }
    Ok(())
}

/// Writes a file of `/proc`, crossing no other mount.
pub(super) fn write_below(proc: BorrowedFd<'_>, file: &str, text: &[u8]) -> io::Result<()> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(proc, file, flags, Mode::empty(), resolve)?;
    rustix::io::write(&file, text)?;
    Ok(())
}

/// The filter comes before the capabilities go: without `no-new-privileges` loading it needs one of them.
fn restrict(wanted: &Process, identity: &Identity) -> Result<(), Failure> {
    if wanted.privileges == NewPrivileges::Refused {
        rustix::thread::set_no_new_privs(true)
            .map_err(|error| Failure::step("cannot set no_new_privs", error))?;
    }
    if let Seccomp::Program(program) = &wanted.seccomp {
        let program = hex::decode(program)
            .map_err(|error| Failure::step("cannot read the seccomp filter", error))?;
        process::load_seccomp(&program, 0)
            .map_err(|error| Failure::step("cannot load the seccomp filter", error))?;
    }
    drop_bounding(wanted.capabilities)
        .map_err(|error| Failure::step("cannot drop capabilities", error))?;
    become_user(identity)?;
    let kept = if identity.uid == 0 {
        CapabilitySet::from_bits_retain(wanted.capabilities)
    } else {
        CapabilitySet::empty()
    };
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
        .map_err(|error| Failure::step("cannot set capabilities", error))
}

fn drop_bounding(kept: u64) -> io::Result<()> {
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if kept & (1 << number) != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            // The kernel knows no capability of this number, nor any higher one.
            Err(rustix::io::Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

fn become_user(identity: &Identity) -> Result<(), Failure> {
    let refuse = |what: &'static str| move |error| Failure::step(what, error);
    let groups: Vec<Gid> = identity
        .groups
        .iter()
        .map(|&gid| Gid::from_raw(gid))
        .collect();
    match rustix::thread::set_thread_groups(&groups) {
        // A user namespace with one id only cannot set groups.
        Err(rustix::io::Errno::PERM) if groups.is_empty() => Ok(()),
        result => result,
    }
    .map_err(refuse("cannot set the additional groups"))?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .map_err(refuse("cannot set the group (is it mapped?)"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .map_err(refuse("cannot set the user (is it mapped?)"))
}

pub(super) fn environment(env: &[String], identity: &Identity) -> Vec<String> {
    let mut env = env.to_vec();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home));
    }
    env
}

/// Splits off process 1, which never comes back.
pub(super) fn own_init(terminal: bool) -> Result<(), Failure> {
    process::set_signal_mask(process::SignalMask::Full);
    // Before there is anyone to look; the program's own name comes when it runs.
    process::set_name(c"hoist-init");
    let child = process::fork_plain()
        .map_err(|error| Failure::step("cannot start the init process", error))?;
    if child != 0 {
        reaper::run(child);
    }
    rustix::process::setpgid(None, None).unwrap_or_default();
    if terminal {
        // All signals are blocked here, so the terminal cannot stop us for being in the background.
        let group = rustix::process::getpgrp();
        rustix::termios::tcsetpgrp(rustix::stdio::stdin(), group).unwrap_or_default();
    }
    Ok(())
}

/// Looks the program up, and becomes it.
fn run_program(wanted: &Process, env: &[String]) -> Failure {
    let Some(name) = wanted.argv.first() else {
        return Failure::new(FailureKind::Refused, "no command specified");
    };
    let program = match find_program(name, env) {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let (Ok(path), Some(argv), Some(env)) = (
        CString::new(program.as_str()),
        c_strings(&wanted.argv),
        c_strings(env),
    ) else {
        return Failure::new(
            FailureKind::Refused,
            format!("exec: \"{name}\": invalid argument"),
        );
    };
    let error = process::execute(&path, &argv, &env);
    // Docker counts the container as started here: the text goes to its own output.
    let text = format!("exec {program}: {}\n", plain(&error));
    rustix::io::write(rustix::stdio::stderr(), text.as_bytes()).unwrap_or_default();
    process::exit_now(255)
}

pub(super) fn c_strings(strings: &[String]) -> Option<Vec<CString>> {
    strings
        .iter()
        .map(|string| CString::new(string.as_str()).ok())
        .collect()
}

pub(super) fn find_program(name: &str, env: &[String]) -> Result<String, Failure> {
    if name.contains('/') {
        return executable(name)
            .map(|()| name.to_owned())
            .map_err(|(kind, text)| Failure::new(kind, format!("exec: \"{name}\": {text}")));
    }
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or_default();
    let mut refused = None;
    for folder in path.split(':').filter(|_| !name.is_empty()) {
        let folder = if folder.is_empty() { "." } else { folder };
        let candidate = format!("{folder}/{name}");
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err((FailureKind::NotExecutable, text)) => refused = Some(text),
            Err(_) => {}
        }
    }
    Err(match refused {
        Some(text) => Failure::new(
            FailureKind::NotExecutable,
            format!("exec: \"{name}\": {text}"),
        ),
        None => Failure::new(
            FailureKind::NotFound,
            format!("exec: \"{name}\": executable file not found in $PATH"),
        ),
    })
}

fn executable(path: &str) -> Result<(), (FailureKind, String)> {
    let stat = rustix::fs::stat(path).map_err(|error| {
        let text = plain(&io::Error::from(error));
        match error {
            rustix::io::Errno::ACCESS => (FailureKind::NotExecutable, text),
            _ => (FailureKind::NotFound, format!("stat {path}: {text}")),
        }
    })?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err((
            FailureKind::NotExecutable,
            "is a directory: permission denied".to_owned(),
        ));
    }
    rustix::fs::accessat(rustix::fs::CWD, path, Permission::EXEC_OK, AtFlags::EACCESS)
        .ok()
        .filter(|()| stat.st_mode & 0o111 != 0)
        .ok_or((FailureKind::NotExecutable, "permission denied".to_owned()))
}

/// The text of an error as C has it: `no such file or directory`.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}
