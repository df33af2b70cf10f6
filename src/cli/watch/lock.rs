//! One `watch` at a time on a project: two would copy and rebuild against each other (behaviours.md B298).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::PathBuf;

use crate::cli::{CommandError, Context};

/// Held while `watch` runs; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Option<File>,
}

impl Lock {
    /// Takes the lock, or says who holds it.
    pub(super) fn take(context: &Context, project: &str) -> Result<Self, CommandError> {
        let Some(folder) = folder(context) else {
            return Ok(Self { _file: None });
        };
        let path = folder.join(format!("{project}.watch.pid"));
        let failed = |error: std::io::Error| {
            CommandError::system(format!("lock `{}`: {error}", path.display()))
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(failed)?;
                return Err(CommandError::user(format!(
                    "cannot take exclusive lock for project {project:?}: process with PID {holder} is still running"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        write!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: Some(file) })
    }
}

/// A folder that is the user's alone.
fn folder(context: &Context) -> Option<PathBuf> {
    let runtime = context.variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let home = || {
        context
            .variable("HOME")
            .map(|home| PathBuf::from(home).join(".cache"))
    };
    Some(runtime.or_else(home)?.join("hoist"))
}
