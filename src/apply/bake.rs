//! Builds with `BuildKit`: the docker CLI's buildx plugin is told what to build (behaviours.md B204, B206, B208).
//!
//! The engine's own builder knows neither build secrets, SSH agents, further contexts nor caches; where the plugin is
//! there, it is used, as docker compose does.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::build::NO_MEMORY;
use super::scheduler::Run;
use super::{ApplyError, ApplyEvent, BuildSettings};
use crate::model::{Build, FileReference, Project, Ulimit};
use crate::plan::BuildImage;

const TARGET: &str = "image";

/// The plugin, where it may be used: on Docker, unless `DOCKER_BUILDKIT=0`.
pub(super) fn find_plugin(run: &Run) -> Option<PathBuf> {
    let environment = &run.options.model.environment;
    let forced_classic = environment
        .get("DOCKER_BUILDKIT")
        .is_some_and(|value| value == "0");
    if forced_classic || !run.engine.info().product.eq_ignore_ascii_case("docker") {
        return None;
    }
    super::provider::plugin_directories(environment)
        .map(|directory| directory.join("docker-buildx"))
        .find(|candidate| candidate.is_file())
}

/// A line of a build that may make several images.
fn tell(run: &Run, line: &str) {
    run.tell(ApplyEvent::BuildOutput {
        image: String::new(),
        line: line.to_owned(),
    });
}

pub(super) async fn build(run: &Run, plugin: &Path, build: &BuildImage) -> Result<(), ApplyError> {
    let fail = |message: String| ApplyError::Build {
        image: build.image.clone(),
        message,
    };
    let settings = &run.options.build;
    if settings.memory.is_some() {
        run.tell(ApplyEvent::Warning(NO_MEMORY.to_owned()));
    }
    let target = target(&run.options.model, settings, build);
    let definition =
        json!({ "group": { "default": { "targets": [TARGET] } }, "target": { TARGET: target } });
    let definition = definition.to_string();
    let mut command = bake_command(run, build, plugin);
    let mut child = command
        .spawn()
        .map_err(|error| fail(format!("run `{}`: {error}", plugin.display())))?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(definition.as_bytes())
            .await
            .map_err(|error| fail(error.to_string()))?;
    }
    let findings = tokio::spawn(findings(child.stdout.take()));
    let mut last = Vec::new();
    if let Some(output) = child.stderr.take() {
        let mut lines = BufReader::new(output).lines();
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line.map_err(|error| fail(error.to_string()))?,
                () = run.options.cancel.cancelled() => return Err(ApplyError::Cancelled),
            };
            let Some(line) = line else { break };
            if !run.options.build.quiet {
                tell(run, &line);
            }
            last.push(line);
        }
    }
    let findings = findings.await.unwrap_or_default();
    for line in findings.lines().filter(|_| settings.check) {
        tell(run, line);
    }
    let status = child
        .wait()
        .await
        .map_err(|error| fail(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let error = last
        .iter()
        .rev()
        .find(|line| line.starts_with("ERROR:"))
        .cloned();
    Err(fail(error.unwrap_or_else(|| {
        last.split_off(last.len().saturating_sub(5)).join("\n")
    })))
}

/// The plugin's call: it reads the definition, and tells on standard error how the build goes.
fn bake_command(run: &Run, build: &BuildImage, plugin: &Path) -> Command {
    let mut command = Command::new(plugin);
    command.args([
        "bake",
        "--file",
        "-",
        "--progress",
        "plain",
        "--allow",
        "fs=*",
    ]);
    if let Some(builder) = &run.options.build.builder {
        command.args(["--builder", builder]);
    }
    if build.build.privileged {
        command.args(["--allow", "security.insecure"]);
    }
    for entitlement in &build.build.entitlements {
        command.args(["--allow", entitlement]);
    }
    command
        .env_clear()
        .envs(&run.options.model.environment)
        .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0");
    if let Some(endpoint) = &run.options.engine_address {
        command.env("DOCKER_HOST", &endpoint.address);
        if let Some(folder) = endpoint.tls.as_ref().and_then(|tls| tls.ca.parent()) {
            command
                .env("DOCKER_TLS_VERIFY", "1")
                .env("DOCKER_CERT_PATH", folder);
        }
    }
    command.current_dir(&run.options.model.working_dir);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What `--check` found is on standard output; of a build nothing is.
async fn findings(output: Option<tokio::process::ChildStdout>) -> String {
    let mut text = String::new();
    if let Some(mut output) = output {
        // What cannot be read is not told.
        drop(output.read_to_string(&mut text).await);
    }
    text
}

/// What the plugin would be given for several builds at once, for `build --print`.
#[must_use]
pub fn bake_definition(
    project: &Project,
    settings: &BuildSettings,
    builds: &[&BuildImage],
) -> Value {
    // The plugin's names have no dots (behaviours.md B206).
    let name = |build: &BuildImage| build.service.replace('.', "_");
    let names: Vec<_> = builds.iter().map(|build| name(build)).collect();
    let targets = builds
        .iter()
        .map(|build| (name(build), target(project, settings, build)));
    let targets: Map<String, Value> = targets.collect();
    json!({ "group": { "default": { "targets": names } }, "target": targets })
}

/// The definition of one image.
fn target(project: &Project, settings: &BuildSettings, build: &BuildImage) -> Value {
    let section = &build.build;
    let mut target = Map::new();
    let mut set = |key: &str, value: Value| {
        let empty = value.is_null()
            || value == json!("")
            || value == json!(false)
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty);
        if !empty {
            target.insert(key.to_owned(), value);
        }
    };
    set("context", json!(section.context));
    set("contexts", contexts(project, section));
    if section.dockerfile_inline.is_empty() {
        set("dockerfile", json!(dockerfile(section)));
    } else {
        set(
            "dockerfile-inline",
            json!(escape(&section.dockerfile_inline)),
        );
    }
    set("args", arguments(project, settings, section));
    set("labels", json!(build.labels));
    set("tags", json!(build.tags()));
    set("cache-from", json!(section.cache_from));
    set("cache-to", json!(section.cache_to));
    set("target", json!(section.target));
    set("secret", secrets(project, &section.secrets));
    set("ssh", json!(section.ssh));
    set("platforms", json!(build.platforms()));
    set("no-cache", json!(section.no_cache || settings.no_cache));
    set("no-cache-filter", json!(section.no_cache_filter));
    set("pull", json!(section.pull || settings.pull));
    set(
        "shm-size",
        json!(section.shm_size.map(|size| size.0.to_string())),
    );
    set("ulimits", ulimits(section));
    set("network", json!(section.network));
    set("extra-hosts", extra_hosts(section));
    set("entitlements", json!(section.entitlements));
    set("attest", attestations(section));
    if settings.check {
        set("call", json!("lint"));
    } else {
        set("output", json!(["type=docker"]));
    }
    Value::Object(target)
}

/// What the image says about its own making.
fn attestations(section: &Build) -> Value {
    let kinds = [("provenance", &section.provenance), ("sbom", &section.sbom)];
    let wanted = kinds
        .into_iter()
        .filter_map(|(kind, wish)| match wish.as_str() {
            "" | "false" => None,
            "true" => Some(format!("type={kind}")),
            options => Some(format!("type={kind},{options}")),
        });
    json!(wanted.collect::<Vec<_>>())
}

/// The plugin substitutes variables of its own.
fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

fn dockerfile(section: &Build) -> String {
    let remote = section.context.contains("://") || section.context.starts_with("git@");
    if section.dockerfile.is_empty() || remote {
        return section.dockerfile.clone();
    }
    PathBuf::from(&section.context)
        .join(&section.dockerfile)
        .to_string_lossy()
        .into_owned()
}

/// A context `service:NAME` is the image of that service, which the plan has built before.
fn contexts(project: &Project, section: &Build) -> Value {
    let contexts = section.additional_contexts.iter().map(|(name, context)| {
        let context = context
            .strip_prefix("service:")
            .and_then(|other| project.find_service(other))
            .map(|other| {
                format!(
                    "docker-image://{}",
                    crate::plan::resolve::image_name(project, other, '-')
                )
            });
        (
            name.clone(),
            json!(
                context
                    .as_ref()
                    .unwrap_or(&section.additional_contexts[name])
            ),
        )
    });
    Value::Object(contexts.collect())
}

fn arguments(project: &Project, settings: &BuildSettings, section: &Build) -> Value {
    let given = section.args.iter().chain(&settings.args);
    let arguments = given.filter_map(|(name, value)| {
        let value = value.as_ref().or_else(|| project.environment.get(name))?;
        Some((name.clone(), json!(escape(value))))
    });
    Value::Object(arguments.collect())
}

fn secrets(project: &Project, references: &[FileReference]) -> Value {
    let secrets = references.iter().filter_map(|reference| {
        let object = project.secrets.get(&reference.source)?;
        let id = if reference.target.is_empty() {
            &reference.source
        } else {
            &reference.target
        };
        let source = if object.environment.is_empty() {
            format!("type=file,src={}", object.file)
        } else {
            format!("type=env,env={}", object.environment)
        };
        Some(json!(format!("id={id},{source}")))
    });
    Value::Array(secrets.collect())
}

fn ulimits(section: &Build) -> Value {
    let limits = section.ulimits.iter().map(|(name, limit)| match limit {
        Ulimit::Single(value) => json!(format!("{name}={value}")),
        Ulimit::Range { soft, hard } => json!(format!("{name}={soft}:{hard}")),
    });
    Value::Array(limits.collect())
}

fn extra_hosts(section: &Build) -> Value {
    let hosts = section
        .extra_hosts
        .iter()
        .map(|(host, addresses)| (host.clone(), json!(addresses.join(","))));
    Value::Object(hosts.collect())
}
