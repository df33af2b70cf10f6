//! What a container has to say about a failure: its last lines, its probe's last output, how it ended.

use bollard_stubs::models::ContainerInspectResponse;
use futures_util::StreamExt;

use super::ApplyError;
use super::scheduler::Run;
use crate::engine::LogOptions;
use crate::plan::{Action, ContainerRef};

/// Lines of log that a report shows.
const LINES: u64 = 10;

/// What is known of a container that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Container.
    pub container: String,
    /// `exited with code 137 (killed by SIGKILL)`, or empty.
    pub ended: String,
    /// Output of the last probe.
    pub probe: String,
    /// Last lines of the log.
    pub log: Vec<String>,
}

/// Collects what the engine knows; a failure here hides no other.
pub(super) async fn collect(run: &Run, action: &Action, error: &ApplyError) -> Option<Evidence> {
    if let ApplyError::Update { evidence, .. } = error {
        return evidence.as_deref().cloned();
    }
    let containers = concerned(action);
    let concerned = containers.into_iter().find(|container| {
        if let ApplyError::Unhealthy {
            container: name, ..
        } = error
        {
            container.name() == name
        } else {
            true
        }
    })?;
    let (id, name) = (run.find_id(concerned)?, concerned.name());
    of(run, (&id, name), error).await
}

/// What a container (id, name) has to say beside an error; none where the engine does not know it.
pub(super) async fn of(
    run: &Run,
    (id, name): (&str, &str),
    error: &ApplyError,
) -> Option<Evidence> {
    let state = run.engine.inspect_container(id).await.ok()?;
    let ended = run.text_with_names(ended(&state, error)).await;
    Some(Evidence {
        container: name.to_owned(),
        ended,
        probe: probe(&state),
        log: last_lines(run, id).await,
    })
}

/// The containers that an action looks at or starts.
fn concerned(action: &Action) -> Vec<&ContainerRef> {
    if let Action::Wait(wait) = action {
        return wait.containers.iter().collect();
    }
    if let Action::StartContainer { container, .. } | Action::RunHook { container, .. } = action {
        return vec![container];
    }
    Vec::new()
}

fn ended(container: &ContainerInspectResponse, failure: &ApplyError) -> String {
    let state = container.state.clone().unwrap_or_default();
    let error = state.error.unwrap_or_default();
    // What an engine refused it has written down as the container's error: it is told already.
    let is_told = !error.is_empty() && matches!(failure, ApplyError::Engine(_));
    if state.running == Some(true) || is_told {
        return String::new();
    }
    if state.oom_killed == Some(true) {
        return "killed because it ran out of memory".to_owned();
    }
    match (state.exit_code.unwrap_or(0), error.is_empty()) {
        (_, false) => error,
        (0, true) => String::new(),
        (code, true) => format!("exited with code {code}{}", decode(code)),
    }
}

/// What shells and engines mean by an exit code.
fn decode(code: i64) -> String {
    match code {
        126 => " (command cannot be run)".to_owned(),
        127 => " (command not found)".to_owned(),
        129..=159 => format!(" (killed by signal {})", code - 128),
        _ => String::new(),
    }
}

fn probe(container: &ContainerInspectResponse) -> String {
    container
        .state
        .as_ref()
        .and_then(|state| state.health.as_ref())
        .and_then(|health| health.log.as_ref())
        .and_then(|log| log.last())
        .and_then(|result| result.output.clone())
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

async fn last_lines(run: &Run, id: &str) -> Vec<String> {
    let options = LogOptions {
        tail: Some(LINES),
        ..LogOptions::default()
    };
    let Ok(mut stream) = run.engine.logs(id, &options).await else {
        return Vec::new();
    };
    let mut text = String::new();
    while let Some(Ok(piece)) = stream.next().await {
        text.push_str(&String::from_utf8_lossy(&piece.bytes));
    }
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::{ContainerInspectResponse, ContainerState};

    use super::{decode, ended};
    use crate::apply::ApplyError;
    use crate::engine::{EngineError, EngineErrorKind};

    #[test]
    fn what_the_engine_refused_is_told_once() {
        let container = ContainerInspectResponse {
            state: Some(ContainerState {
                error: Some("cannot join a container that does not run".to_owned()),
                exit_code: Some(128),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let kind = EngineErrorKind::Conflict;
        let refused = EngineError::new("start container", "web", kind, "does not run");
        assert_eq!(ended(&container, &ApplyError::Engine(refused)), "");
        let later = ApplyError::Unhealthy {
            container: "web".to_owned(),
            reason: "exited (128)".to_owned(),
        };
        let words = "cannot join a container that does not run";
        assert_eq!(ended(&container, &later), words);
    }

    #[test]
    fn decodes_exit_codes() {
        assert_eq!(decode(137), " (killed by signal 9)");
        assert_eq!(decode(127), " (command not found)");
        assert_eq!(decode(1), "");
    }
}
