//! One request, taken apart: path segments, parameters, body.

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, BodyStream};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, UPGRADE};
use hyper::{HeaderMap, Method, Request};
use serde::de::DeserializeOwned;
use std::io;
use tokio_util::sync::CancellationToken;

use super::version::{ApiVersion, negotiate};
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// The parameters of a request, in order; a name may come more than once.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    /// GET, POST, …; HEAD where a route must know.
    pub(crate) method: Method,
    /// The path after the version, decoded, without empty segments.
    pub(crate) path: Vec<String>,
    /// The parameters.
    pub(crate) query: Query,
    /// The version that the client speaks.
    pub(crate) version: ApiVersion,
    /// Cancelled when the client has closed its connection whole.
    pub(crate) gone: CancellationToken,
    request: Request<Incoming>,
}

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, Plus::Space), decode(value, Plus::Space))
                })
                .collect(),
        )
    }

    /// The first value of a name.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first value of a name that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.find(name).filter(|value| !value.is_empty())
    }

    /// All values of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).collect()
    }

    /// Whether a switch is on, as Docker reads switches: anything but empty, 0, no, false and none.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.find(name).is_some_and(is_true)
    }

    /// The same with a default for a switch that is not given.
    pub(crate) fn is_on_or(&self, name: &str, default: Default) -> bool {
        match (self.find(name), default) {
            (Some(value), _) => is_true(value),
            (None, Default::On) => true,
        }
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str) -> RuntimeResult<Option<i64>> {
        let Some(value) = self.text(name) else {
            return Ok(None);
        };
        let parsed = value.parse::<i64>();
        parsed.map(Some).map_err(|source| {
            RuntimeError::invalid(format!("invalid value `{value}` of `{name}`")).caused_by(source)
        })
    }
}

/// What a switch is when it is not given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Default {
    /// On.
    On,
}

fn is_true(value: &str) -> bool {
    !matches!(
        value.trim().to_ascii_lowercase().as_str(),
        "" | "0" | "no" | "false" | "none"
    )
}

impl Call {
    /// Takes a request apart and checks its version.
    pub(crate) fn parse(
        request: Request<Incoming>,
        gone: CancellationToken,
    ) -> RuntimeResult<Self> {
        let (version, rest) = negotiate(request.uri().path())?;
        // Empty segments inside are kept: they are part of a name like `rootfs:/`.
        let segments = rest.trim_matches('/').split('/');
        let path = segments
            .map(|segment| decode(segment, Plus::Literal))
            .collect();
        Ok(Self {
            method: request.method().clone(),
            path,
            query: Query::parse(request.uri().query().unwrap_or_default()),
            version,
            gone,
            request,
        })
    }

    /// The headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Whether the client asks for a raw connection by `Upgrade`.
    pub(crate) fn wants_upgrade(&self) -> bool {
        self.headers().contains_key(UPGRADE)
    }

    /// The request itself, for an upgrade.
    pub(crate) fn into_request(self) -> Request<Incoming> {
        self.request
    }

    /// The body as one JSON value; `None` when there is none.
    pub(crate) async fn json_or_none<T: DeserializeOwned>(&mut self) -> RuntimeResult<Option<T>> {
        self.check_content_type()?;
        let bytes = self.bytes().await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        parse_json(&bytes).map(Some)
    }

    /// The body as one JSON value.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> RuntimeResult<T> {
        let value = self.json_or_none().await?;
        value.ok_or_else(|| {
            RuntimeError::invalid("invalid JSON: got EOF while reading request body")
        })
    }

    /// The whole body.
    pub(crate) async fn bytes(&mut self) -> RuntimeResult<Bytes> {
        let collected = self.request.body_mut().collect().await;
        let mut whole = collected
            .map_err(|source| {
                RuntimeError::invalid("cannot read the request's body").caused_by(source)
            })?
            .aggregate();
        Ok(whole.copy_to_bytes(whole.remaining()))
    }

    /// The body as it comes.
    pub(crate) fn into_stream(
        self,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
        let frames = BodyStream::new(self.request.into_body());
        Box::pin(frames.filter_map(|frame| async move {
            match frame {
                Ok(frame) => frame.into_data().ok().map(Ok),
                Err(error) => Some(Err(io::Error::other(error))),
            }
        }))
    }

    fn check_content_type(&self) -> RuntimeResult<()> {
        let given = self.headers().get(CONTENT_TYPE);
        let text = given
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if self.request.body().is_end_stream() && text.is_empty() {
            return Ok(());
        }
        let kind = text.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(RuntimeError::invalid(format!(
            "unsupported Content-Type header ({text}): must be 'application/json'"
        )))
    }
}

/// Reads one JSON value and nothing after it.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> RuntimeResult<T> {
    let mut values = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(&mut values)
        .map_err(|source| RuntimeError::invalid("invalid JSON").caused_by(source))?;
    values
        .end()
        .map_err(|_| RuntimeError::invalid("unexpected content after JSON"))?;
    Ok(value)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Space,
    Literal,
}

fn decode(text: &str, plus: Plus) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) if plus == Plus::Space => {
                out.push(b' ');
                rest = tail;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("a=1&b=x%20y+z&b=2&flag");
        assert_eq!(query.find("a"), Some("1"));
        assert_eq!(query.all("b"), ["x y z", "2"]);
        assert!(!query.is_on("flag"));
    }

    #[test]
    fn a_second_value_after_the_first_is_refused() {
        let found = parse_json::<serde_json::Value>(b"{}{}").map_err(|error| error.chain());
        assert_eq!(found, Err("unexpected content after JSON".to_owned()));
    }
}
