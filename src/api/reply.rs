//! Answers: JSON, empty ones, streams, and errors in Docker's shape.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::runtime::error::{ErrorKind, RuntimeError, RuntimeResult};

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer.
pub(crate) type Reply = Response<Body>;
/// What a route gives.
pub(crate) type RouteResult = RuntimeResult<Reply>;

/// JSON with a status.
pub(crate) fn json_with(status: StatusCode, value: &impl Serialize) -> RouteResult {
    let mut text = serde_json::to_vec(value)
        .map_err(|source| RuntimeError::internal("cannot write the answer", source))?;
    text.push(b'\n');
    Ok(typed(status, "application/json", full(text)))
}

/// JSON with 200.
pub(crate) fn json_ok(value: &impl Serialize) -> RouteResult {
    json_with(StatusCode::OK, value)
}

/// JSON with 201.
pub(crate) fn created(value: &impl Serialize) -> RouteResult {
    json_with(StatusCode::CREATED, value)
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(full(Vec::new()));
    *reply.status_mut() = status;
    reply
}

/// 204.
#[expect(clippy::unnecessary_wraps, reason = "routes answer results")]
pub(crate) fn no_content() -> RouteResult {
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Plain text with 200.
pub(crate) fn text(body: &'static str) -> Reply {
    typed(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        full(body.as_bytes().to_vec()),
    )
}

/// A stream of pieces, sent as they come.
pub(crate) fn stream<S>(content_type: &'static str, pieces: S) -> Reply
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let body = StreamBody::new(pieces.map(|piece| piece.map(Frame::data)));
    typed(StatusCode::OK, content_type, body.boxed_unsync())
}

/// A body with a type.
pub(crate) fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// An error in Docker's shape.
pub(crate) fn failure(error: &RuntimeError) -> Reply {
    let status = status_of(error.kind());
    if status == StatusCode::NOT_MODIFIED {
        return empty(status);
    }
    let body = json!({ "message": error.chain() }).to_string() + "\n";
    typed(status, "application/json", full(body.into_bytes()))
}

fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
