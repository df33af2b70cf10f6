//! Services that wait for each other.

use std::collections::{BTreeMap, HashSet};

use super::{Check, locate};
use crate::load::{Code, report::Failure};
use crate::model::Project;

impl Check<'_> {
    /// Finds services that wait for each other in a circle.
    pub(super) fn cycle(&mut self) {
        let mut state: BTreeMap<&str, Visit> = BTreeMap::new();
        for name in self.project.services.keys() {
            let mut trail = Vec::new();
            if let Some(cycle) = visit(self.project, name, &mut state, &mut trail) {
                self.failures.0.push(self.cycle_failure(&cycle));
                return;
            }
        }
    }

    /// Marks every edge of a cycle; each is there because of one line of the files.
    fn cycle_failure(&self, cycle: &[String]) -> Failure {
        let message = format!("dependency cycle detected: {}", cycle.join(" -> "));
        let edges = cycle.windows(2).fold(
            Failure::new(Code::DependencyCycle, message),
            |failure, edge| {
                let path = ["services", &edge[0], "depends_on", &edge[1]];
                failure.at(
                    locate(self.tree, &path),
                    format!("`{}` waits for `{}`", edge[0], edge[1]),
                )
            },
        );
        edges.hint("nothing of it could ever start: remove one of these dependencies (links, `network_mode: service:…` and `volumes_from` make some too)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    Open,
    Done,
}

/// Walks dependencies with its own stack, so that a long chain does not exhaust the thread's.
fn visit<'p>(
    project: &'p Project,
    name: &'p str,
    state: &mut BTreeMap<&'p str, Visit>,
    trail: &mut Vec<(&'p str, Vec<&'p str>)>,
) -> Option<Vec<String>> {
    let dependencies = |name: &str| -> Vec<&'p str> {
        let service = project.services.get(name);
        service
            .into_iter()
            .flat_map(|service| service.depends_on.keys().rev().map(String::as_str))
            .collect()
    };
    if state.contains_key(name) || !project.services.contains_key(name) {
        return None;
    }
    state.insert(name, Visit::Open);
    trail.push((name, dependencies(name)));
    let mut on_trail: HashSet<&str> = HashSet::from([name]);
    while let Some((current, pending)) = trail.last_mut() {
        let Some(next) = pending.pop() else {
            state.insert(current, Visit::Done);
            on_trail.remove(current);
            trail.pop();
            continue;
        };
        if on_trail.contains(next) {
            let from = trail.iter().position(|(name, _)| *name == next)?;
            let names = trail[from..].iter().map(|(name, _)| (*name).to_owned());
            return Some(names.chain([next.to_owned()]).collect());
        }
        if !state.contains_key(next) && project.services.contains_key(next) {
            state.insert(next, Visit::Open);
            on_trail.insert(next);
            trail.push((next, dependencies(next)));
        }
    }
    None
}
