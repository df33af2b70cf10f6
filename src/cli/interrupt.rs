//! Ctrl-C and SIGTERM: who handles them, and how the others end.

use tokio::signal::unix::{SignalKind, signal};

/// Commands that handle the signals themselves; every other one is dropped and ends with 130.
pub(super) const OWN_SIGNALS: &[&str] = &[
    "Attach", "Build", "Create", "Down", "Engine", "Exec", "Pull", "Restart", "Rm", "Run", "Scale",
    "Start", "Stop", "Up", "Watch",
];

/// Resolves at the first SIGINT or SIGTERM.
pub(crate) async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without handlers the signals keep their default action, which ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
