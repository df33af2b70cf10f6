//! Accepts connections on the Unix socket and answers each in a task of its own.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::reply::{Reply, failure};
use super::router::route;
use super::version::API_VERSION;
use crate::runtime::supervise::{ClientPresent, Shutdown, Supervisor};
use crate::runtime::sys::userns;

/// Why the API cannot be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The socket cannot be made.
    #[error("cannot listen on `{}`", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket does not take connections any more.
    #[error("cannot accept a connection")]
    Accept(#[source] io::Error),
}

/// Binds the socket, in place of one that a killed engine left. The caller holds the root's lock.
///
/// # Errors
/// When the socket cannot be made.
pub fn bind(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |source| ServeError::Bind {
        path: path.to_owned(),
        source,
    };
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Root may give the socket to a group; an ordinary user's is nobody else's.
    let mode = if userns::is_first() { 0o660 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener)
}

/// Serves until the supervisor says that it is over.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    listener: &UnixListener,
    supervisor: &Arc<Supervisor>,
) -> Result<(), ServeError> {
    let mut shutdown = supervisor.shutdown();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = Shutdown::requested(&mut shutdown) => return Ok(()),
        };
        let (stream, _) = accepted.map_err(ServeError::Accept)?;
        welcome(stream, supervisor);
    }
}

/// Serves the clients that came before the socket went; returns how many. Nobody can come after.
///
/// # Errors
/// When the socket fails.
pub fn serve_waiting(
    listener: &UnixListener,
    supervisor: &Arc<Supervisor>,
) -> Result<usize, ServeError> {
    let mut served = 0;
    loop {
        // Past tokio, which may not have heard of a client that came just now.
        let stream = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(stream) => std::os::unix::net::UnixStream::from(stream),
            Err(Errno::AGAIN) => return Ok(served),
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            Err(error) => return Err(ServeError::Accept(error.into())),
        };
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream))
            .map_err(ServeError::Accept)?;
        welcome(stream, supervisor);
        served += 1;
    }
}

/// Counts as present before its task runs: an idle engine must not go in between.
fn welcome(stream: UnixStream, supervisor: &Arc<Supervisor>) {
    let presence = supervisor.client_present();
    tokio::spawn(connection(stream, Arc::clone(supervisor), presence));
}

async fn connection(stream: UnixStream, supervisor: Arc<Supervisor>, presence: ClientPresent) {
    let gone = CancellationToken::new();
    let hung_up = hung_up(stream.as_fd().try_clone_to_owned());
    let service = service_fn(|request| answer(request, Arc::clone(&supervisor), gone.clone()));
    let serving = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = hung_up => {
            gone.cancel();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a client left");
    }
    drop(presence);
}

/// Ends when the client has closed its connection whole. One that has closed only its half still listens, so that the end
/// of what it sends tells nothing, and an answer in which nothing is written finds out by itself too late.
#[expect(
    deprecated,
    reason = "the new name is unsafe for types whose descriptor may change; an `OwnedFd` keeps its own"
)]
async fn hung_up(connection: io::Result<OwnedFd>) {
    let watched = connection.and_then(|fd| AsyncFd::with_interest(fd, Interest::PRIORITY));
    if let Ok(watched) = watched {
        while let Ok(mut ready) = watched.ready(Interest::PRIORITY).await {
            if ready.ready().is_read_closed() {
                return;
            }
            ready.clear_ready();
        }
    }
    // It cannot be told.
    std::future::pending::<()>().await;
}

async fn answer(
    request: Request<Incoming>,
    supervisor: Arc<Supervisor>,
    gone: CancellationToken,
) -> Result<Reply, Infallible> {
    let is_head = request.method() == Method::HEAD;
    let line = format!("{} {}", request.method(), request.uri());
    let result = match Call::parse(request, gone) {
        Ok(call) => route(&supervisor, call).await,
        Err(error) => Err(error),
    };
    let mut reply = result.unwrap_or_else(|error| {
        tracing::debug!(request = line, error = error.chain(), "refused");
        failure(&error)
    });
    if is_head {
        *reply.body_mut() = super::reply::full(Vec::new());
    }
    add_headers(&mut reply);
    Ok(reply)
}

fn add_headers(reply: &mut Reply) {
    let headers = reply.headers_mut();
    let version = API_VERSION.to_string();
    if let Ok(value) = HeaderValue::from_str(&version) {
        headers.insert("Api-Version", value);
    }
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert(
        SERVER,
        HeaderValue::from_static(concat!("hoist/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
}
