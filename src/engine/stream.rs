//! Streams of an engine: logs, attached terminals, progress and events.

use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::EngineResult;

/// Items that come over time.
pub type Stream<T> = Pin<Box<dyn futures_util::Stream<Item = EngineResult<T>> + Send>>;

/// Bytes that come over time: archives.
pub type RawStream = Stream<Bytes>;

/// Log records that come over time.
pub type LogStream = Stream<LogLine>;

/// A piece of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Which stream it came from.
    pub channel: Channel,
    /// The bytes, with their line ends, and the engine's time stamp where asked for.
    pub bytes: Bytes,
}

/// Output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How to read a log.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Goes on with what is printed later.
    pub follow: bool,
    /// Number of last lines, `None` is all.
    pub tail: Option<u64>,
    /// From this time on (RFC 3339, seconds, or a Go duration).
    pub since: Option<String>,
    /// Up to this time.
    pub until: Option<String>,
    /// With time stamps.
    pub timestamps: bool,
}

/// A command or container with its streams attached.
pub struct ExecSession {
    /// What it prints.
    pub output: LogStream,
    /// What it reads.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl std::fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSession").finish_non_exhaustive()
    }
}

/// A two-way byte stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}
