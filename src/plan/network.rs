//! Networks: missing ones are made, changed ones are made again under their containers (behaviours.md B145-B151).

use bollard_stubs::models::{EndpointSettings, Ipam, IpamConfig, NetworkCreateRequest};

use super::resolve::{self, Aliases, Role, network_labels};
use super::{Action, Cause, ContainerRef, PlanError, Planner, Shown, hash};
use crate::engine::spec::Subnet;
use crate::engine::{NetworkSpec, ObservedContainer, ObservedNetwork, label};
use crate::model::{self, Network, Project, Service};

/// The driver name by which docker compose marks networks of Swarm.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

pub(super) fn plan_networks(planner: &mut Planner<'_>) -> Result<(), PlanError> {
    let project = planner.project;
    for (key, network) in &project.networks {
        match planner.observed.networks.get(&network.name) {
            None if network.external && PREDEFINED.contains(&network.name.as_str()) => {}
            None if network.external => {
                return Err(PlanError::ExternalNetworkMissing {
                    name: network.name.clone(),
                });
            }
            Some(_) if network.external => {}
            None => {
                note_renamed(planner, key, network);
                create(planner, key, network, Cause::Missing, &[]);
            }
            Some(observed) => compare(planner, key, network, observed),
        }
    }
    Ok(())
}

fn compare(planner: &mut Planner<'_>, key: &str, network: &Network, observed: &ObservedNetwork) {
    let find = |name: &str| observed.labels.get(name).map_or("", String::as_str);
    if find(label::NETWORK) != key || find(label::PROJECT) != planner.project.name {
        if find(label::PROJECT) != planner.project.name {
            planner.notice(format!(
                "a network with name {} exists but was not created for project \"{}\".\nSet `external: true` to use an existing network",
                network.name, planner.project.name
            ));
        }
        return;
    }
    let seen = find(label::CONFIG_HASH);
    if !seen.is_empty() && seen != hash::network_hash(network) {
        recreate(planner, key, network, observed);
    }
}

/// The engine's body of a network.
pub(super) fn network_spec(project: &Project, key: &str, network: &Network) -> NetworkSpec {
    let labels = network_labels(project, key, &network.labels, &hash::network_hash(network));
    let opts: std::collections::HashMap<_, _> = network.driver_opts.clone().into_iter().collect();
    NetworkSpec {
        body: NetworkCreateRequest {
            name: network.name.clone(),
            driver: (!network.driver.is_empty()).then(|| network.driver.clone()),
            internal: network.internal.then_some(true),
            attachable: network.attachable.then_some(true),
            ipam: ipam(&network.ipam),
            enable_ipv4: network.enable_ipv4,
            enable_ipv6: network.enable_ipv6,
            options: (!opts.is_empty()).then_some(opts),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        },
        subnet: subnet(project, key, network),
    }
}

/// Where a service is replaced without a pause, its old containers keep their addresses while they finish.
fn subnet(project: &Project, key: &str, network: &Network) -> Subnet {
    let rolls = |service: &Service| {
        let update = service
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.update_config.as_ref());
        update.is_some_and(|update| update.order == "start-first")
            && resolve::networks_by_priority(project, service).contains(&key)
    };
    let bridge = network.driver.is_empty() || network.driver == "bridge";
    if bridge && network.ipam.config.is_empty() && project.services.values().any(rolls) {
        Subnet::Settled
    } else {
        Subnet::Any
    }
}

fn ipam(ipam: &model::Ipam) -> Option<Ipam> {
    if ipam.driver.is_empty() && ipam.config.is_empty() && ipam.options.is_empty() {
        return None;
    }
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let pools = ipam.config.iter().map(|pool| IpamConfig {
        subnet: text(&pool.subnet),
        ip_range: text(&pool.ip_range),
        gateway: text(&pool.gateway),
        auxiliary_addresses: (!pool.aux_addresses.is_empty())
            .then(|| pool.aux_addresses.clone().into_iter().collect()),
    });
    Some(Ipam {
        driver: text(&ipam.driver),
        config: Some(pools.collect()),
        options: (!ipam.options.is_empty()).then(|| ipam.options.clone().into_iter().collect()),
    })
}

fn create(
    planner: &mut Planner<'_>,
    key: &str,
    network: &Network,
    cause: Cause,
    after: &[super::NodeId],
) {
    let spec = network_spec(planner.project, key, network);
    let node = planner
        .plan
        .add(Action::CreateNetwork(Box::new(spec)), cause, after);
    planner.networks.insert(network.name.clone(), node);
}

/// Stops and disconnects what is attached, makes the network again, and reconnects; containers keep their identity.
fn recreate(planner: &mut Planner<'_>, key: &str, network: &Network, observed: &ObservedNetwork) {
    let cause = Cause::ConfigChanged {
        changes: Vec::new(),
    };
    let because = Cause::NetworkRecreated {
        network: network.name.clone(),
    };
    let attached: Vec<_> = planner
        .observed
        .containers
        .iter()
        .filter(|container| container.networks.contains_key(&network.name))
        .collect();
    let mut freed = Vec::new();
    for container in &attached {
        let mut after = Vec::new();
        if let Some((nodes, _)) = planner.reconnected.get(&container.id) {
            after.clone_from(nodes);
        } else if container.is_running() {
            let stop = Action::StopContainer {
                container: ContainerRef::from(*container),
                timeout: planner.options.timeout,
                shown: Shown::Yes,
            };
            after.push(planner.plan.add(stop, because.clone(), &[]));
        }
        let disconnect = Action::DisconnectNetwork {
            network: network.name.clone(),
            container: ContainerRef::from(*container),
        };
        freed.push(planner.plan.add(disconnect, because.clone(), &after));
    }
    let remove = Action::RemoveNetwork {
        id: observed.id.clone(),
        name: network.name.clone(),
        shown: Shown::Yes,
    };
    let removed = planner.plan.add(remove, cause.clone(), &freed);
    create(planner, key, network, cause, &[removed]);
    let created = planner.networks[&network.name];
    for container in attached {
        let connect = Action::ConnectNetwork {
            network: network.name.clone(),
            container: ContainerRef::from(container),
            endpoint: Box::new(endpoint(planner, container, key)),
        };
        let node = planner.plan.add(connect, because.clone(), &[created]);
        planner
            .reconnected
            .entry(container.id.clone())
            .or_insert_with(|| (Vec::new(), network.name.clone()))
            .0
            .push(node);
    }
}

/// How a container that exists is attached again; without the names of its service nobody would find it. What the file
/// does not know is attached plainly.
pub(super) fn endpoint(
    planner: &Planner<'_>,
    container: &ObservedContainer,
    key: &str,
) -> EndpointSettings {
    let Some(service) = planner.project.services.get(container.service()) else {
        return EndpointSettings::default();
    };
    let role = match container.number() {
        Some(number) => Role::Replica(number),
        None => Role::OneOff {
            aliases: Aliases::Container,
        },
    };
    resolve::endpoint_of(&planner.request(service, &container.name, role), key)
}

/// A network of this key with another name is removed in the end, when nothing uses it.
fn note_renamed(planner: &mut Planner<'_>, key: &str, network: &Network) {
    let old = planner.observed.networks.values().find(|observed| {
        let is = |name: &str, value: &str| {
            observed
                .labels
                .get(name)
                .is_some_and(|found| found == value)
        };
        observed.name != network.name
            && is(label::NETWORK, key)
            && is(label::PROJECT, &planner.project.name)
    });
    if let Some(old) = old {
        planner
            .renamed_networks
            .push((old.id.clone(), old.name.clone(), network.name.clone()));
    }
}

/// Removes networks that got another name, after the containers have moved.
pub(super) fn remove_renamed(planner: &mut Planner<'_>) {
    for (id, name, network) in std::mem::take(&mut planner.renamed_networks) {
        let after: Vec<_> = planner
            .services
            .values()
            .flat_map(|service| {
                service
                    .containers
                    .iter()
                    .flat_map(|replica| replica.ready.iter().copied())
            })
            .collect();
        let remove = Action::RemoveNetwork {
            id,
            name,
            shown: Shown::Yes,
        };
        planner
            .plan
            .add(remove, Cause::NetworkRecreated { network }, &after);
    }
}
