//! Which services a selection brings along.

use indexmap::IndexSet;

use super::{Edge, Graph};

/// How far a selection reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The named services only.
    Named,
    /// And everything they need.
    Dependencies,
    /// And everything that needs them.
    Dependents,
}

impl Graph {
    /// Selects services, in start order; no names select all.
    #[must_use]
    pub fn select<'a>(&'a self, names: &[String], reach: Reach) -> Vec<&'a str> {
        if names.is_empty() {
            return self.start_order().collect();
        }
        let mut chosen: IndexSet<&str> = IndexSet::new();
        let mut open: Vec<&str> = self
            .start_order()
            .filter(|service| names.iter().any(|name| name == service))
            .collect();
        while let Some(service) = open.pop() {
            if chosen.insert(service) {
                open.extend(self.next(service, reach).into_iter().map(|(name, _)| name));
            }
        }
        self.start_order()
            .filter(|service| chosen.contains(service))
            .collect()
    }

    fn next(&self, service: &str, reach: Reach) -> Vec<(&str, &Edge)> {
        match reach {
            Reach::Named => Vec::new(),
            Reach::Dependencies => self.dependencies(service),
            Reach::Dependents => self.dependents(service),
        }
    }
}
