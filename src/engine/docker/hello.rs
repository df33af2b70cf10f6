//! Who answers, from the headers of `GET /_ping`: for `GET /version` dockerd runs its helper programs, which takes it
//! longer than to list a hundred containers. bollard keeps no headers, so this is plain HTTP on a connection of its own.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, SERVER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::client::agree;
use crate::engine::EngineInfo;

/// Asks on a Unix socket; `None` where anything but Docker's own engine answers, which is to be asked for its version.
pub(super) async fn ask(address: &str) -> Option<EngineInfo> {
    let connection = UnixStream::connect(address.strip_prefix("unix://")?).await;
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection.ok()?))
        .await
        .ok()?;
    let request = Request::get("/_ping").header(HOST, "hoist");
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let answer = async {
        let answer = sender.send_request(request).await.ok()?;
        (answer.status() == StatusCode::OK).then(|| read(answer.headers()))?
    };
    tokio::select! {
        answer = answer => answer,
        _ = connection => None,
    }
}

fn read(headers: &HeaderMap) -> Option<EngineInfo> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let server = text(SERVER.as_str())?.strip_prefix("Docker/")?;
    Some(EngineInfo {
        product: "Docker".to_owned(),
        version: server.split(' ').next().unwrap_or_default().to_owned(),
        api: agree(text("api-version")?),
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderValue};

    use super::read;

    fn headers(server: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("server", HeaderValue::from_static(server));
        headers.insert("api-version", HeaderValue::from_static("1.41"));
        headers
    }

    #[test]
    fn docker_says_who_it_is_and_others_are_asked() {
        let docker = read(&headers("Docker/20.10.24+dfsg1 (linux)")).unwrap_or_default();
        let said = (docker.product.as_str(), docker.version.as_str(), docker.api);
        assert_eq!(said, ("Docker", "20.10.24+dfsg1", (1, 41)));
        for other in ["Libpod/5.8.0 (linux)", "hoist/0.1.0", ""] {
            assert!(read(&headers(other)).is_none(), "{other}");
        }
        assert!(read(&HeaderMap::new()).is_none());
    }
}
