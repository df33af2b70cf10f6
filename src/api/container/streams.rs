//! Raw connections: the upgrade, Docker's frames, detach keys, and the log as an answer.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::api::call::Call;
use crate::api::reply::{self, Reply, RouteResult, full};
use crate::api::system::instant;
use crate::api::version::ApiVersion;
use crate::runtime::error::{ErrorKind, RuntimeError, RuntimeResult};
use crate::runtime::keeper::OutputItem;
use crate::runtime::supervise::Container;
use crate::runtime::supervise::log::{self, LogQuery};

const RAW: &str = "application/vnd.docker.raw-stream";
const FRAMED: &str = "application/vnd.docker.multiplexed-stream";

/// How output is sent, and which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams {
    /// Whether the streams come apart in frames, or as one (a terminal's).
    pub(crate) framed: bool,
    /// Standard output is wanted.
    pub(crate) stdout: bool,
    /// Standard error is wanted.
    pub(crate) stderr: bool,
}

impl Streams {
    /// The type of the body that carries them.
    pub(crate) fn content_type(self, version: ApiVersion) -> &'static str {
        if self.framed && version >= ApiVersion::v1(42) {
            FRAMED
        } else {
            RAW
        }
    }

    /// A piece of output as it goes to the client; `None` when it is not wanted.
    pub(crate) fn frame(self, item: &OutputItem) -> Option<Bytes> {
        let (kind, bytes, wanted) = match item {
            OutputItem::Stdout(bytes) => (1, bytes, self.stdout),
            OutputItem::Stderr(bytes) => (2, bytes, self.stderr),
            OutputItem::Exit(_) => return None,
        };
        if !wanted {
            return None;
        }
        if !self.framed {
            return Some(bytes.clone());
        }
        let mut frame = BytesMut::with_capacity(bytes.len() + 8);
        frame.put_slice(&[kind, 0, 0, 0]);
        frame.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        frame.put_slice(bytes);
        Some(frame.freeze())
    }
}

/// The two halves of a hijacked connection.
pub(crate) type Connection = (ReadHalf<TokioIo<Upgraded>>, WriteHalf<TokioIo<Upgraded>>);

/// Answers 101 and gives the raw connection to `talk` once the client has it.
pub(crate) fn hijack<F, Fut>(call: Call, content_type: &'static str, talk: F) -> Reply
where
    F: FnOnce(Connection) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let upgrade = hyper::upgrade::on(call.into_request());
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => talk(tokio::io::split(TokioIo::new(upgraded))).await,
            Err(error) => tracing::debug!(%error, "a client left before the upgrade"),
        }
    });
    let mut reply = Response::new(full(Vec::new()));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// The keys that end a connection and leave the process alone.
#[derive(Debug, Clone)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

/// What a scan of input found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// Input for the process.
    Pass(Vec<u8>),
    /// Input up to the detach keys.
    Detach(Vec<u8>),
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q` and the like; empty is the default.
    pub(crate) fn parse(text: &str) -> RuntimeResult<Self> {
        let text = if text.is_empty() {
            "ctrl-p,ctrl-q"
        } else {
            text
        };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        let keys = keys.ok_or_else(|| {
            RuntimeError::invalid(format!("Invalid detach keys ({text}) provided"))
        })?;
        Ok(Self { keys, matched: 0 })
    }

    /// Looks for the keys in what the client sent; a half-seen sequence is held back until it is decided.
    pub(crate) fn scan(&mut self, input: &[u8]) -> Scan {
        let mut pass = Vec::with_capacity(input.len());
        for &byte in input {
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return Scan::Detach(pass);
                }
                continue;
            }
            pass.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(byte == self.keys[0]);
            if self.matched == 0 {
                pass.push(byte);
            }
        }
        Scan::Pass(pass)
    }
}

fn key(name: &str) -> Option<u8> {
    if let [byte] = name.as_bytes() {
        return Some(*byte);
    }
    match name.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [sign @ b'['..=b'_'] => Some(sign - b'[' + 27),
        _ => None,
    }
}

/// Reads what a client sends until its end or the detach keys, and hands it on.
pub(crate) async fn pump_input<R, F, Fut>(
    reader: &mut R,
    mut detach: Option<DetachKeys>,
    mut hand_on: F,
) -> InputEnd
where
    R: AsyncRead + Unpin,
    F: FnMut(Vec<u8>) -> Fut,
    Fut: Future<Output = io::Result<()>>,
{
    let mut buffer = vec![0; 32 << 10];
    loop {
        let count = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return InputEnd::Closed,
            Ok(count) => count,
        };
        let scan = match &mut detach {
            Some(keys) => keys.scan(&buffer[..count]),
            None => Scan::Pass(buffer[..count].to_vec()),
        };
        match scan {
            Scan::Pass(bytes) => {
                if hand_on(bytes).await.is_err() {
                    return InputEnd::Closed;
                }
            }
            Scan::Detach(_) => return InputEnd::Detached,
        }
    }
}

/// How a client's input ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputEnd {
    /// The client closed it.
    Closed,
    /// The client pressed the detach keys.
    Detached,
}

/// Sends pieces to a hijacked connection, and closes it.
pub(crate) async fn pump_output<S>(mut pieces: S, mut writer: WriteHalf<TokioIo<Upgraded>>)
where
    S: Stream<Item = Bytes> + Unpin,
{
    while let Some(piece) = pieces.next().await {
        // A client that has left is no error of anybody's.
        if writer.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _left = writer.shutdown().await;
}

/// What a client asks of a log.
pub(super) fn log_query(call: &Call) -> RuntimeResult<LogQuery> {
    let on = |name: &str| call.query.is_on(name).into();
    let nonzero = |at: Option<i128>| at.filter(|at| *at != 0);
    Ok(LogQuery {
        stdout: on("stdout"),
        stderr: on("stderr"),
        since: nonzero(instant(call, "since")?),
        until: nonzero(instant(call, "until")?),
        tail: call.query.text("tail").and_then(|tail| tail.parse().ok()),
        timestamps: on("timestamps"),
        follow: on("follow"),
        details: on("details"),
    })
}

/// Refuses to read the log of a driver that keeps none.
pub(super) fn check_readable(container: &Container) -> RuntimeResult<()> {
    let driver = container.with(|record| {
        record
            .host_config
            .log_config
            .as_ref()
            .and_then(|log| log.typ.clone())
    });
    if driver.as_deref() == Some("none") {
        return Err(RuntimeError::new(
            ErrorKind::NotImplemented,
            "configured logging driver does not support reading",
        ));
    }
    Ok(())
}

/// `GET /containers/ID/logs`.
pub(super) fn logs(container: &Arc<Container>, call: &Call) -> RouteResult {
    let query = log_query(call)?;
    let none = [query.stdout, query.stderr]
        .iter()
        .all(|switch| *switch == log::Switch::Off);
    if none {
        return Err(RuntimeError::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    check_readable(container)?;
    let streams = Streams {
        framed: container.with(|record| !record.has_terminal()),
        stdout: true,
        stderr: true,
    };
    let pieces = log::read(Arc::clone(container), query);
    Ok(reply::stream(streams.content_type(call.version), pieces))
}

/// A stream that gives nothing more after its first error, without the error.
pub(super) fn until_error<S>(pieces: S) -> impl Stream<Item = Bytes> + Send + 'static
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    stream::unfold(Box::pin(pieces), |mut pieces| async move {
        match pieces.next().await {
            Some(Ok(piece)) => Some((piece, pieces)),
            Some(Err(_)) | None => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_found_across_reads() -> RuntimeResult<()> {
        let mut keys = DetachKeys::parse("ctrl-x,x")?;
        assert_eq!(keys.scan(b"hi\x18"), Scan::Pass(b"hi".to_vec()));
        assert_eq!(keys.scan(b"x"), Scan::Detach(Vec::new()));
        Ok(())
    }

    #[test]
    fn a_sequence_that_is_not_finished_is_passed_on() -> RuntimeResult<()> {
        let mut keys = DetachKeys::parse("")?;
        assert_eq!(keys.scan(b"\x10a"), Scan::Pass(b"\x10a".to_vec()));
        Ok(())
    }

    #[test]
    fn bad_keys_are_refused() {
        assert!(DetachKeys::parse("ctrl-?,bogus").is_err());
    }

    #[test]
    fn frames_have_a_header() {
        let streams = Streams {
            framed: true,
            stdout: true,
            stderr: false,
        };
        let frame = streams.frame(&OutputItem::Stdout(Bytes::from_static(b"hi")));
        assert_eq!(frame, Some(Bytes::from_static(b"\x01\0\0\0\0\0\0\x02hi")));
        assert_eq!(
            streams.frame(&OutputItem::Stderr(Bytes::from_static(b"hi"))),
            None
        );
    }
}
