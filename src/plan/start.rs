//! The start pass: in dependency order, with waits only where a condition asks for more than a start
//! (behaviours.md B175-B186).

use indexmap::IndexMap;

use super::resolve::{self, ResolveError, Role};
use super::rolling;
use super::{
    Action, Cause, ContainerRef, Goal, HookKind, NodeId, PlanError, Planner, PreStart, Replica,
    Replicas, RollingUpdate, Wait, WaitUntil, wanted_replicas,
};
use crate::engine::label;
use crate::model::{DependencyCondition, Service, UpdateConfig};

/// What the start pass knows.
#[derive(Default)]
struct Pass {
    /// Per service: the nodes after which it counts as started.
    started: IndexMap<String, Vec<NodeId>>,
    /// Waits already planned.
    waits: IndexMap<(String, WaitUntilKey, bool), NodeId>,
    /// The last start of a container with a range of host ports: they start one after the other (B153).
    last_range: Option<NodeId>,
}

type WaitUntilKey = &'static str;

pub(super) fn plan_starts(planner: &mut Planner<'_>) -> Result<(), PlanError> {
    let mut pass = Pass::default();
    let order: Vec<String> = planner.graph.start_order().map(str::to_owned).collect();
    for name in &order {
        let Some(service) = planner.project.services.get(name) else {
            continue;
        };
        let after = dependencies(planner, &mut pass, service);
        // What a provider keeps was asked for before the plan, because its answer is part of the dependants.
        let nodes = if service.provider.is_some() {
            Vec::new()
        } else {
            start_service(planner, &mut pass, service, &after)?
        };
        pass.started.insert(name.clone(), nodes);
    }
    if planner.options.goal == Goal::Healthy {
        wait_for_all(planner, &pass, &order);
    }
    Ok(())
}

/// Nodes that must be done before a service may start.
fn dependencies(planner: &mut Planner<'_>, pass: &mut Pass, service: &Service) -> Vec<NodeId> {
    let idle = |replicas: &Replicas| {
        replicas.rolling.is_none()
            && replicas
                .containers
                .iter()
                .all(|replica| replica.start.is_none())
    };
    let nothing_to_start = service.provider.is_none()
        && planner.options.run_for.as_ref() != Some(&service.name)
        && planner.services.get(&service.name).is_none_or(idle);
    if nothing_to_start {
        return Vec::new();
    }
    let mut after = Vec::new();
    let edges: Vec<_> = planner
        .graph
        .dependencies(&service.name)
        .into_iter()
        .map(|(name, edge)| (name.to_owned(), edge.condition, edge.required))
        .collect();
    for (name, condition, required) in edges {
        let Some(dependency) = planner.project.services.get(&name) else {
            continue;
        };
        let started = pass.started.get(&name).cloned().unwrap_or_default();
        let waited = dependency.provider.is_none() && wanted_replicas(dependency) > 0;
        match WaitUntil::from_condition(condition) {
            Some(until) if waited => {
                after.push(wait(
                    planner,
                    pass,
                    (&name, until, required),
                    &service.name,
                    &started,
                ));
            }
            Some(_) | None => after.extend(started),
        }
    }
    after
}

fn wait(
    planner: &mut Planner<'_>,
    pass: &mut Pass,
    (name, until, required): (&str, WaitUntil, bool),
    dependant: &str,
    started: &[NodeId],
) -> NodeId {
    let key = match until {
        WaitUntil::Healthy => "healthy",
        WaitUntil::Completed => "completed",
        WaitUntil::RunningOrHealthy | WaitUntil::Settled => "running",
    };
    let key = (name.to_owned(), key, required);
    if let Some(node) = pass.waits.get(&key) {
        return *node;
    }
    let action = Action::Wait(Wait {
        service: name.to_owned(),
        until,
        containers: containers(planner, name),
        required,
        timeout_millis: planner.options.wait_timeout_millis,
    });
    let cause = Cause::NeededBy {
        service: dependant.to_owned(),
    };
    let node = planner.plan.add(action, cause, started);
    pass.waits.insert(key, node);
    node
}

fn containers(planner: &Planner<'_>, service: &str) -> Vec<ContainerRef> {
    planner
        .services
        .get(service)
        .map_or_else(Vec::new, |replicas: &Replicas| {
            replicas
                .containers
                .iter()
                .map(|replica| replica.container.clone())
                .collect()
        })
}

fn start_service(
    planner: &mut Planner<'_>,
    pass: &mut Pass,
    service: &Service,
    after: &[NodeId],
) -> Result<Vec<NodeId>, PlanError> {
    let updated = rolling_update(planner, service, after)?;
    let replicas = planner
        .services
        .get(&service.name)
        .cloned()
        .unwrap_or_default();
    let to_start: Vec<_> = replicas
        .containers
        .iter()
        .filter(|replica| replica.start.is_some())
        .collect();
    if to_start.is_empty() {
        return Ok(updated);
    }
    let files = resolve::file_specs(planner.project, service, planner.options.delivery)?;
    let mut before = after.to_vec();
    if to_start.len() == replicas.containers.len() {
        let first = to_start[0];
        let mut ready = before.clone();
        ready.extend(&first.ready);
        before.extend(pre_start(planner, service, &first.container, &ready)?);
    }
    let ranged = service
        .ports
        .iter()
        .any(|port| port.published.contains('-'));
    let mut done = updated;
    for replica in to_start {
        let mut after = before.clone();
        after.extend(&replica.ready);
        after.extend(pass.last_range.filter(|_| ranged));
        let start = Action::StartContainer {
            service: service.name.clone(),
            container: replica.container.clone(),
            files: files.clone(),
        };
        let cause = replica.start.clone().unwrap_or(Cause::Created);
        let node = planner.plan.add(start, cause, &after);
        if ranged {
            pass.last_range = Some(node);
        }
        done.push(hooks(planner, service, &replica.container, node));
    }
    Ok(done)
}

/// The service's rolling update, where there is one; its new containers are the service's from then on.
fn rolling_update(
    planner: &mut Planner<'_>,
    service: &Service,
    after: &[NodeId],
) -> Result<Vec<NodeId>, PlanError> {
    let pending = planner
        .services
        .get_mut(&service.name)
        .and_then(|replicas| replicas.rolling.take());
    let Some((steps, cause, before)) = pending else {
        return Ok(Vec::new());
    };
    let Some((update, rollback)) = rolling::rules(service, steps.len()) else {
        return Ok(Vec::new());
    };
    let wished = service
        .deploy
        .iter()
        .filter_map(|deploy| deploy.rollback_config.as_ref());
    let starts_first = |config: &UpdateConfig| config.order == "start-first";
    if let Some(port) = rolling::fixed_port(service).filter(|_| wished.clone().any(starts_first)) {
        planner.notice(format!(
            "service `{}`: a rollback stops the new containers first, whatever `rollback_config.order` says, since \
             only one container can hold port {port} of the host",
            service.name
        ));
    }
    let names: Vec<_> = steps
        .iter()
        .map(|step| step.create.display.clone())
        .collect();
    let action = Action::RollingUpdate(Box::new(RollingUpdate {
        service: service.name.clone(),
        steps,
        update,
        rollback,
        timeout: planner.options.timeout,
        files: resolve::file_specs(planner.project, service, planner.options.delivery)?,
        hooks: service.post_start.clone(),
        finish_millis: planner
            .options
            .finish_millis
            .unwrap_or(rolling::FINISH_MILLIS),
    }));
    let node = planner.plan.add(action, cause, &[after, &before].concat());
    let replicas = planner.services.entry(service.name.clone()).or_default();
    replicas
        .containers
        .extend(names.into_iter().map(|name| Replica {
            container: ContainerRef::Planned { node, name },
            ready: vec![node],
            start: None,
        }));
    Ok(vec![node])
}

/// Commands after the start, one after the other; returns the last node.
fn hooks(
    planner: &mut Planner<'_>,
    service: &Service,
    container: &ContainerRef,
    started: NodeId,
) -> NodeId {
    service.post_start.iter().fold(started, |last, hook| {
        let run = Action::RunHook {
            service: service.name.clone(),
            container: container.clone(),
            kind: HookKind::PostStart,
            hook: Box::new(hook.clone()),
        };
        planner.plan.add(run, Cause::Hook, &[last])
    })
}

/// One-time containers before the first replica starts (behaviours.md B186).
pub(super) fn pre_start(
    planner: &mut Planner<'_>,
    service: &Service,
    replica: &ContainerRef,
    after: &[NodeId],
) -> Result<Option<NodeId>, PlanError> {
    let mut last: Option<NodeId> = None;
    for (index, hook) in service.pre_start.iter().enumerate() {
        if hook.per_replica {
            return Err(ResolveError::PerReplica {
                service: service.name.clone(),
            }
            .into());
        }
        let spec = pre_start_spec(planner, service, hook)?;
        let stale = if index == 0 {
            stale_hooks(planner, service)
        } else {
            Vec::new()
        };
        let run = Action::PreStart(Box::new(PreStart {
            service: service.name.clone(),
            index,
            spec,
            replica: replica.clone(),
            stale,
        }));
        let before = last.map_or_else(|| after.to_vec(), |node| vec![node]);
        last = Some(planner.plan.add(run, Cause::Hook, &before));
    }
    Ok(last)
}

fn stale_hooks(planner: &Planner<'_>, service: &Service) -> Vec<String> {
    planner
        .observed
        .containers
        .iter()
        .filter(|container| {
            container.service() == service.name && container.labels.contains_key(label::HOOK)
        })
        .map(|container| container.id.clone())
        .collect()
}

/// A container with the hook's command in the service's surroundings, without its ports, probe and restart policy.
fn pre_start_spec(
    planner: &Planner<'_>,
    service: &Service,
    hook: &crate::model::Hook,
) -> Result<crate::engine::ContainerSpec, PlanError> {
    let mut plain = service.clone();
    plain.command.clone_from(&hook.command);
    plain.entrypoint = Some(Vec::new());
    if !hook.image.is_empty() {
        plain.image.clone_from(&hook.image);
    }
    if !hook.user.is_empty() {
        plain.user.clone_from(&hook.user);
    }
    if !hook.working_dir.is_empty() {
        plain.working_dir.clone_from(&hook.working_dir);
    }
    plain.privileged |= hook.privileged;
    plain.environment.extend(hook.environment.clone());
    plain.ports.clear();
    plain.expose.clear();
    plain.healthcheck = None;
    plain.restart.clear();
    plain.deploy = None;
    plain.volumes.clear();
    plain.volumes_from.clear();
    plain.secrets.clear();
    plain.configs.clear();
    plain.container_name.clear();
    for mode in [&mut plain.network_mode, &mut plain.ipc, &mut plain.pid] {
        if mode.starts_with("service:") {
            mode.clear();
        }
    }
    let role = Role::OneOff {
        aliases: resolve::Aliases::Container,
    };
    let mut spec = resolve::resolve(&planner.request(&plain, "", role))?;
    if let Some(networks) = spec
        .body
        .networking_config
        .as_mut()
        .and_then(|config| config.endpoints_config.as_mut())
    {
        for endpoint in networks.values_mut() {
            endpoint.aliases = None;
            endpoint.ipam_config = None;
            endpoint.mac_address = None;
        }
    }
    spec.body.labels = Some(
        [
            (label::PROJECT, planner.project.name.as_str()),
            (label::SERVICE, service.name.as_str()),
            (label::VERSION, label::COMPOSE_VERSION),
            (label::HOOK, "pre_start"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect(),
    );
    Ok(spec)
}

/// The waits of `up --wait` (behaviours.md B181); other than with docker compose a container that ended with 0 is a job
/// that is done.
fn wait_for_all(planner: &mut Planner<'_>, pass: &Pass, order: &[String]) {
    for name in order {
        let Some(service) = planner.project.services.get(name) else {
            continue;
        };
        if service.provider.is_some() || wanted_replicas(service) == 0 {
            continue;
        }
        let is_job =
            planner.graph.dependents(name).into_iter().any(|(_, edge)| {
                edge.condition == DependencyCondition::ServiceCompletedSuccessfully
            });
        let action = Action::Wait(Wait {
            service: name.clone(),
            until: if is_job {
                WaitUntil::Completed
            } else {
                WaitUntil::Settled
            },
            containers: containers(planner, name),
            required: true,
            timeout_millis: None,
        });
        let after = pass.started.get(name).cloned().unwrap_or_default();
        planner
            .plan
            .add(action, Cause::Requested { option: "--wait" }, &after);
    }
}
