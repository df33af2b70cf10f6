//! What a wait was still waiting for when its time was up.
//!
//! Callers: `wait`, for the wait of one service; `up --wait-timeout`, for all of a plan.

use std::collections::BTreeSet;
use std::fmt;

use bollard_stubs::models::{ContainerInspectResponse, HealthStatusEnum};

use super::wait::{Look, look};
use crate::engine::Engine;
use crate::plan::{ContainerRef, Wait};

/// A container that is not yet as it is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Awaited {
    /// Service.
    pub service: String,
    /// Container.
    pub container: String,
    /// How it is: `is running, health: starting`.
    pub state: String,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            container,
            state,
        } = self;
        write!(f, "{service} ({container} {state})")
    }
}

/// What the waits of a plan are still waiting for, by service; containers are known by their names.
pub async fn awaited(engine: &dyn Engine, waits: &[Wait]) -> Vec<Awaited> {
    let mut found = BTreeSet::new();
    for wait in waits {
        found.extend(of_wait(engine, wait, |container| Some(container.name().to_owned())).await);
    }
    found.into_iter().collect()
}

/// As [`awaited`], of one wait; `id_of` tells the id or the name of a container.
pub(super) async fn of_wait(
    engine: &dyn Engine,
    wait: &Wait,
    id_of: impl Fn(&ContainerRef) -> Option<String>,
) -> Vec<Awaited> {
    let mut found = Vec::new();
    for container in &wait.containers {
        let seen = match id_of(container) {
            Some(id) => engine.inspect_container(&id).await.ok(),
            None => None,
        };
        let state = match seen {
            Some(seen) if look(&seen, wait.until) == Look::Reached => continue,
            Some(seen) => standing(&seen),
            None => "is not there yet".to_owned(),
        };
        found.push(Awaited {
            service: wait.service.clone(),
            container: container.name().to_owned(),
            state,
        });
    }
    found
}

/// Several on one line, or nothing.
#[must_use]
pub fn list(awaited: &[Awaited]) -> String {
    let texts: Vec<String> = awaited.iter().map(Awaited::to_string).collect();
    if texts.is_empty() {
        return String::new();
    }
    format!(": still waiting for {}", texts.join(", "))
}

/// How a container is, in words.
fn standing(container: &ContainerInspectResponse) -> String {
    let state = container.state.clone().unwrap_or_default();
    let status = state.status.map(|status| status.to_string());
    let mut text = format!("is {}", status.unwrap_or_else(|| "unknown".to_owned()));
    if state.running != Some(true) && state.exit_code.is_some_and(|code| code != 0) {
        text = format!("{text} ({})", state.exit_code.unwrap_or_default());
    }
    let Some(health) = state.health else {
        return text;
    };
    let word = match health.status {
        Some(HealthStatusEnum::STARTING) => "starting",
        Some(HealthStatusEnum::HEALTHY) => "healthy",
        Some(HealthStatusEnum::UNHEALTHY) => "unhealthy",
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => return text,
    };
    text = format!("{text}, health: {word}");
    let last = health.log.as_ref().and_then(|log| log.last());
    match last.and_then(|check| check.exit_code) {
        Some(code) if code != 0 => format!("{text}, last check exited with {code}"),
        Some(_) => text,
        None => format!("{text}, not checked yet"),
    }
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::{
        ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, Health,
        HealthStatusEnum, HealthcheckResult,
    };

    use super::{Awaited, list, standing};

    fn container(state: ContainerState) -> ContainerInspectResponse {
        ContainerInspectResponse {
            state: Some(state),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn says_how_a_container_is_and_what_its_health_is() {
        let checked = |log: Vec<HealthcheckResult>| ContainerState {
            status: Some(ContainerStateStatusEnum::RUNNING),
            running: Some(true),
            health: Some(Health {
                status: Some(HealthStatusEnum::STARTING),
                log: Some(log),
                ..Health::default()
            }),
            ..ContainerState::default()
        };
        let failed = HealthcheckResult {
            exit_code: Some(1),
            ..HealthcheckResult::default()
        };
        assert_eq!(
            standing(&container(checked(Vec::new()))),
            "is running, health: starting, not checked yet"
        );
        assert_eq!(
            standing(&container(checked(vec![failed]))),
            "is running, health: starting, last check exited with 1"
        );
        let ended = ContainerState {
            status: Some(ContainerStateStatusEnum::EXITED),
            exit_code: Some(3),
            ..ContainerState::default()
        };
        assert_eq!(standing(&container(ended)), "is exited (3)");
    }

    #[test]
    fn several_are_told_on_one_line() {
        let of = |service: &str, state: &str| Awaited {
            service: service.to_owned(),
            container: format!("p-{service}-1"),
            state: state.to_owned(),
        };
        let both = [of("db", "is running"), of("web", "is created")];
        assert_eq!(
            list(&both),
            ": still waiting for db (p-db-1 is running), web (p-web-1 is created)"
        );
        assert_eq!(list(&[]), "");
    }
}
