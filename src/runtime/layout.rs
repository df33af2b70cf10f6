//! Where the built-in engine keeps its things: the state root, the run folder, and the names derived from them.
//!
//! ```text
//! <root>/lock                    held by the one engine of this root
//! <root>/containers/<id>/        config.json, logs, exit records
//! <root>/{images,volumes,networks,build}/
//! <run>/engine.sock              the Docker Engine API
//! <run>/keeper.sock              the keeper's own protocol
//! <run>/{containers,netns}/      what lives only as long as a container runs
//! ```
//!
//! Callers: every part of `runtime`, and `cli::engine`. The process environment comes in as a function, so that tests
//! place engines where they like.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::rootless;

const DEFAULT_ROOT: &str = "/var/lib/hoist";
const DEFAULT_RUN: &str = "/run/hoist";

/// How long an engine that is ending is waited for, and how often it is looked at: no event tells of its last moment.
const LEAVING: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(2);

/// Why the folders of an engine cannot be used.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// A folder cannot be made.
    #[error("cannot make the engine's folder `{}`", path.display())]
    MakeFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock file cannot be opened or locked.
    #[error("cannot lock `{}`", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The run folder is a link, or somebody else's.
    #[error("the engine's run folder `{}` is not a folder of this user's own: remove it, or set XDG_RUNTIME_DIR or HOIST_RUN_DIR", path.display())]
    Strange {
        /// The folder.
        path: PathBuf,
    },
    /// Another engine has this root.
    #[error("another engine already runs on `{}`", root.display())]
    Taken {
        /// The state root.
        root: PathBuf,
    },
}

/// Whether the engine runs as root of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// Uid 0.
    Rootful,
    /// An ordinary user.
    Rootless,
}

/// The folders of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    run: PathBuf,
    instance: String,
    privilege: Privilege,
}

/// The lock of an engine on its root; released when dropped.
#[derive(Debug)]
pub struct RootLock {
    _file: File,
}

impl Layout {
    /// The layout that an environment and a user ask for.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>, uid: u32) -> Self {
        let privilege = if uid == 0 {
            Privilege::Rootful
        } else {
            Privilege::Rootless
        };
        let (default_root, default_run) = match privilege {
            Privilege::Rootful => (PathBuf::from(DEFAULT_ROOT), PathBuf::from(DEFAULT_RUN)),
            Privilege::Rootless => rootless_folders(env, uid),
        };
        let chosen = |name: &str| env(name).filter(|value| !value.is_empty());
        let root = chosen("HOIST_ROOT").map_or_else(|| default_root.clone(), PathBuf::from);
        let run = chosen("HOIST_RUN_DIR").map_or(default_run, PathBuf::from);
        let instance = instance_of(&root, &default_root);
        Self {
            root,
            run,
            instance,
            privilege,
        }
    }

    /// The layout of this process: its environment and user.
    #[must_use]
    pub fn of_process() -> Self {
        let uid = rootless::user_outside().unwrap_or(rustix::process::geteuid().as_raw());
        // Sessions that no login manager made have the folder, but not the variable.
        let session = format!("/run/user/{uid}");
        let env = |name: &str| match std::env::var(name) {
            Err(_) if name == "XDG_RUNTIME_DIR" && Path::new(&session).is_dir() => {
                Some(session.clone())
            }
            value => value.ok(),
        };
        Self::from_env(&env, uid)
    }

    /// A layout at given places, for tests.
    #[must_use]
    pub fn at(root: &Path, run: &Path) -> Self {
        Self {
            root: root.to_owned(),
            run: run.to_owned(),
            instance: instance_of(root, Path::new(DEFAULT_ROOT)),
            privilege: Privilege::Rootful,
        }
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run folder.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// A short name of this engine among others of the machine: empty for the default root, else six hex digits of
    /// the root path's hash. It goes into names of bridges, cgroups and firewall tables.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether this is root's engine.
    #[must_use]
    pub fn privilege(&self) -> Privilege {
        self.privilege
    }

    /// The Docker Engine API's socket.
    #[must_use]
    pub fn engine_socket(&self) -> PathBuf {
        self.run.join("engine.sock")
    }

    /// The keeper's socket.
    #[must_use]
    pub fn keeper_socket(&self) -> PathBuf {
        self.run.join("keeper.sock")
    }

    /// Held by a client that is starting an engine, and by an engine that is going.
    #[must_use]
    pub fn launch_lock(&self) -> PathBuf {
        self.root.join("launch.lock")
    }

    /// What a detached engine writes on its standard error.
    #[must_use]
    pub fn engine_log(&self) -> PathBuf {
        self.root.join("engine.log")
    }

    /// The number of the process that serves the socket.
    #[must_use]
    pub fn engine_pid(&self) -> PathBuf {
        self.root.join("engine.pid")
    }

    /// All containers' folders.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// The folder of a container.
    #[must_use]
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// The run folder of a container.
    #[must_use]
    pub fn container_run(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// The image store.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The volume store.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The networks' records.
    #[must_use]
    pub fn networks(&self) -> PathBuf {
        self.root.join("networks")
    }

    /// Pinned network namespaces.
    #[must_use]
    pub fn netns(&self) -> PathBuf {
        self.run.join("netns")
    }

    /// Makes root and run folder; only the user may enter them.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn prepare(&self) -> Result<(), LayoutError> {
        make_private(&self.root, 0o711)?;
        make_private(&self.run, 0o700)?;
        if self.privilege == Privilege::Rootless {
            refuse_strangers(&self.run)?;
        }
        make_private(&self.containers(), 0o711)
    }

    /// Takes the lock that lets one engine run per root.
    ///
    /// # Errors
    /// [`LayoutError::Taken`] when another engine has it.
    pub fn lock(&self) -> Result<RootLock, LayoutError> {
        let path = self.root.join("lock");
        let file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(RootLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LayoutError::Taken {
                root: self.root.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(LayoutError::Lock { path, source }),
        }
    }

    /// The same, from an engine that is ending: its socket has gone before its lock goes.
    ///
    /// # Errors
    /// [`LayoutError::Taken`] when another engine answers, or does not end.
    pub fn lock_after_leaving(&self, answers: impl Fn() -> bool) -> Result<RootLock, LayoutError> {
        let end = Instant::now() + LEAVING;
        loop {
            match self.lock() {
                Err(LayoutError::Taken { .. }) if Instant::now() < end && !answers() => {
                    std::thread::sleep(STEP);
                }
                locked => return locked,
            }
        }
    }

    /// Takes the lock under which engines are started; waits for it.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn lock_launch(&self) -> Result<File, LayoutError> {
        let path = self.launch_lock();
        let file = open_lock(&path)?;
        match file.lock() {
            Ok(()) => Ok(file),
            Err(source) => Err(LayoutError::Lock { path, source }),
        }
    }

    /// Waits until no engine has the root.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn wait_until_free(&self) -> Result<(), LayoutError> {
        let path = self.root.join("lock");
        let file = open_lock(&path)?;
        file.lock()
            .map_err(|source| LayoutError::Lock { path, source })
    }
}

/// Opens a lock file, making it where it is not there.
pub(crate) fn open_lock(path: &Path) -> Result<File, LayoutError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|source| LayoutError::Lock {
            path: path.to_owned(),
            source,
        })
}

fn make_private(path: &Path, mode: u32) -> Result<(), LayoutError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    made.map_err(|source| LayoutError::MakeFolder {
        path: path.to_owned(),
        source,
    })
}

/// Where others may write, a folder of this name can be anybody's: sockets are only made in one that is the user's.
fn refuse_strangers(path: &Path) -> Result<(), LayoutError> {
    let own = rustix::process::geteuid().as_raw();
    let ours = fs::symlink_metadata(path).is_ok_and(|seen| seen.is_dir() && seen.uid() == own);
    if ours {
        return Ok(());
    }
    Err(LayoutError::Strange {
        path: path.to_owned(),
    })
}

fn rootless_folders(env: &dyn Fn(&str) -> Option<String>, uid: u32) -> (PathBuf, PathBuf) {
    let given = |name: &str| env(name).filter(|value| value.starts_with('/'));
    let own = format!("/tmp/hoist-{uid}");
    let home = given("HOME").unwrap_or_else(|| own.clone());
    let share = given("XDG_DATA_HOME").unwrap_or_else(|| format!("{home}/.local/share"));
    let run =
        given("XDG_RUNTIME_DIR").map_or(PathBuf::from(own), |run| Path::new(&run).join("hoist"));
    (Path::new(&share).join("hoist"), run)
}

fn instance_of(root: &Path, default_root: &Path) -> String {
    if root == default_root {
        return String::new();
    }
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    hex::encode(&digest[..3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_root_has_no_instance_name() {
        let layout = Layout::from_env(&|_| None, 0);
        assert_eq!(layout.root(), Path::new("/var/lib/hoist"));
        assert_eq!(layout.engine_socket(), Path::new("/run/hoist/engine.sock"));
        assert_eq!(layout.instance(), "");
    }

    #[test]
    fn another_root_has_an_instance_name_of_its_own() {
        let at = |root: &str| Layout::at(Path::new(root), Path::new("/tmp/r"));
        assert_eq!(at("/tmp/a").instance().len(), 6);
        assert_ne!(at("/tmp/a").instance(), at("/tmp/b").instance());
    }

    #[test]
    fn an_ordinary_user_has_folders_at_home() {
        let env = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
        let layout = Layout::from_env(&env, 1000);
        assert_eq!(layout.root(), Path::new("/home/u/.local/share/hoist"));
        assert_eq!(layout.run(), Path::new("/tmp/hoist-1000"));
        let env = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| "/run/user/1000".to_owned());
        let layout = Layout::from_env(&env, 1000);
        assert_eq!(layout.run(), Path::new("/run/user/1000/hoist"));
    }

    #[test]
    fn a_run_folder_that_is_a_link_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir(&real)?;
        std::os::unix::fs::symlink(&real, &link)?;
        assert!(refuse_strangers(&real).is_ok());
        assert!(matches!(
            refuse_strangers(&link),
            Err(LayoutError::Strange { .. })
        ));
        Ok(())
    }

    #[test]
    fn only_one_engine_locks_a_root() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let layout = Layout::at(&folder.path().join("root"), &folder.path().join("run"));
        layout.prepare()?;
        let held = layout.lock()?;
        assert!(matches!(layout.lock(), Err(LayoutError::Taken { .. })));
        drop(held);
        layout.lock()?;
        Ok(())
    }

    #[test]
    fn an_engine_that_is_ending_is_waited_for_and_one_that_answers_is_not()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let layout = Layout::at(&folder.path().join("root"), &folder.path().join("run"));
        layout.prepare()?;
        let held = std::cell::Cell::new(Some(layout.lock()?));
        let taken = layout.lock_after_leaving(|| true);
        assert!(matches!(taken, Err(LayoutError::Taken { .. })));
        layout.lock_after_leaving(|| {
            drop(held.take());
            false
        })?;
        Ok(())
    }
}
