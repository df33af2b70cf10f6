//! The network side of a container's life: its namespace, endpoints, ports and files.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bollard_stubs::models::{ContainerConfig, EndpointSettings, HostConfig, PortBinding, PortMap};
use tokio::task::block_in_place;

use super::Supervisor;
use super::container::Container;
use super::record::{MountType, Record};
use super::remap::{check_peer, hold_namespaces};
use super::start::held_peer;
use crate::runtime::container::IdMaps;
use crate::runtime::container::request::Namespace;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::network::{
    AttachRequest, ContainerNames, HostsRequest, NameService, ResolvRequest,
};

impl Supervisor {
    /// Makes the container's network namespace, its endpoints and its ports; fills the ports into the record.
    pub(super) fn prepare_network(
        &self,
        container: &Container,
        record: &mut Record,
        remap: Option<&IdMaps>,
        held: &mut Vec<OwnedFd>,
    ) -> RuntimeResult<Namespace> {
        if record.network_mode() == "host" {
            return Ok(Namespace::Host);
        }
        if let Some(reference) = record.network_peer() {
            let namespace = self.peer_namespace(reference, held)?;
            return check_peer(namespace, reference, remap);
        }
        let names = names_of(record)?;
        let path = match remap {
            None => self.networks().new_namespace(container.id())?,
            Some(maps) => {
                let holder = hold_namespaces(maps)?;
                let made = holder.network();
                self.networks().adopt_namespace(container.id(), &made)?
            }
        };
        for (network, wishes) in self.ordered(record) {
            self.attach(&names, &network, wishes)?;
        }
        let wishes = port_wishes(&record.host_config, &record.config);
        if !wishes.is_empty() && record.network_mode() != "none" {
            record.ports = self.networks().publish(container.id(), &wishes)?;
        }
        Ok(Namespace::Path(path))
    }

    /// The network namespace of another container; what it needs to stay reachable goes to `held`.
    pub(super) fn peer_namespace(
        &self,
        reference: &str,
        held: &mut Vec<OwnedFd>,
    ) -> RuntimeResult<Namespace> {
        let peer = self.running_peer(reference)?;
        let mode = peer.with(|peer| peer.network_mode().to_owned());
        if mode == "host" {
            return Ok(Namespace::Host);
        }
        if let Some(pinned) = self.networks().namespace_of(peer.id()) {
            return Ok(Namespace::Path(pinned));
        }
        let process = held_peer(&peer)?;
        let path = process.path().join("ns/net");
        held.push(process.into_fd());
        Ok(Namespace::Path(path))
    }

    /// The network of the mode first: its interface is `eth0`.
    fn ordered(&self, record: &Record) -> Vec<(String, EndpointSettings)> {
        let first = self.network_name(record.network_mode());
        let mut list: Vec<_> = record.networks.clone().into_iter().collect();
        list.sort_by_key(|(name, _)| *name != first);
        list
    }

    fn attach(
        &self,
        names: &ContainerNames,
        network: &str,
        settings: EndpointSettings,
    ) -> RuntimeResult<()> {
        self.networks().attach(&AttachRequest {
            container: names.clone(),
            network: network.to_owned(),
            settings,
        })?;
        self.publish_network(network, "connect", &names.id);
        Ok(())
    }

    fn publish_network(&self, network: &str, action: &str, container: &str) {
        let Ok(inspected) = self.networks().inspect(network) else {
            return;
        };
        let attributes = BTreeMap::from([
            ("container".to_owned(), container.to_owned()),
            ("name".to_owned(), inspected.name.unwrap_or_default()),
            ("type".to_owned(), inspected.driver.unwrap_or_default()),
        ]);
        let id = inspected.id.unwrap_or_default();
        self.events().publish("network", action, &id, attributes);
    }

    /// Gives back what a container that has ended holds: ports, endpoints, namespace, mounts of volumes.
    pub(super) fn release(&self, container: &Container) {
        block_in_place(|| {
            for network in self.networks().endpoints(container.id()).keys() {
                self.publish_network(network, "disconnect", container.id());
            }
            if let Err(error) = self.networks().release(container.id()) {
                tracing::warn!(%error, container = container.id(), "cannot release the network");
            }
        });
    }

    /// Takes away the mounts of volumes that no running container has any more.
    pub(super) fn release_volumes(&self, container: &Container) {
        let mounts = container.with(|record| record.mounts.clone());
        for mount in mounts
            .iter()
            .filter(|mount| mount.kind == MountType::Volume)
        {
            self.publish_volume(
                &mount.name,
                "unmount",
                [("container", container.id().to_owned())],
            );
            if self.is_mounted_elsewhere(container, &mount.name) {
                continue;
            }
            if let Err(error) = block_in_place(|| self.volumes().unmount(&mount.name)) {
                tracing::warn!(%error, volume = mount.name, "cannot unmount the volume");
            }
        }
    }

    fn is_mounted_elsewhere(&self, container: &Container, volume: &str) -> bool {
        self.containers().iter().any(|other| {
            other.id() != container.id()
                && other.with(|record| {
                    record.state.status.is_alive()
                        && record.mounts.iter().any(|mount| mount.name == volume)
                })
        })
    }

    /// The texts of the container's own files, by name below `/etc`.
    pub(super) fn file_texts(&self, record: &Record) -> RuntimeResult<Vec<(&'static str, String)>> {
        if let Some(reference) = record.network_peer() {
            return self.peer_files(reference);
        }
        let config = &record.config;
        let host = &record.host_config;
        let hostname = config.hostname.clone().unwrap_or_default();
        let hosts = HostsRequest {
            container: record.id.clone(),
            hostname: hostname.clone(),
            domainname: config.domainname.clone().unwrap_or_default(),
            extra_hosts: host.extra_hosts.clone().unwrap_or_default(),
            links: host.links.clone().unwrap_or_default(),
        };
        let named = |name: &String| !matches!(name.as_str(), "bridge" | "host" | "none");
        let resolv = ResolvRequest {
            names: if record.networks.keys().any(named) {
                NameService::Engine
            } else {
                NameService::Host
            },
            dns: host.dns.clone().unwrap_or_default(),
            dns_search: host.dns_search.clone().unwrap_or_default(),
            dns_options: host.dns_options.clone().unwrap_or_default(),
        };
        Ok(vec![
            ("hosts", self.hosts_text(record, &hosts)),
            ("hostname", format!("{hostname}\n")),
            ("resolv.conf", self.networks().resolv_conf(&resolv)),
        ])
    }

    fn hosts_text(&self, record: &Record, request: &HostsRequest) -> String {
        if record.network_mode() != "host" {
            return self.networks().hosts_file(request);
        }
        // Sharing the host's network, a container sees the host's names; its extra lines come after them.
        let mut text = fs::read_to_string("/etc/hosts").unwrap_or_default();
        for line in &request.extra_hosts {
            if let Some((name, address)) = line.split_once(':') {
                let address = if address == "host-gateway" {
                    "127.0.0.1"
                } else {
                    address
                };
                text.push_str(&format!("{address}\t{name}\n"));
            }
        }
        text
    }

    /// Writes the hosts files of running containers that link to one that has a new address.
    pub(super) fn refresh_linked(&self, container: &Container) {
        for other in self.containers() {
            let links = other.with(|record| record.host_config.links.clone().unwrap_or_default());
            let linked = links.iter().any(|link| {
                let reference = link.split(':').next().unwrap_or(link);
                self.find(reference)
                    .is_some_and(|target| target.id() == container.id())
            });
            if linked && let Err(error) = self.refresh_files(&other) {
                tracing::warn!(
                    container = other.id(),
                    error = error.chain(),
                    "cannot follow a link"
                );
            }
        }
    }

    /// The name of a network that is named by its name, its id or a part of its id.
    pub(super) fn network_name(&self, reference: &str) -> String {
        let found = self.networks().inspect(reference).ok();
        let name = found.and_then(|network| network.name);
        name.unwrap_or_else(|| reference.to_owned())
    }

    fn peer_files(&self, reference: &str) -> RuntimeResult<Vec<(&'static str, String)>> {
        let peer = self.container(reference)?;
        let read = |name: &str| fs::read_to_string(peer.folder().join(name)).unwrap_or_default();
        Ok(["hosts", "hostname", "resolv.conf"]
            .into_iter()
            .map(|name| (name, read(name)))
            .collect())
    }

    /// Connects a container to a network, now or at its next start.
    ///
    /// # Errors
    /// When either is unknown, or the connection is refused.
    pub async fn connect(
        self: &Arc<Self>,
        network: &str,
        reference: &str,
        wishes: EndpointSettings,
    ) -> RuntimeResult<()> {
        let inspected = self.networks().inspect(network)?;
        let name = inspected.name.unwrap_or_default();
        let container = self.container(reference)?;
        let _operation = container.operation.lock().await;
        let record = container.record();
        if name == "host" || record.network_mode() == "host" || record.network_peer().is_some() {
            return Err(RuntimeError::new(
                crate::runtime::error::ErrorKind::Forbidden,
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        if record.networks.contains_key(&name) {
            return Err(RuntimeError::new(
                crate::runtime::error::ErrorKind::Forbidden,
                format!(
                    "endpoint with name {} already exists in network {name}",
                    record.name
                ),
            ));
        }
        if record.state.status.is_alive() {
            block_in_place(|| self.attach(&names_of(&record)?, &name, wishes.clone()))?;
        }
        container.update(|record| {
            if record.network_mode() == "none" {
                record.networks.remove("none");
            }
            record.networks.insert(name, wishes)
        })?;
        self.refresh_files(&container)
    }

    /// Takes a container off a network.
    ///
    /// # Errors
    /// When it is not connected.
    pub async fn disconnect(self: &Arc<Self>, network: &str, reference: &str) -> RuntimeResult<()> {
        let inspected = self.networks().inspect(network)?;
        let name = inspected.name.unwrap_or_default();
        let container = self.container(reference)?;
        let _operation = container.operation.lock().await;
        let record = container.record();
        let key = [name.as_str(), network]
            .into_iter()
            .find(|key| record.networks.contains_key(*key));
        let Some(key) = key else {
            return Err(RuntimeError::new(
                crate::runtime::error::ErrorKind::Forbidden,
                format!(
                    "container {} is not connected to network {name}",
                    container.id()
                ),
            ));
        };
        if record.network_mode() == "host" {
            return Err(RuntimeError::new(
                crate::runtime::error::ErrorKind::Forbidden,
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        if record.state.status.is_alive() {
            block_in_place(|| self.networks().detach(container.id(), &name))?;
            self.publish_network(&name, "disconnect", container.id());
        }
        container.update(|record| record.networks.remove(key))?;
        self.refresh_files(&container)
    }

    /// Writes the files of a running container again, in place: they are bound into it.
    fn refresh_files(&self, container: &Container) -> RuntimeResult<()> {
        let record = container.record();
        if !record.state.status.is_alive() {
            return Ok(());
        }
        for (name, text) in self.file_texts(&record)? {
            // The first network with names brings the engine's name server; the host name is the program's to change.
            if name != "hostname" {
                fs::write(container.folder().join(name), text).map_err(|source| {
                    RuntimeError::internal(
                        "cannot write the container's hosts and resolv.conf",
                        source,
                    )
                })?;
            }
        }
        Ok(())
    }

    /// The endpoints of a container as clients see them: what was wished, over it what was given.
    #[must_use]
    pub fn endpoints(&self, record: &Record) -> BTreeMap<String, EndpointSettings> {
        let mut endpoints = record.networks.clone();
        if record.state.status.is_alive() {
            for (name, given) in self.networks().endpoints(&record.id) {
                let wishes = endpoints.entry(name).or_default();
                let links = wishes.links.clone();
                let aliases = wishes.aliases.clone();
                *wishes = given;
                wishes.links = wishes.links.take().or(links);
                wishes.aliases = wishes.aliases.take().or(aliases);
            }
        }
        endpoints
    }
}

fn names_of(record: &Record) -> RuntimeResult<ContainerNames> {
    let hostname = record.config.hostname.clone();
    let mut dns = Vec::new();
    for text in record.host_config.dns.iter().flatten() {
        let address: IpAddr = text
            .parse()
            .map_err(|_| RuntimeError::invalid(format!("bad nameserver address: {text}")))?;
        dns.push(address);
    }
    Ok(ContainerNames {
        id: record.id.clone(),
        name: record.name.clone(),
        hostname: hostname.filter(|name| !name.is_empty() && *name != record.short_id()),
        dns,
    })
}

/// Says which published ports nothing can serve because the kernel lacks their protocol.
pub(super) fn sctp_warning(
    host: &HostConfig,
    config: &ContainerConfig,
    has_sctp: impl FnOnce() -> bool,
) -> Option<String> {
    if host.network_mode.as_deref() == Some("host") {
        return None; // nothing is published there
    }
    let mut ports: Vec<_> = port_wishes(host, config).into_keys().collect();
    ports.retain(|port| port.to_ascii_lowercase().ends_with("/sctp"));
    if ports.is_empty() || has_sctp() {
        return None;
    }
    ports.sort();
    Some(format!(
        "published port {}: this kernel has no SCTP, so no program can listen there unless it brings its own; `modprobe sctp` loads it where the kernel has it as a module",
        ports.join(", ")
    ))
}

fn port_wishes(host: &HostConfig, config: &ContainerConfig) -> PortMap {
    let full = |port: &str| {
        if port.contains('/') {
            port.to_owned()
        } else {
            format!("{port}/tcp")
        }
    };
    let mut wishes = PortMap::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let bindings = bindings.clone().filter(|list| !list.is_empty());
        let any = || vec![PortBinding::default()];
        wishes.insert(full(port), Some(bindings.unwrap_or_else(any)));
    }
    if host.publish_all_ports == Some(true) {
        for port in config.exposed_ports.iter().flatten() {
            wishes
                .entry(full(port))
                .or_insert_with(|| Some(vec![PortBinding::default()]));
        }
    }
    wishes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_port_of_a_protocol_that_the_kernel_lacks_is_warned_about() {
        let published = HostConfig {
            port_bindings: Some(PortMap::from([
                ("9/sctp".to_owned(), None),
                ("80/tcp".to_owned(), None),
            ])),
            ..HostConfig::default()
        };
        let config = ContainerConfig::default();
        let warning = sctp_warning(&published, &config, || false).unwrap_or_default();
        assert!(
            warning.starts_with("published port 9/sctp: this kernel has no SCTP"),
            "{warning}"
        );
        assert_eq!(sctp_warning(&published, &config, || true), None);
        let of_host = HostConfig {
            network_mode: Some("host".to_owned()),
            ..published
        };
        assert_eq!(sctp_warning(&of_host, &config, || false), None);
        let exposed = ContainerConfig {
            exposed_ports: Some(vec!["9/SCTP".to_owned()]),
            ..ContainerConfig::default()
        };
        assert_eq!(
            sctp_warning(&HostConfig::default(), &exposed, || false),
            None
        );
        let all = HostConfig {
            publish_all_ports: Some(true),
            ..HostConfig::default()
        };
        assert!(sctp_warning(&all, &exposed, || false).is_some());
    }

    #[test]
    fn the_kernel_is_only_asked_where_it_matters() {
        let (host, config) = (HostConfig::default(), ContainerConfig::default());
        let asked = || unreachable!("nothing of SCTP is published");
        assert_eq!(sctp_warning(&host, &config, asked), None);
    }
}
