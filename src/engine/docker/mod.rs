//! Any engine behind the Docker Engine API (Docker, Podman, hoist's own), through bollard: one file per resource.
//!
//! Called through the trait only. A connection is opened for each call, so long streams do not hold up short calls;
//! no call has a time limit of ours except the first, which asks who answers.

mod build;
mod client;
mod container;
mod convert;
mod dial;
mod event;
mod exec;
mod file;
mod hello;
mod image;
mod key;
mod network;
mod observe;
mod own;
mod time;
mod volume;

pub use client::DockerEngine;
