//! The `hoist` binary.

mod cli;
mod ui;

fn main() {}
