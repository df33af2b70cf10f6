//! Stop, start, restart and removal of containers that exist (behaviours.md B183, B238-B241).

use indexmap::{IndexMap, IndexSet};

use super::{
    Action, Cause, ContainerRef, NodeId, Plan, PlanError, PlanOptions, Planner, Replica, Replicas,
    Shown, down, start,
};
use crate::engine::{ObservedContainer, ObservedState, label};
use crate::graph::{Graph, Reach};
use crate::model::Project;

/// Plans `stop`: dependants first; services that are not named are left alone.
#[must_use]
pub fn stop(
    project: &Project,
    graph: &Graph,
    observed: &ObservedState,
    (services, timeout): (&[String], Option<i64>),
) -> Plan {
    let mut plan = Plan::default();
    let mut stopped: IndexMap<&str, Vec<NodeId>> = IndexMap::new();
    let chosen: IndexSet<&str> = graph.select(services, Reach::Named).into_iter().collect();
    for name in graph.stop_order().filter(|name| chosen.contains(name)) {
        let after: Vec<_> = graph
            .dependents(name)
            .into_iter()
            .filter_map(|(dependant, _)| stopped.get(dependant))
            .flatten()
            .copied()
            .collect();
        if project
            .services
            .get(name)
            .is_some_and(|service| service.provider.is_some())
        {
            let action = Action::Provide {
                service: name.to_owned(),
                verb: "stop",
            };
            let node = plan.add(action, Cause::Requested { option: "stop" }, &after);
            stopped.insert(name, vec![node]);
            continue;
        }
        let nodes = replicas(observed, name)
            .map(|container| {
                let after =
                    down::pre_stop(&mut plan, container, project.services.get(name), &after);
                let stop = Action::StopContainer {
                    container: ContainerRef::from(container),
                    timeout,
                    shown: Shown::Yes,
                };
                plan.add(stop, Cause::Requested { option: "stop" }, &after)
            })
            .collect();
        stopped.insert(name, nodes);
    }
    plan
}

fn replicas<'a>(
    observed: &'a ObservedState,
    service: &str,
) -> impl Iterator<Item = &'a ObservedContainer> {
    observed.containers.iter().filter(move |container| {
        container.service() == service
            && !container.is_one_off()
            && !container.labels.contains_key(label::HOOK)
    })
}

/// Plans `start`: only containers that exist, with what they need.
///
/// # Errors
/// When a service has no container.
pub fn start_existing(
    project: &Project,
    graph: &Graph,
    observed: &ObservedState,
    options: &PlanOptions,
) -> Result<Plan, PlanError> {
    let mut planner = Planner::new(project, graph, observed, options);
    for name in graph.start_order() {
        let Some(service) = project.services.get(name) else {
            continue;
        };
        let containers: Vec<_> = replicas(observed, name).map(existing).collect();
        if containers.is_empty()
            && service.provider.is_none()
            && super::wanted_replicas(service) > 0
        {
            let dependant = graph
                .dependents(name)
                .into_iter()
                .map(|(name, _)| name)
                .next();
            return Err(match dependant {
                Some(dependant) if !planner.is_named(name) => PlanError::MissingDependency {
                    service: dependant.to_owned(),
                    dependency: name.to_owned(),
                },
                Some(_) | None => PlanError::NothingToStart {
                    service: name.to_owned(),
                },
            });
        }
        let replicas = Replicas {
            containers,
            ..Replicas::default()
        };
        planner.services.insert(name.to_owned(), replicas);
    }
    start::plan_starts(&mut planner)?;
    Ok(planner.plan)
}

fn existing(container: &ObservedContainer) -> Replica {
    Replica {
        container: ContainerRef::from(container),
        ready: Vec::new(),
        start: (!container.is_running()).then(|| Cause::NotRunning {
            state: container.state.clone(),
        }),
    }
}

/// Plans `restart`: the named services, and those that want to be restarted with them (behaviours.md B239).
#[must_use]
pub fn restart(
    project: &Project,
    graph: &Graph,
    observed: &ObservedState,
    (services, timeout, dependents): (&[String], Option<i64>, Reach),
) -> Plan {
    let mut plan = Plan::default();
    let mut done: IndexMap<&str, Vec<NodeId>> = IndexMap::new();
    let chosen = restarted(graph, services, dependents);
    for name in graph.start_order().filter(|name| chosen.contains(*name)) {
        let after: Vec<_> = graph
            .dependencies(name)
            .into_iter()
            .filter_map(|(dependency, _)| done.get(dependency))
            .flatten()
            .copied()
            .collect();
        let mut nodes = Vec::new();
        for container in replicas(observed, name) {
            let service = project.services.get(name);
            let after = down::pre_stop(&mut plan, container, service, &after);
            let action = Action::RestartContainer {
                container: ContainerRef::from(container),
                timeout,
            };
            let mut node = plan.add(action, Cause::Requested { option: "restart" }, &after);
            for hook in service.iter().flat_map(|service| &service.post_start) {
                let run = Action::RunHook {
                    service: name.to_owned(),
                    container: ContainerRef::from(container),
                    kind: super::HookKind::PostStart,
                    hook: Box::new(hook.clone()),
                };
                node = plan.add(run, Cause::Hook, &[node]);
            }
            nodes.push(node);
        }
        done.insert(name, nodes);
    }
    plan
}

/// The named services, and with `Reach::Dependents` those that depend on them with `restart: true`.
fn restarted<'a>(graph: &'a Graph, services: &[String], reach: Reach) -> IndexSet<&'a str> {
    let mut chosen: IndexSet<&str> = IndexSet::new();
    let mut open = graph.select(services, Reach::Named);
    while let Some(name) = open.pop() {
        if chosen.insert(name) && reach == Reach::Dependents {
            open.extend(
                graph
                    .dependents(name)
                    .into_iter()
                    .filter(|(_, edge)| edge.restart)
                    .map(|(name, _)| name),
            );
        }
    }
    chosen
}

/// Plans `rm` of containers that were chosen already.
#[must_use]
pub fn remove<'a>(
    containers: impl IntoIterator<Item = &'a ObservedContainer>,
    volumes: bool,
) -> Plan {
    let mut plan = Plan::default();
    for container in containers {
        let remove = Action::RemoveContainer {
            container: ContainerRef::from(container),
            volumes,
            force: false,
            shown: Shown::Yes,
        };
        plan.add(remove, Cause::Requested { option: "rm" }, &[]);
    }
    plan
}
