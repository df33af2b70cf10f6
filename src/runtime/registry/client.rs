//! One repository of one registry: requests, authentication, redirects.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Empty, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::connect::{Body, Connections, parse_uri};
use super::credential::Credential;
use super::settings::{Endpoint, Trust};
use super::token::{Challenge, TokenAnswer, encode};
use super::{Registries, RegistryError};
use crate::runtime::image::Reference;

const REDIRECTS_MAX: usize = 6;
/// Bytes of an answer that is a document.
const DOCUMENT_MAX: usize = 16 << 20;
const CHUNK: usize = 128 * 1024;

/// What is done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Pull,
    Push,
}

/// What a request carries; it can be sent again.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Nothing,
    Bytes(Bytes),
    /// A part of a file.
    File {
        file: Arc<File>,
        from: u64,
        length: u64,
    },
}

/// A request within a repository.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content: Content,
}

impl Call {
    pub(super) fn new(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            content: Content::Nothing,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }
}

/// A repository, reached.
#[derive(Debug)]
pub(super) struct Repository {
    connections: Connections,
    endpoint: Endpoint,
    path: String,
    credential: Option<Credential>,
    purpose: Purpose,
    /// Other repositories of the registry that blobs are mounted from.
    also_from: Mutex<Vec<String>>,
    authorization: Mutex<Option<String>>,
}

impl Registries {
    /// Finds a place that answers for a repository.
    pub(super) async fn repository(
        &self,
        reference: &Reference,
        credential: Option<&Credential>,
        purpose: Purpose,
    ) -> Result<Repository, RegistryError> {
        let endpoints = match purpose {
            Purpose::Pull => self.settings.endpoints_to_pull(reference.domain()),
            Purpose::Push => self.settings.endpoints(reference.domain()),
        };
        let mut failure = RegistryError::Address(reference.domain().to_owned());
        for endpoint in endpoints {
            let repository = Repository {
                connections: self.connections.clone(),
                path: reference.path().to_owned(),
                credential: self.credential_for(&endpoint, reference, credential),
                endpoint,
                purpose,
                also_from: Mutex::default(),
                authorization: Mutex::default(),
            };
            match repository.ping().await {
                Ok(()) => return Ok(repository),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Credentials are for the registry itself, not for its mirrors.
    fn credential_for(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        credential: Option<&Credential>,
    ) -> Option<Credential> {
        let own = self
            .settings
            .endpoints(reference.domain())
            .iter()
            .any(|known| known.base == endpoint.base);
        credential.filter(|_| own).cloned()
    }
}

impl Repository {
    /// `<base>/v2/<path>/<rest>`
    pub(super) fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.endpoint.base, self.path)
    }

    /// Asks for tokens that also allow to read another repository.
    pub(super) async fn read_also(&self, path: &str) {
        let mut also = self.also_from.lock().await;
        if !also.iter().any(|known| known == path) {
            also.push(path.to_owned());
            *self.authorization.lock().await = None;
        }
    }

    async fn ping(&self) -> Result<(), RegistryError> {
        let call = Call::new(Method::GET, format!("{}/v2/", self.endpoint.base));
        let answer = self.once(&call, &call.url, None).await?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::UNAUTHORIZED {
            if let Some(challenge) = challenge_of(&answer) {
                self.authenticate(&challenge).await?;
            }
            return Ok(());
        }
        Err(refusal(&call.url, answer).await)
    }

    /// Sends a request, with authentication and redirects; the answer may have any status.
    pub(super) async fn send(&self, call: &Call) -> Result<Response<Incoming>, RegistryError> {
        let mut authenticated = false;
        let mut url = call.url.clone();
        for _ in 0..REDIRECTS_MAX {
            let authorization = if self.is_own(&url)? {
                self.authorization.lock().await.clone()
            } else {
                None
            };
            let answer = self.once(call, &url, authorization).await?;
            if answer.status() == StatusCode::UNAUTHORIZED && !authenticated {
                authenticated = true;
                if let Some(challenge) = challenge_of(&answer) {
                    self.authenticate(&challenge).await?;
                    continue;
                }
            }
            let follows = answer.status().is_redirection()
                && (call.method == Method::GET || call.method == Method::HEAD);
            match location_of(&answer) {
                Some(location) if follows => url = resolve(&url, &location)?,
                _ => return Ok(answer),
            }
        }
        Err(RegistryError::Connect {
            url,
            reason: "too many redirects".to_owned(),
        })
    }

    /// Sends a request that must succeed.
    pub(super) async fn send_ok(&self, call: &Call) -> Result<Response<Incoming>, RegistryError> {
        let answer = self.send(call).await?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(refusal(&call.url, answer).await)
        }
    }

    async fn once(
        &self,
        call: &Call,
        url: &str,
        authorization: Option<String>,
    ) -> Result<Response<Incoming>, RegistryError> {
        let uri = parse_uri(url)?;
        let trust = if self.is_own(url)? {
            self.endpoint.trust
        } else {
            Trust::Verify
        };
        let mut request = Request::builder()
            .method(&call.method)
            .uri(uri)
            .header("user-agent", concat!("hoist/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(length) = call.content.length() {
            request = request.header(CONTENT_LENGTH, length);
        }
        let request = request
            .body(call.content.to_body())
            .map_err(|_| RegistryError::Address(url.to_owned()))?;
        self.connections.send(request, trust).await
    }

    fn is_own(&self, url: &str) -> Result<bool, RegistryError> {
        let (url, own) = (parse_uri(url)?, parse_uri(&self.endpoint.base)?);
        Ok(url.authority() == own.authority() && url.scheme() == own.scheme())
    }

    async fn authenticate(&self, challenge: &Challenge) -> Result<(), RegistryError> {
        let header = match challenge {
            Challenge::Basic => self.credential.as_ref().and_then(Credential::basic),
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => Some(format!(
                "Bearer {}",
                self.token(realm, service.as_deref(), scope.as_deref())
                    .await?
            )),
        };
        *self.authorization.lock().await = header;
        Ok(())
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        asked: Option<&str>,
    ) -> Result<String, RegistryError> {
        if let Some(credential) = self
            .credential
            .as_ref()
            .filter(|credential| !credential.registrytoken.is_empty())
        {
            return Ok(credential.registrytoken.clone());
        }
        let call = self.token_call(realm, service, asked).await;
        let uri = parse_uri(realm)?;
        // A realm without TLS would hand the password to everybody on the way; a loopback registry may have one.
        if uri.scheme_str() != Some("https") && self.endpoint.trust == Trust::Verify {
            return Err(RegistryError::Connect {
                url: realm.to_owned(),
                reason: "the token server has no TLS".to_owned(),
            });
        }
        let trust = self.endpoint.trust;
        let mut request = Request::builder()
            .method(&call.method)
            .uri(parse_uri(&call.url)?);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(call.content.to_body())
            .map_err(|_| RegistryError::Address(call.url.clone()))?;
        let answer = self.connections.send(request, trust).await?;
        if !answer.status().is_success() {
            let message = message_of(&document(answer).await.unwrap_or_default());
            return Err(RegistryError::Unauthorized { message });
        }
        let answer: TokenAnswer =
            serde_json::from_slice(&document(answer).await?).map_err(|source| {
                RegistryError::Json {
                    what: "a token",
                    source,
                }
            })?;
        answer
            .into_token()
            .ok_or_else(|| RegistryError::Unauthorized {
                message: "the token server gave no token".to_owned(),
            })
    }

    async fn token_call(&self, realm: &str, service: Option<&str>, asked: Option<&str>) -> Call {
        let actions = if self.purpose == Purpose::Push {
            "pull,push"
        } else {
            "pull"
        };
        let mut scopes = vec![format!("repository:{}:{actions}", self.path)];
        scopes.extend(
            self.also_from
                .lock()
                .await
                .iter()
                .map(|path| format!("repository:{path}:pull")),
        );
        scopes.extend(
            asked
                .map(str::to_owned)
                .filter(|asked| !asked.contains(&self.path)),
        );
        let service = service.unwrap_or_default();
        let identity = self
            .credential
            .as_ref()
            .map(|credential| credential.identitytoken.as_str())
            .filter(|token| !token.is_empty());
        if let Some(identity) = identity {
            let form = format!(
                "grant_type=refresh_token&client_id=hoist&service={}&scope={}&refresh_token={}",
                encode(service),
                encode(&scopes.join(" ")),
                encode(identity)
            );
            return Call::new(Method::POST, realm.to_owned())
                .header("content-type", "application/x-www-form-urlencoded")
                .content(Content::Bytes(form.into()));
        }
        let separator = if realm.contains('?') { '&' } else { '?' };
        let scopes = scopes.iter().fold(String::new(), |query, scope| {
            query + "&scope=" + &encode(scope)
        });
        let call = Call::new(
            Method::GET,
            format!("{realm}{separator}service={}{scopes}", encode(service)),
        );
        match self.credential.as_ref().and_then(Credential::basic) {
            Some(basic) => call.header("authorization", basic),
            None => call,
        }
    }
}

impl Content {
    fn length(&self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File { length, .. } => Some(*length),
        }
    }

    fn to_body(&self) -> Body {
        match self {
            Self::Nothing => Empty::new().map_err(|never| match never {}).boxed(),
            Self::Bytes(bytes) => Full::new(bytes.clone())
                .map_err(|never| match never {})
                .boxed(),
            Self::File { file, from, length } => BodyExt::boxed(StreamBody::new(file_stream(
                Arc::clone(file),
                *from,
                *length,
            ))),
        }
    }
}

/// A part of a file as frames, read off the async threads.
fn file_stream(
    file: Arc<File>,
    from: u64,
    length: u64,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + Sync {
    let end = from + length;
    let chunks = stream::unfold((file, from), move |(file, at)| async move {
        if at >= end {
            return None;
        }
        let want = CHUNK.min(usize::try_from(end - at).unwrap_or(CHUNK));
        let reading = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; want];
            reading
                .read_exact_at(&mut chunk, at)
                .map(|()| Bytes::from(chunk))
        });
        let chunk = read
            .await
            .map_err(std::io::Error::other)
            .and_then(|read| read);
        Some((chunk.map(Frame::data), (file, at + want as u64)))
    });
    SyncStream(std::sync::Mutex::new(Box::pin(chunks)))
}

/// A stream that only one thread uses at a time, which a lock proves to the compiler.
struct SyncStream<S>(std::sync::Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        let inner = self
            .get_mut()
            .0
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.as_mut().poll_next(context)
    }
}

fn challenge_of(answer: &Response<Incoming>) -> Option<Challenge> {
    let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter();
    headers
        .filter_map(|header| header.to_str().ok())
        .find_map(Challenge::parse)
}

pub(super) fn location_of(answer: &Response<Incoming>) -> Option<String> {
    Some(answer.headers().get(LOCATION)?.to_str().ok()?.to_owned())
}

/// A location relative to the address that named it.
pub(super) fn resolve(base: &str, location: &str) -> Result<String, RegistryError> {
    if location.contains("://") {
        return Ok(location.to_owned());
    }
    let base: Uri = parse_uri(base)?;
    let (scheme, authority) = (
        base.scheme_str().unwrap_or("https"),
        base.authority().map_or("", |authority| authority.as_str()),
    );
    let slash = if location.starts_with('/') { "" } else { "/" };
    Ok(format!("{scheme}://{authority}{slash}{location}"))
}

/// The whole body of an answer, within bounds.
pub(super) async fn document(answer: Response<Incoming>) -> Result<Bytes, RegistryError> {
    let body = Limited::new(answer.into_body(), DOCUMENT_MAX)
        .collect()
        .await;
    let body = body.map_err(|error| RegistryError::Connect {
        url: "the registry".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(body.to_bytes())
}

#[derive(Deserialize)]
struct Refusals {
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What an answer that is no success says.
pub(super) async fn refusal(url: &str, answer: Response<Incoming>) -> RegistryError {
    let status = answer.status().as_u16();
    let message = message_of(&document(answer).await.unwrap_or_default());
    match status {
        401 => RegistryError::Unauthorized { message },
        _ => RegistryError::Answer {
            url: url.to_owned(),
            status,
            message,
        },
    }
}

fn message_of(body: &[u8]) -> String {
    let parsed: Option<Refusals> = serde_json::from_slice(body).ok();
    match parsed.and_then(|refusals| refusals.errors.into_iter().next()) {
        Some(refusal) if refusal.message.is_empty() => refusal.code.to_lowercase(),
        Some(refusal) => refusal.message,
        None => String::from_utf8_lossy(&body[..body.len().min(200)])
            .trim()
            .to_owned(),
    }
}

/// Media types of manifests and indexes, as one header.
pub(super) fn accept() -> (&'static str, String) {
    use crate::runtime::image::media;
    (
        "accept",
        [
            media::OCI_INDEX,
            media::DOCKER_LIST,
            media::OCI_MANIFEST,
            media::DOCKER_MANIFEST,
        ]
        .join(", "),
    )
}
