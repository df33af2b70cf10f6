//! Looking into a container's file system from outside, never led out of it.
//!
//! A running container's root is opened through its first process, with all its mounts; one that does not run is the
//! merged view of its layers, as a mount that exists only as a descriptor. Every path is resolved below that root by
//! the kernel.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;

use super::Supervisor;
use super::container::Container;
use super::mount::clean;
use super::process::HeldProcess;
use super::record::{MountRecord, MountType};
use crate::runtime::archive::{
    Mounts, NoRecorder, Overwrite, Owner, PackOptions, Root, TarWriter, UnpackOptions, decompress,
    open_merged, pack, unpack,
};
use crate::runtime::container::request::Access;
use crate::runtime::error::{ErrorKind, RuntimeError, RuntimeResult};
use crate::runtime::sys::userns::{self, make_files_as};

/// The longest user file that is read.
const MOST_BYTES: u64 = 4 << 20;

/// What is known of a path, in Go's words.
#[derive(Debug, Clone)]
pub struct PathStat {
    /// The last part of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Mode, as Go's `os.FileMode`.
    pub mode: u32,
    /// When it was changed.
    pub mtime: Timestamp,
    /// Where a link leads; empty for others.
    pub link_target: String,
}

/// What may replace what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwriting {
    /// Anything anything.
    Any,
    /// Only folders folders, and files files.
    SameKind,
}

/// An archive for a container.
#[derive(Debug, Clone)]
pub struct PutRequest {
    /// The folder below which it is unpacked.
    pub path: String,
    /// What may replace what.
    pub overwriting: Overwriting,
    /// Whether all of it gets the container's own user as owner.
    pub copies_owner: bool,
}

/// A root, and a path below it.
struct View {
    root: Root,
    path: PathBuf,
}

impl Supervisor {
    /// Looks at a path.
    ///
    /// # Errors
    /// When it is not there.
    pub fn stat_path(&self, container: &Container, path: &str) -> RuntimeResult<PathStat> {
        let view = self.view(container, path)?;
        let object = view
            .open(path)
            .map_err(|errno| missing(container, path, errno))?;
        let stat = fstat(&object).map_err(|errno| missing(container, path, errno))?;
        let link_target = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => link_target(&object, path),
            _ => String::new(),
        };
        Ok(PathStat {
            name: last_part(path),
            size: stat.st_size,
            mode: go_mode(&stat),
            mtime: time_of(&stat),
            link_target,
        })
    }

    /// Writes a path as an archive.
    ///
    /// # Errors
    /// When it is not there, or the archive cannot be written.
    pub fn pack_path(
        &self,
        container: &Container,
        path: &str,
        out: impl Write,
    ) -> RuntimeResult<()> {
        let view = self.view(container, path)?;
        let rename = match last_part(path).as_str() {
            "/" => "./".to_owned(),
            name => name.to_owned(),
        };
        let mut recorder = NoRecorder;
        let mut writer = TarWriter::new(out, &mut recorder);
        let inner = view
            .start(path)
            .map_err(|errno| missing(container, path, errno))?;
        pack(
            &view.root,
            &inner,
            Path::new(&rename),
            &PackOptions {
                root: root_of(container),
                ..PackOptions::default()
            },
            &mut writer,
        )?;
        writer.finish()?;
        Ok(())
    }

    /// Unpacks an archive, compressed or not, below a folder of a container.
    ///
    /// # Errors
    /// When the folder is not there or may not be written, or the archive is refused.
    pub fn unpack_into(
        &self,
        container: &Container,
        request: &PutRequest,
        archive: impl Read + Send,
    ) -> RuntimeResult<()> {
        let path = request.path.as_str();
        check_writable(container, path)?;
        let view = self.view(container, path)?;
        let object = view
            .root
            .open_at(&view.path, OFlags::PATH)
            .map_err(|errno| missing(container, path, errno))?;
        let stat = fstat(&object).map_err(|errno| missing(container, path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(RuntimeError::invalid(format!(
                "extraction point `{path}` is not a directory"
            )));
        }
        let folder = openat(
            &object,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| missing(container, path, errno))?;
        let owner = if request.copies_owner {
            self.owner_of(container)?
        } else {
            Owner::Archive
        };
        let ids = root_of(container);
        let options = UnpackOptions {
            owner,
            root: ids,
            overwrite: match request.overwriting {
                Overwriting::Any => Overwrite::Any,
                Overwriting::SameKind => Overwrite::SameKind,
            },
            ..UnpackOptions::default()
        };
        let root = Root::from_fd(folder);
        let archive = decompress(archive)?;
        as_root(ids, move || {
            unpack(archive, &root, &options, &mut NoRecorder)
        })
        .map_err(|source| {
            RuntimeError::internal("cannot make files as the container's root", source)
        })??;
        Ok(())
    }

    /// Writes the whole root as an archive; mounts are left empty.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn export(&self, container: &Container, out: impl Write) -> RuntimeResult<()> {
        let root = self.root(container)?;
        let options = PackOptions {
            mounts: Mounts::LeaveEmpty,
            root: root_of(container),
            ..PackOptions::default()
        };
        let mut recorder = NoRecorder;
        let mut writer = TarWriter::new(out, &mut recorder);
        pack(&root, Path::new(""), Path::new(""), &options, &mut writer)?;
        writer.finish()?;
        Ok(())
    }

    /// The root as a client looks into it.
    fn root(&self, container: &Container) -> RuntimeResult<Root> {
        let opened = if container.status().is_alive() {
            live_root(container).map_err(|errno| {
                RuntimeError::internal(
                    format!("cannot open the root of container {}", container.id()),
                    io::Error::from(errno),
                )
            })?
        } else {
            let lower = container.with(|record| record.lower.clone());
            open_merged(&lower, Some((&container.upper(), &container.work())))?
        };
        Ok(Root::from_fd(opened))
    }

    /// The root in which a path lies: of a container that does not run, the mounts are not there and are looked into
    /// where they lie on the host.
    fn view(&self, container: &Container, path: &str) -> RuntimeResult<View> {
        let whole = clean(path);
        if container.status().is_alive() {
            return Ok(View {
                root: self.root(container)?,
                path: inner_path(&whole),
            });
        }
        let Some((mount, rest)) = mount_of(container, &whole) else {
            return Ok(View {
                root: self.root(container)?,
                path: inner_path(&whole),
            });
        };
        let source = &mount.source;
        if mount.kind == MountType::Volume && !mount.subpath.is_empty() {
            let inner = self.volumes().open_subpath(&mount.name, &mount.subpath)?;
            return Ok(View {
                root: Root::from_fd(inner),
                path: inner_path(&rest),
            });
        }
        if source.is_dir() {
            return Ok(View {
                root: Root::open(source)?,
                path: inner_path(&rest),
            });
        }
        Ok(View {
            root: Root::open(source.parent().unwrap_or(Path::new("/")))?,
            path: PathBuf::from(source.file_name().unwrap_or_default()),
        })
    }

    fn owner_of(&self, container: &Container) -> RuntimeResult<Owner> {
        let (uid, gid) = self.user_of(container)?;
        Ok(Owner::Fixed(uid, gid))
    }

    /// The ids of a container's user.
    pub(super) fn user_of(&self, container: &Container) -> RuntimeResult<(u32, u32)> {
        let user = container.with(|record| record.config.user.clone().unwrap_or_default());
        let (name, group) = user.split_once(':').unwrap_or((&user, ""));
        let root = self.root(container)?;
        let users = read_text(&root, "etc/passwd").unwrap_or_default();
        let entry = users.lines().find_map(|line| {
            let parts: Vec<&str> = line.split(':').collect();
            let [found, _, uid, gid, ..] = parts.as_slice() else {
                return None;
            };
            (*found == name || *uid == name)
                .then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
        });
        let (uid, gid) = entry.unwrap_or((name.parse().unwrap_or(0), 0));
        Ok((uid, group.parse().unwrap_or(gid)))
    }

    /// Refuses a user that the container's own files do not know.
    pub(super) fn check_user(&self, container: &Container, user: &str) -> RuntimeResult<()> {
        let name = user.split(':').next().unwrap_or_default();
        if name.is_empty() || name.parse::<u32>().is_ok() {
            return Ok(());
        }
        let users = read_text(&self.root(container)?, "etc/passwd").unwrap_or_default();
        if users
            .lines()
            .any(|line| line.split(':').next() == Some(name))
        {
            return Ok(());
        }
        Err(RuntimeError::invalid(format!(
            "unable to find user {name}: no matching entries in passwd file"
        )))
    }
}

impl View {
    /// Opens the object of the path; the last link is followed only where the path says so (`/`, `/.`).
    fn open(&self, path: &str) -> Result<OwnedFd, Errno> {
        let flags = if means_folder(path) {
            OFlags::PATH | OFlags::DIRECTORY
        } else {
            OFlags::PATH | OFlags::NOFOLLOW
        };
        self.root.open_at(&self.path, flags)
    }

    /// The path from which an archive is written.
    fn start(&self, path: &str) -> Result<PathBuf, Errno> {
        self.open(path)?;
        Ok(self.path.clone())
    }
}

/// A path of the container as one below its root.
fn inner_path(path: &str) -> PathBuf {
    PathBuf::from(path.trim_start_matches('/'))
}

fn means_folder(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.") || path == "."
}

fn last_part(path: &str) -> String {
    if path.ends_with("/.") || path == "." {
        return ".".to_owned();
    }
    let whole = clean(path);
    whole
        .rsplit('/')
        .next()
        .filter(|name| !name.is_empty())
        .unwrap_or("/")
        .to_owned()
}

/// The mount in which a path lies, with the rest of the path.
fn mount_of(container: &Container, path: &str) -> Option<(MountRecord, String)> {
    let mut mounts = container.with(|record| record.mounts.clone());
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.destination.len()));
    mounts.into_iter().find_map(|mount| {
        let rest = path.strip_prefix(mount.destination.as_str())?;
        let inside = rest.is_empty() || rest.starts_with('/');
        let on_host = matches!(mount.kind, MountType::Bind | MountType::Volume);
        (inside && on_host).then(|| (mount, rest.to_owned()))
    })
}

fn check_writable(container: &Container, path: &str) -> RuntimeResult<()> {
    let forbidden = |what: &str| {
        Err(RuntimeError::new(
            ErrorKind::Forbidden,
            format!("{what} is marked read-only"),
        ))
    };
    match mount_of(container, &clean(path)) {
        Some((mount, _)) if mount.access == Access::ReadOnly => forbidden("mount point"),
        Some(_) => Ok(()),
        None if container.with(|record| record.host_config.readonly_rootfs == Some(true)) => {
            forbidden("container rootfs")
        }
        None => Ok(()),
    }
}

fn missing(container: &Container, path: &str, errno: Errno) -> RuntimeError {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => {
            let name = container.with(|record| record.name.clone());
            RuntimeError::not_found(format!(
                "Could not find the file {path} in container {name}"
            ))
        }
        other => RuntimeError::internal(format!("cannot open `{path}`"), io::Error::from(other)),
    }
}

/// Where a link leads, as an absolute path of the container.
fn link_target(link: &OwnedFd, path: &str) -> String {
    let Ok(target) = readlinkat(link, "", Vec::new()) else {
        return String::new();
    };
    let target = target.to_string_lossy().into_owned();
    if target.starts_with('/') {
        return clean(&target);
    }
    let whole = clean(path);
    let folder = whole.rsplit_once('/').map_or("", |(folder, _)| folder);
    clean(&format!("{folder}/{target}"))
}

/// Go's `os.FileMode` of a stat.
fn go_mode(stat: &Stat) -> u32 {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        FileType::RegularFile | FileType::Unknown => 0,
    };
    let bit = |mask: u32, go: u32| if stat.st_mode & mask == 0 { 0 } else { 1 << go };
    (stat.st_mode & 0o777) | kind | bit(0o4000, 23) | bit(0o2000, 22) | bit(0o1000, 20)
}

fn time_of(stat: &Stat) -> Timestamp {
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or_default()
}

/// The root of a running container, as an open folder.
fn live_root(container: &Container) -> rustix::io::Result<OwnedFd> {
    HeldProcess::of(container)?.open("root", OFlags::RDONLY | OFlags::DIRECTORY)
}

/// User and group outside of the root of a living container; 0 on the disk, and where it has no user namespace.
fn root_of(container: &Container) -> (u32, u32) {
    // An ordinary user's engine is in the user namespace of its containers itself.
    if !container.status().is_alive() || !userns::is_first() {
        return (0, 0);
    }
    let Ok(process) = HeldProcess::of(container) else {
        return (0, 0);
    };
    let root = |file: &str| {
        let map = process.read(file);
        let mut words = map.split_ascii_whitespace();
        (words.next()? == "0").then(|| words.next()?.parse().ok())?
    };
    (root("uid_map").unwrap_or(0), root("gid_map").unwrap_or(0))
}

/// Runs work that makes files on mapped mounts, where only mapped users can make any: on a thread of its own.
fn as_root<T: Send>(ids: (u32, u32), work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if ids == (0, 0) {
        return Ok(work());
    }
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            make_files_as(ids.0, ids.1)?;
            Ok(work())
        });
        worker
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the unpacking thread panicked")))
    })
}

fn read_text(root: &Root, path: &str) -> io::Result<String> {
    let file = File::from(root.open_file(Path::new(path))?);
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    /// It is another than the image's.
    Modified = 0,
    /// The image has it not.
    Added = 1,
    /// The image has it.
    Deleted = 2,
}

/// A change of a container against its image.
#[derive(Debug, Clone)]
pub struct Change {
    /// The path.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What the engine itself puts into every container.
const OWN_PATHS: &[&str] = &[
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/mtab",
    "/.dockerenv",
];

impl Supervisor {
    /// What a container changed.
    ///
    /// # Errors
    /// When its layers cannot be read.
    pub fn changes(&self, container: &Container) -> RuntimeResult<Vec<Change>> {
        let (lower, mounts) =
            container.with(|record| (record.lower.clone(), record.mounts.clone()));
        let image = Root::from_fd(open_merged(&lower, None)?);
        let mut walk = Walk {
            image: &image,
            mounts: mounts.into_iter().map(|mount| mount.destination).collect(),
            found: Vec::new(),
        };
        walk.folder(&container.upper(), "").map_err(|source| {
            RuntimeError::internal(
                format!("cannot list the changes of container {}", container.id()),
                source,
            )
        })?;
        walk.found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(walk.found)
    }
}

struct Walk<'a> {
    image: &'a Root,
    mounts: Vec<String>,
    found: Vec<Change>,
}

impl Walk<'_> {
    /// Looks through a folder of the container's own layer.
    fn folder(&mut self, folder: &Path, inside: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let path = format!("{inside}/{}", entry.file_name().to_string_lossy());
            if OWN_PATHS.contains(&path.as_str()) || self.mounts.contains(&path) {
                continue;
            }
            let stat = rustix::fs::lstat(entry.path())?;
            self.object(&entry.path(), path, &stat)?;
        }
        Ok(())
    }

    fn object(&mut self, on_host: &Path, path: String, stat: &Stat) -> io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let before = self.image_stat(&path);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            self.note(path, ChangeKind::Deleted);
            return Ok(());
        }
        if kind != FileType::Directory {
            let change = if before.is_some() {
                ChangeKind::Modified
            } else {
                ChangeKind::Added
            };
            self.note(path, change);
            return Ok(());
        }
        let place = self.found.len();
        self.folder(on_host, &path)?;
        let quiet = self.found.len() == place;
        match before {
            None if quiet && self.carries_mount(&path) => {}
            None => self.note(path, ChangeKind::Added),
            Some(before) if quiet && is_same(&before, stat) => {}
            Some(_) => self.note(path, ChangeKind::Modified),
        }
        Ok(())
    }

    /// Whether a folder is only there because something is mounted below it.
    fn carries_mount(&self, path: &str) -> bool {
        let own = OWN_PATHS.iter().copied();
        let mounts = self.mounts.iter().map(String::as_str);
        own.chain(mounts).any(|target| {
            target
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    fn note(&mut self, path: String, kind: ChangeKind) {
        self.found.push(Change { path, kind });
    }

    fn image_stat(&self, path: &str) -> Option<Stat> {
        let inner = Path::new(path.trim_start_matches('/'));
        let object = self
            .image
            .open_at(inner, OFlags::PATH | OFlags::NOFOLLOW)
            .ok()?;
        fstat(object.as_fd()).ok()
    }
}

fn is_same(before: &Stat, now: &Stat) -> bool {
    before.st_mode == now.st_mode && before.st_uid == now.st_uid && before.st_gid == now.st_gid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_names_an_archive() {
        assert_eq!(last_part("/seed/a"), "a");
        assert_eq!(last_part("/seed/"), "seed");
        assert_eq!(last_part("/seed/."), ".");
        assert_eq!(last_part("/"), "/");
    }
}
