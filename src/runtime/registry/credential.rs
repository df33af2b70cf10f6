//! Who we are: from the API's header, or from a client's configuration and its helpers.

use std::collections::{BTreeMap, HashMap};
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
    #[serde(deserialize_with = "null_is_empty")]
    pub username: String,
    /// Password.
    #[serde(deserialize_with = "null_is_empty")]
    pub password: String,
    /// Token that stands for both.
    #[serde(alias = "identityToken", deserialize_with = "null_is_empty")]
    pub identitytoken: String,
    /// Token to send as it is.
    #[serde(alias = "registryToken", deserialize_with = "null_is_empty")]
    pub registrytoken: String,
}

/// Some clients write what they do not know as `null`.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
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

/// Where a user keeps credentials; what comes first wins.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// The text of a configuration (`DOCKER_AUTH_CONFIG`).
    pub inline: Option<String>,
    /// Configuration files (`~/.docker/config.json`, `containers/auth.json`); they need not exist.
    pub files: Vec<PathBuf>,
}

impl CredentialSources {
    /// Looks a registry up: in each configuration its helper first, then its entry.
    ///
    /// # Errors
    /// When a configuration cannot be read, or a helper fails otherwise than by not knowing the registry.
    pub fn find(&self, domain: &str) -> Result<Option<Credential>, RegistryError> {
        for config in self.configurations() {
            if let Some(found) = in_config(&config?, domain)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Every registry that is known, under the name that it is known by.
    ///
    /// # Errors
    /// As [`CredentialSources::find`].
    pub fn all(&self) -> Result<BTreeMap<String, Credential>, RegistryError> {
        let mut found = BTreeMap::new();
        for config in self.configurations() {
            let config = config?;
            let mut known = BTreeMap::new();
            if !config.creds_store.is_empty() {
                for server in list_helper(&config.creds_store)? {
                    if let Some(credential) = ask_helper(&config.creds_store, &server)? {
                        known.insert(server, credential);
                    }
                }
            }
            for (server, helper) in &config.cred_helpers {
                if let Some(credential) = ask_helper(helper, server)? {
                    known.insert(server.clone(), credential);
                }
            }
            for (server, entry) in &config.auths {
                let credential = decode(entry)?;
                // Where a helper keeps it, the entry is empty.
                if credential != Credential::default() {
                    known.entry(server.clone()).or_insert(credential);
                }
            }
            for (server, credential) in known {
                found.entry(server).or_insert(credential);
            }
        }
        Ok(found)
    }

    fn configurations(&self) -> impl Iterator<Item = Result<ClientConfig, RegistryError>> {
        let inline = self
            .inline
            .iter()
            .map(|text| ("DOCKER_AUTH_CONFIG".to_owned(), text.clone().into_bytes()));
        let files = self
            .files
            .iter()
            .filter_map(|file| Some((format!("`{}`", file.display()), std::fs::read(file).ok()?)));
        inline.chain(files).map(|(name, bytes)| {
            serde_json::from_slice(&bytes)
                .map_err(|error| RegistryError::Credential(format!("{name}: {error}")))
        })
    }
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
    let entry = keys.iter().find_map(|key| config.auths.get(key));
    let found = entry.map(decode).transpose()?;
    // Where a helper keeps it, the entry is empty.
    Ok(found.filter(|credential| *credential != Credential::default()))
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
    // A helper that does not know the server says so and fails.
    let Some(output) = run_helper(helper, "get", server)? else {
        return Ok(None);
    };
    let answer: HelperAnswer = serde_json::from_slice(&output).map_err(|error| {
        RegistryError::Credential(format!("docker-credential-{helper}: {error}"))
    })?;
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

/// The servers that a helper knows.
fn list_helper(helper: &str) -> Result<Vec<String>, RegistryError> {
    let Some(output) = run_helper(helper, "list", "")? else {
        return Ok(Vec::new());
    };
    let servers: BTreeMap<String, String> = serde_json::from_slice(&output).map_err(|error| {
        RegistryError::Credential(format!("docker-credential-{helper}: {error}"))
    })?;
    Ok(servers.into_keys().collect())
}

/// Runs `docker-credential-<helper> <verb>`; `None` where it fails.
fn run_helper(helper: &str, verb: &str, input: &str) -> Result<Option<Vec<u8>>, RegistryError> {
    let failed =
        |reason: String| RegistryError::Credential(format!("docker-credential-{helper}: {reason}"));
    if Path::new(helper).components().count() != 1 {
        return Err(failed("it is not a plain name".to_owned()));
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .map_err(|error| failed(error.to_string()))?;
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    Ok(output.status.success().then_some(output.stdout))
}

#[cfg(test)]
mod tests {
    use super::{Credential, CredentialSources};
    use base64::Engine as _;

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
        let nulls = super::URL_SAFE.encode(r#"{"username":"u","password":null}"#);
        let read = Credential::from_header(&nulls)?.unwrap_or_default();
        assert_eq!((read.username.as_str(), read.password.as_str()), ("u", ""));
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
        let sources = CredentialSources {
            inline: Some(r#"{"auths":{"inline.lan":{"auth":"YTpi"}, "kept.lan":{}}}"#.to_owned()),
            files: vec![folder.path().join("missing.json"), file],
        };
        let found = |domain: &str| {
            let found = sources.find(domain);
            found.map(|found| found.map(|c| (c.username, c.password)))
        };
        assert_eq!(found("inline.lan")?, Some(("a".into(), "b".into())));
        assert_eq!(
            found("kept.lan")?,
            None,
            "an entry without a key is a helper's"
        );
        let all: Vec<String> = sources.all()?.into_keys().collect();
        assert_eq!(
            all,
            [
                "https://index.docker.io/v1/",
                "https://lan:5000",
                "inline.lan"
            ]
        );
        assert_eq!(found("docker.io")?, Some(("u".into(), "p:q".into())));
        assert_eq!(found("lan:5000")?, Some(("a".into(), "b".into())));
        assert_eq!(found("other")?, None);
        Ok(())
    }
}
