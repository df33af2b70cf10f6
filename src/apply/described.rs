//! Builds on hoist's own engine: one JSON description with everything that the file says (`POST /hoist/build`).
//!
//! The engine is on this machine and reads the context where it is, so nothing is packed or sent. Secrets are read here,
//! and go with the description; SSH keys stay in an agent, whose socket the engine mounts.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::agent::Agent;
use super::build::wants;
use super::build_lines::BuildLines;
use super::context::ContextError;
use super::scheduler::Run;
use super::{ApplyError, ApplyEvent};
use crate::engine::EngineError;
use crate::model::{Build, Project, Ulimit};
use crate::plan::BuildImage;

pub(super) async fn build(run: &Run, build: &BuildImage) -> Result<(), ApplyError> {
    let fail = |message: String| ApplyError::Build {
        image: build.image.clone(),
        message,
    };
    warn_of_unsupported(run, &build.build);
    let (agents, _running) = agents(run, &build.build).await.map_err(fail)?;
    let description = describe(run, build, &agents)?;
    let refused = |error| EngineError {
        resource: build.image.clone(),
        ..error
    };
    let begun = run.engine.build_described(&description).await;
    let mut stream = begun.map_err(refused)?;
    let mut lines = BuildLines::new(build.build.dockerfile.as_str());
    while let Some(item) = run.next(&mut stream).await? {
        for line in lines.take(&item) {
            if !run.options.build.quiet {
                run.tell(ApplyEvent::BuildOutput {
                    image: build.image.clone(),
                    line,
                });
            }
        }
    }
    match lines.into_failure(run.options.build.quiet) {
        Some(message) => Err(fail(message)),
        None => Ok(()),
    }
}

/// What the file asks for and this engine has not.
fn warn_of_unsupported(run: &Run, section: &Build) {
    let attestations = [("provenance", &section.provenance), ("sbom", &section.sbom)];
    for (name, value) in attestations {
        if wants(value) {
            run.tell(ApplyEvent::Warning(format!(
                "build.{name} is not supported by the built-in engine: the image gets no attestation"
            )));
        }
    }
    if !matches!(section.isolation.as_str(), "" | "default") {
        run.tell(ApplyEvent::Warning(format!(
            "build.isolation `{}` is a setting of Windows: ignored",
            section.isolation
        )));
    }
}

fn describe(
    run: &Run,
    build: &BuildImage,
    agents: &BTreeMap<String, PathBuf>,
) -> Result<Value, ApplyError> {
    let section = &build.build;
    let (project, settings) = (&run.options.model, &run.options.build);
    let (dockerfile, ignore) = dockerfile(section)?;
    Ok(json!({
        "context": main_context(section)?,
        "contexts": contexts(project, section)?,
        "dockerfile": dockerfile,
        "ignore": ignore,
        "tags": build.tags(),
        "args": arguments(run, section),
        "labels": build.labels,
        "target": section.target,
        "platforms": build.platforms(),
        "network": section.network,
        "extra_hosts": extra_hosts(section),
        "shm_size": section.shm_size.and_then(|size| u64::try_from(size.0).ok()),
        "ulimits": ulimits(section),
        "no_cache": section.no_cache || settings.no_cache,
        "no_cache_stages": section.no_cache_filter,
        "pull": section.pull || settings.pull,
        "secrets": secrets(project, section)?,
        "ssh": agents,
        "entitlements": entitlements(section),
        "cache_from": caches(&section.cache_from, &project.working_dir),
        "cache_to": caches(&section.cache_to, &project.working_dir),
    }))
}

fn is_remote(context: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"]
        .iter()
        .any(|scheme| context.starts_with(scheme))
        || (context.starts_with("github.com/") && !Path::new(context).exists())
}

fn main_context(section: &Build) -> Result<Value, ContextError> {
    if is_remote(&section.context) {
        return Ok(json!({ "remote": with_scheme(&section.context) }));
    }
    directory(&section.context)
}

/// `github.com/…` without a scheme is a repository.
fn with_scheme(context: &str) -> String {
    match context.strip_prefix("github.com/") {
        Some(rest) => {
            let (path, fragment) = rest.split_once('#').unwrap_or((rest, ""));
            let path = path.strip_suffix(".git").unwrap_or(path);
            format!("https://github.com/{path}.git#{fragment}")
        }
        None => context.to_owned(),
    }
}

/// A directory with what tells it from others: the engine has to see the same one.
fn directory(path: &str) -> Result<Value, ContextError> {
    let read = |source| ContextError::Read {
        path: PathBuf::from(path),
        source,
    };
    let absolute = std::fs::canonicalize(path).map_err(read)?;
    let found = std::fs::metadata(&absolute).map_err(read)?;
    if !found.is_dir() {
        return Err(read(std::io::ErrorKind::NotADirectory.into()));
    }
    Ok(json!({ "directory": {
        "path": absolute.to_string_lossy(),
        "device": found.dev(),
        "inode": found.ino(),
    }}))
}

/// The Dockerfile, and the rules that come with one from outside of the context.
fn dockerfile(section: &Build) -> Result<(Value, Option<String>), ContextError> {
    if !section.dockerfile_inline.is_empty() {
        return Ok((json!({ "text": section.dockerfile_inline }), None));
    }
    let name = if section.dockerfile.is_empty() {
        "Dockerfile"
    } else {
        &section.dockerfile
    };
    if is_remote(&section.context) {
        return Ok((json!({ "path": name }), None));
    }
    let root = std::fs::canonicalize(&section.context).unwrap_or_default();
    let path = root.join(name);
    let inside = std::fs::canonicalize(&path).ok().and_then(|path| {
        Some(
            path.strip_prefix(&root)
                .ok()?
                .to_string_lossy()
                .into_owned(),
        )
    });
    if let Some(inside) = inside {
        return Ok((json!({ "path": inside }), None));
    }
    if !path.exists() && name == "Dockerfile" {
        // The engine looks for other spellings, and says what it has not found.
        return Ok((json!({ "path": name }), None));
    }
    let text = std::fs::read_to_string(&path).map_err(|source| ContextError::Dockerfile {
        path: path.clone(),
        source,
    })?;
    let rules = std::fs::read_to_string(format!("{}.dockerignore", path.display())).ok();
    Ok((json!({ "text": text }), rules))
}

/// Further contexts: directories, images, addresses; `service:NAME` is the image of that service, which the plan has
/// built before.
fn contexts(project: &Project, section: &Build) -> Result<Value, ApplyError> {
    let mut contexts = Map::new();
    for (name, context) in &section.additional_contexts {
        let place = if let Some(image) = context.strip_prefix("docker-image://") {
            json!({ "image": image })
        } else if let Some(service) = context
            .strip_prefix("service:")
            .and_then(|other| project.find_service(other))
        {
            json!({ "image": crate::plan::resolve::image_name(project, service, '-') })
        } else if is_remote(context) {
            json!({ "remote": with_scheme(context) })
        } else if let Some((scheme, _)) = context.split_once("://") {
            return Err(ApplyError::Context(ContextError::Scheme {
                name: name.clone(),
                scheme: scheme.to_owned(),
            }));
        } else {
            directory(context)?
        };
        contexts.insert(name.clone(), place);
    }
    Ok(Value::Object(contexts))
}

/// Build arguments; one without a value has that of the environment, or is unset. The time of a reproducible build is
/// taken from the environment, as buildx does.
fn arguments(run: &Run, section: &Build) -> BTreeMap<String, String> {
    let environment = &run.options.model.environment;
    let given = section.args.iter().chain(&run.options.build.args);
    let mut arguments: BTreeMap<String, String> = given
        .filter_map(|(name, value)| {
            let value = value.as_ref().or_else(|| environment.get(name))?;
            Some((name.clone(), value.clone()))
        })
        .collect();
    if let Some(epoch) = environment.get("SOURCE_DATE_EPOCH") {
        arguments
            .entry("SOURCE_DATE_EPOCH".to_owned())
            .or_insert_with(|| epoch.clone());
    }
    arguments
}

fn extra_hosts(section: &Build) -> Vec<String> {
    let pairs = section.extra_hosts.iter().flat_map(|(host, addresses)| {
        addresses
            .iter()
            .map(move |address| format!("{host}={address}"))
    });
    pairs.collect()
}

fn ulimits(section: &Build) -> Vec<String> {
    let limits = section.ulimits.iter().map(|(name, limit)| match limit {
        Ulimit::Single(value) => format!("{name}={value}"),
        Ulimit::Range { soft, hard } => format!("{name}={soft}:{hard}"),
    });
    limits.collect()
}

/// `privileged: true` allows all; `network: host` is a wish for it already.
fn entitlements(section: &Build) -> Vec<String> {
    let mut entitlements = section.entitlements.clone();
    if section.privileged {
        entitlements.push("security.insecure".to_owned());
    }
    if section.network == "host" || section.privileged {
        entitlements.push("network.host".to_owned());
    }
    entitlements
}

/// Caches; the engine has another working directory, so their directories are given from the root.
fn caches(texts: &[String], working_dir: &Path) -> Vec<String> {
    let absolute = |part: &str| match part.split_once('=') {
        Some((name @ ("src" | "dest"), path)) => {
            format!("{name}={}", working_dir.join(path).display())
        }
        _ => part.to_owned(),
    };
    let whole = |text: &String| text.split(',').map(absolute).collect::<Vec<_>>().join(",");
    texts.iter().map(whole).collect()
}

/// The contents of the secrets by id, in base64.
fn secrets(project: &Project, section: &Build) -> Result<BTreeMap<String, String>, ApplyError> {
    let mut secrets = BTreeMap::new();
    for reference in &section.secrets {
        let Some(object) = project.secrets.get(&reference.source) else {
            continue;
        };
        let id = if reference.target.is_empty() {
            &reference.source
        } else {
            &reference.target
        };
        let content = if !object.environment.is_empty() {
            let value = project.environment.get(&object.environment);
            value.cloned().unwrap_or_default().into_bytes()
        } else if object.file.is_empty() {
            object.content.clone().into_bytes()
        } else {
            std::fs::read(&object.file).map_err(|source| ApplyError::ReadFile {
                path: object.file.clone(),
                source,
            })?
        };
        secrets.insert(id.clone(), STANDARD.encode(content));
    }
    Ok(secrets)
}

/// The sockets of the agents by id, and the agents that were started for key files: they end with the build.
async fn agents(
    run: &Run,
    section: &Build,
) -> Result<(BTreeMap<String, PathBuf>, Vec<Agent>), String> {
    let environment = &run.options.model.environment;
    let (mut sockets, mut running) = (BTreeMap::new(), Vec::new());
    for entry in &section.ssh {
        let (id, path) = entry.split_once('=').unwrap_or((entry, ""));
        let socket = if path.is_empty() {
            let socket = environment
                .get("SSH_AUTH_SOCK")
                .filter(|path| !path.is_empty());
            PathBuf::from(socket.ok_or_else(|| {
                format!("ssh `{id}` needs an agent, and SSH_AUTH_SOCK is not set: start one, or name a key file")
            })?)
        } else if super::agent::is_socket(Path::new(path)) {
            PathBuf::from(path)
        } else {
            let agent = Agent::start(id, Path::new(path), environment).await?;
            let socket = agent.socket().to_owned();
            running.push(agent);
            socket
        };
        sockets.insert(id.to_owned(), socket);
    }
    Ok((sockets, running))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_directories() {
        assert!(is_remote("https://example.org/a.git#main"));
        assert!(is_remote("git@example.org:a/b"));
        assert!(!is_remote("./a") && !is_remote("/a/b"));
        assert_eq!(
            with_scheme("github.com/a/b#main"),
            "https://github.com/a/b.git#main"
        );
    }

    #[test]
    fn a_dockerfile_from_elsewhere_comes_with_its_own_rules()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let context = folder.path().join("context");
        std::fs::create_dir(&context)?;
        std::fs::write(context.join("Dockerfile"), "FROM scratch\n")?;
        std::fs::write(folder.path().join("other"), "FROM other\n")?;
        std::fs::write(folder.path().join("other.dockerignore"), "x\n")?;
        let section = |dockerfile: &str| Build {
            context: context.to_string_lossy().into_owned(),
            dockerfile: dockerfile.to_owned(),
            ..Build::default()
        };
        assert_eq!(
            dockerfile(&section(""))?,
            (json!({ "path": "Dockerfile" }), None)
        );
        assert_eq!(
            dockerfile(&section("../other"))?,
            (json!({ "text": "FROM other\n" }), Some("x\n".to_owned()))
        );
        assert!(dockerfile(&section("../missing")).is_err());
        Ok(())
    }

    #[test]
    fn directories_of_caches_are_given_from_the_root() {
        let texts = [
            "host/a:b".to_owned(),
            "type=local,dest=c,mode=max".to_owned(),
        ];
        assert_eq!(
            caches(&texts, Path::new("/p")),
            ["host/a:b", "type=local,dest=/p/c,mode=max"]
        );
    }

    #[test]
    fn a_privileged_build_is_allowed_everything() {
        let section = Build {
            privileged: true,
            ..Build::default()
        };
        assert_eq!(
            entitlements(&section),
            ["security.insecure", "network.host"]
        );
        assert!(entitlements(&Build::default()).is_empty());
    }
}
