//! The order after a boot: a container waits for those that it depends on, as its label says.
//!
//! Clients write the label (`com.docker.compose.depends_on=db:service_healthy:false,…`); to the engine it is a text like
//! any other, and without it a container starts at once.

use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use super::container::Container;
use super::record::{HealthStatus, Record};
use super::status::Status;

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// What does not come up must not keep everything else down.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a container waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependency {
    service: String,
    condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Started,
    Healthy,
    Completed,
}

fn label<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    Some(record.config.labels.as_ref()?.get(name)?.as_str())
}

fn dependencies(text: &str) -> Vec<Dependency> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let mut words = part.split(':');
            let service = words.next().unwrap_or_default().to_owned();
            let condition = match words.next() {
                Some("service_healthy") => Condition::Healthy,
                Some("service_completed_successfully") => Condition::Completed,
                _ => Condition::Started,
            };
            Dependency { service, condition }
        })
        .collect()
}

fn is_met(record: &Record, condition: Condition) -> bool {
    let running = record.state.status == Status::Running;
    match condition {
        Condition::Started => running,
        Condition::Healthy => {
            let health = record.health.as_ref();
            running && health.is_none_or(|health| health.status == HealthStatus::Healthy)
        }
        Condition::Completed => {
            record.state.status == Status::Exited && record.state.exit_code == 0
        }
    }
}

impl Supervisor {
    /// Waits until what a container depends on is as it wants it; not for what is not there, nor for ever.
    pub(super) async fn wait_for_dependencies(self: &Arc<Self>, container: &Container) {
        let (project, wanted) = container.with(|record| {
            let wanted = label(record, DEPENDS_ON).map(dependencies);
            (
                label(record, PROJECT).map(str::to_owned),
                wanted.unwrap_or_default(),
            )
        });
        let all = async {
            for dependency in &wanted {
                for peer in self.containers() {
                    let is_it = peer.with(|record| {
                        label(record, PROJECT) == project.as_deref()
                            && label(record, SERVICE) == Some(&dependency.service)
                    });
                    if is_it {
                        wait_until_met(&peer, dependency.condition).await;
                    }
                }
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!(
                container = container.id(),
                "starts without what it depends on, which does not come up"
            );
        }
    }
}

async fn wait_until_met(peer: &Container, condition: Condition) {
    let mut pulse = peer.pulse();
    while !peer.with(|record| is_met(record, condition)) {
        // What the user had stopped, or what ends for good, is not waited for.
        let comes = peer.with(|record| record.state.status.is_alive()) || peer.boots();
        if !comes || pulse.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_read() {
        let of = |service: &str, condition| Dependency {
            service: service.to_owned(),
            condition,
        };
        assert_eq!(
            dependencies(
                "db:service_healthy:false,job:service_completed_successfully:false,x:service_started:true"
            ),
            [
                of("db", Condition::Healthy),
                of("job", Condition::Completed),
                of("x", Condition::Started)
            ]
        );
        assert_eq!(dependencies(""), []);
    }
}
