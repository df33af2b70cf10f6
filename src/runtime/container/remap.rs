//! A container whose root is nobody outside: the root of mapped layers, and the way into the user namespace.
//!
//! The set-up runs with the privileges of the keeper to its end, and only then gives them up: so everything is mounted
//! by the host's root, and locked in the mount namespace that the container's root gets. On the disk the owners are
//! those that the container sees; mapped mounts show them to the kernel as the users outside. Files of the set-up are
//! made as the container's root, for nobody else has an owner on such a mount.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use super::operation::{mount_root, new_mount};
use crate::runtime::sys::mount::{Reach, map_owners};
use crate::runtime::sys::{process, userns};

/// Where the root lies below the folder of [`super::setup::SetupOp::MountMappedRoot`].
pub(super) const MERGED: &str = "merged";
const OWN: &str = "own";

/// Opens the user namespace that owns the namespace at `path`.
pub(super) fn open_owner(path: &Path) -> io::Result<OwnedFd> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    userns::owner_of(file.as_fd())
}

/// Maps the owners of a clone and of what is mounted below it; where the file system cannot do that, they stay.
pub(super) fn map_source(source: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<()> {
    for reach in [Reach::Recursive, Reach::Single] {
        match map_owners(source, namespace, reach) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EPERM)) => {}
            result => return result,
        }
    }
    Ok(())
}

/// Maps the owners of a clone as was asked for this mount alone, and of what is mounted below where it can be; a file
/// system that cannot is told, for the user counts on the owners.
pub(super) fn map_exactly(source: BorrowedFd<'_>, namespace: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(namespace, flags, Mode::empty())?;
    if map_owners(source, namespace.as_fd(), Reach::Recursive).is_ok() {
        return Ok(());
    }
    map_owners(source, namespace.as_fd(), Reach::Single).map_err(|error| {
        let kind = match error.raw_os_error() {
            Some(libc::EPERM) => "it needs an engine run by root",
            Some(libc::EINVAL) => "its file system knows no mapped mounts",
            Some(libc::ENOSYS) => "it needs Linux 5.12",
            _ => return error,
        };
        io::Error::other(kind)
    })
}

/// Mounts the root at `at/merged`, its layers mapped beside it on a tmpfs that only this mount namespace sees, and makes
/// files as `uid` and `gid` from then on.
pub(super) fn mount_mapped_root(
    lower: &[PathBuf],
    (upper, work): (&Path, &Path),
    at: &Path,
    namespace: BorrowedFd<'_>,
    (uid, gid): (u32, u32),
) -> io::Result<()> {
    let (Some(own), Some(upper), Some(work)) =
        (upper.parent(), upper.file_name(), work.file_name())
    else {
        return Err(io::Error::other("the container's layer has no folder"));
    };
    let scratch = new_mount("tmpfs", &[("mode".to_owned(), "700".to_owned())], 0)?;
    attach_at(scratch.as_fd(), at)?;
    let mut layers = Vec::new();
    for (number, layer) in lower.iter().enumerate() {
        let place = at.join(number.to_string());
        attach_mapped(layer, &place, namespace)?;
        layers.push(place);
    }
    let place = at.join(OWN);
    attach_mapped(own, &place, namespace)?;
    rustix::fs::mkdir(at.join(MERGED), Mode::from_raw_mode(0o755))?;
    userns::make_files_as(uid, gid)?;
    mount_root(
        &layers,
        &place.join(upper),
        &place.join(work),
        &at.join(MERGED),
    )
}

fn attach_mapped(source: &Path, place: &Path, namespace: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let layer = rustix::mount::open_tree(CWD, source, flags)?;
    map_owners(layer.as_fd(), namespace, Reach::Single).map_err(|error| {
        let text = format!(
            "the file system of `{}` cannot map owners for a user namespace: {error}",
            source.display()
        );
        io::Error::new(error.kind(), text)
    })?;
    rustix::fs::mkdir(place, Mode::from_raw_mode(0o755))?;
    attach_at(layer.as_fd(), place)
}

fn attach_at(mount: BorrowedFd<'_>, place: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", CWD, place, flags)?)
}

/// Gives streams to the namespace's root: nobody in there could give them to a user of the container otherwise.
pub(super) fn give_streams(stdio: &[OwnedFd; 3], (uid, gid): (u32, u32)) -> io::Result<()> {
    for stream in stdio {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(stream)?.st_mode);
        if kind == FileType::Fifo {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            rustix::fs::fchown(stream, Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

/// Joins the user namespace for good, with a mount namespace and a host name that it owns.
pub(super) fn join(namespace: BorrowedFd<'_>) -> io::Result<()> {
    process::join_namespaces(namespace, libc::CLONE_NEWUSER)?;
    become_root()?;
    process::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUTS)?;
    // From here on paths lead through the mounts of the new namespace.
    Ok(rustix::process::chdir("/")?)
}

/// Is root of the user namespace that was just joined.
pub(super) fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
}
