//! The built-in engine's runtime, against the real kernel; most of it needs root.

mod archive;
mod container;
mod fixture;
mod image;
mod network;
mod registry;
