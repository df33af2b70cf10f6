//! Finds the built-in engine of a layout, or starts one: for clients.
//!
//! ```text
//! client: lock launch.lock -> connect? yes: done
//!                             no: spawn `hoist engine --detached`, read its stdout until it names its socket
//! engine: setsid -> lock -> bind -> re-adopt -> "unix://PATH\n" on stdout, stdout to /dev/null
//! ```
//!
//! No sleeping and no polling: the child's standard output is the readiness pipe, its end of file is its failure.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use thiserror::Error;

use super::layout::{Layout, LayoutError};
use super::rootless::{self, Obstacle};

/// Why there is no engine to talk to.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// This user cannot run one, and none runs already.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// The folders cannot be used.
    #[error("cannot prepare the built-in engine's folders")]
    Layout(#[from] LayoutError),
    /// The engine's program cannot be started.
    #[error("cannot start the built-in engine `{}`", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine ended before it was ready.
    #[error("the built-in engine did not start: {said}")]
    Died {
        /// The end of its log.
        said: String,
    },
}

/// The socket of a running engine, if one answers.
#[must_use]
pub fn find(layout: &Layout) -> Option<PathBuf> {
    connect(layout).map(|_| layout.engine_socket())
}

/// An engine of this user or of root. Where the run folder is in a folder that all may write to, somebody else may have
/// made it first, to be told what is meant for the engine.
fn connect(layout: &Layout) -> Option<UnixStream> {
    let stream = UnixStream::connect(layout.engine_socket()).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?.uid;
    (peer.is_root() || peer == rustix::process::geteuid()).then_some(stream)
}

/// The socket of the layout's engine; starts `program engine --detached` where none answers. Blocks until it is ready.
///
/// # Errors
/// When the engine does not come up: with what it wrote.
pub fn find_or_spawn(layout: &Layout, program: &Path) -> Result<PathBuf, LaunchError> {
    if let Some(socket) = find(layout) {
        return Ok(socket);
    }
    // Before the folders are made: nothing is left behind for a user who cannot go on.
    if !rustix::process::geteuid().is_root() {
        rootless::check()?;
    }
    layout.prepare()?;
    let _launching = layout.lock_launch()?;
    match find(layout) {
        Some(socket) => Ok(socket),
        None => spawn(layout, program),
    }
}

/// Says something to the engine of a layout that runs; `false` where none does.
///
/// # Errors
/// When the connection breaks.
pub fn tell(layout: &Layout, path: &str) -> io::Result<bool> {
    Ok(request(layout, "POST", path)?.is_some())
}

/// Asks the engine of a layout that runs for something that is no part of Docker's API; none where none does.
///
/// # Errors
/// When the connection breaks.
pub fn ask(layout: &Layout, path: &str) -> io::Result<Option<String>> {
    request(layout, "GET", path)
}

/// The body of the answer. HTTP/1.0: it ends with the connection, and is in no chunks.
fn request(layout: &Layout, method: &str, path: &str) -> io::Result<Option<String>> {
    let Some(mut stream) = connect(layout) else {
        return Ok(None);
    };
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    Ok(Some(body.unwrap_or_default().to_owned()))
}

fn spawn(layout: &Layout, program: &Path) -> Result<PathBuf, LaunchError> {
    let failed = |source| LaunchError::Spawn {
        program: program.to_owned(),
        source,
    };
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(layout.engine_log())
        .map_err(failed)?;
    let logged = log.metadata().map_or(0, |meta| meta.len());
    let mut child = Command::new(program)
        .args(["engine", "--detached"])
        .env("HOIST_ROOT", layout.root())
        .env("HOIST_RUN_DIR", layout.run())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    if says_ready(&mut child) {
        return Ok(layout.engine_socket());
    }
    let _ended = child.wait();
    Err(LaunchError::Died {
        said: end_of_log(&layout.engine_log(), logged),
    })
}

fn says_ready(child: &mut Child) -> bool {
    let Some(stdout) = child.stdout.take() else {
        return false;
    };
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line);
    read.is_ok() && line.starts_with("unix://")
}

fn end_of_log(path: &Path, from: u64) -> String {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|mut file| {
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        file.read_to_string(&mut text)
    });
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().replace('\n', "; "),
        _ => format!("it left no message in `{}`", path.display()),
    }
}
