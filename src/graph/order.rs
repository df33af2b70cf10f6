//! Start order, and the path of a cycle.

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed, Walker};

use super::{Edge, GraphError};

/// Orders services so that each comes after what it needs.
pub(super) fn topological(services: &DiGraph<String, Edge>) -> Result<Vec<NodeIndex>, GraphError> {
    petgraph::algo::toposort(Reversed(services), None).map_err(|cycle| GraphError::Cycle {
        path: cycle_path(services, cycle.node_id()),
    })
}

/// The shortest walk from a service on a cycle back to itself, starting at its alphabetically first member.
fn cycle_path(services: &DiGraph<String, Edge>, member: NodeIndex) -> Vec<String> {
    let reaches = |from, to| {
        Dfs::new(services, from)
            .iter(services)
            .any(|node| node == to)
    };
    let start = services
        .node_indices()
        .filter(|node| reaches(*node, member) && reaches(member, *node))
        .min_by_key(|node| services[*node].as_str())
        .unwrap_or(member);
    let mut path = vec![services[start].clone()];
    let mut here = start;
    loop {
        let mut next: Vec<_> = services
            .neighbors(here)
            .filter(|node| reaches(*node, start))
            .collect();
        next.sort_by_key(|node| (distance(services, *node, start), services[*node].clone()));
        let Some(node) = next.first().copied() else {
            return path;
        };
        path.push(services[node].clone());
        if node == start || path.len() > services.node_count() + 1 {
            return path;
        }
        here = node;
    }
}

fn distance(services: &DiGraph<String, Edge>, from: NodeIndex, to: NodeIndex) -> usize {
    petgraph::algo::astar(services, from, |node| node == to, |_| 1, |_| 0)
        .map_or(usize::MAX, |(cost, _)| cost)
}
