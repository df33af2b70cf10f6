//! Waits: look once, then look again whenever the engine says that something happened to one of the containers.

use std::time::Duration;

use bollard_stubs::models::{ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum};
use tokio::sync::broadcast::error::RecvError;

use super::hub::Heard;
use super::scheduler::Run;
use super::{ApplyError, ApplyEvent, Status, awaited, overdue};
use crate::plan::{Wait, WaitUntil};

const NO_PROBE: &str = "has no healthcheck configured";

/// Restarts after which a container that must run counts as broken.
const RESTARTS: i64 = 3;

/// What a look at a container says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// Not yet.
    NotYet,
    /// There.
    Reached,
    /// Never.
    Failed(String),
    /// A job that ended badly.
    Exited(i64),
}

pub(super) async fn wait(run: &Run, wait: &Wait) -> Result<(), ApplyError> {
    let limit = wait.timeout_millis.map(Duration::from_millis);
    let all = wait_for_all(run, wait);
    let outcome = tokio::select! {
        outcome = all => outcome,
        () = run.options.cancel.cancelled() => return Err(ApplyError::Cancelled),
        () = expire(limit) => {
            let id_of = |container: &_| run.find_id(container);
            let open = awaited::of_wait(run.engine.as_ref(), wait, id_of).await;
            Err(ApplyError::WaitTimeout(open))
        }
    };
    match outcome {
        Err(error) if !wait.required && !matches!(error, ApplyError::WaitTimeout(_)) => {
            tell_optional(run, wait, &error);
            Ok(())
        }
        other => other,
    }
}

/// Never ends without a limit.
async fn expire(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn tell_optional(run: &Run, wait: &Wait, error: &ApplyError) {
    let reason = if let ApplyError::NotCompleted { code, .. } = error {
        format!("didn't complete successfully: exit {code}")
    } else if let ApplyError::Unhealthy { container, reason } = error {
        format!("failed to start: container {container} {reason}")
    } else {
        format!("failed to start: {}", error.chain())
    };
    let text = format!("optional dependency \"{}\" {reason}", wait.service);
    for container in &wait.containers {
        run.tell_resource(
            &format!("Container {}", container.name()),
            Status::Warning,
            "Skipped",
            &text,
        );
    }
    run.tell(ApplyEvent::Warning(text));
}

async fn wait_for_all(run: &Run, wait: &Wait) -> Result<(), ApplyError> {
    for container in &wait.containers {
        run.tell_resource(
            &format!("Container {}", container.name()),
            Status::Working,
            "Waiting",
            "",
        );
    }
    let mut heard = run.hub().await.listen();
    let mut ids = Vec::new();
    for container in &wait.containers {
        ids.push((run.id(container)?, container.name().to_owned()));
    }
    let mut open = ids;
    let mut changed: Option<String> = None;
    loop {
        let mut still_open = Vec::new();
        for (id, name) in open {
            let look_now = changed.as_ref().is_none_or(|changed| *changed == id);
            if !look_now || !reached(run, wait, &id, &name).await? {
                still_open.push((id, name));
            }
        }
        open = still_open;
        if open.is_empty() {
            return Ok(());
        }
        changed = tokio::select! {
            changed = next(&mut heard, &open) => changed,
            checked = overdue::check(run, &open) => Some(checked),
        };
    }
}

/// Ends as soon as one of the containers is not what is waited for any more, and says why.
pub(super) async fn broken(run: &Run, wait: &Wait) -> ApplyError {
    let mut heard = run.hub().await.listen();
    let mut ids = Vec::new();
    for container in &wait.containers {
        match run.id(container) {
            Ok(id) => ids.push((id, container.name().to_owned())),
            Err(error) => return error,
        }
    }
    loop {
        for (id, name) in &ids {
            match run.engine.inspect_container(id).await {
                Ok(state) => {
                    if let Look::Failed(reason) = look(&state, wait.until) {
                        return ApplyError::Unhealthy {
                            container: name.clone(),
                            reason,
                        };
                    }
                }
                Err(error) => return error.into(),
            }
        }
        next(&mut heard, &ids).await;
    }
}

/// The container of ours that something happened to; `None` when all must be looked at.
async fn next(
    heard: &mut tokio::sync::broadcast::Receiver<Heard>,
    open: &[(String, String)],
) -> Option<String> {
    loop {
        match heard.recv().await {
            Ok(Heard::Container(id)) if open.iter().any(|(ours, _)| *ours == id) => {
                return Some(id);
            }
            Ok(Heard::Container(_)) => {}
            Ok(Heard::Closed) | Err(RecvError::Lagged(_)) => return None,
            Err(RecvError::Closed) => std::future::pending::<()>().await,
        }
    }
}

async fn reached(run: &Run, wait: &Wait, id: &str, name: &str) -> Result<bool, ApplyError> {
    let mut state = run.engine.inspect_container(id).await?;
    if look(&state, wait.until) == Look::Failed(NO_PROBE.to_owned()) {
        // A container that ends at once is better blamed for its end than for its missing probe.
        tokio::time::sleep(Duration::from_millis(500)).await;
        state = run.engine.inspect_container(id).await?;
    }
    let resource = format!("Container {name}");
    match look(&state, wait.until) {
        Look::NotYet => Ok(false),
        Look::Reached => {
            let text = match wait.until {
                WaitUntil::Completed => "Exited",
                WaitUntil::Settled if has_ended(&state) => "Exited",
                WaitUntil::Healthy | WaitUntil::RunningOrHealthy | WaitUntil::Settled => "Healthy",
            };
            run.tell_resource(&resource, Status::Done, text, "");
            Ok(true)
        }
        Look::Failed(reason) => {
            if wait.required {
                run.tell_resource(&resource, Status::Error, "Error", "");
            }
            Err(ApplyError::Unhealthy {
                container: name.to_owned(),
                reason,
            })
        }
        Look::Exited(code) => {
            if wait.required {
                run.tell_resource(&resource, Status::Error, "Error", "");
            }
            Err(ApplyError::NotCompleted {
                service: wait.service.clone(),
                code,
            })
        }
    }
}

fn has_ended(container: &ContainerInspectResponse) -> bool {
    let status = container.state.as_ref().and_then(|state| state.status);
    matches!(
        status,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)
    )
}

/// Judges a container's state (behaviours.md B175-B181).
pub(super) fn look(container: &ContainerInspectResponse, until: WaitUntil) -> Look {
    let state = container.state.clone().unwrap_or_default();
    let code = state.exit_code.unwrap_or(0);
    let ended = has_ended(container);
    if until == WaitUntil::Completed {
        return match (ended, code) {
            (false, _) => Look::NotYet,
            (true, 0) => Look::Reached,
            (true, code) => Look::Exited(code),
        };
    }
    if ended && until == WaitUntil::Settled && code == 0 {
        return Look::Reached;
    }
    if ended {
        return Look::Failed(format!("exited ({code})"));
    }
    let must_run = matches!(until, WaitUntil::RunningOrHealthy | WaitUntil::Settled);
    if must_run && container.restart_count.unwrap_or(0) >= RESTARTS {
        return Look::Failed(format!("keeps restarting, exited ({code})"));
    }
    let running = state.status == Some(ContainerStateStatusEnum::RUNNING);
    match state.health.and_then(|health| health.status) {
        Some(HealthStatusEnum::HEALTHY) => Look::Reached,
        Some(HealthStatusEnum::UNHEALTHY) => Look::Failed("is unhealthy".to_owned()),
        Some(HealthStatusEnum::STARTING) => Look::NotYet,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => match until {
            WaitUntil::RunningOrHealthy | WaitUntil::Settled if running => Look::Reached,
            WaitUntil::RunningOrHealthy | WaitUntil::Settled => Look::NotYet,
            WaitUntil::Healthy | WaitUntil::Completed => Look::Failed(NO_PROBE.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::{
        ContainerInspectResponse, ContainerState, ContainerStateStatusEnum,
    };

    use super::{Look, look};
    use crate::plan::WaitUntil;

    fn ended(code: i64) -> ContainerInspectResponse {
        ContainerInspectResponse {
            state: Some(ContainerState {
                status: Some(ContainerStateStatusEnum::EXITED),
                exit_code: Some(code),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn a_job_that_is_done_settles_and_a_broken_one_does_not() {
        assert_eq!(look(&ended(0), WaitUntil::Settled), Look::Reached);
        let broken = Look::Failed("exited (3)".to_owned());
        assert_eq!(look(&ended(3), WaitUntil::Settled), broken);
        // Of a new version of a service an end is no proof.
        let stopped = Look::Failed("exited (0)".to_owned());
        assert_eq!(look(&ended(0), WaitUntil::RunningOrHealthy), stopped);
    }
}
