//! `RUN --mount=…`: read, and made ready on the host.
//!
//! ```text
//! bind    a path of the context, or of a stage or image (one layer: that directory; several: a copy)
//! cache   <root>/build/mounts/<id>, locked while `sharing=locked`
//! secret  a file in the step's scratch directory, or a variable
//! ssh     the socket of an agent
//! tmpfs   memory
//! ```

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::cache::{KeyMaker, failed};
use super::{BuildError, StepMount, StepMountKind};
use crate::runtime::archive::Root;

const AGENT: &str = "/run/buildkit/ssh_agent.";

/// A mount as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountFlag {
    /// What is mounted.
    pub kind: MountFlagKind,
    /// Where; empty for the default of a secret or agent.
    pub target: String,
    /// Path within the origin.
    pub source: String,
    /// Stage, image or named context.
    pub from: Option<String>,
    /// Id of a cache, secret or agent.
    pub id: String,
    /// Whether the step may write.
    pub access: MountAccess,
    /// Whether a secret or agent has to be given.
    pub presence: Presence,
    /// Mode of a secret or cache directory.
    pub mode: Option<u32>,
    /// Owner of a secret, agent or cache directory.
    pub uid: u32,
    /// Group of the same.
    pub gid: u32,
    /// Most bytes of a tmpfs.
    pub size: Option<u64>,
    /// Who may use a cache at a time.
    pub sharing: Sharing,
    /// Variable that holds a secret.
    pub env: Option<String>,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum MountFlagKind {
    /// Files of the context or of an image.
    #[default]
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret.
    Secret,
    /// The socket of an SSH agent.
    Ssh,
}

/// Whether the step may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MountAccess {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}

/// Whether something has to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Without it the step fails.
    Required,
    /// Without it there is no mount.
    Optional,
}

/// Who may use a cache at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Everybody.
    Shared,
    /// One step, the others wait.
    Locked,
    /// One step, the others have directories of their own.
    Private,
}

impl MountFlag {
    /// Reads `type=…,target=…`.
    ///
    /// # Errors
    /// With the option that is not known or makes no sense.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let options: Vec<(String, &str)> = text
            .split(',')
            .map(|option| option.split_once('=').unwrap_or((option, "")))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value))
            .collect();
        let kind = options.iter().find(|(name, _)| name == "type");
        let kind = kind.map_or(Ok(MountFlagKind::Bind), |(_, value)| kind_of(value))?;
        let mut flag = Self::of_kind(kind);
        for (name, value) in &options {
            flag.set(name, value)?;
        }
        flag.complete()?;
        Ok(flag)
    }

    fn of_kind(kind: MountFlagKind) -> Self {
        Self {
            kind,
            target: String::new(),
            source: String::new(),
            from: None,
            id: String::new(),
            access: if kind == MountFlagKind::Bind {
                MountAccess::ReadOnly
            } else {
                MountAccess::ReadWrite
            },
            presence: Presence::Optional,
            mode: None,
            uid: 0,
            gid: 0,
            size: None,
            sharing: Sharing::Shared,
            env: None,
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let bad = || format!("invalid value for {name}: {value}");
        match name {
            "type" => {}
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "source" | "src" => value.clone_into(&mut self.source),
            "from" => self.from = Some(value.to_owned()),
            "id" => value.clone_into(&mut self.id),
            "ro" | "readonly" => {
                self.access = if is_true(value) {
                    MountAccess::ReadOnly
                } else {
                    MountAccess::ReadWrite
                }
            }
            "rw" | "readwrite" => {
                self.access = if is_true(value) {
                    MountAccess::ReadWrite
                } else {
                    MountAccess::ReadOnly
                }
            }
            "required" => {
                self.presence = if is_true(value) {
                    Presence::Required
                } else {
                    Presence::Optional
                }
            }
            "mode" => self.mode = Some(u32::from_str_radix(value, 8).map_err(|_| bad())?),
            "uid" => self.uid = value.parse().map_err(|_| bad())?,
            "gid" => self.gid = value.parse().map_err(|_| bad())?,
            "size" => self.size = Some(bytes(value).ok_or_else(bad)?),
            "env" => self.env = Some(value.to_owned()),
            "sharing" => {
                self.sharing = match value {
                    "shared" => Sharing::Shared,
                    "locked" => Sharing::Locked,
                    "private" => Sharing::Private,
                    _ => return Err(bad()),
                }
            }
            _ => return Err(format!("unexpected key '{name}' in mount option")),
        }
        Ok(())
    }

    /// Fills in what follows from the rest.
    fn complete(&mut self) -> Result<(), String> {
        if self.id.is_empty() {
            let named = if self.kind == MountFlagKind::Secret {
                &self.source
            } else {
                &self.target
            };
            self.id = match self.kind {
                MountFlagKind::Ssh => "default".to_owned(),
                MountFlagKind::Secret => named.rsplit('/').next().unwrap_or_default().to_owned(),
                MountFlagKind::Bind | MountFlagKind::Cache | MountFlagKind::Tmpfs => named.clone(),
            };
            if self.kind == MountFlagKind::Secret && self.id.is_empty() {
                self.id = self
                    .target
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
            }
        }
        let needs_target = matches!(
            self.kind,
            MountFlagKind::Bind | MountFlagKind::Cache | MountFlagKind::Tmpfs
        );
        if needs_target && self.target.is_empty() {
            return Err("target is required for this type of mount".to_owned());
        }
        if self.kind == MountFlagKind::Secret && self.target.is_empty() && self.env.is_none() {
            self.target = format!("/run/secrets/{}", self.id);
        }
        Ok(())
    }
}

fn kind_of(text: &str) -> Result<MountFlagKind, String> {
    Ok(match text {
        "bind" => MountFlagKind::Bind,
        "cache" => MountFlagKind::Cache,
        "tmpfs" => MountFlagKind::Tmpfs,
        "secret" => MountFlagKind::Secret,
        "ssh" => MountFlagKind::Ssh,
        other => return Err(format!("unsupported mount type \"{other}\"")),
    })
}

fn is_true(value: &str) -> bool {
    matches!(value, "" | "1" | "true" | "True" | "TRUE")
}

/// A size such as `64m`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The file among the cache mounts that each step with one has locked.
const IN_USE: &str = "in-use";

/// Removes the cache mounts of a builder, unless a step has one: nobody's directory goes from under his feet.
///
/// # Errors
/// When they cannot be removed.
pub(super) fn remove_caches(root: &Path) -> Result<(), BuildError> {
    let base = root.join("mounts");
    let in_use = base.join(IN_USE);
    let Ok(entries) = std::fs::read_dir(&base) else {
        return Ok(()); // there was never one
    };
    let lock = File::create(&in_use).map_err(failed("make", &in_use))?;
    if lock.try_lock().is_err() {
        return Ok(());
    }
    for entry in entries.flatten() {
        let path = entry.path();
        if path == in_use {
            continue;
        }
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_directory {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.map_err(failed("remove", &path))?;
    }
    Ok(())
}

/// Mounts made ready; what they lock is free again when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// The mounts.
    pub mounts: Vec<StepMount>,
    /// Variables.
    pub env: Vec<String>,
    locks: Vec<File>,
    agents: usize,
}

impl Ready {
    /// Adds a mount of a host path.
    pub(super) fn add_path(&mut self, target: &str, path: PathBuf, access: MountAccess) {
        let kind = match access {
            MountAccess::ReadOnly => StepMountKind::ReadOnly(path),
            MountAccess::ReadWrite => StepMountKind::ReadWrite(path),
        };
        self.mounts.push(StepMount {
            target: target.to_owned(),
            kind,
        });
    }

    /// Adds a tmpfs.
    pub(super) fn add_memory(&mut self, flag: &MountFlag) {
        self.mounts.push(StepMount {
            target: flag.target.clone(),
            kind: StepMountKind::Tmpfs(flag.size),
        });
    }

    /// Adds a cache directory; returns it when it is new and empty.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn add_cache(
        &mut self,
        flag: &MountFlag,
        root: &Path,
        scratch: &Path,
    ) -> Result<Option<PathBuf>, BuildError> {
        let mut name = KeyMaker::after("cache mount");
        name.add(flag.id.as_bytes());
        // Who asks for another owner or mode means another directory.
        let made_for = (flag.uid, flag.gid, flag.mode);
        if made_for != (0, 0, None) {
            name.add(format!("{made_for:?}").as_bytes());
        }
        let base = root.join("mounts");
        let mut directory = base.join(name.finish());
        make(&base, 0o700)?;
        let in_use = base.join(IN_USE);
        let lock = File::create(&in_use).map_err(failed("make", &in_use))?;
        lock.lock_shared().map_err(failed("lock", &in_use))?;
        self.locks.push(lock);
        if flag.sharing != Sharing::Shared {
            let path = directory.with_extension("lock");
            let lock = File::create(&path).map_err(failed("make", &path))?;
            if flag.sharing == Sharing::Locked {
                lock.lock().map_err(failed("lock", &path))?;
            } else if lock.try_lock().is_err() {
                directory = scratch.join(format!("private-{}", self.mounts.len()));
            }
            self.locks.push(lock);
        }
        let is_new = !directory.exists();
        if is_new {
            make(&directory, flag.mode.unwrap_or(0o755))?;
            chown(&directory, Some(flag.uid), Some(flag.gid))
                .map_err(failed("set the owner of", &directory))?;
        }
        self.add_path(&flag.target, directory.clone(), flag.access);
        Ok(is_new.then_some(directory))
    }

    /// Adds a secret as a file or a variable.
    ///
    /// # Errors
    /// When it has to be given and is not.
    pub(super) fn add_secret(
        &mut self,
        flag: &MountFlag,
        content: Option<&Vec<u8>>,
        scratch: &Path,
    ) -> Result<(), BuildError> {
        let Some(content) = content else {
            return missing(flag, "secret");
        };
        if let Some(name) = &flag.env {
            self.env
                .push(format!("{name}={}", String::from_utf8_lossy(content)));
        }
        if flag.target.is_empty() {
            return Ok(());
        }
        let path = scratch.join(format!("secret-{}", self.mounts.len()));
        let mode = flag.mode.unwrap_or(0o400);
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path);
        let mut file = file.map_err(failed("make", &path))?;
        std::io::Write::write_all(&mut file, content).map_err(failed("write", &path))?;
        chown(&path, Some(flag.uid), Some(flag.gid)).map_err(failed("set the owner of", &path))?;
        self.add_path(&flag.target, path, MountAccess::ReadOnly);
        Ok(())
    }

    /// Adds the socket of an SSH agent.
    ///
    /// # Errors
    /// When it has to be given and is not.
    pub(super) fn add_agent(
        &mut self,
        flag: &MountFlag,
        socket: Option<&PathBuf>,
    ) -> Result<(), BuildError> {
        let target = if flag.target.is_empty() {
            format!("{AGENT}{}", self.agents)
        } else {
            flag.target.clone()
        };
        if self.agents == 0 {
            self.env.push(format!("SSH_AUTH_SOCK={target}"));
        }
        self.agents += 1;
        // As with BuildKit, a step without an agent sees where one would be.
        let Some(socket) = socket else {
            return missing(flag, "ssh");
        };
        self.add_path(&target, socket.clone(), MountAccess::ReadWrite);
        Ok(())
    }
}

fn missing(flag: &MountFlag, what: &str) -> Result<(), BuildError> {
    match flag.presence {
        Presence::Optional => Ok(()),
        Presence::Required => Err(BuildError::Invalid(format!(
            "{what} {}: not found",
            flag.id
        ))),
    }
}

fn make(path: &Path, mode: u32) -> Result<(), BuildError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path);
    made.map_err(failed("make directory", path))
}

/// The host's path of a path within a root.
///
/// # Errors
/// When it is not there.
pub(super) fn host_path(root: &Root, path: &Path) -> Result<PathBuf, BuildError> {
    let fd = root
        .open_at(path, OFlags::PATH)
        .map_err(super::files::failed("open", path))?;
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    fs::read_link(&link).map_err(failed("resolve", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_defaults() -> Result<(), String> {
        let bind = MountFlag::parse("target=/x,src=a,from=stage")?;
        assert_eq!(
            (bind.kind, bind.access),
            (MountFlagKind::Bind, MountAccess::ReadOnly)
        );
        assert_eq!(
            (bind.source.as_str(), bind.from.as_deref()),
            ("a", Some("stage"))
        );
        let cache = MountFlag::parse("type=cache,dst=/root/.cache,sharing=locked,mode=0700,uid=5")?;
        assert_eq!(
            (cache.id.as_str(), cache.sharing, cache.mode, cache.uid),
            ("/root/.cache", Sharing::Locked, Some(0o700), 5)
        );
        let secret = MountFlag::parse("type=secret,id=token,required")?;
        assert_eq!(
            (secret.target.as_str(), secret.presence),
            ("/run/secrets/token", Presence::Required)
        );
        let variable = MountFlag::parse("type=secret,id=token,env=TOKEN")?;
        assert_eq!(
            (variable.target.as_str(), variable.env.as_deref()),
            ("", Some("TOKEN"))
        );
        assert_eq!(
            MountFlag::parse("type=tmpfs,target=/t,size=64m")?.size,
            Some(64 << 20)
        );
        assert_eq!(MountFlag::parse("type=ssh")?.id, "default");
        for bad in [
            "type=bogus",
            "type=bind",
            "type=cache",
            "target=/x,bogus=1",
            "type=cache,target=/x,sharing=no",
            "target=/x,mode=9",
        ] {
            assert!(MountFlag::parse(bad).is_err(), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn a_required_secret_has_to_be_given() -> Result<(), Box<dyn std::error::Error>> {
        let scratch = tempfile::tempdir()?;
        let mut ready = Ready::default();
        let optional = MountFlag::parse("type=secret,id=a")?;
        ready.add_secret(&optional, None, scratch.path())?;
        assert!(ready.mounts.is_empty());
        let required = MountFlag::parse("type=secret,id=a,required=true")?;
        assert!(ready.add_secret(&required, None, scratch.path()).is_err());
        Ok(())
    }
}
