//! Engines that are neither behind a Unix socket nor plain TCP: over SSH, and over TLS with certificates.
//!
//! bollard hands over requests; each goes out on a connection that is free, or on a new one. Called by `client`.
//!
//! ```text
//! ssh://user@host  ──> ssh … docker system dial-stdio ──(standard streams)──> the engine's socket there
//! tcp://host:2376  ──> TLS, both sides with certificates
//! ```

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{BollardRequest, Docker};
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::engine::endpoint::TlsFiles;
use crate::engine::{EngineError, EngineErrorKind, EngineResult};

/// Bytes of what `ssh` says that an error repeats.
const COMPLAINT: usize = 2048;
/// How long an ssh that failed may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What ssh has said when it has ended.
type Complaint = JoinHandle<String>;

type Sender = SendRequest<<BollardRequest as RequestBody>::Body>;

/// Names the body of bollard's requests, for which it has no public name.
trait RequestBody {
    type Body;
}

impl<B> RequestBody for hyper::Request<B> {
    type Body = B;
}

/// A stream in both directions.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How the engine is reached.
enum Route {
    /// By a program whose standard streams are the connection.
    Ssh(Vec<String>),
    /// By TLS.
    Tls {
        place: String,
        name: ServerName<'static>,
        connector: TlsConnector,
    },
}

/// Opens connections and keeps those that are free.
pub(super) struct Dialer {
    inner: Arc<Inner>,
}

struct Inner {
    route: Route,
    free: Mutex<Vec<Sender>>,
}

impl Dialer {
    /// `ssh://[USER@]HOST[:PORT][/SOCKET]`, given without its scheme.
    pub(super) fn ssh(address: &str, rest: &str) -> EngineResult<Self> {
        let arguments = ssh_arguments(rest).ok_or_else(|| {
            EngineError::new(
                "connect to engine",
                address,
                EngineErrorKind::Invalid,
                "an SSH address is ssh://[USER@]HOST[:PORT][/SOCKET], without a password",
            )
        })?;
        Ok(Self::by(Route::Ssh(arguments)))
    }

    /// `HOST:PORT` with TLS.
    pub(super) fn tls(address: &str, rest: &str, files: &TlsFiles) -> EngineResult<Self> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
            EngineError::new(
                "connect to engine",
                address,
                EngineErrorKind::Invalid,
                source,
            )
        };
        let place = rest.trim_end_matches('/');
        let (host, place) = match place.rsplit_once(':') {
            Some((host, _)) => (host, place.to_owned()),
            None => (place, format!("{place}:2376")),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.into()))?;
        let config = client_config(files).map_err(|error| failed(error.into()))?;
        Ok(Self::by(Route::Tls {
            place,
            name,
            connector: TlsConnector::from(Arc::new(config)),
        }))
    }

    /// A client whose requests go out this way.
    pub(super) fn client(self, address: &str, seconds: u64) -> Result<Docker, Error> {
        let inner = self.inner;
        let send = move |request: BollardRequest| {
            let inner = Arc::clone(&inner);
            async move { inner.send(request).await }
        };
        let api = bollard::API_DEFAULT_VERSION;
        Docker::connect_with_custom_transport(send, Some(address), seconds, api)
    }

    fn by(route: Route) -> Self {
        Self {
            inner: Arc::new(Inner {
                route,
                free: Mutex::default(),
            }),
        }
    }
}

impl Inner {
    async fn send(
        self: Arc<Self>,
        mut request: BollardRequest,
    ) -> Result<Response<Incoming>, Error> {
        // The server wants the path; the rest of the address was for finding it.
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        *request.uri_mut() = path.parse().map_err(|error| broken(format!("{error}")))?;
        if !request.headers().contains_key(hyper::header::HOST) {
            let host = hyper::header::HeaderValue::from_static("docker");
            request.headers_mut().insert(hyper::header::HOST, host);
        }
        let free = self.take_free();
        let (mut sender, complaint) = match free {
            Some(sender) => (sender, None),
            None => self.open().await?,
        };
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Err(self.unanswered(&error, complaint).await),
        };
        tokio::spawn(async move {
            // Ready again when the answer has been read; one that became another protocol never is.
            if sender.ready().await.is_ok() {
                self.lock().push(sender);
            }
        });
        Ok(response)
    }

    /// Why a request got no answer: what ssh says is more than that the connection ended.
    async fn unanswered(&self, error: &hyper::Error, complaint: Option<Complaint>) -> Error {
        let Some(complaint) = complaint else {
            return broken(chain(error));
        };
        let text = tokio::time::timeout(PATIENCE, complaint).await;
        let text = text.ok().and_then(Result::ok).unwrap_or_default();
        match &self.route {
            Route::Ssh(arguments) if !text.is_empty() => {
                broken(format!("`ssh {}`: {text}", arguments.join(" ")))
            }
            Route::Ssh(_) | Route::Tls { .. } => broken(chain(error)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sender>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_free(&self) -> Option<Sender> {
        let mut free = self.lock();
        free.retain(|sender| !sender.is_closed());
        free.pop()
    }

    async fn open(&self) -> Result<(Sender, Option<Complaint>), Error> {
        match &self.route {
            Route::Ssh(arguments) => {
                let (sender, complaint) = open_ssh(arguments).await?;
                Ok((sender, Some(complaint)))
            }
            Route::Tls {
                place,
                name,
                connector,
            } => {
                let stream = TcpStream::connect(place)
                    .await
                    .map_err(|error| broken(format!("{place}: {error}")))?;
                let stream = connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| broken(format!("{place}: {error}")))?;
                Ok((greet(stream).await?, None))
            }
        }
    }
}

/// Starts ssh; what it says is known when it has ended.
async fn open_ssh(arguments: &[String]) -> Result<(Sender, Complaint), Error> {
    let mut child = Command::new("ssh")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| broken(format!("run ssh: {error}")))?;
    let (Some(input), Some(output), Some(mut errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(broken("ssh has no standard streams".to_owned()));
    };
    let sender = greet(tokio::io::join(output, input)).await?;
    let complaint = tokio::spawn(async move {
        // Read to its end, so that ssh never waits for us; the child lives as long as the connection.
        let mut text = Vec::new();
        drop(errors.read_to_end(&mut text).await);
        drop(child.wait().await);
        let start = text.len().saturating_sub(COMPLAINT);
        String::from_utf8_lossy(&text[start..]).trim().to_owned()
    });
    Ok((sender, complaint))
}

/// Begins to speak HTTP.
async fn greet(stream: impl Duplex + 'static) -> Result<Sender, Error> {
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(chain(&error)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "the engine's connection broke off");
        }
    });
    Ok(sender)
}

fn broken(reason: String) -> Error {
    Error::IOError {
        err: std::io::Error::other(reason),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// The arguments of `ssh`, as the docker command line gives them.
fn ssh_arguments(rest: &str) -> Option<Vec<String>> {
    let (place, socket) = match rest.split_once('/') {
        Some((place, socket)) => (place, socket.trim_end_matches('/')),
        None => (rest, ""),
    };
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (user, place),
        None => ("", place),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !place.ends_with(']') => (host, port),
        _ => (place, ""),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let valid_port = port.is_empty() || port.parse::<u16>().is_ok();
    // What looks like an option would be one.
    if host.is_empty() || host.starts_with('-') || user.starts_with('-') || user.contains(':') {
        return None;
    }
    let mut arguments: Vec<String> = ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
    let mut give = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    if !user.is_empty() {
        give(&["-l", user]);
    }
    if !port.is_empty() {
        give(&["-p", port]);
    }
    give(&["--", host, "docker"]);
    if !socket.is_empty() {
        give(&["--host", &format!("unix:///{socket}")]);
    }
    give(&["system", "dial-stdio"]);
    valid_port.then_some(arguments)
}

/// Trusts the authority of the files, and shows our certificate.
fn client_config(files: &TlsFiles) -> Result<ClientConfig, String> {
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        let unreadable = |error: rustls::pki_types::pem::Error| {
            format!("read certificate `{}`: {error}", path.display())
        };
        CertificateDer::pem_file_iter(path)
            .map_err(unreadable)?
            .collect::<Result<_, _>>()
            .map_err(unreadable)
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots
            .add(certificate)
            .map_err(|error| format!("trust `{}`: {error}", files.ca.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("read key `{}`: {error}", key.display()))?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("use `{}`: {error}", cert.display()))
        }
        _ => Ok(config.with_no_client_auth()),
    }
}

#[cfg(test)]
mod tests {
    use super::ssh_arguments;

    fn arguments(rest: &str) -> Option<String> {
        ssh_arguments(rest).map(|words| words.join(" "))
    }

    #[test]
    fn an_ssh_address_becomes_the_arguments_of_ssh() {
        let plain = "-o ConnectTimeout=30 -T -- far docker system dial-stdio";
        assert_eq!(arguments("far").as_deref(), Some(plain));
        assert_eq!(arguments("far/").as_deref(), Some(plain));
        let full = "-o ConnectTimeout=30 -T -l me -p 2222 -- far docker --host unix:///run/d.sock system dial-stdio";
        assert_eq!(arguments("me@far:2222/run/d.sock").as_deref(), Some(full));
    }

    #[test]
    fn what_ssh_would_take_for_an_option_is_refused() {
        assert_eq!(arguments("-oProxyCommand=x"), None);
        assert_eq!(arguments("-l@far"), None);
        assert_eq!(arguments("me:secret@far"), None);
        assert_eq!(arguments("far:port"), None);
        assert_eq!(arguments(""), None);
    }
}
