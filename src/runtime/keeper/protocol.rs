//! Messages between the engine and the keeper.
//!
//! A frame is a length (four bytes, big endian) and that many bytes of JSON. A connection carries one [`Request`] and
//! one [`Reply`], except `Subscribe` (any number of replies) and `Attach` and `Exec`, which after their first reply
//! carry Docker's stream frames (type, three zeros, length, bytes) outwards and plain bytes of standard input inwards.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::runtime::container::failure::{Failure, FailureKind};
use crate::runtime::container::request::{ContainerRequest, ExecRequest, TerminalSize};

/// The longest frame of JSON that is accepted.
pub const MAX_FRAME: usize = 8 << 20;

/// Type of a stream frame that carries standard output (or a terminal's).
pub const FRAME_STDOUT: u8 = 1;
/// Type of a stream frame that carries standard error.
pub const FRAME_STDERR: u8 = 2;
/// Type of the last stream frame of an exec: an [`ExitNotice`] as JSON.
pub const FRAME_EXIT: u8 = 3;

/// Where a keeper lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperPaths {
    /// The run directory of the engine (mode 0700).
    pub run_dir: PathBuf,
    /// The program to start a keeper from; none is the running one.
    pub program: Option<PathBuf>,
}

impl KeeperPaths {
    /// Paths below a run directory.
    #[must_use]
    pub fn new(run_dir: &Path) -> Self {
        Self {
            run_dir: run_dir.to_owned(),
            program: None,
        }
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("keeper.sock")
    }

    /// The lock that the living keeper holds.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.run_dir.join("keeper.lock")
    }

    /// Folder with one folder for each running container.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.run_dir.join("containers")
    }
}

/// What the engine asks.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Start a container; answered when its program runs.
    Start(Box<StartRequest>),
    /// Run a process in a container; the connection becomes its streams.
    Exec(Box<ExecRequest>),
    /// Live streams of a container; waits for its start where it is not running yet.
    Attach {
        /// The container.
        id: String,
    },
    /// Send a signal to the first process of a container, or to an exec.
    Kill {
        /// The container or exec.
        id: String,
        /// Number of the signal.
        signal: i32,
    },
    /// Set the size of a terminal.
    Resize {
        /// The container or exec.
        id: String,
        /// The new size.
        size: TerminalSize,
    },
    /// Close the standard input of a container.
    CloseStdin {
        /// The container.
        id: String,
    },
    /// All exit notices from now on. With a revival, the connection stands for the engine: when it closes, the engine
    /// is started again.
    Subscribe {
        /// How the engine is started.
        revival: Option<Revival>,
    },
    /// The engine goes on purpose: it is not to be brought back.
    Dismiss,
    /// What is running.
    List,
    /// End, when nothing is running.
    Stop,
}

/// A container to start. A keeper from before descriptors were lent reads it too: it outlives an engine's upgrade.
#[derive(Debug, Serialize, Deserialize)]
pub struct StartRequest {
    /// The container.
    #[serde(flatten)]
    pub container: ContainerRequest,
    /// What the keeper holds for later engines while it runs.
    #[serde(default)]
    pub lent: Option<Lent>,
}

/// How an engine is started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revival {
    /// The program.
    pub program: PathBuf,
    /// Its environment, whole.
    pub environment: Vec<(String, String)>,
    /// Where messages of the start go.
    pub log: PathBuf,
}

/// What the keeper answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// A container or exec runs.
    Started(Started),
    /// It was done.
    Done,
    /// It was not done.
    Failed(Failure),
    /// What is running.
    Listed(Vec<Running>),
    /// Something ended.
    Exited(ExitNotice),
}

/// A process that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its pid in the keeper's pid namespace.
    pub pid: i32,
    /// Its start time in clock ticks since boot: with the pid, its identity.
    pub start_time: u64,
    /// When it started, RFC 3339 with nanoseconds.
    pub started_at: String,
    /// Limits that did not take, and the like.
    pub warnings: Vec<String>,
}

/// One running container, for re-adoption by an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The container.
    pub id: String,
    /// Pid, start time and so on.
    pub started: Started,
    /// What an earlier engine left with the keeper.
    #[serde(default)]
    pub lent: Option<Lent>,
}

/// Descriptors of one process that another may take copies of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    /// Whose they are.
    pub process: i32,
    /// Their numbers there.
    pub sockets: Vec<i32>,
}

/// Something ended. Also the content of the exit record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitNotice {
    /// The container or exec.
    pub id: String,
    /// The container of an exec.
    pub container: Option<String>,
    /// Pid it had.
    pub pid: i32,
    /// Exit code; 128 and the signal when it was killed; 255 when it cannot be known.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Whether the kernel killed something of it for want of memory.
    pub oom_killed: bool,
    /// Whether code and signal are really known (a keeper died in between otherwise).
    pub known: bool,
    /// When, RFC 3339 with nanoseconds.
    pub finished_at: String,
    /// Last lines that could not be written to the log.
    #[serde(default)]
    pub log_lines_lost: u64,
}
