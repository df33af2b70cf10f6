//! Keys to registries, as headers of the Docker Engine API.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bollard::auth::DockerCredentials;
use hyper::header::HeaderValue;
use serde_json::{Map, Value, json};

use crate::engine::keyring::{Keyring, RegistryKey};
use crate::engine::{EngineError, EngineErrorKind, EngineResult};

const OPERATION: &str = "read registry credentials";

/// The key to an image's registry, looked up where blocking is allowed.
pub(super) async fn for_image(
    keyring: &Arc<dyn Keyring>,
    image: &str,
) -> EngineResult<Option<DockerCredentials>> {
    let (keyring, reference) = (Arc::clone(keyring), image.to_owned());
    let found = look_up(image, move || keyring.key(&reference)).await?;
    Ok(found.map(to_bollard))
}

/// All keys, by registry.
pub(super) async fn all(
    keyring: &Arc<dyn Keyring>,
) -> EngineResult<Option<HashMap<String, DockerCredentials>>> {
    let keys = every(keyring).await?;
    let keys = keys
        .into_iter()
        .map(|key| (key.server.clone(), to_bollard(key)));
    let keys: HashMap<_, _> = keys.collect();
    Ok((!keys.is_empty()).then_some(keys))
}

/// All keys, as the value of `X-Registry-Config`; `None` where there are none.
pub(super) async fn config_header(keyring: &Arc<dyn Keyring>) -> EngineResult<Option<String>> {
    let keys = every(keyring).await?;
    let config: Map<String, Value> = keys
        .into_iter()
        .map(|key| {
            let value = json!({
                "username": key.username,
                "password": key.password,
                "identitytoken": key.identity_token,
                "serveraddress": key.server,
            });
            (key.server, value)
        })
        .collect();
    Ok((!config.is_empty()).then(|| URL_SAFE.encode(Value::Object(config).to_string())))
}

async fn every(keyring: &Arc<dyn Keyring>) -> EngineResult<Vec<RegistryKey>> {
    let keyring = Arc::clone(keyring);
    look_up("all registries", move || keyring.all()).await
}

async fn look_up<T: Send + 'static>(
    what: &str,
    ask: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> EngineResult<T> {
    let failed =
        |reason: String| EngineError::new(OPERATION, what, EngineErrorKind::Invalid, reason);
    tokio::task::spawn_blocking(ask)
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(failed)
}

fn to_bollard(key: RegistryKey) -> DockerCredentials {
    // Empty texts, not nulls, as the docker command line sends: engines are strict about types.
    DockerCredentials {
        username: Some(key.username),
        password: Some(key.password),
        auth: Some(String::new()),
        email: Some(String::new()),
        serveraddress: Some(key.server),
        identitytoken: Some(key.identity_token),
        registrytoken: Some(String::new()),
    }
}

/// Writes the keys of a request in the alphabet that engines read: bollard takes the other one, and a password with
/// `?`, `>` or `~` would be garbled.
pub(super) fn rewrite<B>(mut request: hyper::Request<B>) -> hyper::Request<B> {
    for name in ["x-registry-auth", "x-registry-config"] {
        let rewritten = request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(|text| text.replace('+', "-").replace('/', "_"))
            .and_then(|text| HeaderValue::from_str(&text).ok());
        if let Some(value) = rewritten {
            request.headers_mut().insert(name, value);
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::rewrite;

    #[test]
    fn keys_are_written_in_the_alphabet_that_engines_read() -> Result<(), Box<dyn std::error::Error>>
    {
        let request = hyper::Request::get("/")
            .header("X-Registry-Auth", "a+b/c==")
            .header("X-Other", "a+b/c==")
            .body(())?;
        let request = rewrite(request);
        assert_eq!(request.headers()["x-registry-auth"], "a-b_c==");
        assert_eq!(request.headers()["x-other"], "a+b/c==");
        Ok(())
    }
}
