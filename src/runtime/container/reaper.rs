//! The tiny init of `init: true`: process 1 that reaps orphans and forwards signals to its one child.

use crate::runtime::sys::process;

use rustix::process::{Pid, WaitOptions, WaitStatus};

/// Runs as process 1 until `child` ends, and ends with its code. All signals must be blocked.
pub(super) fn run(child: i32) -> ! {
    process::close_from(3).unwrap_or_default();
    loop {
        match process::wait_for_signal() {
            Ok(libc::SIGCHLD) => {
                if let Some(code) = reap(child) {
                    process::exit_now(code);
                }
            }
            Ok(libc::SIGTTIN | libc::SIGTTOU) | Err(_) => {}
            Ok(signal) => process::send_signal(child, signal).unwrap_or_default(),
        }
    }
}

/// Reaps all that have ended; the exit code when the child was one of them.
fn reap(child: i32) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == Pid::from_raw(child)? {
            code = Some(exit_code(status));
        }
    }
    code
}

fn exit_code(status: WaitStatus) -> i32 {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or(255)
}
