//! One running process that the keeper is responsible for: a container's first, or an exec's.
//!
//! ```text
//! launched --Executing, Closed--> running --pidfd--> exited --streams drained--> gone
//!     \--Failed--> failed --pidfd--> gone
//! ```

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::log::{Log, Stream};
use super::protocol::Lent;
use super::record::RunRecord;
use super::spool::Spool;
use crate::runtime::container::cgroup::CgroupHandle;
use crate::runtime::container::channel::Receiver;
use crate::runtime::container::failure::Failure;
use crate::runtime::container::request::{ContainerRequest, Stdin};

/// A process with its streams.
#[derive(Debug)]
pub(super) struct Task {
    /// Id of the container or exec.
    pub id: String,
    /// The container of an exec.
    pub container: Option<String>,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// The program, where the process is an OCI runtime's monitor.
    pub program: Option<OwnedFd>,
    /// Pid, times, warnings.
    pub record: RunRecord,
    /// The child's messages, until its program runs.
    pub receiver: Option<Receiver>,
    /// Whether it said that only the exec is left.
    pub executing: bool,
    /// Why it gave up.
    pub failure: Option<Failure>,
    /// The connection that waits for its start.
    pub starter: Option<u64>,
    /// Output that is still open.
    pub outputs: Vec<Output>,
    /// Standard input.
    pub input: Option<Input>,
    /// Attached connections.
    pub clients: Vec<u64>,
    /// The log.
    pub log: Option<Log>,
    /// What the log does not have yet.
    pub spool: Option<Spool>,
    /// Its cgroup.
    pub group: CgroupHandle,
    /// Set when it has ended and its terminal may still have something to say.
    pub ended: Option<Ended>,
    /// What the engine has lent, for the one after it.
    pub held: Vec<OwnedFd>,
}

impl Task {
    /// What is held, as the next engine is told of it.
    pub(super) fn lent(&self) -> Option<Lent> {
        let process = i32::try_from(std::process::id()).ok()?;
        let sockets: Vec<i32> = self.held.iter().map(AsRawFd::as_raw_fd).collect();
        (!sockets.is_empty()).then_some(Lent { process, sockets })
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// Exit code and signal; none when nobody knows.
    pub status: Option<(i32, Option<i32>)>,
    /// When a terminal that stays open is given up.
    pub patience: Instant,
}

/// An output stream.
#[derive(Debug)]
pub(super) struct Output {
    /// Which one.
    pub stream: Stream,
    /// The read end.
    pub fd: OwnedFd,
    /// Its token in the loop.
    pub token: u64,
    /// Whether it is a terminal.
    pub terminal: bool,
}

/// A standard input.
#[derive(Debug)]
pub(super) struct Input {
    /// The write end.
    pub fd: OwnedFd,
    /// Its token in the loop.
    pub token: u64,
    /// Bytes on their way.
    pub waiting: VecDeque<u8>,
    /// Whether it is closed once they are written.
    pub closing: bool,
}

/// Beyond this many bytes on their way, clients are not read.
pub(super) const FULL: usize = 64 * 1024;

impl Input {
    /// Writes what the process takes; `false` when the stream is done with.
    pub(super) fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() {
            let (head, _) = self.waiting.as_slices();
            match rustix::io::write(&self.fd, head) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        !self.closing
    }
}

/// The two sides of the standard streams of a process that is about to start.
#[derive(Debug)]
pub(super) struct Streams {
    /// For the child: 0, 1, 2.
    pub child: [OwnedFd; 3],
    /// The keeper's end of standard input.
    pub input: Option<OwnedFd>,
    /// The keeper's ends of output.
    pub outputs: Vec<(Stream, OwnedFd)>,
}

fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Streams of a process with a terminal: the child makes it itself.
pub(super) fn terminal_streams() -> io::Result<Streams> {
    Ok(Streams {
        child: [null()?, null()?, null()?],
        input: None,
        outputs: Vec::new(),
    })
}

/// Streams of a container without a terminal: fifos in its folder, which outlive this keeper.
pub(super) fn container_streams(request: &ContainerRequest) -> io::Result<Streams> {
    let (out_keeper, out_child) = output_fifo(&request.run_dir.join("stdout"))?;
    let (error_keeper, error_child) = output_fifo(&request.run_dir.join("stderr"))?;
    let (input, input_child) = match request.stdio.stdin {
        Stdin::Closed => (None, null()?),
        Stdin::Open | Stdin::Once => {
            let (keeper, child) = input_fifo(&request.run_dir.join("stdin"))?;
            (Some(keeper), child)
        }
    };
    Ok(Streams {
        child: [input_child, out_child, error_child],
        input,
        outputs: vec![(Stream::Stdout, out_keeper), (Stream::Stderr, error_keeper)],
    })
}

fn make_fifo(path: &Path) -> io::Result<()> {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    Ok(())
}

/// Opens the keeper's end of an output fifo.
pub(super) fn open_output(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The child's end is open for both directions: it can write even while no keeper lives.
fn output_fifo(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    make_fifo(path)?;
    let keeper = open_output(path)?;
    let child = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok((keeper, child))
}

/// Opens the keeper's end of an input fifo.
pub(super) fn open_input(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn input_fifo(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    make_fifo(path)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let child = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::io::ioctl_fionbio(&child, false)?;
    Ok((open_input(path)?, child))
}

/// Streams of an exec without a terminal: pipes, for an exec does not outlive the keeper's connection to it.
pub(super) fn exec_streams(stdin: Stdin) -> io::Result<Streams> {
    let output = || -> io::Result<(OwnedFd, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        Ok((read, write))
    };
    let (out_keeper, out_child) = output()?;
    let (error_keeper, error_child) = output()?;
    let (input, input_child) = match stdin {
        Stdin::Closed => (None, null()?),
        Stdin::Open | Stdin::Once => {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&write, true)?;
            (Some(write), read)
        }
    };
    Ok(Streams {
        child: [input_child, out_child, error_child],
        input,
        outputs: vec![(Stream::Stdout, out_keeper), (Stream::Stderr, error_keeper)],
    })
}

/// Makes the folder of a container in the run directory, without what a dead predecessor left there.
pub(super) fn make_run_dir(run_dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(run_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(run_dir.join("rootfs"))
}
