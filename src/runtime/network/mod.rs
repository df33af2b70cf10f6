//! Networks of the built-in engine: bridges, addresses, ports, names.
//!
//! Called by the API and the supervisor through [`NetworkService`], which owns all state. Life of a container's
//! network side:
//!
//! ```text
//! new_namespace ──> attach (once per network) ──> publish ──> container runs
//!                     ^                             │
//!                     └── detach / attach while it runs
//!                                                   v
//!                                    release: ports, endpoints, names, namespace
//! ```
//!
//! Nothing here depends on the `ip`, `nft` or `iptables` programs: links, addresses and routes are made by route
//! netlink, rules by nftables netlink in one table of our own, names are answered by a server of our own.

mod background;
mod bridge;
mod connections;
mod conntrack;
mod create;
mod dns;
mod endpoint;
mod error;
mod firewall;
mod forward;
mod ipam;
mod link;
mod namespace;
mod netlink;
mod obstacle;
mod overlay;
mod owner;
mod port;
mod record;
mod relay;
mod request;
mod service;
mod store;
mod subnet;
mod turn;

pub use dns::NameSockets;
pub use error::{NetworkError, NetworkErrorKind};
pub use namespace::{is_pinned, pin_ground, unpin_ground};
pub use owner::port_owner;
pub use port::has_sctp;
pub use record::{Driver, Protocol};
pub use request::{
    AttachRequest, ContainerNames, HostsRequest, LiveContainer, NameService, NetworkPaths,
    ResolvRequest, WayOut,
};
pub use service::{Created, NetworkService, Repair};
pub use subnet::{Family, NotASubnet, Subnet};
