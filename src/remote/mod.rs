//! Files of a project on a network, brought to this machine: repositories of git, and artifacts of a registry
//! (behaviours.md B018).
//!
//! Called by the loader through [`crate::load::Fetch`]. What comes is untrusted: git runs without hooks, submodules and helper
//! transports, nothing of a reference can become an option of it, and only files inside of what was fetched are read.
//!
//! ```text
//! reference --git ls-remote | manifest--> commit | digest --> cache folder of that name --> main file
//!                                                   (made whole beside it, then renamed)
//! ```

mod cache;
mod git;
mod oci;

use std::path::PathBuf;

use indexmap::IndexMap;

use crate::load::{Fetch, FetchError};
use crate::runtime::registry::Credential;

/// Finds who the user is to a registry.
type FindCredential = dyn Fn(&str) -> Result<Option<Credential>, String> + Send + Sync;

/// Fetches what `-f`, `include` and `extends` name on a network.
pub struct Remote {
    environment: IndexMap<String, String>,
    insecure_registries: Vec<String>,
    credential: Box<FindCredential>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl Remote {
    /// Makes one for the environment of a process.
    #[must_use]
    pub fn new(
        environment: IndexMap<String, String>,
        insecure_registries: Vec<String>,
        credential: Box<FindCredential>,
    ) -> Self {
        Self {
            environment,
            insecure_registries,
            credential,
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Refuses a kind of references that the user switched off.
    fn check_enabled(&self, what: &str, variable: &str) -> Result<(), FetchError> {
        let off = match self
            .variable(variable)
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            None | Some("1" | "t" | "true" | "y") => false,
            Some("0" | "f" | "false") => true,
            Some(_) => {
                return Err(FetchError::new(format!("`{variable}` must be a boolean")));
            }
        };
        if off {
            return Err(FetchError::new(format!(
                "{what} remote resource is disabled by \"{variable}\""
            )));
        }
        Ok(())
    }

    /// The folder of everything that was fetched; the same as docker compose's.
    fn cache(&self) -> Result<PathBuf, FetchError> {
        let base = match (self.variable("XDG_CACHE_HOME"), self.variable("HOME")) {
            (Some(folder), _) if folder.starts_with('/') => PathBuf::from(folder),
            (_, Some(home)) => PathBuf::from(home).join(".cache"),
            _ => {
                return Err(
                    FetchError::new("there is no folder to keep remote files in")
                        .hint("set `XDG_CACHE_HOME` or `HOME`"),
                );
            }
        };
        Ok(base.join("docker-compose"))
    }
}

impl Fetch for Remote {
    fn fetch(&self, reference: &str) -> Result<PathBuf, FetchError> {
        if let Some(name) = reference.strip_prefix("oci://") {
            self.check_enabled("OCI", "COMPOSE_EXPERIMENTAL_OCI_REMOTE")?;
            return self.fetch_artifact(name);
        }
        self.check_enabled("git", "COMPOSE_EXPERIMENTAL_GIT_REMOTE")?;
        self.fetch_repository(reference)
    }
}
