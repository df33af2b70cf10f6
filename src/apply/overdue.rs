//! Health checks that nobody runs: Podman leaves them to timers of systemd, and without systemd to nobody. Who waits for
//! the health of a container then runs its checks, at the container's own interval, for as long as it waits.
//!
//! Called by `wait`.

use std::time::Duration;

use bollard_stubs::models::{ContainerInspectResponse, HealthStatusEnum};
use jiff::{SignedDuration, Timestamp};

use super::ApplyEvent;
use super::scheduler::Run;

/// How often it is looked whether a check is overdue.
const PAUSE: Duration = Duration::from_secs(1);
/// The time that a timer of systemd has to be faster.
const GRACE: SignedDuration = SignedDuration::from_millis(500);
/// Interval of checks where none is given.
const INTERVAL: i64 = 30_000_000_000;

/// Runs the first check that is overdue, and answers its container; never ends on an engine that checks by itself.
pub(super) async fn check(run: &Run, open: &[(String, String)]) -> String {
    if !run.engine.info().leaves_checks() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(PAUSE).await;
        for (id, name) in open {
            // What cannot be looked at is the wait's own affair.
            let Ok(container) = run.engine.inspect_container(id).await else {
                continue;
            };
            if !is_overdue(&container, Timestamp::now()) {
                continue;
            }
            run.checks_told.call_once(|| {
                run.tell(ApplyEvent::Warning(format!(
                    "the engine runs no health check of {name} by itself (Podman needs systemd for that): hoist runs it while it waits"
                )));
            });
            match run.engine.check_health(id).await {
                Ok(()) => return id.clone(),
                Err(error) => tracing::debug!(%error, "a health check could not be run"),
            }
        }
    }
}

/// Whether a check should have been run that was not.
fn is_overdue(container: &ContainerInspectResponse, now: Timestamp) -> bool {
    let Some(state) = &container.state else {
        return false;
    };
    let Some(health) = &state.health else {
        return false;
    };
    let undecided = health.status == Some(HealthStatusEnum::STARTING);
    if !undecided || state.running != Some(true) {
        return false;
    }
    let checks = health.log.iter().flatten();
    let ends = checks.filter_map(|check| check.end.as_deref());
    let times = ends.chain(state.started_at.as_deref());
    let last = times
        .filter_map(|time| time.parse::<Timestamp>().ok())
        .max();
    let config = container.config.as_ref();
    let interval = config
        .and_then(|config| config.healthcheck.as_ref()?.interval)
        .filter(|interval| *interval > 0);
    let due = SignedDuration::from_nanos(interval.unwrap_or(INTERVAL)) + GRACE;
    last.is_some_and(|last| now.duration_since(last) > due)
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::{
        ContainerConfig, ContainerInspectResponse, ContainerState, Health, HealthConfig,
        HealthStatusEnum,
    };

    use super::{Timestamp, is_overdue};

    #[test]
    fn a_check_is_overdue_that_was_not_run_in_its_interval() -> Result<(), jiff::Error> {
        let mut container = ContainerInspectResponse {
            state: Some(ContainerState {
                running: Some(true),
                started_at: Some("2026-01-01T00:00:00+00:00".to_owned()),
                health: Some(Health {
                    status: Some(HealthStatusEnum::STARTING),
                    ..Health::default()
                }),
                ..ContainerState::default()
            }),
            config: Some(ContainerConfig {
                healthcheck: Some(HealthConfig {
                    interval: Some(2_000_000_000),
                    ..HealthConfig::default()
                }),
                ..ContainerConfig::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let at = |time: &str| time.parse::<Timestamp>();
        assert!(!is_overdue(&container, at("2026-01-01T00:00:02Z")?));
        assert!(is_overdue(&container, at("2026-01-01T00:00:03Z")?));
        if let Some(health) = container.state.as_mut().and_then(|it| it.health.as_mut()) {
            health.status = Some(HealthStatusEnum::HEALTHY);
        }
        assert!(!is_overdue(&container, at("2026-01-01T00:00:03Z")?));
        Ok(())
    }
}
