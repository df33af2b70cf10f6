//! The container of `run` (behaviours.md B245-B251).

use super::resolve::{self, Aliases, Request, Role};
use super::{Action, Cause, ContainerRef, HookKind, NodeId, Plan, PlanError, PlanOptions, hash};
use crate::engine::{ContainerSpec, ObservedState, label};
use crate::model::{Project, Service};

/// What is special about a one-off.
#[derive(Debug, Clone)]
pub struct OneOff {
    /// The service with the command's changes in it.
    pub service: Service,
    /// Name of the container; empty makes one of the slug.
    pub name: String,
    /// Random part of the name, twelve hexadecimal digits or more.
    pub slug: String,
    /// Which names it answers to.
    pub aliases: Aliases,
    /// Whether its standard input is ours.
    pub interactive: bool,
    /// Whether the engine removes it at its end.
    pub auto_remove: bool,
}

/// Makes the specification of a one-off.
///
/// # Errors
/// When the service asks for what cannot be.
pub fn one_off(
    project: &Project,
    observed: &ObservedState,
    one_off: &OneOff,
    options: &PlanOptions,
) -> Result<ContainerSpec, PlanError> {
    let separator = options.separator.as_char();
    let mut service = one_off.service.clone();
    // A one-off is removed or kept, never restarted, and never one of several.
    service.restart.clear();
    service.scale = Some(1);
    if let Some(deploy) = &mut service.deploy {
        deploy.restart_policy = None;
        deploy.replicas = None;
    }
    let name = if one_off.name.is_empty() {
        let slug = one_off.slug.get(..12).unwrap_or(&one_off.slug);
        format!(
            "{}{separator}{}{separator}run{separator}{slug}",
            project.name, service.name
        )
    } else {
        one_off.name.clone()
    };
    service.container_name.clone_from(&name);
    share(&mut service, observed)?;
    let hash = hash::service_hash(&service);
    let mut spec = resolve::resolve(&Request {
        project,
        service: &service,
        name: &name,
        role: Role::OneOff {
            aliases: one_off.aliases,
        },
        observed,
        hash: &hash,
        inherit: None,
        replaces: None,
        separator,
        api: options.api,
        delivery: options.delivery,
    })?;
    let labels = spec.body.labels.get_or_insert_default();
    labels.insert(label::SLUG.to_owned(), one_off.slug.clone());
    spec.body.attach_stdin = Some(one_off.interactive);
    spec.body.stdin_once = Some(one_off.interactive && service.stdin_open);
    if let Some(host) = &mut spec.body.host_config {
        host.auto_remove = one_off.auto_remove.then_some(true);
    }
    Ok(spec)
}

/// Puts the ids of existing containers in the place of `service:NAME`.
fn share(service: &mut Service, observed: &ObservedState) -> Result<(), PlanError> {
    let mut missing = None;
    super::container::substitute(service, |what, name| {
        let found = observed
            .containers
            .iter()
            .find(|container| container.service() == name && !container.is_one_off());
        if found.is_none() {
            missing.get_or_insert_with(|| resolve::ResolveError::SharedContainerMissing {
                what,
                service: name.to_owned(),
            });
        }
        found.map(|container| container.id.clone())
    });
    missing.map_or(Ok(()), |error| Err(error.into()))
}

/// The hooks that a one-off runs after its start, one after the other (behaviours.md B189).
#[must_use]
pub fn post_start(service: &Service, id: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let mut after: Vec<NodeId> = Vec::new();
    for hook in &service.post_start {
        let run = Action::RunHook {
            service: service.name.clone(),
            container: ContainerRef::Existing {
                id: id.to_owned(),
                name: name.to_owned(),
            },
            kind: HookKind::PostStart,
            hook: Box::new(hook.clone()),
        };
        after = vec![plan.add(run, Cause::Hook, &after)];
    }
    plan
}
