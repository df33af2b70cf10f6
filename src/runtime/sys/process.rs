//! Making processes and changing what they are.

#![expect(
    unsafe_code,
    reason = "clone3, execve, seccomp and keyctl have no safe wrapper"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// Which of the two processes came back from [`fork_with`].
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The caller, with the new process.
    Parent {
        /// Pid of the child in the caller's pid namespace.
        pid: i32,
        /// Descriptor of the child, closed on exec.
        pidfd: OwnedFd,
    },
}

/// libc's constant of this name has a type too small for its value.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Forks with `flags` (`CLONE_NEW…`, or `CLONE_PARENT` for a sibling) and, where given, into a cgroup of version 2.
///
/// The child has a copy of the caller's memory. It may run any code, because the caller has only one thread: this is
/// checked, for a fork in a process with threads would leave locks taken for ever.
///
/// # Errors
/// When the kernel refuses, or the caller has more than one thread.
pub fn fork_with(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    if !single_threaded() {
        return Err(io::Error::other(
            "a process with threads cannot fork containers",
        ));
    }
    let mut pidfd: libc::c_int = -1;
    let into = if cgroup.is_some() {
        CLONE_INTO_CGROUP
    } else {
        0
    };
    // SAFETY: all-zero bytes are a valid `clone_args`, a plain struct of integers.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags | into | libc::CLONE_PIDFD as u64;
    arguments.pidfd = ptr::from_mut(&mut pidfd) as u64;
    // A sibling tells its end as the caller would.
    arguments.exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 {
        libc::SIGCHLD as u64
    } else {
        0
    };
    arguments.cgroup = cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs()));
    // SAFETY: `arguments` lives across the call; without CLONE_VM and a stack the child continues here on its own
    // copy of memory, and the caller has no other thread (checked above) that could have held a lock.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            ptr::from_ref(&arguments),
            size_of::<libc::clone_args>(),
        )
    })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: the kernel has stored a new descriptor in `pidfd`, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent {
        pid: i32::try_from(pid).map_err(io::Error::other)?,
        pidfd,
    })
}

/// Forks a process of one thread that a seccomp filter may have forbidden to use `clone3`; 0 is the child.
///
/// # Errors
/// When the kernel refuses, or the caller has more than one thread.
pub fn fork_plain() -> io::Result<i32> {
    if !single_threaded() {
        return Err(io::Error::other(
            "a process with threads cannot fork an init",
        ));
    }
    // SAFETY: the caller has one thread (checked above), so no lock can be held by another.
    check(unsafe { libc::fork() }.into())
        .and_then(|pid| i32::try_from(pid).map_err(io::Error::other))
}

/// The number of links of the task folder: two of its own and one for each thread.
fn single_threaded() -> bool {
    rustix::fs::stat("/proc/self/task").is_ok_and(|stat| stat.st_nlink <= 3)
}

/// Replaces the program. Returns only when it could not.
#[must_use]
pub fn execute(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let env = pointers(env);
    // SAFETY: both lists end with a null pointer and point to C strings that live across the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces the program by the file behind a descriptor. Returns only when it could not.
#[must_use]
pub fn execute_fd(file: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let env = pointers(env);
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: the path is an empty C string, both lists end with a null pointer and live across the call.
    unsafe {
        libc::execveat(
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr().cast(),
            env.as_ptr().cast(),
            flags,
        )
    };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Ends the process at once, without running anything that the fork inherited.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// Moves the calling process into new namespaces (`CLONE_NEW…`).
///
/// # Errors
/// When the kernel refuses.
pub fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointer; descriptors are not unshared, so no other owner of one is concerned.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Joins namespaces of the process behind a pidfd, or the one behind a namespace file.
///
/// # Errors
/// When the kernel refuses.
pub fn join_namespaces(fd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointer; `fd` is open for the call.
    check(unsafe { libc::setns(fd.as_raw_fd(), flags) }.into()).map(drop)
}

/// Loads a seccomp filter, eight bytes an instruction.
///
/// # Errors
/// When the kernel refuses, or the program is not a whole number of instructions.
pub fn load_seccomp(program: &[u8], flags: u64) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .filter_map(|bytes| bytes.try_into().ok())
        .map(|[a, b, jt, jf, e, f, g, h]: [u8; 8]| libc::sock_filter {
            code: u16::from_le_bytes([a, b]),
            jt,
            jf,
            k: u32::from_le_bytes([e, f, g, h]),
        })
        .collect();
    let length = u16::try_from(instructions.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog {
        len: length,
        filter: instructions.as_mut_ptr(),
    };
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `filter` and the instructions it points to live across the call; the kernel checks the program.
    check(unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, ptr::from_ref(&filter)) })
        .map(drop)
}

/// Gives the process a session keyring of its own.
///
/// # Errors
/// When the kernel refuses.
pub fn join_session_keyring(name: &CStr) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: `name` is a C string that lives across the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
        .map(drop)
}

/// Marks every descriptor from `first` on to be closed by the next exec.
///
/// # Errors
/// When the kernel refuses.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` on; for a process that will never touch one of its owners again.
///
/// # Errors
/// When the kernel refuses.
pub fn close_from(first: u32) -> io::Result<()> {
    close_range(first, 0)
}

/// Closes every descriptor from 3 on but some; for a fork that will never touch an owner of the others again.
///
/// # Errors
/// When the kernel refuses.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept
        .iter()
        .map(|fd| fd.as_raw_fd().unsigned_abs())
        .collect();
    kept.sort_unstable();
    let mut first = 3;
    for number in kept.into_iter().filter(|number| *number >= 3) {
        if number > first {
            close_between(first, number - 1, 0)?;
        }
        first = first.max(number + 1);
    }
    close_range(first, 0)
}

fn close_range(first: u32, flags: u32) -> io::Result<()> {
    close_between(first, u32::MAX, flags)
}

fn close_between(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: takes no pointer. Closing is asked for only where no owner of such a descriptor runs afterwards.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Sets all signals to their default action and unblocks them.
pub fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: takes no pointer; a number that cannot be changed is refused and stays as it is.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    set_signal_mask(SignalMask::Empty);
}

/// Ignores the signals that would end a keeper by accident.
pub fn ignore_signals(signals: &[i32]) {
    for &signal in signals {
        // SAFETY: takes no pointer; SIG_IGN runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Which signals are blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalMask {
    /// None.
    Empty,
    /// All that can be.
    Full,
}

/// Blocks or unblocks all signals.
pub fn set_signal_mask(mask: SignalMask) {
    let set = signal_set(mask);
    // SAFETY: `set` lives across the call; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, ptr::from_ref(&set), ptr::null_mut()) };
}

fn signal_set(mask: SignalMask) -> libc::sigset_t {
    // SAFETY: all-zero bytes are a valid `sigset_t`, an array of integers.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    match mask {
        // SAFETY: `set` is a valid signal set.
        SignalMask::Empty => unsafe { libc::sigemptyset(ptr::from_mut(&mut set)) },
        // SAFETY: `set` is a valid signal set.
        SignalMask::Full => unsafe { libc::sigfillset(ptr::from_mut(&mut set)) },
    };
    set
}

/// Waits for any signal (all must be blocked) and returns its number.
///
/// # Errors
/// When the wait was interrupted.
pub fn wait_for_signal() -> io::Result<i32> {
    let set = signal_set(SignalMask::Full);
    // SAFETY: `set` lives across the call; no details are asked for.
    let signal = check(unsafe { libc::sigwaitinfo(ptr::from_ref(&set), ptr::null_mut()) }.into())?;
    i32::try_from(signal).map_err(io::Error::other)
}

/// Sends a signal; 0 and negative pids address groups as kill(2) has it.
///
/// # Errors
/// When the kernel refuses.
pub fn send_signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Sends a signal to the very process behind a pidfd.
///
/// # Errors
/// When it has gone.
pub fn send_signal_fd(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: `pidfd` is open for the call; no details are passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            none,
            0,
        )
    })
    .map(drop)
}

/// What the kernel still tells about a process that somebody else reaped: its wait status.
///
/// # Errors
/// When it still runs, or the kernel is older than 6.15.
pub fn exit_status_of(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    const PIDFD_INFO_EXIT: u32 = 1 << 3;
    const EXIT_CODE: usize = 15;
    // PIDFD_GET_INFO = _IOWR(0xFF, 11, struct pidfd_info) of 64 bytes; `mask` first, `exit_code` at offset 60.
    const PIDFD_GET_INFO: libc::c_ulong = (3 << 30) | (0x40 << 16) | (0xFF << 8) | 0x0B;
    let mut answer = [0_u32; 16];
    answer[0] = PIDFD_INFO_EXIT;
    // SAFETY: the buffer has the 64 bytes that the request's number declares, and lives across the call.
    check(unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, answer.as_mut_ptr()) }.into())?;
    if answer[0] & PIDFD_INFO_EXIT == 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(answer[EXIT_CODE].cast_signed())
}

/// A child that has ended and is not reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedChild {
    /// Its pid.
    pub pid: i32,
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// Waits until any child has ended, and leaves it to be reaped.
///
/// # Errors
/// When there is no child.
pub fn wait_for_any_child() -> io::Result<EndedChild> {
    // SAFETY: all-zero bytes are a valid `siginfo_t`, a struct of integers and pointers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT;
    loop {
        // SAFETY: `info` lives across the call.
        let waited = check(
            unsafe { libc::waitid(libc::P_ALL, 0, ptr::from_mut(&mut info), options) }.into(),
        );
        match waited {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    // SAFETY: a successful wait for a child has filled in its pid.
    let pid = unsafe { info.si_pid() };
    // SAFETY: and its status.
    let status = unsafe { info.si_status() };
    let exited = info.si_code == libc::CLD_EXITED;
    Ok(EndedChild {
        pid,
        code: exited.then_some(status),
        signal: (!exited).then_some(status),
    })
}

/// Names the process, as `ps` shows its threads.
pub fn set_name(name: &CStr) {
    // SAFETY: `name` is a C string that lives across the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Takes the controlling terminal of the session from whoever has it.
///
/// # Errors
/// When the kernel refuses.
pub fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes a number, no pointer; `terminal` is open for the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}
