//! `runtime:` of a container: the installed OCI runtime of that name, or this program itself.
//!
//! ```text
//! /etc/hoist/engine.json   {"runtimes": {"NAME": {"path": "/PROGRAM", "runtimeArgs": ["--debug"]}}}
//! else                     a program of that name in the engine's PATH
//! ```
//! Looked up at each create and start, so that what is installed or entered meanwhile is found.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use bollard_stubs::models::HostConfig;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Supervisor;
use super::remap::FILE;
use crate::runtime::container::oci::find::{Configured, OWN, Runtimes};
use crate::runtime::container::request::OciRuntime;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::sys::userns;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EngineFile {
    runtimes: BTreeMap<String, Configured>,
}

fn known() -> RuntimeResult<Runtimes> {
    let failed = |source: io::Error| {
        RuntimeError::invalid(format!("cannot read `{FILE}`")).caused_by(source)
    };
    let file = match fs::read(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => EngineFile::default(),
        Err(error) => return Err(failed(error)),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(Runtimes::new(file.runtimes, &path))
}

/// The runtimes that are here, for `/info`.
#[must_use]
pub(super) fn describe() -> Value {
    let mut runtimes = Map::new();
    runtimes.insert(OWN.to_owned(), json!({ "path": OWN }));
    for (name, program) in known().map(|known| known.all()).unwrap_or_default() {
        runtimes.insert(name, json!({ "path": program }));
    }
    Value::Object(runtimes)
}

impl Supervisor {
    /// The OCI runtime of a container; none is this program.
    ///
    /// # Errors
    /// When there is no such runtime, or it cannot do what else is asked for.
    pub(super) fn oci_runtime(&self, host: &HostConfig) -> RuntimeResult<Option<OciRuntime>> {
        let name = host.runtime.as_deref().unwrap_or_default();
        if matches!(name, "" | OWN) {
            return Ok(None);
        }
        let runtime = known()?.find(name).map_err(RuntimeError::invalid)?;
        if runtime.is_some() && !userns::is_first() {
            return Err(RuntimeError::invalid(format!(
                "runtime {name} needs an engine run by root: leave the runtime out"
            )));
        }
        if runtime.is_some() && self.remap_of(host)?.is_some() {
            return Err(RuntimeError::invalid(format!(
                "runtime {name} is incompatible with user namespaces: set `userns_mode: host`, or leave the runtime out"
            )));
        }
        Ok(runtime)
    }
}
