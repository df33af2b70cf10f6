//! Edges: explicit dependencies, and those that follow from shared namespaces, volumes and links.

use indexmap::IndexMap;

use crate::model::{DependencyCondition, Service};

/// Why one service needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `depends_on`.
    DependsOn,
    /// `links`.
    Link,
    /// `volumes_from`.
    VolumesFrom,
    /// `network_mode`, `ipc`, `pid`, `uts` or `cgroup` with `service:`.
    Namespace,
}

/// One dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// What is waited for.
    pub condition: DependencyCondition,
    /// The dependant is restarted with the dependency.
    pub restart: bool,
    /// Failure of the dependency is failure of the dependant.
    pub required: bool,
    /// Where it comes from.
    pub origin: Origin,
}

/// Every dependency of a service; what is written in `depends_on` wins over what follows from other attributes.
pub(super) fn edges(service: &Service) -> IndexMap<String, Edge> {
    let mut edges: IndexMap<String, Edge> = service
        .depends_on
        .iter()
        .map(|(name, dependency)| {
            let edge = Edge {
                condition: dependency.condition,
                restart: dependency.restart,
                required: dependency.required,
                origin: Origin::DependsOn,
            };
            (name.clone(), edge)
        })
        .collect();
    let links = service
        .links
        .iter()
        .map(|link| (before_colon(link), Origin::Link));
    let volumes = service
        .volumes_from
        .iter()
        .filter(|from| !from.starts_with("container:"))
        .map(|from| (before_colon(from), Origin::VolumesFrom));
    let namespaces = [
        &service.network_mode,
        &service.ipc,
        &service.pid,
        &service.uts,
        &service.cgroup,
    ]
    .into_iter()
    .filter_map(|mode| mode.strip_prefix("service:"))
    .map(|name| (name, Origin::Namespace));
    for (name, origin) in links.chain(volumes).chain(namespaces) {
        edges.entry(name.to_owned()).or_insert(Edge {
            condition: DependencyCondition::ServiceStarted,
            restart: origin != Origin::VolumesFrom,
            required: true,
            origin,
        });
    }
    edges
}

fn before_colon(text: &str) -> &str {
    text.split(':').next().unwrap_or(text)
}
