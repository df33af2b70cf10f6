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

/// How often an engine that goes while it is asked is looked for anew.
const ATTEMPTS: u32 = 4;

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
    /// One runs, and cannot be told anything.
    #[error("cannot talk to the built-in engine")]
    Silent(#[source] io::Error),
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

/// Says something to the engine of a layout that runs; `false` where none does. One that is ending accepts and never
/// answers: it is not the one that is meant, and the next look finds its successor or none.
///
/// # Errors
/// When the connection breaks again and again.
pub fn tell(layout: &Layout, path: &str) -> io::Result<bool> {
    for _ in 1..ATTEMPTS {
        match request(layout, "POST", path) {
            Err(error) if is_gone(&error) => {}
            told => return Ok(told?.is_some()),
        }
    }
    Ok(request(layout, "POST", path)?.is_some())
}

/// As [`find_or_spawn`], with an engine that has been told to stay although nothing runs yet.
///
/// # Errors
/// When the engine does not come up: with what it wrote.
pub fn find_or_spawn_to_stay(layout: &Layout, program: &Path) -> Result<PathBuf, LaunchError> {
    let mut socket = find_or_spawn(layout, program)?;
    for _ in 1..ATTEMPTS {
        if tell(layout, "/hoist/linger").map_err(LaunchError::Silent)? {
            break;
        }
        socket = find_or_spawn(layout, program)?;
    }
    Ok(socket)
}

/// Asks the engine of a layout that runs for something that is no part of Docker's API; none where none does.
///
/// # Errors
/// When the connection breaks.
pub fn ask(layout: &Layout, path: &str) -> io::Result<Option<String>> {
    request(layout, "GET", path)
}

/// Whether the engine went while it was asked.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    )
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
    match body {
        Some(body) => Ok(Some(body.to_owned())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// What `tell` gives where an engine takes so many connections and answers none, and then one that answers, or none.
    fn told_after(deaf: usize, answers: bool) -> Result<io::Result<bool>, io::Error> {
        let folder = tempfile::tempdir()?;
        let layout = Layout::at(folder.path(), folder.path());
        let listener = UnixListener::bind(layout.engine_socket())?;
        thread::scope(|scope| {
            let engine = scope.spawn(move || -> io::Result<()> {
                for _ in 0..deaf {
                    drop(listener.accept()?);
                }
                if answers {
                    let (mut client, _) = listener.accept()?;
                    client.write_all(b"HTTP/1.0 204 No Content\r\n\r\n")?;
                    client.shutdown(std::net::Shutdown::Write)?;
                    client.read_to_end(&mut Vec::new())?;
                }
                Ok(())
            });
            let told = tell(&layout, "/hoist/linger");
            match engine.join() {
                Ok(served) => served.map(|()| told),
                Err(_) => Err(io::ErrorKind::Other.into()),
            }
        })
    }

    #[test]
    fn an_engine_that_ends_while_it_is_told_is_looked_for_anew() -> TestResult {
        assert!(told_after(1, true)??);
        assert!(told_after(ATTEMPTS as usize - 1, true)??);
        Ok(())
    }

    #[test]
    fn engines_that_all_end_are_an_error() -> TestResult {
        assert!(told_after(ATTEMPTS as usize, false)?.is_err());
        Ok(())
    }

    #[test]
    fn no_engine_is_told_nothing() -> TestResult {
        let folder = tempfile::tempdir()?;
        assert!(!tell(
            &Layout::at(folder.path(), folder.path()),
            "/hoist/linger"
        )?);
        Ok(())
    }
}
