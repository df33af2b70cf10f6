//! Which program a runtime's name stands for: what the administrator's file says, or an installed program of a name that
//! is a runtime's. Any other program of the host is not to be run because a Compose file names it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde::Deserialize;

use crate::runtime::container::request::OciRuntime;

/// The runtime that needs no program: this one.
pub(crate) const OWN: &str = "hoist";

/// Names of runtimes that need no entry of the administrator's.
const KNOWN: [&str; 8] = [
    "crun",
    "crun-vm",
    "crun-wasm",
    "kata-runtime",
    "nvidia-container-runtime",
    "runc",
    "runsc",
    "youki",
];

/// Where programs are that the engine's own `PATH` may lack.
const USUAL: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// One entry of `runtimes`, as Docker's `daemon.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Configured {
    /// The program.
    pub path: PathBuf,
    /// Arguments before all others.
    #[serde(default)]
    pub runtime_args: Vec<String>,
}

/// What is known of runtimes here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runtimes {
    /// The administrator's.
    pub configured: BTreeMap<String, Configured>,
    /// Folders that are searched.
    pub folders: Vec<PathBuf>,
}

impl Runtimes {
    /// Those of a file's entries and a `PATH`.
    pub(crate) fn new(configured: BTreeMap<String, Configured>, path: &OsStr) -> Self {
        let mut folders: Vec<PathBuf> = std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .collect();
        for usual in USUAL.map(PathBuf::from) {
            if !folders.contains(&usual) {
                folders.push(usual);
            }
        }
        Self {
            configured,
            folders,
        }
    }

    /// The runtime of a name; none is this program itself. The error says what was looked for.
    pub(crate) fn find(&self, name: &str) -> Result<Option<OciRuntime>, String> {
        if matches!(name, "" | OWN) {
            return Ok(None);
        }
        let found = |program: PathBuf, args: Vec<String>| {
            Ok(Some(OciRuntime {
                name: name.to_owned(),
                program,
                args,
                seccomp: None,
                annotations: Vec::new(),
                init: format!("/proc/{}/exe", std::process::id()).into(),
            }))
        };
        if let Some(configured) = self.configured.get(name) {
            let program = &configured.path;
            let there = if program.is_absolute() {
                Some(program.clone()).filter(|program| is_program(program))
            } else {
                self.search(&program.to_string_lossy())
            };
            return match there {
                Some(program) => found(program, configured.runtime_args.clone()),
                None => Err(format!(
                    "unknown or invalid runtime name: {name} (its program `{}` is not there)",
                    program.display()
                )),
            };
        }
        // The name that containerd has for Docker's default one.
        let program = match name {
            "io.containerd.runc.v2" => "runc",
            name => name,
        };
        if !KNOWN.contains(&program) {
            return Err(format!(
                "unknown or invalid runtime name: {name} (no entry in `runtimes` of /etc/hoist/engine.json, and none of {})",
                KNOWN.join(", ")
            ));
        }
        if let Some(program) = self.search(program) {
            return found(program, Vec::new());
        }
        Err(format!(
            "unknown or invalid runtime name: {name} (no program `{program}` in {}, and no entry in `runtimes` of /etc/hoist/engine.json)",
            self.places()
        ))
    }

    /// The names and programs of all that are here.
    pub(crate) fn all(&self) -> BTreeMap<String, PathBuf> {
        let configured = self
            .configured
            .iter()
            .map(|(name, configured)| (name.clone(), configured.path.clone()));
        let installed = KNOWN
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.search(name)?)));
        installed.chain(configured).collect()
    }

    fn search(&self, name: &str) -> Option<PathBuf> {
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !plain || name.starts_with('.') {
            return None;
        }
        self.folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|program| is_program(program))
    }

    fn places(&self) -> String {
        let folders = self
            .folders
            .iter()
            .map(|folder| folder.display().to_string());
        folders.collect::<Vec<_>>().join(":")
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io;
    use std::os::unix::fs::PermissionsExt;

    fn program(path: &Path) -> io::Result<()> {
        fs::write(path, "")?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    }

    fn runtimes(folder: &Path, configured: &str) -> Result<Runtimes, serde_json::Error> {
        Ok(Runtimes {
            configured: serde_json::from_str(configured)?,
            folders: vec![folder.to_owned()],
        })
    }

    #[test]
    fn a_name_is_a_program_of_the_path() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        program(&folder.path().join("runc"))?;
        let runtimes = runtimes(folder.path(), "{}")?;
        for name in ["runc", "io.containerd.runc.v2"] {
            let found = runtimes.find(name)?.map(|runtime| runtime.program);
            assert_eq!(found, Some(folder.path().join("runc")));
        }
        assert_eq!(runtimes.find("hoist")?, None);
        assert_eq!(runtimes.all().into_keys().collect::<Vec<_>>(), ["runc"]);
        Ok(())
    }

    #[test]
    fn a_name_without_a_program_says_what_was_looked_for() -> Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        let runtimes = runtimes(folder.path(), r#"{"mine":{"path":"/nowhere/mine"}}"#)?;
        let said = |name| runtimes.find(name).err().unwrap_or_default();
        assert!(
            said("crun").contains(&format!("no program `crun` in {}", folder.path().display()))
        );
        assert!(said("mine").contains("/nowhere/mine"));
        // A program of the host that is no runtime.
        program(&folder.path().join("tar"))?;
        for name in ["../runc", ".", "a/b", "tar"] {
            assert!(
                said(name).contains("unknown or invalid runtime name"),
                "{name}"
            );
        }
        Ok(())
    }

    #[test]
    fn the_administrator_s_entry_comes_first() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        program(&folder.path().join("crun"))?;
        program(&folder.path().join("own-crun"))?;
        let configured = r#"{"crun":{"path":"own-crun","runtimeArgs":["--debug"]}}"#;
        let runtimes = runtimes(folder.path(), configured)?;
        let found = runtimes.find("crun")?.ok_or("none")?;
        assert_eq!(found.program, folder.path().join("own-crun"));
        assert_eq!(found.args, ["--debug"]);
        Ok(())
    }
}
