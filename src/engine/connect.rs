//! Chooses and opens an engine: the only file of the layer that names backends.
//!
//! The choice is pure: a flag, the environment and the name the program was started by go in, an address comes out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

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
    /// The one that listens here (`unix://…`, `tcp://…`, `http://…`).
    Address(String),
}

const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";

/// Chooses an engine: `--engine`, then `HOIST_ENGINE`, then `DOCKER_HOST`, then (as a stand-in for docker) the docker
/// context, else the one built in.
///
/// # Errors
/// Where the name is unknown, or the docker context cannot be read.
pub fn choose(
    flag: Option<&str>,
    environment: &IndexMap<String, String>,
    invoked_as: InvokedAs,
) -> EngineResult<Choice> {
    let variable = |name: &str| {
        environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    if let Some(name) = flag.or_else(|| variable("HOIST_ENGINE")) {
        return by_name(name, environment);
    }
    if let Some(host) = variable("DOCKER_HOST") {
        return Ok(Choice::Address(host.to_owned()));
    }
    match invoked_as {
        InvokedAs::Hoist => Ok(Choice::BuiltIn),
        InvokedAs::DockerCompose => docker_address(environment).map(Choice::Address),
    }
}

fn by_name(name: &str, environment: &IndexMap<String, String>) -> EngineResult<Choice> {
    match name {
        "hoist" | "builtin" | "built-in" => Ok(Choice::BuiltIn),
        "docker" => docker_address(environment).map(Choice::Address),
        "podman" => Ok(Choice::Address(podman_address(environment))),
        address if address.contains("://") => Ok(Choice::Address(address.to_owned())),
        path if path.starts_with('/') => Ok(Choice::Address(format!("unix://{path}"))),
        other => Err(EngineError::new(
            "choose engine",
            other,
            EngineErrorKind::Invalid,
            "it is none of docker, podman, hoist, and no address such as unix:///run/docker.sock",
        )),
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

/// Where docker's own settings point: `DOCKER_HOST`, else the current context, else the default socket.
fn docker_address(environment: &IndexMap<String, String>) -> EngineResult<String> {
    if let Some(host) = environment
        .get("DOCKER_HOST")
        .filter(|host| !host.is_empty())
    {
        return Ok(host.clone());
    }
    let folder = match (environment.get("DOCKER_CONFIG"), environment.get("HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => Path::new(home).join(".docker"),
        (None, None) => return Ok(DOCKER_SOCKET.to_owned()),
    };
    let context = environment
        .get("DOCKER_CONTEXT")
        .cloned()
        .or_else(|| current_context(&folder))
        .filter(|name| !name.is_empty() && name != "default");
    match context {
        Some(name) => context_address(&folder, &name),
        None => Ok(DOCKER_SOCKET.to_owned()),
    }
}

fn current_context(folder: &Path) -> Option<String> {
    let text = std::fs::read(folder.join("config.json")).ok()?;
    let config: Value = serde_json::from_slice(&text).ok()?;
    config["currentContext"].as_str().map(str::to_owned)
}

fn context_address(folder: &Path, name: &str) -> EngineResult<String> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        EngineError::new(
            "read docker context",
            name,
            EngineErrorKind::NotFound,
            source,
        )
    };
    let id = hex::encode(Sha256::digest(name.as_bytes()));
    let path = folder.join("contexts/meta").join(id).join("meta.json");
    let text = std::fs::read(&path).map_err(|error| failed(error.into()))?;
    let meta: Value = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    meta["Endpoints"]["docker"]["Host"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| failed("it names no docker host".into()))
}

/// Opens the engine that listens at an address and agrees on an API version with it; the keyring opens registries.
///
/// # Errors
/// Where the address is not understood or nothing answers.
pub async fn connect(address: &str, keyring: Arc<dyn Keyring>) -> EngineResult<Arc<dyn Engine>> {
    Ok(Arc::new(
        docker::DockerEngine::connect(address, keyring).await?,
    ))
}

#[cfg(test)]
mod tests {
    use super::{Choice, InvokedAs, choose};
    use indexmap::IndexMap;

    fn environment(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn address(text: &str) -> Choice {
        Choice::Address(text.to_owned())
    }

    #[test]
    fn the_flag_wins_over_the_environment() -> super::EngineResult<()> {
        let env = environment(&[("HOIST_ENGINE", "docker"), ("DOCKER_HOST", "unix:///d")]);
        let choice = choose(Some("unix:///x"), &env, InvokedAs::Hoist)?;
        assert_eq!(choice, address("unix:///x"));
        assert_eq!(choose(None, &env, InvokedAs::Hoist)?, address("unix:///d"));
        Ok(())
    }

    #[test]
    fn without_any_wish_the_built_in_engine_is_used() -> super::EngineResult<()> {
        let env = environment(&[("DOCKER_HOST", "")]);
        assert_eq!(choose(None, &env, InvokedAs::Hoist)?, Choice::BuiltIn);
        Ok(())
    }

    #[test]
    fn as_docker_compose_the_default_socket_is_used() -> super::EngineResult<()> {
        let choice = choose(None, &environment(&[]), InvokedAs::DockerCompose)?;
        assert_eq!(choice, address("unix:///var/run/docker.sock"));
        Ok(())
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(choose(Some("dokcer"), &environment(&[]), InvokedAs::Hoist).is_err());
    }
}
