//! Hooks: commands in a container, one-time containers, and files that travel into a container before its start.

use futures_util::StreamExt;

use super::scheduler::Run;
use super::{ApplyError, ApplyEvent};
use crate::engine::{ExecSpec, LogOptions, LogStream, RemoveContainer};
use crate::model::Hook;
use crate::plan::{ContainerRef, HookKind, PreStart};

/// Bytes of a hook's output that an error repeats.
const TAIL: usize = 1024;

pub(super) async fn run_in_container(
    run: &Run,
    service: &str,
    container: &ContainerRef,
    (kind, hook): (HookKind, &Hook),
) -> Result<(), ApplyError> {
    let id = run.id(container)?;
    let spec = ExecSpec {
        command: hook.command.clone().unwrap_or_default(),
        env: hook
            .environment
            .iter()
            .map(|(key, value)| {
                value
                    .as_ref()
                    .map_or_else(|| key.clone(), |value| format!("{key}={value}"))
            })
            .collect(),
        user: hook.user.clone(),
        working_dir: hook.working_dir.clone(),
        privileged: hook.privileged,
        output: true,
        ..ExecSpec::default()
    };
    let gone = |error: &crate::engine::EngineError| {
        kind == HookKind::PreStop
            && (error.is_not_found() || error.kind == crate::engine::EngineErrorKind::Conflict)
    };
    let exec = match run.engine.create_exec(&id, &spec).await {
        Err(error) if gone(&error) => return Ok(()),
        other => other?,
    };
    let session = run.engine.start_exec(&exec, &spec).await?;
    let tail = pass_on(run, &format!("{} ->", container.name()), session.output).await?;
    let (_, code) = run.engine.inspect_exec(&exec).await?;
    if code == 0 {
        return Ok(());
    }
    Err(ApplyError::Hook {
        service: service.to_owned(),
        code,
        tail,
    })
}

/// Passes output on line by line, and returns its end as `: text`.
pub(super) async fn pass_on(
    run: &Run,
    source: &str,
    mut output: LogStream,
) -> Result<String, ApplyError> {
    let mut all = String::new();
    let mut partial = String::new();
    while let Some(piece) = output.next().await {
        let piece = piece?;
        let text = String::from_utf8_lossy(&piece.bytes).into_owned();
        all.push_str(&text);
        partial.push_str(&text);
        while let Some(end) = partial.find('\n') {
            let line: String = partial.drain(..=end).collect();
            tell_line(run, source, &line);
        }
    }
    if !partial.is_empty() {
        tell_line(run, source, &partial);
    }
    let all = all.trim_end();
    let start = all.len().saturating_sub(TAIL);
    let start = (start..all.len())
        .find(|at| all.is_char_boundary(*at))
        .unwrap_or(start);
    Ok(if all.is_empty() {
        String::new()
    } else {
        format!(": {}", &all[start..])
    })
}

fn tell_line(run: &Run, source: &str, line: &str) {
    run.tell(ApplyEvent::Output {
        source: source.to_owned(),
        line: line.trim_end_matches(['\n', '\r']).to_owned(),
    });
}

/// Runs a one-time container with the first replica's volumes; keeps it where it fails (behaviours.md B186).
pub(super) async fn pre_start(run: &Run, request: &PreStart) -> Result<(), ApplyError> {
    let remove = RemoveContainer {
        force: true,
        volumes: true,
    };
    for stale in &request.stale {
        match run.engine.remove_container(stale, remove).await {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    let mut spec = request.spec.clone();
    super::dispatch::inline_seccomp(&mut spec).await?;
    if let Some(host) = &mut spec.body.host_config {
        host.volumes_from = Some(vec![run.id(&request.replica)?]);
    }
    let (id, _) = run.engine.create_container(&spec).await?;
    run.engine.start_container(&id).await?;
    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let source = format!("{} pre_start[{}] ->", request.service, request.index);
    let tail = match run.engine.logs(&id, &options).await {
        Ok(output) => pass_on(run, &source, output).await?,
        Err(_) => String::new(),
    };
    let code = run.engine.wait_container(&id).await?;
    if code == 0 {
        run.engine.remove_container(&id, remove).await?;
        return Ok(());
    }
    Err(ApplyError::PreStart {
        service: request.service.clone(),
        index: request.index,
        code,
        container: id.get(..12).unwrap_or(&id).to_owned(),
        tail,
    })
}
