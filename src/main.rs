//! The `hoist` binary: argument and terminal side. Everything that a second front end would need is in the library.

mod cli;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The keeper, and the way into a user namespace, are processes without threads: they must not come after anything
    // that starts one.
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = hoist::runtime::keeper::run_if_requested(&arguments) {
        return ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX));
    }
    if let Some(code) = hoist::runtime::rootless::run_if_requested(&arguments) {
        return ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX));
    }
    cli::main(arguments)
}
