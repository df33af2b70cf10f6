//! The only test binary.

mod cli;
mod common;
mod engine;
mod load;
mod runtime;
