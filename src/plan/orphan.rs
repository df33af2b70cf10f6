//! Containers that no service of the file owns (behaviours.md B143, B144).

use super::{Cause, OrphanPolicy, Planner, container};
use crate::engine::{ObservedContainer, ObservedState, label};
use crate::model::Project;

/// The orphans of a project: containers of unknown services, and one-offs that have ended.
#[must_use]
pub fn orphans<'a>(project: &Project, observed: &'a ObservedState) -> Vec<&'a ObservedContainer> {
    observed
        .containers
        .iter()
        .filter(|container| !container.labels.contains_key(label::HOOK))
        .filter(|container| {
            let ended = matches!(container.state.as_str(), "exited" | "dead");
            let unknown = project.find_service(container.service()).is_none();
            if container.is_one_off() {
                ended
            } else {
                unknown
            }
        })
        .collect()
}

pub(super) fn plan_orphans(planner: &mut Planner<'_>) {
    let found = orphans(planner.project, planner.observed);
    if found.is_empty() {
        return;
    }
    match planner.options.orphans {
        OrphanPolicy::Ignore => {}
        OrphanPolicy::Remove => {
            for orphan in found {
                container::remove(planner, orphan, Cause::Orphan);
            }
        }
        OrphanPolicy::Warn => {
            let names: Vec<_> = found.iter().map(|orphan| orphan.name.as_str()).collect();
            planner.notice(format!(
                "Found orphan containers ({}) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
                names.join(", ")
            ));
        }
    }
}
