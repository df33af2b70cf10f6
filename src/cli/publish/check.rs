//! What a project should not hold when it is published: found first, asked about then (behaviours.md B304).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hoist::load::Node;
use hoist::model::{Mount, MountKind, Project};

use super::file::Written;
use super::secret::{Detected, Detector};
use crate::cli::CommandError;

/// The environment of services, as far as publishing it should be thought over.
#[derive(Debug, Default)]
struct Environment {
    env_file: bool,
    suspicious: BTreeSet<String>,
}

/// Services that could be built only by who has their sources.
pub(super) fn refuse_build_only(project: &Project) -> Result<(), CommandError> {
    let built: Vec<_> = project
        .services
        .values()
        .filter(|service| service.image.is_empty() && service.build.is_some())
        .map(|service| format!("- {:?}", service.name))
        .collect();
    if built.is_empty() {
        return Ok(());
    }
    Err(CommandError::user(format!(
        "your Compose stack cannot be published as it only contains a build section for service(s):\n{}\n",
        built.join("\n")
    )))
}

/// Files of this machine that others will not have.
pub(super) fn refuse_local_includes(files: &[Written]) -> Result<(), CommandError> {
    if files.iter().any(Written::includes_locally) {
        return Err(
            CommandError::user("cannot publish compose file with local includes")
                .hinted("publish what `hoist config` prints, or include an oci:// artifact"),
        );
    }
    Ok(())
}

/// The question about bind mounts.
pub(super) fn bind_mounts(project: &Project) -> Option<String> {
    let mut lines = String::new();
    for service in project.services.values() {
        let binds = service.volumes.iter();
        for mount in binds.filter(|mount| mount.kind == MountKind::Bind) {
            lines.push_str(&format!("{}{}\n", service.name, short(mount)));
        }
    }
    (!lines.is_empty()).then(|| {
        format!(
            "you are about to publish bind mounts declaration within your OCI artifact.\n\
             only the bind mount declarations will be added to the OCI artifact (not content)\n\
             please double check that you are not mounting potential user's sensitive directories or data\n\
             {lines}Are you ok to publish these bind mount declarations?"
        )
    })
}

fn short(mount: &Mount) -> String {
    let mode = if mount.read_only { "ro" } else { "rw" };
    format!(" {}:{}:{mode}", mount.source, mount.target)
}

/// The question about values that look secret.
pub(super) fn sensitive_data(
    project: &Project,
    files: &[Written],
    detector: &Detector,
) -> Result<Option<String>, CommandError> {
    let mut found: Vec<Detected> = files
        .iter()
        .flat_map(Written::values)
        .filter_map(|(key, value)| detector.value(&key, &value))
        .collect();
    for path in read_by_services(project, files) {
        match std::fs::read(&path) {
            Ok(text) => found.extend(detector.text(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(CommandError::user(format!(
                    "cannot look for secrets in `{path}`: {error}"
                )));
            }
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let hits: Vec<_> = found
        .iter()
        .map(|hit| format!("{}\n{:?}: {}\n", hit.kind, hit.key, hit.value))
        .collect();
    let lines = hits.concat();
    Ok(Some(format!(
        "you are about to publish sensitive data within your OCI artifact.\n\
         please double check that you are not leaking sensitive data\n\
         {lines}Are you ok to publish these sensitive data?"
    )))
}

/// Env files, and the files of configs and secrets.
fn read_by_services(project: &Project, files: &[Written]) -> BTreeSet<String> {
    let env_files = files.iter().flat_map(|file| {
        let services = file.services();
        services.flat_map(|(_, service)| file.env_files(service))
    });
    let env_files = env_files.map(|named| named.path.display().to_string());
    let objects = project.configs.values().chain(project.secrets.values());
    let contents = objects.map(|object| object.file.clone());
    env_files
        .chain(contents)
        .filter(|path| !path.is_empty() && !Path::new(path).is_dir())
        .collect()
}

/// The question about env files and literal values of variables whose names say that they are secret.
pub(super) fn environment(files: &[Written], detector: &Detector) -> Option<String> {
    let mut services: BTreeMap<&str, Environment> = BTreeMap::new();
    for file in files {
        for (name, service) in file.services() {
            let suspicious: BTreeSet<String> = variables(service)
                .into_iter()
                .filter(|(key, value)| detector.is_suspicious(key, value))
                .map(|(key, _)| key)
                .collect();
            let env_file = service.find("env_file").is_some_and(|node| !node.is_null());
            if env_file || !suspicious.is_empty() {
                let known = services.entry(name).or_default();
                known.env_file |= env_file;
                known.suspicious.extend(suspicious);
            }
        }
    }
    if services.is_empty() {
        return None;
    }
    let mut lines = String::new();
    for (name, found) in services {
        if found.env_file {
            lines.push_str(&format!("  service {name:?}: env_file declared\n"));
        }
        if !found.suspicious.is_empty() {
            let keys: Vec<String> = found
                .suspicious
                .iter()
                .map(|key| format!("{key:?}"))
                .collect();
            lines.push_str(&format!(
                "  service {name:?}: literal value for {}\n",
                keys.join(", ")
            ));
        }
    }
    Some(format!(
        "you are about to publish env-related declarations within your OCI artifact.\n\
         env_file paths and literal values for sensitive-looking keys are embedded as-is in the published YAML;\n\
         interpolated values like \"${{VAR}}\" are kept symbolic and have already been excluded.\n\
         {lines}Use --with-env to silence this prompt and always publish env declarations.\n\
         Are you ok to publish these env declarations?"
    ))
}

/// The variables of a service that have a value.
fn variables(service: &Node) -> Vec<(String, String)> {
    let Some(environment) = service.find("environment") else {
        return Vec::new();
    };
    if let Some(map) = environment.as_map() {
        let pairs = map.iter();
        return pairs
            .filter_map(|(key, value)| Some((key.to_string(), value.scalar_text()?)))
            .collect();
    }
    let entries = environment.as_list().unwrap_or_default().iter();
    entries
        .filter_map(|entry| entry.as_text()?.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The question about configs whose content stands in the file.
pub(super) fn config_content(files: &[Written], detector: &Detector) -> Option<String> {
    let literal: BTreeSet<&str> = files
        .iter()
        .flat_map(|file| file.resources("configs"))
        .filter(|(_, config)| {
            let content = config.find("content").and_then(Node::scalar_text);
            content.is_some_and(|content| detector.is_literal(content.trim()))
        })
        .map(|(name, _)| name)
        .collect();
    if literal.is_empty() {
        return None;
    }
    let named: Vec<_> = literal
        .iter()
        .map(|name| format!("  config {name:?}\n"))
        .collect();
    let lines = named.concat();
    Some(format!(
        "you are about to publish literal inline config content within your OCI artifact.\n\
         {lines}Are you ok to publish these config contents?"
    ))
}
