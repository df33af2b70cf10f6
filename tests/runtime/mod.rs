//! The built-in engine's runtime, against the real kernel; most of it needs root.

mod container;
mod fixture;
