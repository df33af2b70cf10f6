//! What changed contents of secrets and configs ask for (`x-hoist-on-change`): the labels that remember them, the
//! differences, and what a run has settled.
//!
//! A container carries a mark of each content as a label, from its creation. Labels cannot change, so what a restart or
//! a signal brought into a container is remembered by the command, which puts it in the place of the label.

use indexmap::IndexMap;

use super::{Action, Cause, ContainerRef, Plan};
use crate::engine::{ObservedContainer, ObservedState};
use crate::model::{ContentMark, FileObject, FileReference, OnChange, Project, Service};

/// Beginning of the labels: `hoist.content.secret.NAME`.
pub const CONTENT_LABEL: &str = "hoist.content.";

/// Marks by label, by container.
pub type Settled = IndexMap<String, IndexMap<String, String>>;

/// A content that a service wants to hear of.
struct Watched<'a> {
    label: String,
    word: String,
    on_change: OnChange,
    mark: &'a ContentMark,
}

/// The labels of a service's containers.
pub(super) fn labels(project: &Project, service: &Service) -> IndexMap<String, String> {
    watched(project, service)
        .map(|it| (it.label, it.mark.text()))
        .collect()
}

/// What the changed contents of a container ask for, and why; contents that it carries no mark of are taken as they
/// are.
pub(super) fn change(
    project: &Project,
    service: &Service,
    container: &ObservedContainer,
) -> Option<(OnChange, Cause)> {
    let mut wanted: Option<OnChange> = None;
    let mut contents = Vec::new();
    for it in watched(project, service) {
        let Some(carried) = container.labels.get(&it.label) else {
            continue;
        };
        if !it.mark.differs(carried) {
            continue;
        }
        let on_change = match it.on_change {
            OnChange::Signal(_) if it.mark.is_other_file(carried) => OnChange::Restart,
            other => other,
        };
        contents.push(it.word);
        wanted = wanted.max(Some(on_change));
    }
    Some((wanted?, Cause::ContentChanged { contents }))
}

/// What containers that a plan leaves in place carry once it is done: the marks of what they started with or were
/// signalled for, and of what they had no mark of.
#[must_use]
pub fn settled(project: &Project, observed: &ObservedState, plan: &Plan) -> Settled {
    let brought: Vec<&str> = plan
        .nodes()
        .filter_map(|(_, node)| brought(&node.action))
        .collect();
    let mut settled = Settled::new();
    for container in &observed.containers {
        let Some(service) = project.services.get(container.service()) else {
            continue;
        };
        let mut marks = labels(project, service);
        if !brought.contains(&container.id.as_str()) {
            marks.retain(|label, _| !container.labels.contains_key(label));
        }
        if !marks.is_empty() {
            settled.insert(container.id.clone(), marks);
        }
    }
    settled
}

/// The existing container that an action brings the contents to.
fn brought(action: &Action) -> Option<&str> {
    let (Action::StartContainer { container, .. } | Action::SignalContainer { container, .. }) =
        action
    else {
        return None;
    };
    match container {
        ContainerRef::Existing { id, .. } => Some(id),
        ContainerRef::Planned { .. } => None,
    }
}

fn watched<'a>(project: &'a Project, service: &'a Service) -> impl Iterator<Item = Watched<'a>> {
    let secrets = ("secret", &service.secrets, &project.secrets);
    let configs = ("config", &service.configs, &project.configs);
    [secrets, configs]
        .into_iter()
        .flat_map(move |(kind, references, objects)| {
            references.iter().filter_map(move |reference| {
                watch(service, (kind, reference), objects.get(&reference.source)?)
            })
        })
}

fn watch<'a>(
    service: &Service,
    (kind, reference): (&str, &FileReference),
    object: &'a FileObject,
) -> Option<Watched<'a>> {
    let mark = object.mark.as_ref()?;
    let name = &reference.source;
    let origin = match mark.origin.as_str() {
        "" => String::new(),
        origin => format!(" ({origin})"),
    };
    Some(Watched {
        label: format!("{CONTENT_LABEL}{kind}.{name}"),
        word: format!("{kind} `{name}`{origin}"),
        on_change: OnChange::of(service, reference)?,
        mark,
    })
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use serde_json::{Value, json};

    use super::{CONTENT_LABEL, settled};
    use crate::graph::Graph;
    use crate::model::{ContentMark, FileObject, FileReference, ON_CHANGE, Project};
    use crate::plan::tests::{container, observed, project, service, text};
    use crate::plan::{PlanError, PlanOptions, Recreate, plan};

    fn project_with(on_change: &Value, digest: &str) -> Project {
        let mut web = service("web");
        web.secrets.push(FileReference {
            source: "token".to_owned(),
            ..FileReference::default()
        });
        web.extensions
            .insert(ON_CHANGE.to_owned(), on_change.clone());
        let secret = FileObject {
            file: "/token.txt".to_owned(),
            mark: Some(ContentMark {
                digest: digest.to_owned(),
                inode: Some(7),
                origin: "/token.txt".to_owned(),
            }),
            ..FileObject::default()
        };
        Project {
            secrets: IndexMap::from([("token".to_owned(), secret)]),
            ..project(vec![web])
        }
    }

    fn carried(project: &Project, mark: &str) -> crate::engine::ObservedContainer {
        let mut web = container(&project.services["web"], 1);
        let label = format!("{CONTENT_LABEL}secret.token");
        web.labels.insert(label, mark.to_owned());
        web
    }

    fn planned(on_change: &Value, mark: &str) -> Result<String, PlanError> {
        let project = project_with(on_change, "k:2");
        let state = observed(&project, vec![carried(&project, mark)]);
        text(&project, &state, &PlanOptions::default())
    }

    #[test]
    fn a_changed_secret_recreates_restarts_or_signals_as_asked() -> Result<(), PlanError> {
        insta::assert_snapshot!(planned(&json!("recreate"), "k:1@7")?, @r"
    1. create container web100000000_p-web-1 (content of secret `token` (/token.txt) changed)
    2. stop container p-web-1 (step of the replacement) after 1
    3. remove container p-web-1 (step of the replacement) after 2
    4. rename container to p-web-1 (step of the replacement) after 3
    5. start container p-web-1 (just created) after 4
    ");
        insta::assert_snapshot!(planned(&json!("restart"), "k:1@7")?, @r"
    1. stop container p-web-1 (content of secret `token` (/token.txt) changed)
    2. start container p-web-1 (content of secret `token` (/token.txt) changed) after 1
    ");
        insta::assert_snapshot!(planned(&json!({"signal": "SIGHUP"}), "k:1@7")?, @"1. send SIGHUP to container p-web-1 (content of secret `token` (/token.txt) changed)");
        Ok(())
    }

    #[test]
    fn a_file_that_was_replaced_is_seen_after_a_restart_only() -> Result<(), PlanError> {
        insta::assert_snapshot!(planned(&json!({"signal": "SIGHUP"}), "k:1@6")?, @r"
    1. stop container p-web-1 (content of secret `token` (/token.txt) changed)
    2. start container p-web-1 (content of secret `token` (/token.txt) changed) after 1
    ");
        Ok(())
    }

    #[test]
    fn nothing_is_done_where_nothing_changed_or_nothing_is_asked() -> Result<(), PlanError> {
        for on_change in [
            json!("recreate"),
            json!("restart"),
            json!({"signal": "SIGHUP"}),
        ] {
            assert_eq!(planned(&on_change, "k:2@6")?, "", "{on_change}");
            let project = project_with(&on_change, "k:2");
            let unmarked = container(&project.services["web"], 1);
            let state = observed(&project, vec![unmarked]);
            assert_eq!(text(&project, &state, &PlanOptions::default())?, "");
            let kept = PlanOptions {
                recreate: Recreate::Never,
                ..PlanOptions::default()
            };
            let state = observed(&project, vec![carried(&project, "k:1@7")]);
            assert_eq!(text(&project, &state, &kept)?, "");
        }
        Ok(())
    }

    #[test]
    fn a_run_settles_what_it_brought_and_what_was_unknown() -> Result<(), PlanError> {
        let project = project_with(&json!({"signal": "SIGHUP"}), "k:2");
        let graph = Graph::new(&project).unwrap_or_else(|error| panic!("{error}"));
        for (mark, settles) in [(Some("k:1@7"), true), (Some("k:2@7"), false), (None, true)] {
            let mut web = container(&project.services["web"], 1);
            let label = format!("{CONTENT_LABEL}secret.token");
            if let Some(mark) = mark {
                web.labels.insert(label.clone(), mark.to_owned());
            }
            let id = web.id.clone();
            let state = observed(&project, vec![web]);
            let plan = plan(&project, &graph, &state, &PlanOptions::default())?;
            let settled = settled(&project, &state, &plan);
            let found = settled.get(&id).and_then(|marks| marks.get(&label));
            assert_eq!(found.map(String::as_str), settles.then_some("k:2@7"));
        }
        Ok(())
    }
}
