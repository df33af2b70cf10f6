//! From a service of the file to a container for the engine, with every attribute (behaviours.md section 12).
//!
//! Owns: the translation and nothing else; what exists on the engine comes in through [`Request`]. Called by
//! `container` for each container to make, by `pre_start`, and by the `run` command through [`super::one_off`].

mod body;
mod file;
mod label;
mod mount;
mod network;
mod resource;
mod security;

use std::collections::HashMap;

use crate::engine::{ContainerSpec, ObservedContainer, ObservedState};
use crate::model::{Mapping, Project, Service};

pub use file::{Delivery, file_specs, missing_files};
pub(super) use label::image_volume_ids;
pub use label::{engine_labels, network_labels, volume_labels};
pub(super) use network::{by_priority as networks_by_priority, endpoint_of};
pub use security::Unconfined;

/// A service cannot be turned into a container.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResolveError {
    /// A secret or config of a driver or of Swarm.
    #[error("service `{service}` uses {kind} `{name}`, which only a Swarm cluster can provide")]
    ExternalFile {
        /// Service.
        service: String,
        /// `secret` or `config`.
        kind: &'static str,
        /// Key.
        name: String,
    },
    /// The engine is too old.
    #[error("service `{service}` needs an engine with API {needed} for {what}")]
    EngineTooOld {
        /// Service.
        service: String,
        /// API version.
        needed: &'static str,
        /// Attribute.
        what: &'static str,
    },
    /// A probe interval without the period it belongs to.
    #[error("healthcheck.start_interval requires healthcheck.start_period to be set")]
    StartInterval,
    /// A secret or config without a file cannot be put into a read-only root.
    #[error(
        "cannot create {kind} `{name}` in read-only service `{service}`: `file` is the sole supported option"
    )]
    ReadOnlyRoot {
        /// Service.
        service: String,
        /// `secret` or `config`.
        kind: &'static str,
        /// Key.
        name: String,
    },
    /// The environment variable of a secret or config is not there.
    #[error("environment variable \"{variable}\" required by {kind} \"{name}\" is not set")]
    MissingVariable {
        /// Variable.
        variable: String,
        /// `secret` or `config`.
        kind: &'static str,
        /// Key.
        name: String,
    },
    /// A service whose volumes are shared has no container.
    #[error("cannot share {what} with service {service}: container missing")]
    SharedContainerMissing {
        /// `volume` or `namespace`.
        what: &'static str,
        /// Service.
        service: String,
    },
    /// A hook asks for what no engine does yet.
    #[error("service `{service}`: per_replica is not supported for pre_start hooks")]
    PerReplica {
        /// Service.
        service: String,
    },
}

/// What kind of container is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One of the service's replicas.
    Replica(u32),
    /// A one-off of `run`.
    OneOff {
        /// Whether it answers to the service's names.
        aliases: Aliases,
    },
}

/// Which names a container answers to on its networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aliases {
    /// The container's and the service's.
    Service,
    /// The container's only.
    Container,
}

/// Everything a container follows from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The project.
    pub project: &'a Project,
    /// The service, with shared namespaces already resolved where they are known.
    pub service: &'a Service,
    /// Name of the container.
    pub name: &'a str,
    /// What it is.
    pub role: Role,
    /// What exists.
    pub observed: &'a ObservedState,
    /// Config hash for the label.
    pub hash: &'a str,
    /// The container whose anonymous volumes it takes over.
    pub inherit: Option<&'a ObservedContainer>,
    /// The container it replaces.
    pub replaces: Option<&'a ObservedContainer>,
    /// The character between the parts of names.
    pub separator: char,
    /// The engine's API version.
    pub api: (u32, u32),
    /// How the engine takes secrets and configs.
    pub delivery: Delivery,
}

/// Makes the specification of a container.
///
/// # Errors
/// When the service asks for what cannot be.
pub fn resolve(request: &Request<'_>) -> Result<ContainerSpec, ResolveError> {
    let files = file_specs(request.project, request.service, request.delivery)?;
    let body = body::body(request)?;
    Ok(ContainerSpec {
        name: request.name.to_owned(),
        platform: request.service.platform.clone(),
        body,
        files,
    })
}

/// The image of a service: its own name for it, or the one that a build gets (behaviours.md B121).
#[must_use]
pub fn image_name(project: &Project, service: &Service, separator: char) -> String {
    if service.image.is_empty() {
        format!("{}{separator}{}", project.name, service.name)
    } else {
        service.image.clone()
    }
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn list<T: Clone>(values: &[T]) -> Option<Vec<T>> {
    (!values.is_empty()).then(|| values.to_vec())
}

fn map(values: &Mapping) -> Option<HashMap<String, String>> {
    (!values.is_empty()).then(|| {
        values
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    })
}

#[cfg(test)]
mod tests;
