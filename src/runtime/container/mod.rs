//! One container: what to run, the list of set-up steps, and the child that performs them.
//!
//! ```text
//! ContainerConfig + HostConfig + image --resolve()--> ContainerRequest --(keeper)--> setup list --> child --> exec
//! ```
//!
//! [`resolve()`] is called by the engine (it knows images, volumes and networks); everything after the request happens
//! in the keeper, which has no choices left to make. With `runtime:` an installed OCI runtime takes the place of the
//! child's steps (`oci`).

mod borrowed;
pub mod capability;
pub mod cgroup;
pub(crate) mod channel;
mod clock;
pub mod failure;
pub(crate) mod finish;
pub(crate) mod init;
pub(crate) mod launch;
mod membership;
pub(crate) mod oci;
mod operation;
mod reaper;
mod remap;
pub mod request;
pub mod resolve;
mod rootfs;
pub mod seccomp;
pub(crate) mod setup;
mod user;

pub use request::{ContainerRequest, ExecRequest};
pub(crate) use resolve::DEVICE_FOLDERS;
pub use resolve::{IdMaps, ResolveError, ResolveInput, limits, resolve, resolve_exec};
