//! What can go wrong with networks, and which class of answer each failure deserves.

use std::path::PathBuf;

/// The class of a failure; the API maps it to an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkErrorKind {
    /// The request itself is wrong (400).
    Invalid,
    /// The request is understood and refused (403).
    Forbidden,
    /// The network, container or endpoint does not exist (404).
    NotFound,
    /// The name is in use (409).
    Conflict,
    /// The machine did not do what was asked (500).
    Machine,
}

/// A failed operation on networks, addresses, ports or names.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No network answers to this name or id.
    #[error("network {0} not found")]
    UnknownNetwork(String),
    /// A prefix of an id that fits more than one network.
    #[error("network {0} is ambiguous: more than one id starts with it")]
    Ambiguous(String),
    /// The name is in use.
    #[error("network with name {0} already exists")]
    NameTaken(String),
    /// A wrong field in a request.
    #[error("{0}")]
    Invalid(String),
    /// A request that the rules forbid.
    #[error("{0}")]
    Forbidden(String),
    /// The container has no endpoint on this network.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// The container's id.
        container: String,
        /// The network's name.
        network: String,
    },
    /// The container has an endpoint on this network already.
    #[error("endpoint with name {container} already exists in network {network}")]
    AlreadyConnected {
        /// The container's name.
        container: String,
        /// The network's name.
        network: String,
    },
    /// A free address was wanted and there is none.
    #[error("no available {family} addresses on this network's address pools: {network}")]
    Exhausted {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The network's name and id.
        network: String,
    },
    /// A static address that somebody has.
    #[error("Address already in use")]
    AddressInUse,
    /// A host port that another container of this engine holds.
    #[error(
        "driver failed programming external connectivity on endpoint {endpoint}: Bind for {address} failed: port is already allocated ({holder})"
    )]
    PortAllocated {
        /// The container that wanted the port.
        endpoint: String,
        /// `address:port`.
        address: String,
        /// Who holds the port.
        holder: String,
    },
    /// A host port that a process of the host holds.
    #[error(
        "driver failed programming external connectivity on endpoint {endpoint}: failed to bind host port for {address}:{target}: address already in use{holder}"
    )]
    PortInUse {
        /// The container that wanted the port.
        endpoint: String,
        /// `address:port` on the host.
        address: String,
        /// `address:port/protocol` in the container.
        target: String,
        /// ` (held by …)`, or nothing where the holder cannot be seen.
        holder: String,
    },
    /// No free port is left in a range.
    #[error("no free host port in {0}")]
    NoFreePort(String),
    /// A netlink request was refused by the kernel.
    #[error("cannot {step}")]
    Kernel {
        /// What was tried, on what.
        step: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A file of the state could not be read or written.
    #[error("cannot {step} `{path}`")]
    File {
        /// What was tried.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A state file holds something else than a record.
    #[error("cannot understand the network record `{path}`")]
    Record {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
}

impl NetworkError {
    /// The class of this failure.
    #[must_use]
    pub fn kind(&self) -> NetworkErrorKind {
        match self {
            Self::UnknownNetwork(_) | Self::NotConnected { .. } => NetworkErrorKind::NotFound,
            Self::NameTaken(_) => NetworkErrorKind::Conflict,
            Self::Invalid(_) | Self::Ambiguous(_) => NetworkErrorKind::Invalid,
            Self::Forbidden(_) | Self::AlreadyConnected { .. } | Self::AddressInUse => {
                NetworkErrorKind::Forbidden
            }
            Self::Exhausted { .. }
            | Self::PortAllocated { .. }
            | Self::PortInUse { .. }
            | Self::NoFreePort(_)
            | Self::Kernel { .. }
            | Self::File { .. }
            | Self::Record { .. } => NetworkErrorKind::Machine,
        }
    }

    /// A refused kernel request.
    pub(crate) fn kernel(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let step = step.into();
        move |source| Self::Kernel { step, source }
    }

    /// A failed file operation.
    pub(crate) fn file(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { step, path, source }
    }
}
