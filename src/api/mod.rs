//! The Docker Engine API as a server, onto `runtime`.
//!
//! ```text
//! socket -> server (one task per connection) -> version (prefix, headers) -> router (method + path) -> a file per
//!           resource: container, exec, image, network, volume, system, build -> reply / stream / hijack
//! ```
//!
//! Called by `cli::engine`, which binds the socket. A route reads its parameters, calls the supervisor, and shapes the
//! answer; it decides nothing about containers. Failures are `RuntimeError`s, turned into `{"message": …}` with Docker's
//! status codes in one place (`reply`).

mod archive;
mod bridge;
mod build;
mod call;
mod container;
mod delivered;
mod exec;
mod filter;
mod image;
mod network;
mod registry;
mod reply;
mod router;
mod server;
mod system;
mod version;
mod volume;

pub use server::{ServeError, bind, serve, serve_waiting};
pub use version::{API_VERSION, MIN_API_VERSION};
