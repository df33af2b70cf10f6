//! Chooses and opens an engine: the only file of the layer that names backends.
//!
//! The choice is pure: a flag, the environment and the name the program was started by go in, an address comes out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::endpoint::{Endpoint, TlsFiles};
use super::keyring::Keyring;
use super::{Engine, EngineError, EngineErrorKind, EngineResult, docker};

/// How the program was started: a stand-in for docker follows docker's own settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokedAs {
    /// As itself.
    Hoist,
    /// As `docker-compose`, or as the docker CLI's plugin.
    DockerCompose,
}

/// Which engine to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The engine built into this program, started where needed.
    BuiltIn,
    /// The one that listens here.
    Address(Endpoint),
}

/// What the command line says about engines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// `--engine`.
    pub engine: Option<&'a str>,
    /// `--host`, as the docker command line has it.
    pub host: Option<&'a str>,
    /// `--context`, as the docker command line has it.
    pub context: Option<&'a str>,
    /// `--tlsverify`, and the files given with it over those of `DOCKER_CERT_PATH`.
    pub tls: Option<&'a TlsFlags>,
}

/// `--tlsverify`, `--tlscacert`, `--tlscert`, `--tlskey`.
#[derive(Debug, Clone, Default)]
pub struct TlsFlags {
    /// TLS is spoken.
    pub verify: bool,
    /// Authority.
    pub ca: Option<PathBuf>,
    /// Certificate.
    pub cert: Option<PathBuf>,
    /// Key.
    pub key: Option<PathBuf>,
}

const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";

/// Chooses an engine: `--engine`, `--host`, `--context`, then `HOIST_ENGINE`, `DOCKER_HOST`, `DOCKER_CONTEXT`, then (as
/// a stand-in for docker) docker's current context, else the one built in.
///
/// # Errors
/// Where the name is unknown, two wishes exclude each other, or the docker context cannot be read.
pub fn choose(
    wishes: Wishes<'_>,
    environment: &IndexMap<String, String>,
    invoked_as: InvokedAs,
) -> EngineResult<Choice> {
    let docker = DockerSettings {
        environment,
        tls: wishes.tls,
    };
    if let Some(name) = wishes.engine {
        return docker.by_name(name);
    }
    match (wishes.host, wishes.context) {
        (Some(host), Some(_)) => {
            return Err(EngineError::new(
                "choose engine",
                host,
                EngineErrorKind::Invalid,
                "conflicting options: cannot specify both --host and --context",
            ));
        }
        (Some(host), None) => return docker.at(host).map(Choice::Address),
        (None, Some(context)) => return docker.context(context).map(Choice::Address),
        (None, None) => {}
    }
    if let Some(name) = docker.variable("HOIST_ENGINE") {
        return docker.by_name(name);
    }
    let named = ["DOCKER_HOST", "DOCKER_CONTEXT"];
    let named = named.iter().any(|name| docker.variable(name).is_some());
    match invoked_as {
        InvokedAs::Hoist if !named => Ok(Choice::BuiltIn),
        InvokedAs::Hoist | InvokedAs::DockerCompose => docker.current().map(Choice::Address),
    }
}

/// Docker's own settings, read as its command line reads them.
struct DockerSettings<'a> {
    environment: &'a IndexMap<String, String>,
    tls: Option<&'a TlsFlags>,
}

impl DockerSettings<'_> {
    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    fn by_name(&self, name: &str) -> EngineResult<Choice> {
        match name {
            "hoist" | "builtin" | "built-in" => Ok(Choice::BuiltIn),
            "docker" => self.current().map(Choice::Address),
            "podman" => Ok(Choice::Address(podman_address(self.environment).into())),
            address if address.contains("://") => self.at(address).map(Choice::Address),
            path if path.starts_with('/') => {
                Ok(Choice::Address(Endpoint::from(format!("unix://{path}"))))
            }
            other => Err(EngineError::new(
                "choose engine",
                other,
                EngineErrorKind::Invalid,
                "it is none of docker, podman, hoist, and no address such as unix:///run/docker.sock",
            )),
        }
    }

    /// An address, with TLS where it is asked for. Without a scheme it is docker's `HOST:PORT`.
    fn at(&self, address: &str) -> EngineResult<Endpoint> {
        let address = if address.contains("://") {
            address.to_owned()
        } else {
            format!("tcp://{address}")
        };
        if !address.starts_with("tcp://") {
            return Ok(address.into());
        }
        let flags = self.tls.cloned().unwrap_or_default();
        if !flags.verify && self.variable("DOCKER_TLS_VERIFY").is_none() {
            return Ok(address.into());
        }
        let folder = match self.variable("DOCKER_CERT_PATH") {
            Some(folder) => Some(PathBuf::from(folder)),
            None => self.folder(),
        };
        let files = folder.map(|folder| TlsFiles::in_folder(&folder));
        let files = files.unwrap_or_default();
        Ok(Endpoint {
            address,
            tls: Some(TlsFiles {
                ca: flags.ca.unwrap_or(files.ca),
                cert: flags.cert.or(files.cert),
                key: flags.key.or(files.key),
            }),
        })
    }

    /// The folder of the docker command line's settings.
    fn folder(&self) -> Option<PathBuf> {
        let given = self.variable("DOCKER_CONFIG").map(PathBuf::from);
        given.or_else(|| Some(Path::new(self.variable("HOME")?).join(".docker")))
    }

    /// `DOCKER_HOST`, else the context that is chosen, else the default socket.
    fn current(&self) -> EngineResult<Endpoint> {
        if let Some(host) = self.variable("DOCKER_HOST") {
            return self.at(host);
        }
        let chosen = self.variable("DOCKER_CONTEXT").map(str::to_owned);
        match chosen.or_else(|| current_context(&self.folder()?)) {
            Some(name) => self.context(&name),
            None => Ok(DOCKER_SOCKET.to_owned().into()),
        }
    }

    /// The engine of a context.
    fn context(&self, name: &str) -> EngineResult<Endpoint> {
        match self.folder() {
            // `default` is the engine without any context.
            _ if name == "default" || name.is_empty() => match self.variable("DOCKER_HOST") {
                Some(host) => self.at(host),
                None => Ok(DOCKER_SOCKET.to_owned().into()),
            },
            Some(folder) => context_endpoint(&folder, name),
            None => Err(EngineError::new(
                "read docker context",
                name,
                EngineErrorKind::NotFound,
                "neither DOCKER_CONFIG nor HOME says where contexts are kept",
            )),
        }
    }
}

fn podman_address(environment: &IndexMap<String, String>) -> String {
    if let Some(host) = environment.get("CONTAINER_HOST") {
        return host.clone();
    }
    let own = environment
        .get("XDG_RUNTIME_DIR")
        .map(|dir| PathBuf::from(dir).join("podman/podman.sock"))
        .filter(|socket| socket.exists());
    let socket = own.unwrap_or_else(|| PathBuf::from("/run/podman/podman.sock"));
    format!("unix://{}", socket.display())
}

fn current_context(folder: &Path) -> Option<String> {
    let text = std::fs::read(folder.join("config.json")).ok()?;
    let config: Value = serde_json::from_slice(&text).ok()?;
    config["currentContext"].as_str().map(str::to_owned)
}

fn context_endpoint(folder: &Path, name: &str) -> EngineResult<Endpoint> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        EngineError::new(
            "read docker context",
            name,
            EngineErrorKind::NotFound,
            source,
        )
    };
    let id = hex::encode(Sha256::digest(name.as_bytes()));
    let path = folder.join("contexts/meta").join(&id).join("meta.json");
    let text = std::fs::read(&path).map_err(|error| failed(error.into()))?;
    let meta: Value = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    let docker = &meta["Endpoints"]["docker"];
    let address = docker["Host"]
        .as_str()
        .ok_or_else(|| failed("it names no docker host".into()))?;
    let certificates = folder.join("contexts/tls").join(&id).join("docker");
    let tls = certificates.is_dir();
    if tls && docker["SkipTLSVerify"] == Value::Bool(true) {
        return Err(failed(
            "it skips the verification of the engine's certificate, which is always verified here; \
             give the context the authority of the engine (`docker context update --docker ca=…`)"
                .into(),
        ));
    }
    Ok(Endpoint {
        address: address.to_owned(),
        tls: tls.then(|| TlsFiles::in_folder(&certificates)),
    })
}

/// Opens the engine that listens at an address and agrees on an API version with it; the keyring opens registries.
///
/// # Errors
/// Where the address is not understood, a TLS file cannot be read, or nothing answers.
pub async fn connect(
    endpoint: &Endpoint,
    keyring: Arc<dyn Keyring>,
) -> EngineResult<Arc<dyn Engine>> {
    Ok(Arc::new(
        docker::DockerEngine::connect(&endpoint.address, endpoint.tls.as_ref(), keyring).await?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn environment(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn address(text: &str) -> Choice {
        Choice::Address(text.to_owned().into())
    }

    fn chosen(wishes: Wishes<'_>, env: &[(&str, &str)]) -> EngineResult<Choice> {
        choose(wishes, &environment(env), InvokedAs::Hoist)
    }

    #[test]
    fn the_flag_wins_over_the_environment() -> Outcome {
        let env = [("HOIST_ENGINE", "docker"), ("DOCKER_HOST", "unix:///d")];
        let flag = Wishes {
            engine: Some("unix:///x"),
            ..Wishes::default()
        };
        assert_eq!(chosen(flag, &env)?, address("unix:///x"));
        assert_eq!(chosen(Wishes::default(), &env)?, address("unix:///d"));
        let host = Wishes {
            host: Some("lan:2375"),
            ..Wishes::default()
        };
        assert_eq!(chosen(host, &env)?, address("tcp://lan:2375"));
        let both = Wishes {
            context: Some("default"),
            ..host
        };
        assert!(chosen(both, &env).is_err());
        Ok(())
    }

    #[test]
    fn without_any_wish_the_built_in_engine_is_used() -> Outcome {
        let found = chosen(Wishes::default(), &[("DOCKER_HOST", "")])?;
        assert_eq!(found, Choice::BuiltIn);
        Ok(())
    }

    #[test]
    fn as_docker_compose_the_default_socket_is_used() -> Outcome {
        let choice = choose(
            Wishes::default(),
            &environment(&[]),
            InvokedAs::DockerCompose,
        )?;
        assert_eq!(choice, address("unix:///var/run/docker.sock"));
        Ok(())
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let wishes = Wishes {
            engine: Some("dokcer"),
            ..Wishes::default()
        };
        assert!(chosen(wishes, &[]).is_err());
    }

    #[test]
    fn a_context_brings_its_address_and_its_certificates() -> Outcome {
        let folder = tempfile::tempdir()?;
        let id = hex::encode(Sha256::digest(b"far"));
        let meta = folder.path().join("contexts/meta").join(&id);
        std::fs::create_dir_all(&meta)?;
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:2376"}}}"#,
        )?;
        let config = folder.path().to_str().ok_or("no text")?;
        let env = [("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "far")];
        assert_eq!(
            chosen(Wishes::default(), &env)?,
            address("tcp://far:2376"),
            "without certificates it is plain"
        );
        let tls = folder.path().join("contexts/tls").join(&id).join("docker");
        std::fs::create_dir_all(&tls)?;
        std::fs::write(tls.join("ca.pem"), "")?;
        std::fs::write(tls.join("cert.pem"), "")?;
        let Choice::Address(found) = chosen(Wishes::default(), &env)? else {
            return Err("no address".into());
        };
        let files = found.tls.ok_or("no TLS")?;
        assert_eq!(files.ca, tls.join("ca.pem"));
        assert_eq!((files.cert, files.key), (Some(tls.join("cert.pem")), None));
        let unknown = Wishes {
            context: Some("near"),
            ..Wishes::default()
        };
        assert!(chosen(unknown, &env).is_err());
        Ok(())
    }

    #[test]
    fn tls_is_spoken_where_it_is_to_be_verified() -> Outcome {
        let env = [
            ("DOCKER_HOST", "tcp://far:2376"),
            ("DOCKER_CERT_PATH", "/certs"),
            ("DOCKER_TLS_VERIFY", "1"),
        ];
        assert_eq!(
            chosen(Wishes::default(), &env[..2])?,
            address("tcp://far:2376")
        );
        let Choice::Address(found) = chosen(Wishes::default(), &env)? else {
            return Err("no address".into());
        };
        assert_eq!(found.tls.ok_or("no TLS")?.ca, Path::new("/certs/ca.pem"));
        Ok(())
    }
}
