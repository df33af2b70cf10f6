//! `init: true` with an OCI runtime: this program is bound into the container, and started there as its process 1.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::runtime::container::finish;
use crate::runtime::container::setup::INIT_PATH;
use crate::runtime::sys::process;

/// Exit code of a shell whose program is not there.
const NOT_FOUND: i32 = 127;

/// Runs a program below our tiny init when the command line asks for it (`/dev/init -- PROGRAM …`), and returns its exit
/// code. Called first in `main`, before any thread exists.
pub(crate) fn run_if_requested(argv: &[OsString]) -> Option<i32> {
    let [own, dashes, program @ ..] = argv else {
        return None;
    };
    if own != INIT_PATH || dashes != "--" {
        return None;
    }
    Some(run(program))
}

fn run(program: &[OsString]) -> i32 {
    let terminal = rustix::termios::isatty(rustix::stdio::stdin());
    if finish::own_init(terminal).is_err() {
        return NOT_FOUND;
    }
    process::default_signals();
    let argv: Vec<CString> = program
        .iter()
        .filter_map(|word| CString::new(word.as_bytes()).ok())
        .collect();
    let pairs: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let env: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    let name = program
        .first()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let said = match (finish::find_program(&name, &env), finish::c_strings(&env)) {
        (Ok(path), Some(env)) => {
            let path = CString::new(path).unwrap_or_default();
            let error = process::execute(&path, &argv, &env);
            format!("exec {name}: {}\n", finish::plain(&error))
        }
        (Err(failure), _) => format!("{}\n", failure.message),
        (Ok(_), None) => format!("exec: \"{name}\": invalid argument\n"),
    };
    rustix::io::write(rustix::stdio::stderr(), said.as_bytes()).unwrap_or_default();
    NOT_FOUND
}
