//! Who we are: from the API's header, or from a client's configuration and its helpers.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::RegistryError;

const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name that stands for an identity token.
const TOKEN_USER: &str = "<token>";

/// A name and password, or an identity token.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Credential {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// Token that stands for both.
    #[serde(alias = "identityToken")]
    pub identitytoken: String,
    /// Token to send as it is.
    #[serde(alias = "registryToken")]
    pub registrytoken: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// Reads `X-Registry-Auth`: base64 of JSON; an empty one is nobody.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_header(header: &str) -> Result<Option<Self>, RegistryError> {
        let header = header.trim();
        if header.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE
            .decode(header)
            .or_else(|_| URL_SAFE_NO_PAD.decode(header))
            .or_else(|_| STANDARD.decode(header));
        let bytes = bytes.map_err(|error| {
            RegistryError::Credential(format!("invalid X-Registry-Auth header: {error}"))
        })?;
        let credential: Self = serde_json::from_slice(&bytes).map_err(|error| {
            RegistryError::Credential(format!("invalid X-Registry-Auth header: {error}"))
        })?;
        Ok(Some(credential).filter(|credential| *credential != Self::default()))
    }

    /// The header for the API.
    #[must_use]
    pub fn to_header(&self) -> String {
        let value = serde_json::json!({
            "username": self.username, "password": self.password, "identitytoken": self.identitytoken, "registrytoken": self.registrytoken,
        });
        URL_SAFE.encode(value.to_string())
    }

    /// `Basic …`, when there is a name.
    pub(super) fn basic(&self) -> Option<String> {
        (!self.username.is_empty()).then(|| {
            format!(
                "Basic {}",
                STANDARD.encode(format!("{}:{}", self.username, self.password))
            )
        })
    }
}

/// A client's configuration file, as far as it concerns credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClientConfig {
    auths: HashMap<String, AuthEntry>,
    creds_store: String,
    cred_helpers: HashMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// Looks a registry up in configuration files (`~/.docker/config.json`, `containers/auth.json`), the first that knows it.
///
/// # Errors
/// When a helper fails otherwise than by not knowing it.
pub fn find_credential(
    files: &[PathBuf],
    domain: &str,
) -> Result<Option<Credential>, RegistryError> {
    for file in files {
        let Ok(bytes) = std::fs::read(file) else {
            continue;
        };
        let config: ClientConfig = serde_json::from_slice(&bytes)
            .map_err(|error| RegistryError::Credential(format!("`{}`: {error}", file.display())))?;
        if let Some(found) = in_config(&config, domain)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn in_config(config: &ClientConfig, domain: &str) -> Result<Option<Credential>, RegistryError> {
    let keys = keys_of(domain);
    let helper = keys
        .iter()
        .find_map(|key| config.cred_helpers.get(key))
        .map(String::as_str);
    let helper = helper.or(Some(config.creds_store.as_str()).filter(|store| !store.is_empty()));
    if let Some(helper) = helper {
        for key in &keys {
            if let Some(found) = ask_helper(helper, key)? {
                return Ok(Some(found));
            }
        }
    }
    keys.iter()
        .find_map(|key| config.auths.get(key))
        .map(decode)
        .transpose()
}

/// How configuration files call a registry.
fn keys_of(domain: &str) -> Vec<String> {
    if domain == "docker.io" {
        return [
            HUB_KEY,
            "docker.io",
            "index.docker.io",
            "https://index.docker.io",
        ]
        .map(str::to_owned)
        .to_vec();
    }
    vec![
        domain.to_owned(),
        format!("https://{domain}"),
        format!("http://{domain}"),
        format!("https://{domain}/"),
        format!("https://{domain}/v1/"),
        format!("https://{domain}/v2/"),
    ]
}

fn decode(entry: &AuthEntry) -> Result<Credential, RegistryError> {
    let mut credential = Credential {
        username: entry.username.clone(),
        password: entry.password.clone(),
        identitytoken: entry.identitytoken.clone(),
        registrytoken: String::new(),
    };
    if !entry.auth.is_empty() {
        let bytes = STANDARD
            .decode(entry.auth.trim())
            .map_err(|error| RegistryError::Credential(format!("invalid auth entry: {error}")))?;
        let text = String::from_utf8_lossy(&bytes);
        let (username, password) = text
            .split_once(':')
            .ok_or_else(|| RegistryError::Credential("invalid auth entry: no colon".to_owned()))?;
        username.clone_into(&mut credential.username);
        password
            .trim_matches('\0')
            .clone_into(&mut credential.password);
    }
    Ok(credential)
}

/// The answer of `docker-credential-<helper> get`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

fn ask_helper(helper: &str, server: &str) -> Result<Option<Credential>, RegistryError> {
    let failed =
        |reason: String| RegistryError::Credential(format!("docker-credential-{helper}: {reason}"));
    if Path::new(helper).components().count() != 1 {
        return Err(failed("it is not a plain name".to_owned()));
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(server.as_bytes())
            .map_err(|error| failed(error.to_string()))?;
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        // A helper that does not know the server says so and fails.
        return Ok(None);
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    Ok(Some(if answer.username == TOKEN_USER {
        Credential {
            identitytoken: answer.secret,
            ..Credential::default()
        }
    } else {
        Credential {
            username: answer.username,
            password: answer.secret,
            ..Credential::default()
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::{Credential, find_credential};

    #[test]
    fn a_header_is_read_and_written() -> Result<(), Box<dyn std::error::Error>> {
        assert_eq!(Credential::from_header("e30=")?, None);
        assert_eq!(Credential::from_header("")?, None);
        let credential = Credential {
            username: "u".into(),
            password: "p".into(),
            ..Credential::default()
        };
        assert_eq!(
            Credential::from_header(&credential.to_header())?,
            Some(credential)
        );
        assert!(Credential::from_header("%%%").is_err());
        Ok(())
    }

    #[test]
    fn a_configuration_file_is_searched_by_all_names_of_a_registry()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("config.json");
        std::fs::write(
            &file,
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},"https://lan:5000":{"auth":"YTpi"}}}"#,
        )?;
        let files = [folder.path().join("missing.json"), file];
        let found = |domain: &str| {
            find_credential(&files, domain).map(|found| found.map(|c| (c.username, c.password)))
        };
        assert_eq!(found("docker.io")?, Some(("u".into(), "p:q".into())));
        assert_eq!(found("lan:5000")?, Some(("a".into(), "b".into())));
        assert_eq!(found("other")?, None);
        Ok(())
    }
}
