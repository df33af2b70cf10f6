//! Containers of a service: which to keep, to replace, to add and to remove (behaviours.md B129-B142).

use indexmap::IndexMap;

use super::content;
use super::resolve::{self, Request, ResolveError, Role};
use super::{
    Action, AnonymousVolumes, Cause, ContainerRef, CreateContainer, Goal, LateBinding, NodeId,
    PlanError, Planner, Recreate, Replica, Replicas, RollingStep, Shown, Unchanged, container_name,
    hash, wanted_replicas,
};
use crate::engine::{ContainerSpec, ObservedContainer, label};
use crate::graph::Origin;
use crate::model::{MountKind, OnChange, Project, Service};

/// Two services must not want one container name (behaviours.md B101).
pub(super) fn check_names(project: &Project) -> Result<(), PlanError> {
    let mut owners: IndexMap<&str, &str> = IndexMap::new();
    for service in project
        .services
        .values()
        .filter(|service| !service.container_name.is_empty())
    {
        if let Some(first) = owners.insert(&service.container_name, &service.name) {
            return Err(PlanError::ContainerNameTaken {
                name: service.container_name.clone(),
                first: first.to_owned(),
                second: service.name.clone(),
            });
        }
    }
    Ok(())
}

pub(super) fn plan_containers(planner: &mut Planner<'_>) -> Result<(), PlanError> {
    let order: Vec<String> = planner.graph.start_order().map(str::to_owned).collect();
    for name in order {
        let Some(service) = planner.project.services.get(&name) else {
            continue;
        };
        if service.provider.is_none() && planner.options.run_for.as_ref() != Some(&name) {
            plan_service(planner, service)?;
        }
    }
    Ok(())
}

/// A service with the containers it shares with put in, as far as they exist.
struct Bound {
    service: Service,
    /// Absent while a container it shares with is still to be made.
    hash: Option<String>,
    references: IndexMap<String, ContainerRef>,
}

fn plan_service(planner: &mut Planner<'_>, service: &Service) -> Result<(), PlanError> {
    let bound = bind(planner, service)?;
    let wanted = wanted_replicas(service);
    let mut existing: Vec<(&ObservedContainer, Option<Cause>)> = own_containers(planner, service)
        .into_iter()
        .map(|container| (container, divergence(planner, &bound, container)))
        .collect();
    let rolls = rolls(planner, service);
    for leftover in split_leftovers(planner, service, &mut existing, rolls) {
        let removed = remove(planner, leftover, Cause::Leftover);
        planner
            .leftovers
            .entry(service.name.clone())
            .or_default()
            .push(removed);
    }
    existing.sort_by_key(|(container, cause)| (cause.is_some(), container.number()));
    let next = existing
        .iter()
        .filter_map(|(container, _)| container.number())
        .max()
        .unwrap_or(0);
    let surplus = existing.split_off(wanted.min(existing.len()));
    let is_scaled = planner.options.scaled.contains(&service.name);
    let option = is_scaled.then_some("--scale");
    for (container, _) in &surplus {
        let cause = Cause::ScaleDown {
            service: service.name.clone(),
            wanted,
            option,
        };
        remove(planner, container, cause);
    }
    existing.sort_by_key(|(container, _)| container.number());
    let stopped = if !rolls && existing.iter().any(|(_, cause)| cause.is_some()) {
        stop_dependents(planner, service)
    } else {
        Vec::new()
    };
    let mut replicas = Replicas::default();
    for (container, cause) in &existing {
        match cause {
            Some(cause) if rolls => roll(planner, &bound, container, (&mut replicas, cause))?,
            Some(cause) => {
                replicas.recreated = true;
                let replica = recreate(planner, &bound, container, cause.clone(), &stopped)?;
                replicas.containers.push(replica);
            }
            None => replicas.containers.push(keep(planner, service, container)?),
        }
    }
    for number in (next + 1..).take(wanted.saturating_sub(existing.len())) {
        let cause = if existing.is_empty() {
            Cause::Missing
        } else {
            Cause::ScaleUp { wanted, option }
        };
        replicas
            .containers
            .push(create(planner, &bound, number, cause)?);
    }
    planner.services.insert(service.name.clone(), replicas);
    Ok(())
}

/// Takes out what a replacement that was cut short left: of two containers with one number one is too many.
///
/// The one that is as the file says stays. Where a rolling update was cut short, it may not have proved itself, so the
/// old one stays while it serves.
fn split_leftovers<'a>(
    planner: &Planner<'_>,
    service: &Service,
    existing: &mut Vec<(&'a ObservedContainer, Option<Cause>)>,
    rolls: bool,
) -> Vec<&'a ObservedContainer> {
    let serves = |container: &ObservedContainer| {
        container.is_running() && network(planner, service, container).is_none()
    };
    let rank = |(container, cause): &(&ObservedContainer, Option<Cause>)| {
        let current = cause.is_none();
        let first = if rolls {
            !current && serves(container)
        } else {
            current
        };
        // The newest of several that are alike.
        (!first, !current, std::cmp::Reverse(container.created))
    };
    existing.sort_by_key(rank);
    let mut numbers = Vec::new();
    let (kept, leftovers) = std::mem::take(existing)
        .into_iter()
        .partition(|(container, _)| {
            let number = container.number();
            let first = number.is_none() || !numbers.contains(&number);
            numbers.push(number);
            first
        });
    *existing = kept;
    let leftovers: Vec<(&ObservedContainer, Option<Cause>)> = leftovers;
    leftovers
        .into_iter()
        .map(|(container, _)| container)
        .collect()
}

/// Whether a service is replaced by a rolling update: where it asks for one, and no other service shares with its
/// containers.
fn rolls(planner: &Planner<'_>, service: &Service) -> bool {
    let asks = service
        .deploy
        .as_ref()
        .is_some_and(|deploy| deploy.update_config.is_some());
    let mut dependents = planner.graph.dependents(&service.name).into_iter();
    let shared =
        dependents.any(|(_, edge)| matches!(edge.origin, Origin::Namespace | Origin::VolumesFrom));
    asks && !shared && service.container_name.is_empty() && planner.options.goal != Goal::Created
}

/// Adds a replica to the service's rolling update.
fn roll(
    planner: &Planner<'_>,
    bound: &Bound,
    old: &ObservedContainer,
    (replicas, cause): (&mut Replicas, &Cause),
) -> Result<(), PlanError> {
    let create = specify(planner, bound, old.number().unwrap_or(1), Some(old))?;
    let step = RollingStep {
        old: ContainerRef::from(old),
        create,
    };
    let after = prerequisites(planner, bound);
    replicas
        .rolling
        .get_or_insert_with(|| (Vec::new(), cause.clone(), after))
        .0
        .push(step);
    Ok(())
}

/// The replicas of a service that exist and are not already on their way out.
fn own_containers<'a>(planner: &Planner<'a>, service: &Service) -> Vec<&'a ObservedContainer> {
    planner
        .observed
        .containers
        .iter()
        .filter(|container| container.service() == service.name && !container.is_one_off())
        .filter(|container| !container.labels.contains_key(label::HOOK))
        .filter(|container| !planner.removed.contains_key(&container.id))
        .collect()
}

/// Puts container ids in the place of `service:NAME` (behaviours.md B133).
fn bind(planner: &Planner<'_>, service: &Service) -> Result<Bound, PlanError> {
    let mut references = IndexMap::new();
    let mut resolved = service.clone();
    let mut missing = None;
    substitute(&mut resolved, |what, name| {
        match find_shared(planner, name) {
            Some(ContainerRef::Existing { id, .. }) => Some(id),
            Some(planned @ ContainerRef::Planned { .. }) => {
                references.insert(name.to_owned(), planned);
                None
            }
            None => {
                missing.get_or_insert_with(|| ResolveError::SharedContainerMissing {
                    what,
                    service: name.to_owned(),
                });
                None
            }
        }
    });
    if let Some(error) = missing {
        return Err(error.into());
    }
    let hash = references.is_empty().then(|| hash::service_hash(&resolved));
    Ok(Bound {
        service: resolved,
        hash,
        references,
    })
}

/// The container that stands for a service whose namespace or volumes are shared; with `--no-deps` the service is not
/// part of the plan, but may have one.
fn find_shared(planner: &Planner<'_>, service: &str) -> Option<ContainerRef> {
    if let Some(replicas) = planner.services.get(service) {
        return replicas
            .containers
            .first()
            .map(|replica| replica.container.clone());
    }
    let mut existing = planner.observed.containers.iter();
    existing
        .find(|container| container.service() == service && !container.is_one_off())
        .map(ContainerRef::from)
}

/// Replaces `service:NAME` in shared namespaces and the entries of `volumes_from` by what `find` knows for
/// (what is shared, name).
pub(super) fn substitute(
    service: &mut Service,
    mut find: impl FnMut(&'static str, &str) -> Option<String>,
) {
    let modes = [
        ("network namespace", &mut service.network_mode),
        ("IPC namespace", &mut service.ipc),
        ("PID namespace", &mut service.pid),
    ];
    for (what, mode) in modes {
        let id = mode
            .strip_prefix("service:")
            .and_then(|name| find(what, name));
        if let Some(id) = id {
            *mode = format!("container:{id}");
        }
    }
    for from in &mut service.volumes_from {
        let mut parts = from.split(':');
        let (name, second) = (parts.next().unwrap_or_default(), parts.next());
        let found = match (name, second) {
            ("container", Some(container)) => Some(container.to_owned()),
            _ => find("volume", name),
        };
        if let Some(found) = found {
            *from = found;
        }
    }
}

impl CreateContainer {
    /// The specification with the ids of the containers it shares with, which exist by now.
    #[must_use]
    pub fn complete(&self, id_of: impl Fn(&ContainerRef) -> Option<String>) -> ContainerSpec {
        let mut spec = self.spec.clone();
        let Some(late) = &self.late else { return spec };
        let mut service = late.service.clone();
        substitute(&mut service, |_, name| {
            late.references.get(name).and_then(&id_of)
        });
        if let Some(labels) = &mut spec.body.labels {
            labels.insert(label::CONFIG_HASH.to_owned(), hash::service_hash(&service));
        }
        if let Some(host) = &mut spec.body.host_config {
            let mode = |mode: &String| (!mode.is_empty()).then(|| mode.clone());
            host.ipc_mode = mode(&service.ipc);
            host.pid_mode = mode(&service.pid);
            if !service.network_mode.is_empty() {
                host.network_mode = mode(&service.network_mode);
            }
            host.volumes_from = (!service.volumes_from.is_empty()).then_some(service.volumes_from);
        }
        spec
    }
}

/// Why a container must be replaced; `None` where it is as the file says (behaviours.md B134).
fn divergence(
    planner: &Planner<'_>,
    bound: &Bound,
    container: &ObservedContainer,
) -> Option<Cause> {
    match rule(planner, &bound.service) {
        Recreate::Never => return None,
        Recreate::Force => {
            return Some(Cause::Requested {
                option: planner.options.recreate_option,
            });
        }
        Recreate::Diverged => {}
    }
    parent(bound)
        .or_else(|| config(bound, container))
        .or_else(|| image(planner, &bound.service, container))
        .or_else(|| network(planner, &bound.service, container))
        .or_else(|| volume(planner, &bound.service, container))
        .or_else(|| {
            let change = content::change(planner.project, &bound.service, container)?;
            (change.0 == OnChange::Recreate).then_some(change.1)
        })
}

/// What the command says about recreation.
fn rule(planner: &Planner<'_>, service: &Service) -> Recreate {
    if planner.is_named(&service.name) {
        planner.options.recreate
    } else {
        planner.options.recreate_dependencies
    }
}

/// A container it shares with is new, so its id is not the one that this container was made with.
fn parent(bound: &Bound) -> Option<Cause> {
    let service = bound.references.keys().next().cloned()?;
    Some(Cause::ParentRecreated { service })
}

fn config(bound: &Bound, container: &ObservedContainer) -> Option<Cause> {
    let hash = bound.hash.as_deref()?;
    (container.config_hash() != hash).then_some(Cause::ConfigChanged {
        changes: Vec::new(),
    })
}

fn image(planner: &Planner<'_>, service: &Service, container: &ObservedContainer) -> Option<Cause> {
    let name = resolve::image_name(planner.project, service, planner.separator());
    if let Some(image) = planner.observed.images.get(&name) {
        let made_from = container
            .labels
            .get(label::IMAGE)
            .map_or("", String::as_str);
        if made_from != image.id {
            return Some(Cause::ImageChanged { image: name });
        }
    }
    let wanted = resolve::image_volume_ids(service, planner.observed)?;
    let made_with = container.labels.get(label::IMAGE_VOLUME);
    (made_with != Some(&wanted)).then_some(Cause::ImageVolumeChanged)
}

fn network(
    planner: &Planner<'_>,
    service: &Service,
    container: &ObservedContainer,
) -> Option<Cause> {
    if !container.is_running() {
        return None;
    }
    resolve::networks_by_priority(planner.project, service)
        .into_iter()
        .find_map(|key| {
            let name = &planner.project.networks.get(key)?.name;
            let attached = match (
                container.networks.get(name),
                planner.observed.networks.get(name),
            ) {
                (None, _) => false,
                (Some(id), Some(observed)) => id.is_empty() || *id == observed.id,
                (Some(_), None) => !planner.networks.contains_key(name),
            };
            (!attached).then(|| Cause::NotAttached {
                network: name.clone(),
            })
        })
}

fn volume(
    planner: &Planner<'_>,
    service: &Service,
    container: &ObservedContainer,
) -> Option<Cause> {
    service
        .volumes
        .iter()
        .filter(|mount| mount.kind == MountKind::Volume && !mount.source.is_empty())
        .filter_map(|mount| planner.project.volumes.get(&mount.source))
        .map(|volume| &volume.name)
        .find(|name| {
            !container
                .mounts
                .iter()
                .any(|mount| mount.name.as_ref() == Some(name))
        })
        .map(|name| Cause::NotMounted {
            volume: name.clone(),
        })
}

/// Leaves a container as it is, to be started where it does not run.
fn keep(
    planner: &mut Planner<'_>,
    service: &Service,
    container: &ObservedContainer,
) -> Result<Replica, PlanError> {
    let mut ready = Vec::new();
    let mut start = (!container.is_running()).then(|| Cause::NotRunning {
        state: container.state.clone(),
    });
    if let Some((nodes, network)) = planner.reconnected.get(&container.id) {
        ready.extend(nodes);
        if container.is_running() {
            start = Some(Cause::NetworkRecreated {
                network: network.clone(),
            });
        }
    }
    if let Some((node, dependency)) = planner.stopped.get(&container.id) {
        ready.push(*node);
        start.get_or_insert_with(|| Cause::DependencyRestarted {
            service: dependency.clone(),
        });
    }
    ready.extend(give_name(planner, service, container));
    if !container.is_running() {
        ready.extend(attach(planner, service, container));
    }
    let mut told = Told::Nothing;
    if start.is_none()
        && let Some((change, cause)) = renewal(planner, service, container)
    {
        match change {
            OnChange::Signal(signal) => {
                signal_to(planner, service, container, (signal, cause))?;
                told = Told::News;
            }
            OnChange::Restart | OnChange::Recreate => {
                ready.push(stop_to_renew(planner, service, container, &cause));
                start = Some(cause);
            }
        }
    }
    if start.is_none() && told == Told::Nothing {
        planner.plan.unchanged.push(Unchanged {
            service: service.name.clone(),
            container: container.name.clone(),
            state: container.state.clone(),
        });
    }
    Ok(Replica {
        container: ContainerRef::from(container),
        ready,
        start,
    })
}

/// Whether something is done to a container that runs on.
#[derive(PartialEq, Eq)]
enum Told {
    Nothing,
    News,
}

/// What changed contents ask of a container that is kept and runs.
fn renewal(
    planner: &Planner<'_>,
    service: &Service,
    container: &ObservedContainer,
) -> Option<(OnChange, Cause)> {
    let asked = container.is_running() && rule(planner, service) != Recreate::Never;
    let starts = planner.options.goal != Goal::Created;
    (asked && starts).then(|| content::change(planner.project, service, container))?
}

fn signal_to(
    planner: &mut Planner<'_>,
    service: &Service,
    container: &ObservedContainer,
    (signal, cause): (String, Cause),
) -> Result<(), PlanError> {
    let action = Action::SignalContainer {
        service: service.name.clone(),
        container: ContainerRef::from(container),
        files: resolve::file_specs(planner.project, service, planner.options.delivery)?,
        signal,
    };
    planner.plan.add(action, cause, &[]);
    Ok(())
}

/// Stops a container that starts again with other contents.
fn stop_to_renew(
    planner: &mut Planner<'_>,
    service: &Service,
    container: &ObservedContainer,
    cause: &Cause,
) -> NodeId {
    let stopped = stop_dependents(planner, service);
    let after = super::down::pre_stop(&mut planner.plan, container, Some(service), &stopped);
    let stop = Action::StopContainer {
        container: ContainerRef::from(container),
        timeout: planner.options.timeout,
        shown: Shown::Yes,
    };
    planner.plan.add(stop, cause.clone(), &after)
}

/// Attaches a container that does not run to what it lost when the recreation of a network was cut short.
///
/// A stopped container is not made again for this, since not every engine tells the networks of one; to attach what is
/// attached does no harm.
fn attach(
    planner: &mut Planner<'_>,
    service: &Service,
    container: &ObservedContainer,
) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    for key in resolve::networks_by_priority(planner.project, service) {
        let Some(network) = planner.project.networks.get(key) else {
            continue;
        };
        if container.networks.contains_key(&network.name) {
            continue;
        }
        let connect = Action::ConnectNetwork {
            network: network.name.clone(),
            container: ContainerRef::from(container),
            endpoint: Box::new(super::network::endpoint(planner, container, key)),
        };
        let cause = Cause::NotAttached {
            network: network.name.clone(),
        };
        let after: Vec<_> = planner
            .networks
            .get(&network.name)
            .copied()
            .into_iter()
            .collect();
        nodes.push(planner.plan.add(connect, cause, &after));
    }
    nodes
}

/// A replacement that was cut short leaves its container under the passing name.
fn give_name(
    planner: &mut Planner<'_>,
    service: &Service,
    container: &ObservedContainer,
) -> Option<NodeId> {
    let place = usize::try_from(container.number()?).ok()?;
    let name = container_name(planner.project, service, place, planner.separator());
    let passing = container.name.strip_suffix(&name)?.strip_suffix('_')?;
    let is_id = passing.len() == 12 && passing.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut others = planner.observed.containers.iter();
    let holder = others.find(|other| other.name == name);
    let freed = holder.and_then(|holder| planner.surplus.get(&holder.id).copied());
    if !is_id || holder.is_some() != freed.is_some() {
        return None;
    }
    let rename = Action::RenameContainer {
        container: ContainerRef::from(container),
        name,
    };
    let after: Vec<_> = freed.into_iter().collect();
    Some(planner.plan.add(rename, Cause::Unnamed, &after))
}

/// Nodes after which a container of the service can be made.
fn prerequisites(planner: &Planner<'_>, bound: &Bound) -> Vec<NodeId> {
    let networks = resolve::networks_by_priority(planner.project, &bound.service)
        .into_iter()
        .filter_map(|key| planner.project.networks.get(key))
        .filter_map(|network| planner.networks.get(&network.name));
    let volumes = bound
        .service
        .volumes
        .iter()
        .filter_map(|mount| planner.project.volumes.get(&mount.source))
        .filter_map(|volume| planner.volumes.get(&volume.name));
    let removed = planner
        .observed
        .containers
        .iter()
        .filter(|container| container.service() == bound.service.name)
        .filter_map(|container| planner.removed.get(&container.id));
    let linked = bound
        .service
        .links
        .iter()
        .filter_map(|link| planner.services.get(link.split(':').next()?))
        .flat_map(|replicas| &replicas.containers)
        .flat_map(|replica| &replica.ready);
    let shared = bound
        .references
        .keys()
        .filter_map(|name| planner.services.get(name)?.containers.first())
        .flat_map(|replica| &replica.ready);
    let leftovers = planner.leftovers.get(&bound.service.name);
    networks
        .chain(leftovers.into_iter().flatten())
        .chain(volumes)
        .chain(removed)
        .chain(linked)
        .chain(shared)
        .copied()
        .collect()
}

fn specify(
    planner: &Planner<'_>,
    bound: &Bound,
    number: u32,
    replaces: Option<&ObservedContainer>,
) -> Result<CreateContainer, PlanError> {
    let place = usize::try_from(number).unwrap_or(usize::MAX);
    let name = container_name(planner.project, &bound.service, place, planner.separator());
    let inherit =
        replaces.filter(|_| planner.options.anonymous_volumes == AnonymousVolumes::Inherit);
    let mut spec = resolve::resolve(&Request {
        hash: bound.hash.as_deref().unwrap_or_default(),
        inherit,
        replaces,
        ..planner.request(&bound.service, &name, Role::Replica(number))
    })?;
    if let Some(old) = replaces {
        spec.name = format!("{}_{name}", old.id.get(..12).unwrap_or(&old.id));
    }
    let late = (!bound.references.is_empty()).then(|| {
        Box::new(LateBinding {
            service: bound.service.clone(),
            references: bound.references.clone(),
        })
    });
    Ok(CreateContainer {
        service: bound.service.name.clone(),
        display: name,
        spec,
        replaces: replaces.map(ContainerRef::from),
        late,
    })
}

fn create(
    planner: &mut Planner<'_>,
    bound: &Bound,
    number: u32,
    cause: Cause,
) -> Result<Replica, PlanError> {
    let create = specify(planner, bound, number, None)?;
    let name = create.display.clone();
    let after = prerequisites(planner, bound);
    let node = planner
        .plan
        .add(Action::CreateContainer(Box::new(create)), cause, &after);
    Ok(Replica {
        container: ContainerRef::Planned { node, name },
        ready: vec![node],
        start: Some(Cause::Created),
    })
}

/// Makes the new container under a passing name, then lets it take the place of the old one (behaviours.md B136).
fn recreate(
    planner: &mut Planner<'_>,
    bound: &Bound,
    old: &ObservedContainer,
    cause: Cause,
    stopped: &[NodeId],
) -> Result<Replica, PlanError> {
    let create = specify(planner, bound, old.number().unwrap_or(1), Some(old))?;
    let name = create.display.clone();
    let mut after = prerequisites(planner, bound);
    after.extend(stopped);
    if let Some((nodes, _)) = planner.reconnected.get(&old.id) {
        after.extend(nodes);
    }
    let node = planner
        .plan
        .add(Action::CreateContainer(Box::new(create)), cause, &after);
    let stop = Action::StopContainer {
        container: ContainerRef::from(old),
        timeout: planner.options.timeout,
        shown: Shown::Within,
    };
    let stop = planner.plan.add(stop, Cause::Replacement, &[node]);
    let remove = Action::RemoveContainer {
        container: ContainerRef::from(old),
        volumes: false,
        force: true,
        shown: Shown::Within,
    };
    let remove = planner.plan.add(remove, Cause::Replacement, &[stop]);
    let container = ContainerRef::Planned {
        node,
        name: name.clone(),
    };
    let rename = Action::RenameContainer {
        container: container.clone(),
        name,
    };
    let rename = planner.plan.add(rename, Cause::Replacement, &[remove]);
    Ok(Replica {
        container,
        ready: vec![rename],
        start: Some(Cause::Created),
    })
}

/// Stops what wants to be restarted with the service (behaviours.md B138).
fn stop_dependents(planner: &mut Planner<'_>, service: &Service) -> Vec<NodeId> {
    let dependents: Vec<String> = planner
        .graph
        .dependents(&service.name)
        .into_iter()
        .filter(|(_, edge)| edge.restart)
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut nodes = Vec::new();
    for container in &planner.observed.containers {
        let concerned = dependents.iter().any(|name| name == container.service());
        let gone = planner.removed.contains_key(&container.id);
        if !concerned || gone || !container.is_running() || container.is_one_off() {
            continue;
        }
        if let Some((node, _)) = planner.stopped.get(&container.id) {
            nodes.push(*node);
            continue;
        }
        let stop = Action::StopContainer {
            container: ContainerRef::from(container),
            timeout: planner.options.timeout,
            shown: Shown::Yes,
        };
        let cause = Cause::DependencyRestarted {
            service: service.name.clone(),
        };
        let node = planner.plan.add(stop, cause, &[]);
        planner
            .stopped
            .insert(container.id.clone(), (node, service.name.clone()));
        nodes.push(node);
    }
    nodes
}

/// Stops and removes a container that is too much.
pub(super) fn remove(
    planner: &mut Planner<'_>,
    container: &ObservedContainer,
    cause: Cause,
) -> NodeId {
    let stop = Action::StopContainer {
        container: ContainerRef::from(container),
        timeout: planner.options.timeout,
        shown: Shown::Yes,
    };
    // What is on its way back to a network is removed after that: the two must not meet.
    let after = planner.reconnected.get(&container.id);
    let after = after.map(|(nodes, _)| nodes.clone()).unwrap_or_default();
    let stopped = planner.plan.add(stop, cause.clone(), &after);
    let remove = Action::RemoveContainer {
        container: ContainerRef::from(container),
        volumes: false,
        force: true,
        shown: Shown::Yes,
    };
    let removed = planner.plan.add(remove, cause, &[stopped]);
    planner.surplus.insert(container.id.clone(), removed);
    removed
}
