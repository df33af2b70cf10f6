//! Pinned network namespaces: `<run>/netns/<container id>`. A namespace exists as long as its pin or a process in it.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::runtime::sys::netns;

use super::error::NetworkError;
use super::link;

/// Makes a namespace with loopback up and pins it, unless the pin holds one already.
pub(crate) fn pin(path: &Path) -> Result<(), NetworkError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(NetworkError::file("create the folder", folder))?;
    if is_pinned(path) {
        return Ok(());
    }
    File::create(path).map_err(NetworkError::file("create the pin", path))?;
    let made = netns::inside_new(|| {
        mount_bind("/proc/thread-self/ns/net", path)?;
        link::loopback_up()
    });
    made.and_then(|outcome| outcome).map_err(|source| {
        // What is left of the pin is removed; the cause is what the caller must know.
        drop(unpin(path));
        NetworkError::Kernel {
            step: "make a network namespace".to_owned(),
            source,
        }
    })
}

/// Makes and pins the namespace in which bridges stand, unless the pin holds it already, and opens it.
///
/// # Errors
/// When the kernel makes no such namespace.
pub fn pin_ground(path: &Path) -> Result<OwnedFd, NetworkError> {
    pin(path)?;
    open(path).map(OwnedFd::from)
}

/// Lets that namespace go.
///
/// # Errors
/// When its pin cannot be removed.
pub fn unpin_ground(path: &Path) -> Result<(), NetworkError> {
    unpin(path)
}

/// Pins a namespace that was made elsewhere, in place of what the pin holds.
pub(crate) fn pin_made(path: &Path, made: &Path) -> Result<(), NetworkError> {
    unpin(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(NetworkError::file("create the folder", folder))?;
    File::create(path).map_err(NetworkError::file("create the pin", path))?;
    mount_bind(made, path).map_err(|errno| NetworkError::file("pin", made)(errno.into()))?;
    let namespace = open(path)?;
    let raised = netns::inside(std::os::fd::AsFd::as_fd(&namespace), link::loopback_up);
    raised
        .and_then(|outcome| outcome)
        .map_err(|source| NetworkError::Kernel {
            step: "raise the loopback of a network namespace".to_owned(),
            source,
        })
}

/// Removes a pin; one that is not there counts as removed.
pub(crate) fn unpin(path: &Path) -> Result<(), NetworkError> {
    match unmount(path, UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(NetworkError::file("unmount the pin", path)(error.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::file("remove the pin", path)(error))
        }
        _ => Ok(()),
    }
}

/// Opens a pinned namespace.
pub(crate) fn open(path: &Path) -> Result<File, NetworkError> {
    File::open(path).map_err(NetworkError::file("open the network namespace", path))
}

/// Whether a pin holds a namespace (a mere file is what a crash or a reboot leaves).
#[must_use]
pub fn is_pinned(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|status| status.f_type == NSFS_MAGIC)
}

/// All pins of a run directory by container id.
pub(crate) fn pins(folder: &Path) -> Result<Vec<(String, PathBuf)>, NetworkError> {
    let entries = super::store::entries(folder)?;
    Ok(entries
        .into_iter()
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .collect())
}

const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;
