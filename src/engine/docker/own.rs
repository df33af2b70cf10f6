//! Routes that bollard has no words for, our own `/hoist/…` and Podman's `/libpod/…`: plain HTTP on a connection of
//! its own.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, BodyStream, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::engine::spec::FileSpec;
use crate::engine::{EngineError, EngineErrorKind, EngineResult, Stream};

/// Longest line of an answer.
const LINE_MAX: usize = 16 << 20;

/// A request of ours.
pub(super) struct Post<'a> {
    /// Route.
    pub(super) path: &'a str,
    /// What is tried, for errors.
    pub(super) operation: &'static str,
    /// JSON.
    pub(super) body: &'a Value,
    /// The value of `X-Registry-Config`.
    pub(super) registry_config: Option<String>,
}

/// Posts JSON; each line of the answer is one JSON value.
pub(super) async fn post(address: &str, request: Post<'_>) -> EngineResult<Stream<Value>> {
    let Post {
        path,
        operation,
        body,
        registry_config,
    } = request;
    let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
    if let Some(keys) = registry_config {
        request = request.header("X-Registry-Config", keys);
    }
    let body = Full::new(Bytes::from(body.to_string()));
    let (answer, sender) = send(address, operation, (path, request.body(body))).await?;
    Ok(lines(operation, path, answer, sender))
}

/// Runs the health check of a container once, on an engine that has Podman's routes; its outcome is part of the
/// container's state.
pub(super) async fn check_health(address: &str, id: &str) -> EngineResult<()> {
    let path = format!("/v4.0.0/libpod/containers/{id}/healthcheck");
    let operation = "run health check of container";
    let request = Request::get(&path).body(Full::default());
    let (answer, sender) = send(address, operation, (&path, request)).await?;
    // The check is over when the answer is.
    let _outcome = answer.into_body().collect().await;
    drop(sender);
    Ok(())
}

type Sender = http1::SendRequest<Full<Bytes>>;

/// Sends one request on a connection of its own, which the sender keeps open.
async fn send(
    address: &str,
    operation: &'static str,
    (path, request): (&str, Result<Request<Full<Bytes>>, hyper::http::Error>),
) -> EngineResult<(Response<Incoming>, Sender)> {
    let failed = |kind| {
        move |source: Box<dyn std::error::Error + Send + Sync>| {
            EngineError::new(operation, path, kind, source)
        }
    };
    let Some(socket) = address.strip_prefix("unix://") else {
        let error = failed(EngineErrorKind::Unsupported);
        return Err(error("only an engine on a Unix socket can do this".into()));
    };
    let unreachable = failed(EngineErrorKind::Unreachable);
    let connection = UnixStream::connect(socket)
        .await
        .map_err(|error| unreachable(error.into()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection))
        .await
        .map_err(|error| unreachable(error.into()))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the engine's connection broke off");
        }
    });
    let mut request = request.map_err(|error| failed(EngineErrorKind::Failed)(error.into()))?;
    let host = hyper::header::HeaderValue::from_static("hoist");
    request.headers_mut().insert(HOST, host);
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| unreachable(error.into()))?;
    if !answer.status().is_success() {
        return Err(refusal(operation, path, answer).await);
    }
    Ok((answer, sender))
}

/// Secrets and configs of a container, which stay in memory.
pub(super) async fn put_files(address: &str, id: &str, files: &[FileSpec]) -> EngineResult<()> {
    let sent: Vec<_> = files
        .iter()
        .map(|file| {
            json!({
                "path": file.path, "uid": file.uid, "gid": file.gid, "mode": file.mode,
                "content": STANDARD.encode(&file.content),
            })
        })
        .collect();
    let path = format!("/hoist/containers/{id}/files");
    let request = Post {
        path: &path,
        operation: "put files into container",
        body: &json!(sent),
        registry_config: None,
    };
    post(address, request).await.map(drop)
}

async fn refusal(operation: &'static str, path: &str, answer: Response<Incoming>) -> EngineError {
    let kind = match answer.status().as_u16() {
        400 => EngineErrorKind::Invalid,
        404 => EngineErrorKind::NotFound,
        409 => EngineErrorKind::Conflict,
        501 => EngineErrorKind::Unsupported,
        _ => EngineErrorKind::Failed,
    };
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let bytes = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let message = serde_json::from_slice::<Value>(&bytes)
        .ok()
        .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| format!("the engine answered {status}"));
    EngineError::new(operation, path, kind, message)
}

/// The lines of an answer; `sender` keeps the connection open meanwhile.
fn lines(
    operation: &'static str,
    path: &str,
    answer: Response<Incoming>,
    sender: Sender,
) -> Stream<Value> {
    let state = (BodyStream::new(answer.into_body()), Vec::new(), sender);
    let path: Arc<str> = path.into();
    let broken = move |source: Box<dyn std::error::Error + Send + Sync>| {
        EngineError::new(operation, &*path, EngineErrorKind::Failed, source)
    };
    let values = stream::unfold(Some(state), move |state| {
        let broken = broken.clone();
        async move {
            let (mut body, mut buffer, sender) = state?;
            loop {
                if let Some(line) = take_line(&mut buffer) {
                    let value = serde_json::from_slice(&line).map_err(|error| broken(error.into()));
                    return Some((value, Some((body, buffer, sender))));
                }
                if buffer.len() > LINE_MAX {
                    return Some((Err(broken("a line of the answer is too long".into())), None));
                }
                match body.next().await {
                    Some(Ok(frame)) => buffer.extend_from_slice(frame.data_ref()?),
                    Some(Err(error)) => return Some((Err(broken(error.into())), None)),
                    None if buffer.is_empty() => return None,
                    None => return Some((Err(broken("the answer broke off".into())), None)),
                }
            }
        }
    });
    Box::pin(values)
}

/// The first whole line that is not blank.
fn take_line(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        let end = buffer.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = buffer.drain(..=end).collect();
        if !line.trim_ascii().is_empty() {
            return Some(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::take_line;

    #[test]
    fn only_whole_lines_are_taken() {
        let mut buffer = b"\r\n{\"a\":1}\n{\"b\"".to_vec();
        assert_eq!(take_line(&mut buffer), Some(b"{\"a\":1}\n".to_vec()));
        assert_eq!(take_line(&mut buffer), None);
        assert_eq!(buffer, b"{\"b\"");
    }
}
