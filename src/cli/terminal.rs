//! The user's terminal joined to a command or container: raw mode, standard input, size.
//!
//! ```text
//! standard input --thread--> channel --> session.input      session.output --> standard output, standard error
//! SIGWINCH --> resize                                        its end ends the session
//! ```

use std::io::Read;
use std::sync::Arc;

use futures_util::StreamExt;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::CommandError;
use crate::ui::Ui;
use hoist::engine::stream::Channel;
use hoist::engine::{Engine, EngineResult, ExecSession};

/// What the terminal is joined to.
#[derive(Debug, Clone)]
pub(crate) enum Joined {
    /// A command, by the id of its exec.
    Exec(String),
    /// A container, by its id.
    Container(String),
}

/// Whether standard input goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// It does.
    Forward,
    /// It stays here.
    Keep,
}

/// Whether there is a terminal on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tty {
    /// There is.
    Yes,
    /// There is not.
    No,
}

/// The terminal in raw mode, as it was again when dropped.
#[derive(Debug)]
struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Changes standard input to raw mode, if it is a terminal.
    fn enter() -> Option<Self> {
        let before = tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing more can be done for a terminal that is gone.
        let _restored = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The terminal without line editing and echo, as it was again when dropped; Ctrl-C still is a signal.
#[derive(Debug)]
pub(crate) struct KeyMode {
    _restore: RawMode,
}

impl KeyMode {
    /// Changes standard input, if it is a terminal and ours: who runs in the background would be stopped for asking.
    pub(crate) fn enter() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        if tcgetpgrp(stdin).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let before = tcgetattr(stdin).ok()?;
        let mut keys = before.clone();
        keys.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Now, &keys).ok()?;
        Some(Self {
            _restore: RawMode { before },
        })
    }
}

/// Joins the user's terminal to a session until the other side ends it.
pub(crate) async fn join(
    ui: &Ui,
    engine: Arc<dyn Engine>,
    session: ExecSession,
    joined: &Joined,
    input: Input,
    tty: Tty,
) -> Result<(), CommandError> {
    let ExecSession {
        mut output,
        input: mut writer,
    } = session;
    let raw = match (tty, input) {
        (Tty::Yes, Input::Forward) => RawMode::enter(),
        _ => None,
    };
    let resizing =
        (tty == Tty::Yes).then(|| tokio::spawn(resize(ui.clone(), engine, joined.clone())));
    let feeding = (input == Input::Forward).then(|| {
        tokio::spawn(async move {
            let mut pieces = standard_input();
            while let Some(piece) = pieces.recv().await {
                if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() {
                    return;
                }
            }
            // The other side sees the end of its input; that it may be gone already is no failure.
            drop(writer.shutdown().await);
            // The write half must live on, or the connection would be closed both ways.
            std::future::pending::<()>().await;
        })
    });
    let result = async {
        while let Some(piece) = output.next().await {
            let piece = piece?;
            match piece.channel {
                Channel::Stdout => ui.print_bytes(&piece.bytes)?,
                Channel::Stderr => ui.print_error_bytes(&piece.bytes)?,
            }
        }
        Ok(())
    }
    .await;
    for task in [resizing, feeding].into_iter().flatten() {
        task.abort();
    }
    drop(raw);
    result
}

/// Keeps the size of the other terminal equal to ours.
async fn resize(ui: Ui, engine: Arc<dyn Engine>, joined: Joined) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else {
        return;
    };
    loop {
        if let Some((columns, rows)) = ui.terminal_size() {
            // A size that cannot be set is no reason to end the session.
            drop(set_size(engine.as_ref(), &joined, columns, rows).await);
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

async fn set_size(
    engine: &dyn Engine,
    joined: &Joined,
    columns: u16,
    rows: u16,
) -> EngineResult<()> {
    match joined {
        Joined::Exec(id) => engine.resize_exec(id, columns, rows).await,
        Joined::Container(id) => engine.resize_container(id, columns, rows).await,
    }
}

/// Standard input in pieces. A thread reads it, because a blocking read cannot be taken back; it ends with the process.
pub(crate) fn standard_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        let mut input = std::io::stdin().lock();
        while let Ok(length @ 1..) = input.read(&mut buffer) {
            if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
