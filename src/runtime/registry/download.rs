//! Files over HTTP that are no part of an image: `ADD https://…`.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{CONTENT_DISPOSITION, LAST_MODIFIED, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, body::Incoming};
use tokio::io::AsyncWriteExt;

use super::client::resolve;
use super::connect::parse_uri;
use super::settings::Trust;
use super::{Registries, RegistryError};

const REDIRECTS_MAX: usize = 10;

/// What a server said of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileFacts {
    /// `Last-Modified`, in seconds since the epoch.
    pub modified: Option<i64>,
    /// Name in `Content-Disposition`.
    pub name: Option<String>,
}

impl Registries {
    /// Downloads a file, through redirects and the proxies of the environment.
    ///
    /// # Errors
    /// When the server refuses, or the file cannot be written.
    pub async fn download(&self, url: &str, to: &Path) -> Result<FileFacts, RegistryError> {
        let answer = self.follow(url).await?;
        let header = |name| answer.headers().get(name).and_then(|v| v.to_str().ok());
        let facts = FileFacts {
            modified: header(LAST_MODIFIED).and_then(seconds),
            name: header(CONTENT_DISPOSITION).and_then(file_name),
        };
        let failed = |source| RegistryError::File {
            action: "write a downloaded file",
            source,
        };
        let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| RegistryError::Connect {
                url: url.to_owned(),
                reason: super::connect::with_causes(&error),
            })?;
            if let Some(piece) = frame.data_ref() {
                file.write_all(piece).await.map_err(failed)?;
            }
        }
        file.flush().await.map_err(failed)?;
        Ok(facts)
    }

    async fn follow(&self, url: &str) -> Result<Response<Incoming>, RegistryError> {
        let refused = |url: &str, reason: String| RegistryError::Connect {
            url: url.to_owned(),
            reason,
        };
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS_MAX {
            let request = Request::builder()
                .method(Method::GET)
                .uri(parse_uri(&url)?)
                .header(USER_AGENT, concat!("hoist/", env!("CARGO_PKG_VERSION")))
                .body(
                    Empty::<Bytes>::new()
                        .map_err(|never| match never {})
                        .boxed(),
                )
                .map_err(|_| RegistryError::Address(url.clone()))?;
            let answer = self.connections.send(request, Trust::Verify).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION).and_then(|v| v.to_str().ok());
            match location.filter(|_| status.is_redirection()) {
                Some(location) => url = resolve(&url, location)?,
                None => return Err(refused(&url, format!("the server answered {status}"))),
            }
        }
        Err(refused(&url, "too many redirects".to_owned()))
    }
}

/// The time of an HTTP header.
fn seconds(text: &str) -> Option<i64> {
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    time.ok().map(jiff::Timestamp::as_second)
}

/// `attachment; filename="x"`
fn file_name(text: &str) -> Option<String> {
    let part = text
        .split(';')
        .find_map(|part| part.trim().strip_prefix("filename="))?;
    Some(part.trim_matches('"').to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:01:00 GMT"), Some(60));
        assert_eq!(seconds("yesterday"), None);
        let name = file_name("attachment; filename=\"a b.txt\"");
        assert_eq!(name.as_deref(), Some("a b.txt"));
        assert_eq!(file_name("inline"), None);
    }
}
