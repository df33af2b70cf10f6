//! Services that an external program keeps: `BIN compose --project-name=P up --option=value SERVICE`
//! (behaviours.md B190, B191).

use std::path::PathBuf;
use std::process::Stdio;

use indexmap::IndexMap;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::ApplyError;
use crate::model::{Project, Service};

/// Variables that a provider gives to the services that depend on its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderEnvironment {
    /// Named after the service in the dependants.
    pub prefixed: IndexMap<String, String>,
    /// Named as they are.
    pub raw: IndexMap<String, String>,
}

/// A line that a provider prints.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    message: String,
}

/// What a provider says of itself.
#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    up: CommandMetadata,
    #[serde(default)]
    down: CommandMetadata,
    #[serde(default)]
    stop: Option<CommandMetadata>,
}

#[derive(Debug, Default, Deserialize)]
struct CommandMetadata {
    parameters: Option<Vec<Parameter>>,
}

#[derive(Debug, Deserialize)]
struct Parameter {
    name: String,
    #[serde(default)]
    required: bool,
}

/// Runs the provider of a service; `say` takes what it tells people.
///
/// # Errors
/// When the program is not there, or fails.
pub async fn run_provider(
    project: &Project,
    service: &Service,
    verb: &str,
    say: impl Fn(&str),
) -> Result<ProviderEnvironment, ApplyError> {
    let fail = |message: String| ApplyError::Provider {
        service: service.name.clone(),
        message,
    };
    let Some(provider) = &service.provider else {
        return Ok(ProviderEnvironment::default());
    };
    let program = find_program(&project.environment, &provider.r#type).ok_or_else(|| {
        fail(format!(
            "`{}` is no plugin of docker and not in PATH",
            provider.r#type
        ))
    })?;
    let metadata = metadata(&program, project).await;
    let parameters = match (&metadata, verb) {
        (None, "stop") => return Ok(ProviderEnvironment::default()),
        (None, _) => None,
        (Some(metadata), "up") => Some(&metadata.up),
        (Some(metadata), "stop") => match &metadata.stop {
            Some(stop) => Some(stop),
            None => return Ok(ProviderEnvironment::default()),
        },
        (Some(metadata), _) => Some(&metadata.down),
    }
    .and_then(|command| command.parameters.as_deref())
    .filter(|parameters| !parameters.is_empty());
    for missing in parameters
        .unwrap_or_default()
        .iter()
        .filter(|parameter| parameter.required)
    {
        if !provider.options.contains_key(&missing.name) {
            return Err(fail(format!(
                "required parameter \"{}\" is missing",
                missing.name
            )));
        }
    }
    let mut command = Command::new(&program);
    command.args(["compose", &format!("--project-name={}", project.name), verb]);
    for (name, values) in &provider.options {
        if parameters.is_none_or(|known| known.iter().any(|parameter| parameter.name == *name)) {
            command.args(values.iter().map(|value| format!("--{name}={value}")));
        }
    }
    command.arg(&service.name);
    command
        .current_dir(&project.working_dir)
        .env_clear()
        .envs(&project.environment);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| fail(format!("run `{}`: {error}", program.display())))?;
    let given = read_messages(&mut child, &say).await.map_err(fail)?;
    let status = child
        .wait()
        .await
        .map_err(|error| fail(error.to_string()))?;
    if status.success() {
        Ok(given)
    } else {
        Err(fail(format!("`{}` ended with {status}", program.display())))
    }
}

async fn read_messages(
    child: &mut tokio::process::Child,
    say: &impl Fn(&str),
) -> Result<ProviderEnvironment, String> {
    let mut given = ProviderEnvironment::default();
    let Some(out) = child.stdout.take() else {
        return Ok(given);
    };
    let mut lines = BufReader::new(out).lines();
    while let Some(line) = lines.next_line().await.map_err(|error| error.to_string())? {
        let message: Message = serde_json::from_str(&line)
            .map_err(|error| format!("read its answer `{line}`: {error}"))?;
        match message.kind.as_str() {
            "error" => return Err(message.message),
            "info" => say(&message.message),
            "debug" => tracing::debug!("{}", message.message),
            kind @ ("setenv" | "rawsetenv") => {
                let (key, value) = message
                    .message
                    .split_once('=')
                    .ok_or_else(|| format!("its variable `{}` has no value", message.message))?;
                let map = if kind == "setenv" {
                    &mut given.prefixed
                } else {
                    &mut given.raw
                };
                map.insert(key.to_owned(), value.to_owned());
            }
            other => return Err(format!("its answer has the unknown type `{other}`")),
        }
    }
    Ok(given)
}

async fn metadata(program: &PathBuf, project: &Project) -> Option<Metadata> {
    let mut command = Command::new(program);
    command
        .args(["compose", "metadata"])
        .env_clear()
        .envs(&project.environment);
    command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.ok()?;
    if !output.status.success() {
        return None;
    }
    serde_json::from_slice(&output.stdout).ok()
}

/// A plugin of the docker CLI of this name, or a program in `PATH`.
fn find_program(environment: &IndexMap<String, String>, name: &str) -> Option<PathBuf> {
    let plugins =
        plugin_directories(environment).map(|directory| directory.join(format!("docker-{name}")));
    let path = environment.get("PATH").map_or("", String::as_str);
    let programs = path
        .split(':')
        .map(|directory| PathBuf::from(directory).join(name));
    plugins
        .chain(programs)
        .find(|candidate| candidate.is_file())
}

/// Where the docker CLI looks for its plugins.
pub(super) fn plugin_directories(
    environment: &IndexMap<String, String>,
) -> impl Iterator<Item = PathBuf> + use<> {
    let config = environment.get("DOCKER_CONFIG").map(PathBuf::from);
    let home = environment
        .get("HOME")
        .map(|home| PathBuf::from(home).join(".docker"));
    let usual = [
        "/usr/local/lib/docker/cli-plugins",
        "/usr/local/libexec/docker/cli-plugins",
        "/usr/lib/docker/cli-plugins",
        "/usr/libexec/docker/cli-plugins",
    ];
    config
        .or(home)
        .map(|directory| directory.join("cli-plugins"))
        .into_iter()
        .chain(usual.map(PathBuf::from))
}
