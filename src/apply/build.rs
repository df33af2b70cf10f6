//! Builds: on Docker with `BuildKit` where its plugin is, on hoist's own engine by a description, else through the
//! engine's classic builder.

use serde_json::Value;

use super::scheduler::Run;
use super::{ApplyError, ApplyEvent, bake, context, described, image};
use crate::engine::BuildRequest;
use crate::plan::BuildImage;

pub(super) async fn build(run: &Run, build: &BuildImage) -> Result<(), ApplyError> {
    if let Some(plugin) = bake::find_plugin(run) {
        return bake::build(run, &plugin, build).await;
    }
    let settings = &run.options.build;
    if settings.check {
        return Err(ApplyError::Build {
            image: build.image.clone(),
            message: "--check needs BuildKit: a Docker engine, and docker's buildx plugin"
                .to_owned(),
        });
    }
    if settings.builder.is_some() {
        run.tell(ApplyEvent::Warning(
            "--builder is for BuildKit, which builds on Docker with docker's buildx plugin"
                .to_owned(),
        ));
    }
    if run.engine.info().product == "hoist" {
        if settings.memory.is_some() {
            run.tell(ApplyEvent::Warning(NO_MEMORY.to_owned()));
        }
        return described::build(run, build).await;
    }
    refuse_unsupported(build)?;
    let request = request(run, build).await?;
    let mut stream = run.engine.build_image(&request).await?;
    let mut last = Vec::new();
    while let Some(item) = run.next(&mut stream).await? {
        if let Some(message) = image::find_error(&item) {
            return Err(ApplyError::Build {
                image: build.image.clone(),
                message: with_output(&last, &message, run.options.build.quiet),
            });
        }
        let Some(text) = item.get("stream").and_then(Value::as_str) else {
            continue;
        };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            last.push(line.to_owned());
            if !run.options.build.quiet {
                run.tell(ApplyEvent::BuildOutput {
                    image: build.image.clone(),
                    line: line.to_owned(),
                });
            }
        }
    }
    // The engine's own builder gives one name only.
    for tag in request.tags.iter().skip(1) {
        run.engine.tag_image(&build.image, tag).await?;
    }
    Ok(())
}

/// Said where a builder has no such limit.
pub(super) const NO_MEMORY: &str = "--memory is only honoured by an engine's classic builder";

/// The classic builder would build another image without a word, so what it cannot do is refused.
fn refuse_unsupported(build: &BuildImage) -> Result<(), ApplyError> {
    let section = &build.build;
    let wishes = [
        (section.platforms.len() > 1, "multi-arch build"),
        (section.privileged, "privileged mode"),
        (
            !section.additional_contexts.is_empty(),
            "additional contexts",
        ),
        (!section.ssh.is_empty(), "SSH keys"),
        (!section.secrets.is_empty(), "secrets"),
        (wants(&section.provenance), "provenance"),
        (wants(&section.sbom), "an SBOM"),
    ];
    match wishes.iter().find(|(wished, _)| *wished) {
        None => Ok(()),
        Some((_, what)) => Err(ApplyError::Build {
            image: build.image.clone(),
            message: format!(
                "the classic builder doesn't support {what}, set DOCKER_BUILDKIT=1 to use BuildKit"
            ),
        }),
    }
}

/// Whether an attestation is asked for.
pub(super) fn wants(attestation: &str) -> bool {
    !matches!(attestation, "" | "false")
}

/// A quiet build that fails says at least what it printed last.
fn with_output(lines: &[String], message: &str, quiet: bool) -> String {
    if !quiet || lines.is_empty() {
        return message.to_owned();
    }
    let tail = lines
        .iter()
        .rev()
        .take(10)
        .rev()
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    format!("{message}\n{tail}")
}

async fn request(run: &Run, build: &BuildImage) -> Result<BuildRequest, ApplyError> {
    let section = build.build.clone();
    let packed = {
        let section = section.clone();
        tokio::task::spawn_blocking(move || context::context_tar(&section))
    };
    let (tar, dockerfile) = packed
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let mut args = section.args.clone();
    args.extend(run.options.build.args.clone());
    for (name, value) in &mut args {
        if value.is_none() {
            *value = run.options.model.environment.get(name).cloned();
        }
    }
    args.retain(|_, value| value.is_some());
    let platform = match section.platforms.as_slice() {
        [only] => only.clone(),
        _ => build.platform.clone(),
    };
    Ok(BuildRequest {
        context: tar,
        dockerfile,
        tags: build.tags(),
        args,
        labels: build.labels.clone(),
        target: section.target,
        platform,
        network: section.network,
        extra_hosts: section
            .extra_hosts
            .iter()
            .flat_map(|(host, addresses)| {
                addresses
                    .iter()
                    .map(move |address| format!("{host}:{address}"))
            })
            .collect(),
        cache_from: section.cache_from,
        shm_size: section.shm_size.map(|size| size.0),
        no_cache: section.no_cache || run.options.build.no_cache,
        pull: section.pull || run.options.build.pull,
        memory: run.options.build.memory,
    })
}
