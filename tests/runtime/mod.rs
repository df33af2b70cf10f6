//! The built-in engine's runtime, against the real kernel; most of it needs root.

mod archive;
mod build;
mod container;
mod escape;
mod exec;
mod fixture;
mod hostile;
mod image;
mod keeper;
mod limit;
mod network;
mod oci;
mod registry;
mod terminal;
mod userns;
