//! hoist: one static binary that takes a Compose file and makes it true on a container engine: Docker, Podman
//! or the engine built into it.
//!
//! # The layers
//!
//! ```text
//! files, env --load--> model::Project --graph--> order
//!                           |                      |
//! engine.observe() --> ObservedState --plan (pure)--> Plan --apply--> Engine calls --> ApplyEvent --> ui
//!                                                                       |
//!                               Docker Engine API over a Unix socket ---+--> Docker | Podman | hoist's own engine
//!                                                                                               |
//!                                                                        api (server) --> runtime (namespaces)
//! ```
//!
//! Every arrow is a plain value that can be printed, compared and tested without an engine. The binary (`cli`, `ui`)
//! stands above the library; which layer may import which is checked by `tests/layering.rs`.
//!
//! # To change X, go to Y
//!
//! | X | Y |
//! |---|---|
//! | what a Compose attribute means | [`load`] (rules), [`model`] (its type) |
//! | what is fetched from git or a registry for `-f` | [`remote`] |
//! | when something is recreated | [`plan`] |
//! | order and concurrency of engine calls | [`graph`], [`apply`] |
//! | what a changed file sets off | [`watch`] |
//! | how an engine is spoken to | [`engine`] |
//! | a route of the built-in engine | [`api`] |
//! | namespaces, images, networks, volumes | [`runtime`] |

pub mod api;
pub mod apply;
pub mod engine;
pub mod graph;
pub mod load;
pub mod model;
pub mod plan;
pub mod remote;
pub mod runtime;
pub mod watch;
