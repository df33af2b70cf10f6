//! Networks of a container: the primary one, endpoints, aliases and links (behaviours.md B158-B161).

use std::collections::HashMap;

use bollard_stubs::models::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};

use super::{Aliases, Request, ResolveError, Role, list, map, text};
use crate::model::{AttachedNetwork, Project, Service};

/// What the create call is told.
pub(super) struct Attachment {
    pub(super) mode: String,
    pub(super) config: Option<NetworkingConfig>,
}

pub(super) fn attach(request: &Request<'_>) -> Result<Attachment, ResolveError> {
    let service = request.service;
    if !service.network_mode.is_empty() {
        return Ok(Attachment {
            mode: service.network_mode.clone(),
            config: None,
        });
    }
    let keys = by_priority(request.project, service);
    let Some(primary) = keys.first() else {
        return Ok(Attachment {
            mode: "none".to_owned(),
            config: None,
        });
    };
    let mut endpoints = HashMap::new();
    for key in &keys {
        let attached = service.networks.get(*key).and_then(Option::as_ref);
        if request.api < (1, 49)
            && attached.is_some_and(|network| !network.interface_name.is_empty())
        {
            return Err(ResolveError::EngineTooOld {
                service: service.name.clone(),
                needed: "1.49",
                what: "`interface_name`",
            });
        }
        let mut endpoint = endpoint(request, key, attached);
        if key == primary && endpoint.mac_address.is_none() {
            endpoint.mac_address = text(&service.mac_address);
        }
        if let Some(network) = request.project.networks.get(*key) {
            endpoints.insert(network.name.clone(), endpoint);
        }
    }
    let mode = request
        .project
        .networks
        .get(*primary)
        .map(|network| network.name.clone());
    Ok(Attachment {
        mode: mode.unwrap_or_else(|| "none".to_owned()),
        config: Some(NetworkingConfig {
            endpoints_config: Some(endpoints),
        }),
    })
}

/// The keys of a service's networks, the primary one first.
pub(in crate::plan) fn by_priority<'a>(project: &'a Project, service: &'a Service) -> Vec<&'a str> {
    if !service.network_mode.is_empty() {
        return Vec::new();
    }
    if service.networks.is_empty() {
        return project
            .networks
            .get_key_value("default")
            .map(|(key, _)| key.as_str())
            .into_iter()
            .collect();
    }
    let mut keys: Vec<_> = service
        .networks
        .iter()
        .map(|(key, attached)| {
            let priority = attached
                .as_ref()
                .and_then(|network| network.priority)
                .unwrap_or(0);
            (std::cmp::Reverse(priority), key.as_str())
        })
        .collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, key)| key).collect()
}

/// How a container is attached to one of its networks.
pub(in crate::plan) fn endpoint_of(request: &Request<'_>, key: &str) -> EndpointSettings {
    let attached = request.service.networks.get(key).and_then(Option::as_ref);
    endpoint(request, key, attached)
}

fn endpoint(
    request: &Request<'_>,
    key: &str,
    attached: Option<&AttachedNetwork>,
) -> EndpointSettings {
    let mut endpoint = attached.map(settings).unwrap_or_default();
    endpoint.aliases = Some(aliases(request, attached));
    endpoint.links = list(&links_on(request, key));
    endpoint
}

/// The settings of an attachment, without names.
fn settings(attached: &AttachedNetwork) -> EndpointSettings {
    let fixed = !attached.ipv4_address.is_empty()
        || !attached.ipv6_address.is_empty()
        || !attached.link_local_ips.is_empty();
    let mut driver_opts = attached.driver_opts.clone();
    if !attached.interface_name.is_empty() {
        driver_opts.insert(
            "com.docker.network.endpoint.ifname".to_owned(),
            attached.interface_name.clone(),
        );
    }
    EndpointSettings {
        ipam_config: fixed.then(|| EndpointIpamConfig {
            ipv4_address: text(&attached.ipv4_address),
            ipv6_address: text(&attached.ipv6_address),
            link_local_ips: list(&attached.link_local_ips),
        }),
        mac_address: text(&attached.mac_address),
        driver_opts: map(&driver_opts),
        gw_priority: attached.gw_priority,
        ..EndpointSettings::default()
    }
}

fn aliases(request: &Request<'_>, attached: Option<&AttachedNetwork>) -> Vec<String> {
    let mut names = vec![request.name.to_owned()];
    let with_service = match request.role {
        Role::Replica(_) => Aliases::Service,
        Role::OneOff { aliases } => aliases,
    };
    if with_service == Aliases::Service {
        names.push(request.service.name.clone());
        names.extend(
            attached
                .iter()
                .flat_map(|network| network.aliases.iter().cloned()),
        );
    }
    names
}

/// Links of a service as the engine writes them, `container:alias` (behaviours.md B160).
pub(super) fn links(request: &Request<'_>) -> Vec<String> {
    // On networks made by a user links belong to the endpoint; without one they belong to the default bridge.
    if request.service.network_mode == "bridge" {
        links_on(request, "")
    } else {
        Vec::new()
    }
}

fn links_on(request: &Request<'_>, _network: &str) -> Vec<String> {
    let mut links = Vec::new();
    for link in &request.service.links {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        let Some(service) = request.project.services.get(name) else {
            continue;
        };
        let scale = crate::plan::wanted_replicas(service);
        for number in 1..=scale {
            let container =
                crate::plan::container_name(request.project, service, number, request.separator);
            let tail = format!("{name}{}{number}", request.separator);
            links.push(format!("{container}:{alias}"));
            links.push(format!("{container}:{tail}"));
            links.push(format!(
                "{container}:{}{}{tail}",
                request.project.name, request.separator
            ));
        }
    }
    for link in &request.service.external_links {
        let (container, alias) = link.split_once(':').unwrap_or((link, link));
        links.push(format!("{container}:{alias}"));
    }
    links
}
