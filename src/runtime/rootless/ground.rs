//! The ground: the network namespace in which bridges, links and rules of an ordinary user's engine stand, and the way
//! from there to the outside.
//!
//! ```text
//! container ──veth── bridge ── [ground] ──tap── pasta ── the host's network, as the user
//!                       ^
//!                       └── the engine's forwarder <── published ports, on the host
//! ```

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::layout::Layout;
use crate::runtime::network;
use crate::runtime::sys::netns;

/// How containers reach the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlet {
    /// The host's own network: not an ordinary user's engine.
    Host,
    /// Through `pasta`.
    Pasta,
    /// Through the engine's relay, TCP only; and why not through `pasta`.
    Relay(String),
}

fn pin(layout: &Layout) -> PathBuf {
    layout.run().join("ground")
}

fn pid_file(layout: &Layout) -> PathBuf {
    layout.run().join("pasta.pid")
}

/// Makes the ground, or finds the one that running containers stand on, and has a `pasta` carry it. To be called before
/// anything of networks.
///
/// # Errors
/// When the kernel makes no such namespace.
pub fn stand_on_ground(layout: &Layout) -> RuntimeResult<Outlet> {
    let path = pin(layout);
    let failed = |source: io::Error| {
        RuntimeError::internal("cannot make the network namespace of the bridges", source)
    };
    let stood = network::is_pinned(&path);
    let ground = network::pin_ground(&path).map_err(RuntimeError::from)?;
    netns::set_ground(ground).map_err(failed)?;
    if stood && living(&pid_file(layout)).is_some() {
        return Ok(Outlet::Pasta);
    }
    end_pasta(layout);
    Ok(start_pasta(&path, &pid_file(layout)))
}

/// Ends `pasta` and lets the ground go, when nothing runs any more.
pub fn leave_ground(layout: &Layout) {
    end_pasta(layout);
    if let Err(error) = network::unpin_ground(&pin(layout)) {
        tracing::warn!(%error, "cannot remove the network namespace of the bridges");
    }
}

/// Never maps the gateway's address to the host's loopback: services of the host are not for containers.
fn start_pasta(ground: &Path, pid: &Path) -> Outlet {
    let log = pid.with_extension("log");
    // A file and no pipe: the process that stays keeps it open.
    let Ok(heard) = fs::File::create(&log) else {
        return Outlet::Relay(format!("cannot make `{}`", log.display()));
    };
    let status = Command::new("pasta")
        .args(["--config-net", "--quiet", "--no-map-gw", "--netns-only"])
        .args(["--tcp-ports", "none", "--udp-ports", "none"])
        .args(["--tcp-ns", "none", "--udp-ns", "none"])
        .arg("--pid")
        .arg(pid)
        .arg("--netns")
        .arg(ground)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(heard)
        .status();
    let said = fs::read_to_string(&log).unwrap_or_default();
    fs::remove_file(&log).unwrap_or_default();
    match status {
        Ok(status) if status.success() => Outlet::Pasta,
        Ok(_) => {
            // It complains of the system's log first.
            let last = said.trim().lines().next_back().unwrap_or("it says nothing");
            Outlet::Relay(format!("`pasta` did not start: {last}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outlet::Relay(
            "`pasta` is not installed (Debian, Ubuntu and Fedora: package `passt`)".to_owned(),
        ),
        Err(error) => Outlet::Relay(format!("cannot run `pasta`: {error}")),
    }
}

fn end_pasta(layout: &Layout) {
    let file = pid_file(layout);
    if let Some((process, _)) = living(&file) {
        rustix::process::pidfd_send_signal(&process, Signal::TERM).unwrap_or_default();
    }
    fs::remove_file(file).unwrap_or_default();
}

/// The process of a pid file, when it is a `pasta`.
fn living(file: &Path) -> Option<(OwnedFd, Pid)> {
    let pid = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let pid = Pid::from_raw(pid)?;
    let held = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
    // Looked at while it is held: the number is not another process's.
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok()?;
    (name.starts_with("pasta") || name.starts_with("passt")).then_some((held, pid))
}
