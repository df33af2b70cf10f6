//! The `hoist` binary.

mod cli;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The keeper is a process without threads: it must not come after anything that starts one.
    let argv: Vec<_> = std::env::args_os().collect();
    if let Some(code) = hoist::runtime::keeper::run_if_requested(&argv) {
        return ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX));
    }
    ExitCode::SUCCESS
}
