//! Who waits for whom.
//!
//! Owns: the service graph of a project, an edge from each dependant to what it needs. Callers: `plan` (order of the
//! actions), the commands (which services a selection brings along).
//!
//! ```text
//! web ──service_healthy──> db        start order: db, job, web
//!  └──completed──> job ──────┘        stop order:  web, job, db
//! ```

mod edge;
mod order;
mod select;

use indexmap::IndexMap;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::model::Project;

pub use edge::{Edge, Origin};
pub use select::Reach;

/// A project's services and their dependencies.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    services: DiGraph<String, Edge>,
    index: IndexMap<String, NodeIndex>,
    order: Vec<NodeIndex>,
}

/// Why a project has no graph.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GraphError {
    /// Services wait for each other.
    #[error("dependency cycle detected: {}", path.join(" -> "))]
    Cycle {
        /// The services on the cycle; the first one again at the end.
        path: Vec<String>,
    },
}

impl Graph {
    /// Builds the graph of the enabled services. Dependencies on services that are not enabled are left out: `load`
    /// has already refused the required ones.
    ///
    /// # Errors
    /// When services wait for each other.
    pub fn new(project: &Project) -> Result<Self, GraphError> {
        let mut graph = Self::default();
        for name in project.services.keys() {
            let node = graph.services.add_node(name.clone());
            graph.index.insert(name.clone(), node);
        }
        for service in project.services.values() {
            for (dependency, edge) in edge::edges(service) {
                let ends = (graph.index.get(&service.name), graph.index.get(&dependency));
                if let (Some(&from), Some(&to)) = ends {
                    graph.services.update_edge(from, to, edge);
                }
            }
        }
        graph.order = order::topological(&graph.services)?;
        Ok(graph)
    }

    /// The services in an order in which each comes after what it needs.
    #[must_use]
    pub fn start_order(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.order.iter().map(|node| self.services[*node].as_str())
    }

    /// The services in an order in which each comes before what it needs.
    #[must_use]
    pub fn stop_order(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.start_order().rev()
    }

    /// What a service needs, sorted by name.
    #[must_use]
    pub fn dependencies(&self, service: &str) -> Vec<(&str, &Edge)> {
        self.neighbours(service, petgraph::Direction::Outgoing)
    }

    /// What needs a service, sorted by name.
    #[must_use]
    pub fn dependents(&self, service: &str) -> Vec<(&str, &Edge)> {
        self.neighbours(service, petgraph::Direction::Incoming)
    }

    fn neighbours(&self, service: &str, direction: petgraph::Direction) -> Vec<(&str, &Edge)> {
        let Some(&node) = self.index.get(service) else {
            return Vec::new();
        };
        let mut found: Vec<_> = self
            .services
            .edges_directed(node, direction)
            .map(|edge| {
                let other = if direction == petgraph::Direction::Outgoing {
                    edge.target()
                } else {
                    edge.source()
                };
                (self.services[other].as_str(), edge.weight())
            })
            .collect();
        found.sort_by_key(|(name, _)| *name);
        found
    }
}

#[cfg(test)]
mod tests;
