//! The engine's side of the keeper: one method per message, each on a connection of its own.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::protocol::{
    ExitNotice, FRAME_EXIT, FRAME_STDERR, FRAME_STDOUT, Failure, FailureKind, KeeperPaths, Lent,
    MAX_FRAME, Reply, Request, Revival, Running, StartRequest, Started,
};
use crate::runtime::container::request::{ContainerRequest, ExecRequest, TerminalSize};

/// A failed call to the keeper.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// No keeper listens and none could be started.
    #[error("cannot start the keeper at `{socket}`")]
    Spawn {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("lost the connection to the keeper")]
    Connection(#[source] io::Error),
    /// The keeper said something that cannot be read.
    #[error("cannot read the keeper's answer")]
    Answer(#[source] serde_json::Error),
    /// The keeper answered with something else than what was asked for.
    #[error("the keeper gave an answer to another question")]
    Unexpected,
    /// The keeper refused; the text is for the user.
    #[error("{}", .0.message)]
    Refused(Failure),
}

impl KeeperError {
    /// The kind of a refusal.
    #[must_use]
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Refused(failure) => Some(failure.kind),
            Self::Spawn { .. } | Self::Connection(_) | Self::Answer(_) | Self::Unexpected => None,
        }
    }
}

/// A handle on the keeper; cheap to clone, starts a new keeper when the old one has died.
#[derive(Debug, Clone)]
pub struct KeeperClient {
    paths: KeeperPaths,
}

impl KeeperClient {
    /// A handle that starts the keeper with its first call.
    #[must_use]
    pub fn new(paths: KeeperPaths) -> Self {
        Self { paths }
    }

    /// Connects to the keeper of a run directory, and starts it where there is none.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn connect_or_spawn(paths: KeeperPaths) -> Result<Self, KeeperError> {
        let client = Self { paths };
        drop(client.connect().await?);
        Ok(client)
    }

    /// Starts a container and waits until its program runs.
    ///
    /// # Errors
    /// With Docker's text when the program cannot be run.
    pub async fn start(&self, request: &ContainerRequest) -> Result<Started, KeeperError> {
        self.start_lending(request, None).await
    }

    /// As [`Self::start`], with descriptors that the keeper holds for the next engine as long as the container runs.
    ///
    /// # Errors
    /// With Docker's text when the program cannot be run.
    pub async fn start_lending(
        &self,
        request: &ContainerRequest,
        lent: Option<Lent>,
    ) -> Result<Started, KeeperError> {
        let request = StartRequest {
            container: request.clone(),
            lent,
        };
        match self.ask(&Request::Start(Box::new(request))).await? {
            Reply::Started(started) => Ok(started),
            other => Err(unexpected(other)),
        }
    }

    /// Runs a process in a running container.
    ///
    /// # Errors
    /// When the container is not running or the program cannot be run.
    pub async fn exec(&self, request: &ExecRequest) -> Result<(Started, Session), KeeperError> {
        let mut stream = self.connect().await?;
        send(&mut stream, &Request::Exec(Box::new(request.clone()))).await?;
        match receive(&mut stream).await? {
            Reply::Started(started) => Ok((started, Session::new(stream))),
            other => Err(unexpected(other)),
        }
    }

    /// Live streams of a container; before its start they begin with the start. Ends when the container ends.
    ///
    /// # Errors
    /// When the keeper does not answer.
    pub async fn attach(&self, id: &str) -> Result<Session, KeeperError> {
        let mut stream = self.connect().await?;
        send(&mut stream, &Request::Attach { id: id.to_owned() }).await?;
        match receive(&mut stream).await? {
            Reply::Done => Ok(Session::new(stream)),
            other => Err(unexpected(other)),
        }
    }

    /// Sends a signal to a container's first process, or to an exec.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&self, id: &str, signal: i32) -> Result<(), KeeperError> {
        self.done(&Request::Kill {
            id: id.to_owned(),
            signal,
        })
        .await
    }

    /// Sets the size of a terminal.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn resize(&self, id: &str, size: TerminalSize) -> Result<(), KeeperError> {
        self.done(&Request::Resize {
            id: id.to_owned(),
            size,
        })
        .await
    }

    /// Closes the standard input of a container.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn close_stdin(&self, id: &str) -> Result<(), KeeperError> {
        self.done(&Request::CloseStdin { id: id.to_owned() }).await
    }

    /// All that is running.
    ///
    /// # Errors
    /// When the keeper does not answer.
    pub async fn list(&self) -> Result<Vec<Running>, KeeperError> {
        match self.insist(&Request::List).await? {
            Reply::Listed(running) => Ok(running),
            other => Err(unexpected(other)),
        }
    }

    /// Notices of all exits from now on. When it breaks off, the keeper has died: subscribe again, then [`Self::list`].
    ///
    /// # Errors
    /// When the keeper does not answer.
    pub async fn subscribe(&self) -> Result<Notices, KeeperError> {
        self.listen(None).await
    }

    /// As [`Self::subscribe`], for the engine itself: when the connection breaks off without [`Self::dismiss`], the
    /// keeper starts the engine again.
    ///
    /// # Errors
    /// When the keeper does not answer.
    pub async fn subscribe_engine(&self, revival: Option<Revival>) -> Result<Notices, KeeperError> {
        self.listen(revival).await
    }

    async fn listen(&self, revival: Option<Revival>) -> Result<Notices, KeeperError> {
        let mut stream = self.connect().await?;
        send(&mut stream, &Request::Subscribe { revival }).await?;
        match receive(&mut stream).await? {
            Reply::Done => Ok(Notices { stream }),
            other => Err(unexpected(other)),
        }
    }

    /// Says that the engine goes on purpose, to a keeper that is there.
    ///
    /// # Errors
    /// When the keeper does not answer.
    pub async fn dismiss(&self) -> Result<(), KeeperError> {
        match UnixStream::connect(self.paths.socket()).await {
            Ok(_) => self.done(&Request::Dismiss).await,
            Err(_) => Ok(()),
        }
    }

    /// Ends the keeper when nothing is running.
    ///
    /// # Errors
    /// When something is running.
    pub async fn stop(&self) -> Result<(), KeeperError> {
        let Ok(mut stream) = UnixStream::connect(self.paths.socket()).await else {
            return Ok(());
        };
        send(&mut stream, &Request::Stop).await?;
        match receive(&mut stream).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    async fn done(&self, request: &Request) -> Result<(), KeeperError> {
        match self.insist(request).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Asks the next keeper where one dies before it answers; for what may as well be asked twice.
    async fn insist(&self, request: &Request) -> Result<Reply, KeeperError> {
        for _ in 0..2 {
            match self.ask(request).await {
                Err(KeeperError::Connection(_)) => {}
                answered => return answered,
            }
        }
        self.ask(request).await
    }

    async fn ask(&self, request: &Request) -> Result<Reply, KeeperError> {
        let mut stream = self.connect().await?;
        send(&mut stream, request).await?;
        receive(&mut stream).await
    }

    async fn connect(&self) -> Result<UnixStream, KeeperError> {
        let socket = self.paths.socket();
        if let Ok(stream) = UnixStream::connect(&socket).await {
            return Ok(stream);
        }
        let mut result = self.spawn().await;
        // Another keeper may hold the lock already and not listen yet, or hold it still and listen no more: that one
        // is waited for, and then a new one is started.
        for attempt in 1..=100 {
            match UnixStream::connect(&socket).await {
                Ok(stream) => return Ok(stream),
                Err(error) => result = result.and(Err(error)),
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            if attempt % 10 == 0 {
                result = self.spawn().await;
            }
        }
        let source = result
            .err()
            .unwrap_or_else(|| io::Error::from(io::ErrorKind::TimedOut));
        Err(KeeperError::Spawn { socket, source })
    }

    /// Runs `hoist keeper`, which returns once its child listens.
    async fn spawn(&self) -> io::Result<()> {
        let program = self
            .paths
            .program
            .clone()
            .map_or_else(std::env::current_exe, Ok)?;
        let output = tokio::process::Command::new(program)
            .arg("keeper")
            .arg(&self.paths.run_dir)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .output()
            .await?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(text.trim().to_owned()))
    }
}

/// A stream of exit notices.
#[derive(Debug)]
pub struct Notices {
    stream: UnixStream,
}

impl Notices {
    /// The next notice.
    ///
    /// # Errors
    /// When the keeper has gone.
    pub async fn next(&mut self) -> Result<ExitNotice, KeeperError> {
        match receive(&mut self.stream).await? {
            Reply::Exited(notice) => Ok(notice),
            other => Err(unexpected(other)),
        }
    }
}

/// The streams of an attached client or of an exec.
#[derive(Debug)]
pub struct Session {
    /// Standard input.
    pub input: Input,
    /// Standard output and error.
    pub output: Output,
}

impl Session {
    fn new(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self {
            input: Input(write),
            output: Output(read),
        }
    }
}

/// Standard input of a session; dropping or closing it is the end of input.
#[derive(Debug)]
pub struct Input(OwnedWriteHalf);

impl Input {
    /// Writes to standard input.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// Ends the input.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn close(mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// Standard output and error of a session.
#[derive(Debug)]
pub struct Output(OwnedReadHalf);

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputItem {
    /// Standard output, or a terminal's.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// How an exec ended; always its last item.
    Exit(ExitNotice),
}

impl Output {
    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// When the keeper has gone in the middle of a frame.
    pub async fn next(&mut self) -> Result<Option<OutputItem>, KeeperError> {
        let mut header = [0_u8; 8];
        match self.0.read_exact(&mut header).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(KeeperError::Connection(error)),
        }
        let [kind, _, _, _, a, b, c, d] = header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let mut body = vec![0; length.min(MAX_FRAME)];
        self.0
            .read_exact(&mut body)
            .await
            .map_err(KeeperError::Connection)?;
        match kind {
            FRAME_STDOUT => Ok(Some(OutputItem::Stdout(body.into()))),
            FRAME_STDERR => Ok(Some(OutputItem::Stderr(body.into()))),
            FRAME_EXIT => serde_json::from_slice(&body)
                .map(OutputItem::Exit)
                .map(Some)
                .map_err(KeeperError::Answer),
            _ => Err(KeeperError::Unexpected),
        }
    }
}

fn unexpected(reply: Reply) -> KeeperError {
    match reply {
        Reply::Failed(failure) => KeeperError::Refused(failure),
        Reply::Started(_) | Reply::Done | Reply::Listed(_) | Reply::Exited(_) => {
            KeeperError::Unexpected
        }
    }
}

async fn send(stream: &mut UnixStream, request: &Request) -> Result<(), KeeperError> {
    let body = serde_json::to_vec(request).map_err(KeeperError::Answer)?;
    let length = u32::try_from(body.len()).map_err(|_| KeeperError::Unexpected)?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    stream
        .write_all(&frame)
        .await
        .map_err(KeeperError::Connection)
}

async fn receive(stream: &mut UnixStream) -> Result<Reply, KeeperError> {
    let length = stream.read_u32().await.map_err(KeeperError::Connection)? as usize;
    if length > MAX_FRAME {
        return Err(KeeperError::Unexpected);
    }
    let mut body = vec![0; length];
    stream
        .read_exact(&mut body)
        .await
        .map_err(KeeperError::Connection)?;
    serde_json::from_slice(&body).map_err(KeeperError::Answer)
}
