//! Rolling updates: a service with `deploy.update_config` is replaced in groups, each of which must prove itself.
//!
//! docker compose ignores the section; Swarm's rules are followed. The whole update is one action, because how it goes
//! on depends on how each group turns out; the rules that decide are part of the action.

use serde::Serialize;

use super::{ContainerRef, CreateContainer};
use crate::engine::spec::FileSpec;
use crate::model::{Hook, Service, UpdateConfig};

/// Which of the two containers makes way for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The old one stops, then the new one starts.
    StopFirst,
    /// The new one starts and proves itself, then the old one stops.
    StartFirst,
}

impl UpdateOrder {
    /// Reads `update_config.order`, whose words are checked at loading; without one the old container stops first.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "start-first" => Self::StartFirst,
            _ => Self::StopFirst,
        }
    }
}

/// What a failed update means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureAction {
    /// The update stops; the replica gets its old container back.
    Pause,
    /// The update goes on.
    Continue,
    /// Every replica gets its old container back.
    Rollback,
}

impl FailureAction {
    /// Reads `update_config.failure_action`, whose words are checked at loading; without one the update stops.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "continue" => Self::Continue,
            "rollback" => Self::Rollback,
            _ => Self::Pause,
        }
    }
}

/// Rules of an update or of its rollback.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UpdateRules {
    /// Containers replaced at once.
    pub parallelism: usize,
    /// Milliseconds between two groups.
    pub delay_millis: u64,
    /// Milliseconds that a new container is watched after it is healthy or runs.
    pub monitor_millis: u64,
    /// Which container makes way.
    pub order: UpdateOrder,
    /// What failures mean.
    pub failure_action: FailureAction,
    /// Share of failures that is tolerated.
    pub max_failure_ratio: f64,
}

impl UpdateRules {
    /// Reads a section; `replicas` stands for a parallelism of 0.
    #[must_use]
    pub fn new(config: &UpdateConfig, replicas: usize) -> Self {
        let millis = |span: Option<crate::model::Duration>| {
            span.map_or(0, |span| {
                u64::try_from(span.to_std().as_millis()).unwrap_or(u64::MAX)
            })
        };
        let parallelism = match config.parallelism {
            None => 1,
            Some(0) => replicas,
            Some(number) => usize::try_from(number).unwrap_or(replicas),
        };
        Self {
            parallelism: parallelism.max(1),
            delay_millis: millis(config.delay),
            monitor_millis: millis(config.monitor),
            order: UpdateOrder::parse(&config.order),
            failure_action: FailureAction::parse(&config.failure_action),
            max_failure_ratio: config.max_failure_ratio.unwrap_or(0.0),
        }
    }
}

/// One replica of a rolling update.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RollingStep {
    /// The container it has now.
    pub old: ContainerRef,
    /// The container it gets; its specification has a passing name.
    pub create: CreateContainer,
}

/// A rolling update of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RollingUpdate {
    /// Service.
    pub service: String,
    /// Replicas to replace, in order.
    pub steps: Vec<RollingStep>,
    /// Rules of the update.
    pub update: UpdateRules,
    /// Rules of its rollback.
    pub rollback: UpdateRules,
    /// Seconds between the stop signal and SIGKILL.
    pub timeout: Option<i64>,
    /// Files to put into each new container.
    pub files: Vec<FileSpec>,
    /// Commands in each new container after its start.
    pub hooks: Vec<Hook>,
    /// Milliseconds in which an old container, nameless already, finishes what it was asked.
    pub finish_millis: u64,
}

/// Longer than the second after which a client sends the first packet of a connection again.
pub(super) const FINISH_MILLIS: u64 = 1500;

/// The first single port of the host that a service publishes: of two containers only one can hold it.
#[must_use]
pub(super) fn fixed_port(service: &Service) -> Option<&str> {
    let mut ports = service.ports.iter().map(|port| port.published.as_str());
    ports.find(|published| published.parse::<u16>().is_ok_and(|port| port != 0))
}

/// The rules of a service's updates: those of the update, and those of its rollback. Back at their port of the host the
/// old containers can only be when the new ones are gone.
#[must_use]
pub(super) fn rules(service: &Service, replicas: usize) -> Option<(UpdateRules, UpdateRules)> {
    let deploy = service.deploy.as_ref()?;
    let update = deploy.update_config.as_ref()?;
    let rollback = deploy.rollback_config.clone().unwrap_or_default();
    let mut rollback = UpdateRules::new(&rollback, replicas);
    if fixed_port(service).is_some() {
        rollback.order = UpdateOrder::StopFirst;
    }
    Some((UpdateRules::new(update, replicas), rollback))
}

#[cfg(test)]
mod tests {
    use super::{FailureAction, UpdateOrder, UpdateRules, rules};
    use crate::model::{Deploy, Duration, Port, Service, UpdateConfig};

    #[test]
    fn who_holds_a_port_of_the_host_stops_first_in_a_rollback() {
        let config = UpdateConfig {
            order: "start-first".to_owned(),
            ..UpdateConfig::default()
        };
        let mut service = Service {
            deploy: Some(Box::new(Deploy {
                update_config: Some(UpdateConfig::default()),
                rollback_config: Some(config),
                ..Deploy::default()
            })),
            ..Service::default()
        };
        let order = |service: &Service| rules(service, 1).map(|(_, rollback)| rollback.order);
        assert_eq!(order(&service), Some(UpdateOrder::StartFirst));
        service.ports = vec![Port {
            published: "8080".to_owned(),
            ..Port::default()
        }];
        assert_eq!(order(&service), Some(UpdateOrder::StopFirst));
        service.ports[0].published = "8080-8090".to_owned();
        assert_eq!(order(&service), Some(UpdateOrder::StartFirst));
    }

    #[test]
    fn reads_the_rules_of_an_update() {
        let config = UpdateConfig {
            parallelism: Some(0),
            delay: Some(Duration(2_000_000_000)),
            order: "start-first".to_owned(),
            failure_action: "rollback".to_owned(),
            ..UpdateConfig::default()
        };
        let rules = UpdateRules::new(&config, 3);
        assert_eq!(
            (rules.parallelism, rules.delay_millis, rules.monitor_millis),
            (3, 2_000, 0)
        );
        assert_eq!(
            (rules.order, rules.failure_action),
            (UpdateOrder::StartFirst, FailureAction::Rollback)
        );
    }
}
