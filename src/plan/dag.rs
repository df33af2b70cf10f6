//! The plan as a value: actions with their causes, and what each comes after.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use petgraph::graph::{DiGraph, NodeIndex};
use serde::Serialize;

use super::preflight::Refusal;
use super::{Action, Cause, Change};

/// Identity of a node within its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeId(pub usize);

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
    /// Why.
    pub cause: Cause,
    /// `file:line` that it goes back to; filled in by an explanation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl Node {
    /// What is done, in words: a container that takes the place of another is recreated.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.action {
            Action::CreateContainer(create) if create.replaces.is_some() => {
                format!("recreate container {}", create.display)
            }
            action => action.to_string(),
        }
    }

    /// The cause with its place; changed fields have places of their own.
    #[must_use]
    pub fn why(&self) -> String {
        match &self.place {
            Some(place) => format!("{}, {place}", self.cause),
            None => self.cause.to_string(),
        }
    }
}

/// A container that needs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unchanged {
    /// Service.
    pub service: String,
    /// Container's name.
    pub container: String,
    /// Its state.
    pub state: String,
}

/// A question that only the user can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "question", rename_all = "snake_case")]
pub enum Decision {
    /// A volume differs from the file; to recreate it loses its data.
    RecreateVolume {
        /// The volume's name.
        volume: String,
        /// What differs, where that is known.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        changes: Vec<Change>,
    },
}

/// Something the user should know that no action follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The text.
    pub text: String,
}

/// What must be done, in which order, and why.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    dag: DiGraph<Node, ()>,
    /// What is left alone.
    pub unchanged: Vec<Unchanged>,
    /// Questions to the user; where one is answered with yes, the plan is made again with that answer.
    pub decisions: Vec<Decision>,
    /// What the user should know.
    pub notices: Vec<Notice>,
    /// Actions of which it is known beforehand that they cannot succeed.
    refusals: BTreeMap<NodeId, Refusal>,
}

impl Plan {
    /// Adds an action that comes after others.
    pub fn add(&mut self, action: Action, cause: Cause, after: &[NodeId]) -> NodeId {
        let node = self.dag.add_node(Node {
            action,
            cause,
            place: None,
        });
        for before in after {
            self.dag.update_edge(NodeIndex::new(before.0), node, ());
        }
        NodeId(node.index())
    }

    /// Adds an order between two nodes.
    pub fn order(&mut self, before: NodeId, after: NodeId) {
        self.dag
            .update_edge(NodeIndex::new(before.0), NodeIndex::new(after.0), ());
    }

    /// Marks an action as one that cannot succeed: it fails without being tried, and with it what comes after it.
    pub fn refuse(&mut self, id: NodeId, refusal: Refusal) {
        self.refusals.entry(id).or_insert(refusal);
    }

    /// The actions that cannot succeed, and why.
    pub fn refusals(&self) -> impl Iterator<Item = (NodeId, &Refusal)> {
        self.refusals.iter().map(|(id, refusal)| (*id, refusal))
    }

    /// What comes after an action that cannot succeed, and what only prepares for such: none of it is begun, so that
    /// what runs is not taken down for a successor that cannot come.
    #[must_use]
    pub fn held_back(&self) -> BTreeSet<NodeId> {
        let mut held: BTreeSet<NodeId> = self.refusals.keys().copied().collect();
        let order = petgraph::algo::toposort(&self.dag, None).unwrap_or_default();
        let order: Vec<_> = order.into_iter().map(|node| NodeId(node.index())).collect();
        for id in &order {
            if self.before(*id).iter().any(|before| held.contains(before)) {
                held.insert(*id);
            }
        }
        for id in order.iter().rev() {
            let after = self.after(*id);
            let vain = !after.is_empty() && after.iter().all(|after| held.contains(after));
            if vain && self.node(*id).action.is_preparation() {
                held.insert(*id);
            }
        }
        held.retain(|id| !self.refusals.contains_key(id));
        held
    }

    /// Whether it would change anything: to wait for what is there already is no change.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.nodes()
            .any(|(_, node)| !matches!(node.action, Action::Wait(_)))
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dag.node_count() == 0
    }

    /// Number of actions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dag.node_count()
    }

    /// The nodes in the order they were planned.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.dag
            .node_indices()
            .map(|node| (NodeId(node.index()), &self.dag[node]))
    }

    /// The nodes, to be explained.
    pub(super) fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.dag.node_weights_mut()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.dag[NodeIndex::new(id.0)]
    }

    /// What a node comes directly after, sorted.
    #[must_use]
    pub fn before(&self, id: NodeId) -> Vec<NodeId> {
        self.neighbours(id, petgraph::Direction::Incoming)
    }

    /// What comes directly after a node, sorted.
    #[must_use]
    pub fn after(&self, id: NodeId) -> Vec<NodeId> {
        self.neighbours(id, petgraph::Direction::Outgoing)
    }

    fn neighbours(&self, id: NodeId, direction: petgraph::Direction) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self
            .dag
            .neighbors_directed(NodeIndex::new(id.0), direction)
            .map(|node| NodeId(node.index()))
            .collect();
        nodes.sort_unstable();
        nodes
    }
}

/// The stable text form: a line for each action, with its cause and what it comes after.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.nodes() {
            write!(f, "{}. {} ({})", id.0 + 1, node.action, node.why())?;
            let before = self.before(id);
            if !before.is_empty() {
                let numbers: Vec<_> = before.iter().map(|id| (id.0 + 1).to_string()).collect();
                write!(f, " after {}", numbers.join(", "))?;
            }
            writeln!(f)?;
        }
        for Decision::RecreateVolume { volume, .. } in &self.decisions {
            writeln!(f, "? recreate volume {volume} (its data will be lost)")?;
        }
        for (id, refusal) in self.refusals() {
            writeln!(f, "x {}. {}", id.0 + 1, refusal.message)?;
        }
        let held: Vec<_> = self
            .held_back()
            .iter()
            .map(|id| (id.0 + 1).to_string())
            .collect();
        if !held.is_empty() {
            writeln!(f, "x held back: {}", held.join(", "))?;
        }
        for notice in &self.notices {
            writeln!(f, "! {}", notice.text)?;
        }
        Ok(())
    }
}
