//! Dockerfiles to images.
//!
//! Owned: `<root>/build` (the cache of steps, cache mounts). Called by the API's `POST /build`. All calls block; async
//! callers use `spawn_blocking`. RUN steps and pulls are the caller's to do ([`BuildHost`]), so that the builder itself
//! needs neither a keeper nor a network.
//!
//! ```text
//! Dockerfile --parse--> nodes --stage--> graph of needed stages --+--> stage 1 --+--> image in the ImageStore
//! context ----.dockerignore--> files ----------------------------+--> stage 2 --+
//!
//! a step:  key = hash(state before, instruction, checksums of its files)
//!          known? --> the cached state after it
//!          else   --> overlay of the layers so far, COPY and ADD below its root descriptor or RUN by the host,
//!                     upper directory --> layer of the store --> state after it --> cache
//! ```

mod cache;
mod command;
mod context;
mod copier;
mod copy;
mod error;
mod exchange;
mod files;
mod glob;
mod ignore;
mod layer;
mod mount;
mod origin;
mod owner;
mod parse;
mod pipeline;
#[cfg(fuzzing)]
pub mod probe;
mod remembered;
mod remote;
mod request;
mod run;
#[cfg(test)]
mod sample;
mod scope;
mod shared;
mod stage;
mod state;
mod sum;
mod worker;

pub use error::BuildError;
pub use exchange::{CACHE_CONFIG, CacheMode, CachePlace, CacheTarget};
pub use pipeline::{Builder, build};
pub use request::{
    BuildEvent, BuildHost, BuildRequest, BuiltImage, CacheUse, DockerfileSource, Downloaded,
    Entitlement, Entitlements, HostError, NamedContext, Network, OutputStream, PullPolicy, RunStep,
    Security, StepMount, StepMountKind,
};
