//! The only test binary: what is asked of the whole program.

mod cli;
mod common;
mod engine;
mod hygiene;
mod layering;
mod load;
mod runtime;
