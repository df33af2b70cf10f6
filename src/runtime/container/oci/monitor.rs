//! The parent of an OCI runtime and of what it starts: mounts, writes the configuration, calls the runtime, hands the
//! process over, and waits for its end. A fork of the keeper that never comes back.
//!
//! ```text
//! alone -> mounted -> created -> (host's mounts again) -> started -> waits -> deleted
//! ```

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use serde_json::Value;

use super::Told;
use super::program::{Console, Program};
use super::specification::{self, Subject};
use crate::runtime::container::cgroup::{CgroupHandle, CgroupHost, CgroupVersion};
use crate::runtime::container::channel::Sender;
use crate::runtime::container::failure::{Failure, FailureKind};
use crate::runtime::container::membership::Membership;
use crate::runtime::container::operation::{Performer, resize};
use crate::runtime::container::request::{ContainerRequest, ExecRequest, OciRuntime, Process};
use crate::runtime::container::user::{self, Identity};
use crate::runtime::container::{rootfs, setup};
use crate::runtime::sys::process;

/// The file beside the keeper's record that says that the kernel killed something for want of memory: the runtime takes
/// the cgroup away, which knew it.
pub(crate) const OOM_MARK: &str = "oom";

/// Descriptors that the monitor was given.
type Given = (Sender, [OwnedFd; 3]);

/// Runs a container; the exit code.
pub(super) fn start(
    request: &ContainerRequest,
    runtime: &OciRuntime,
    (host, group): (&CgroupHost, &CgroupHandle),
    told: Told,
    (sender, stdio): Given,
) -> i32 {
    let stdio = match alone(&sender, stdio) {
        Ok(stdio) => stdio,
        Err(failure) => return give_up(&sender, &failure),
    };
    let program = Program::new(runtime, &request.id, &request.run_dir, "oci");
    match bring_up(request, &program, (host, told), &sender, stdio) {
        Ok(pid) => {
            // From here on the keeper counts it as running.
            drop(sender);
            let code = outlive(pid);
            if group.oom_kills() > 0 {
                fs::write(request.run_dir.join(OOM_MARK), "").unwrap_or_default();
            }
            delete(&program);
            code
        }
        Err(failure) => {
            delete(&program);
            give_up(&sender, &failure)
        }
    }
}

/// Runs a further process in a container; the exit code.
pub(super) fn exec(
    request: &ExecRequest,
    runtime: &OciRuntime,
    run_dir: &Path,
    container: i32,
    (sender, stdio): Given,
) -> i32 {
    let stdio = match alone(&sender, stdio) {
        Ok(stdio) => stdio,
        Err(failure) => return give_up(&sender, &failure),
    };
    match run_exec(request, runtime, run_dir, container, (&sender, stdio)) {
        Ok(pid) => {
            drop(sender);
            outlive(pid)
        }
        Err(failure) => give_up(&sender, &failure),
    }
}

/// Nothing of the keeper's stays: its lock and its clients' connections would outlive it here.
fn alone(sender: &Sender, stdio: [OwnedFd; 3]) -> Result<[OwnedFd; 3], Failure> {
    process::set_name(c"hoist-monitor");
    process::default_signals();
    let failed = |error: io::Error| Failure::step("cannot become a monitor", error);
    let [input, output, error] = &stdio;
    let kept = [sender.as_fd(), input.as_fd(), output.as_fd(), error.as_fd()];
    process::close_all_but(&kept).map_err(failed)?;
    let own = Some(rustix::process::getpid());
    rustix::process::set_child_subreaper(own).map_err(|error| failed(error.into()))?;
    Ok(stdio)
}

fn give_up(sender: &Sender, failure: &Failure) -> i32 {
    if sender.failed(failure).is_ok() {
        failure.kind.exit_code()
    } else {
        255
    }
}

fn delete(program: &Program<'_>) {
    // What it cannot remove goes with the run folder and the cgroup.
    drop(program.call("delete", &["--force"], None));
}

/// Creates and starts the container; its first process.
fn bring_up(
    request: &ContainerRequest,
    program: &Program<'_>,
    (cgroups, told): (&CgroupHost, Told),
    sender: &Sender,
    stdio: [OwnedFd; 3],
) -> Result<i32, Failure> {
    let host = rustix::fs::open(
        "/proc/self/ns/mnt",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| Failure::step("cannot open the host's mounts", error))?;
    let (steps, mounts) = setup::runtime_operations(request);
    Performer::new(request, &stdio, sender, Membership::Own(Vec::new())).perform_some(&steps)?;
    hide_second_hierarchy(cgroups);
    let bundle = request.run_dir.join("bundle");
    let preparing = |error: io::Error| Failure::step("cannot prepare the bundle", error);
    fs::create_dir_all(&bundle).map_err(preparing)?;
    std::env::set_current_dir(&bundle).map_err(preparing)?;
    let root = open_root(&request.run_dir.join("rootfs"))?;
    let identity = identify(&request.process, &root)?;
    rootfs::make_directory(root.as_fd(), &request.process.cwd).map_err(preparing)?;
    let subject = Subject {
        request,
        identity: &identity,
        mounts: &mounts,
        told,
    };
    write_json(
        &bundle.join("config.json"),
        &specification::container(&subject),
    )?;
    let made = make(
        program,
        ("create", "init", &["--bundle", "."]),
        &request.process,
        (sender, stdio),
    );
    // The monitor keeps no mount of the host busy, and no root: the container has its own.
    let back = process::join_namespaces(host.as_fd(), libc::CLONE_NEWNS);
    let pid = made?;
    back.map_err(|error| Failure::step("cannot return to the host's mounts", error))?;
    program.call("start", &[], None)?;
    executing(sender)?;
    Ok(pid)
}

/// Where both versions of control groups are mounted, limits are those of version 1, and crun refuses to start beside
/// controllers of version 2: it does not see them here.
fn hide_second_hierarchy(cgroups: &CgroupHost) {
    if let (CgroupVersion::V1, Some(mount)) = (cgroups.version(), &cgroups.v2) {
        rustix::mount::unmount(mount, UnmountFlags::DETACH).unwrap_or_default();
    }
}

fn run_exec(
    request: &ExecRequest,
    runtime: &OciRuntime,
    run_dir: &Path,
    container: i32,
    (sender, stdio): (&Sender, [OwnedFd; 3]),
) -> Result<i32, Failure> {
    let preparing = |error: io::Error| Failure::step("cannot prepare the exec", error);
    // Another session than the keeper's.
    rustix::process::setsid().map_err(|error| preparing(error.into()))?;
    std::env::set_current_dir(run_dir.join("bundle")).map_err(preparing)?;
    let root = open_root(Path::new(&format!("/proc/{container}/root")))?;
    let identity = identify(&request.process, &root)?;
    look_for_program(&request.process, &root)?;
    let name: String = request.id.chars().take(40).collect();
    let file = format!("{name}.json");
    write_json(
        Path::new(&file),
        &specification::process(&request.process, &identity),
    )?;
    let program = Program::new(runtime, &request.container, run_dir, &name);
    let options = ["--process", file.as_str(), "--detach"];
    let made = make(
        &program,
        ("exec", &name, &options),
        &request.process,
        (sender, stdio),
    );
    fs::remove_file(&file).unwrap_or_default();
    fs::remove_file(run_dir.join(format!("{name}.log"))).unwrap_or_default();
    let pid = made?;
    executing(sender)?;
    Ok(pid)
}

/// Calls the runtime for a new process, and hands it to the keeper, with its terminal.
fn make(
    program: &Program<'_>,
    (verb, name, options): (&str, &str, &[&str]),
    wanted: &Process,
    (sender, stdio): (&Sender, [OwnedFd; 3]),
) -> Result<i32, Failure> {
    let talking = |error: io::Error| Failure::step("cannot talk to the keeper", error);
    let pid_file = format!("{name}.pid");
    let console = wanted
        .terminal
        .map(|_| Console::new(name))
        .transpose()
        .map_err(|error| Failure::step("cannot wait for the terminal", error))?;
    let mut options = options.to_vec();
    options.extend(["--pid-file", &pid_file]);
    if let Some(console) = &console {
        options.extend(["--console-socket", console.name()]);
    }
    program.call(verb, &options, Some(stdio))?;
    let pid = read_pid(&pid_file)?;
    fs::remove_file(&pid_file).unwrap_or_default();
    let gone = |error| Failure::step("cannot find the container's process", error);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|error| gone(io::Error::from(error)))?;
    if let (Some(console), Some(size)) = (console, wanted.terminal) {
        let master = console
            .master()
            .map_err(|error| Failure::step("cannot take the terminal over", error))?;
        resize(master.as_fd(), size).map_err(talking)?;
        sender.terminal(master.as_fd()).map_err(talking)?;
    }
    let pid = pid.as_raw_nonzero().get();
    sender.program(pid, pidfd.as_fd()).map_err(talking)?;
    Ok(pid)
}

fn executing(sender: &Sender) -> Result<(), Failure> {
    let sent = sender.executing();
    sent.map_err(|error| Failure::step("cannot talk to the keeper", error))
}

fn read_pid(file: &str) -> Result<Pid, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::step("the runtime left no pid", error))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Failure::step("the runtime left no pid", format!("`{text}`")))
}

fn open_root(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|error| Failure::step("cannot open the root", error))
}

fn identify(wanted: &Process, root: &OwnedFd) -> Result<Identity, Failure> {
    let passwd = rootfs::read_small(root.as_fd(), "/etc/passwd");
    let group = rootfs::read_small(root.as_fd(), "/etc/group");
    user::look_up(&wanted.user, &wanted.group_add, &passwd, &group)
        .map_err(|error| Failure::new(FailureKind::Refused, error.to_string()))
}

/// A runtime may call a command started whose program is not there (crun does).
fn look_for_program(wanted: &Process, root: &OwnedFd) -> Result<(), Failure> {
    let name = wanted.argv.first().map(String::as_str).unwrap_or_default();
    if name.contains('/') {
        let path = Path::new(&wanted.cwd).join(name);
        return match mode_of(root, &path) {
            Some(mode) if mode & 0o111 != 0 => Ok(()),
            Some(_) => {
                let text = format!("exec: \"{name}\": permission denied");
                Err(Failure::new(FailureKind::NotExecutable, text))
            }
            None => {
                let text = format!("exec: \"{name}\": stat {name}: no such file or directory");
                Err(Failure::new(FailureKind::NotFound, text))
            }
        };
    }
    let path = wanted
        .env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="));
    let mut folders = path.unwrap_or_default().split(':');
    let found = folders.any(|folder| {
        let file = Path::new(&wanted.cwd).join(folder).join(name);
        mode_of(root, &file).is_some_and(|mode| mode & 0o111 != 0)
    });
    if found && !name.is_empty() {
        return Ok(());
    }
    let text = format!("exec: \"{name}\": executable file not found in $PATH");
    Err(Failure::new(FailureKind::NotFound, text))
}

/// The mode of a file, unless it is not there; a folder is no program.
fn mode_of(root: &OwnedFd, path: &Path) -> Option<u32> {
    let file = rootfs::open(root.as_fd(), path, OFlags::PATH).ok()?;
    let mode = rustix::fs::fstat(&file).ok()?.st_mode;
    let folder = FileType::from_raw_mode(mode) == FileType::Directory;
    Some(if folder { 0 } else { mode })
}

fn write_json(path: &Path, value: &Value) -> Result<(), Failure> {
    fs::write(path, value.to_string())
        .map_err(|error| Failure::step(format!("cannot write `{}`", path.display()), error))
}

/// Waits for a process and reaps whatever ends before it; its exit code.
fn outlive(pid: i32) -> i32 {
    loop {
        let Ok(ended) = process::wait_for_any_child() else {
            // Somebody else's child: the runtime did not leave it to us.
            return 255;
        };
        if let Some(child) = Pid::from_raw(ended.pid) {
            let _reaped = rustix::process::waitid(WaitId::Pid(child), WaitIdOptions::EXITED);
        }
        if ended.pid == pid {
            let signal = ended.signal.map(|signal| 128 + signal);
            return ended.code.or(signal).unwrap_or(255);
        }
    }
}
