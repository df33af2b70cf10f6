//! Becoming the keeper: a sealed copy of the program, a session of its own, one per run directory.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::DumpableBehavior;

use super::guard;
use super::protocol::KeeperPaths;
use super::server::Keeper;
use crate::runtime::sys::mount::{Reach, set_attributes};
use crate::runtime::sys::process;

/// Runs `hoist keeper RUN_DIR`; returns the exit code of whichever process comes back.
pub(super) fn main(arguments: &[OsString]) -> i32 {
    let Some(run_dir) = arguments.first() else {
        return complain(&io::Error::other("`hoist keeper` needs a run directory"));
    };
    if arguments.get(1).is_none() {
        // Comes back only when this kernel or these privileges allow no sealed copy: a plain keeper is as good then,
        // for nobody with less privilege than ours shares its user namespace.
        run_sealed(run_dir);
    }
    detach(&KeeperPaths::new(Path::new(run_dir))).unwrap_or_else(|error| complain(&error))
}

/// To the standard error that the engine reads; the keeper itself has none.
fn complain(error: &io::Error) -> i32 {
    rustix::io::write(rustix::stdio::stderr(), format!("{error}\n").as_bytes()).unwrap_or_default();
    1
}

/// Runs the program again from a read-only mount that is attached nowhere, so that a container that gets hold of
/// `/proc/PID/exe` cannot write to it.
fn run_sealed(run_dir: &OsStr) {
    let seal = || -> io::Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let program = rustix::mount::open_tree(CWD, "/proc/self/exe", flags)?;
        set_attributes(program.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, Reach::Single)?;
        Ok(program)
    };
    let (Ok(program), Ok(run_dir)) = (seal(), CString::new(run_dir.as_bytes())) else {
        return;
    };
    let argv = [
        c"hoist".to_owned(),
        c"keeper".to_owned(),
        run_dir,
        c"sealed".to_owned(),
    ];
    let _error = process::execute_fd(program.as_fd(), &argv, &[]);
}

/// Forks the keeper's guard, which forks the keeper proper, and waits until that listens.
fn detach(paths: &KeeperPaths) -> io::Result<i32> {
    let (ready, report) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    if process::fork_plain()? != 0 {
        drop(report);
        let mut answer = [0_u8; 512];
        let count = rustix::io::read(&ready, &mut answer)?;
        return match &answer[..count] {
            b"ready" => Ok(0),
            text => Ok(complain(&io::Error::other(
                String::from_utf8_lossy(text).into_owned(),
            ))),
        };
    }
    drop(ready);
    match leave_the_caller() {
        Ok(()) => guard::run(paths, report),
        Err(error) => {
            rustix::io::write(&report, error.to_string().as_bytes())?;
            Ok(1)
        }
    }
}

/// The life of one keeper, up to its exit code. The first one reports to whoever waits for it.
pub(super) fn serve(paths: &KeeperPaths, report: Option<OwnedFd>) -> i32 {
    let say = |text: &str| {
        if let Some(report) = &report {
            // Nobody waits any more: nobody is told.
            rustix::io::write(report, text.as_bytes()).unwrap_or_default();
        }
    };
    match become_keeper(paths) {
        Ok(Some(mut keeper)) => {
            say("ready");
            drop(report);
            i32::from(keeper.run().is_err())
        }
        // Another keeper was faster.
        Ok(None) => {
            say("ready");
            guard::ANOTHER_LIVES
        }
        Err(error) => {
            say(&error.to_string());
            // The caller knows, and tries again when it wants to.
            i32::from(report.is_none())
        }
    }
}

/// What guard and keeper have in common: nothing of the caller, and no signal that ends them by accident.
fn leave_the_caller() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    process::ignore_signals(&[
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGQUIT,
        libc::SIGPIPE,
    ]);
    // Refused without privileges; then they are as likely victims as others.
    std::fs::write("/proc/self/oom_score_adj", "-999").unwrap_or_default();
    silence()
}

fn become_keeper(paths: &KeeperPaths) -> io::Result<Option<Keeper>> {
    process::set_name(c"hoist-keeper");
    std::fs::create_dir_all(paths.containers())?;
    let Some(lock) = lock(paths)? else {
        return Ok(None);
    };
    let listener = listen(paths)?;
    Keeper::new(paths.clone(), lock, listener).map(Some)
}

fn silence() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

fn lock(paths: &KeeperPaths) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::open(paths.lock(), flags, Mode::from_raw_mode(0o600))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn listen(paths: &KeeperPaths) -> io::Result<OwnedFd> {
    let path = paths.socket();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
    rustix::net::listen(&socket, 1024)?;
    Ok(socket)
}
