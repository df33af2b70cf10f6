//! The merged view of layers, as a detached overlay mount that exists only as a descriptor.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, UnmountFlags};

use super::ArchiveError;
use super::root::file_error;
use crate::runtime::sys::mount::mount_overlay_by_text;

/// Opens the merged root of `lower` directories (highest first) and, if given, a writable upper directory with its
/// work directory. Nothing becomes visible in any directory; the view is gone when the descriptor is closed.
///
/// # Errors
/// When the overlay cannot be mounted.
pub fn open_merged(
    lower: &[PathBuf],
    upper: Option<(&Path, &Path)>,
) -> Result<OwnedFd, ArchiveError> {
    match (lower, upper) {
        ([], None) => Err(ArchiveError::Malformed("no layers to merge".to_owned())),
        // An overlay without an upper directory needs two lower ones.
        ([only], None) => rustix::fs::open(
            only,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| file_error("open", only, errno)),
        ([], Some((upper, _))) => rustix::fs::open(
            upper,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| file_error("open", upper, errno)),
        _ => overlay(lower, upper),
    }
}

fn overlay(lower: &[PathBuf], upper: Option<(&Path, &Path)>) -> Result<OwnedFd, ArchiveError> {
    let at = upper.map_or_else(|| lower[0].as_path(), |(upper, _)| upper);
    match detached_overlay(lower, upper) {
        // Kernels before 6.8 do not know `lowerdir+`; some say so only in the end.
        Err(Errno::INVAL) => overlay_by_text(lower, upper),
        result => result.map_err(|errno| file_error("mount an overlay with", at, errno)),
    }
}

fn detached_overlay(lower: &[PathBuf], upper: Option<(&Path, &Path)>) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for directory in lower {
        rustix::mount::fsconfig_set_string(&context, "lowerdir+", directory)?;
    }
    if let Some((upper, work)) = upper {
        rustix::mount::fsconfig_set_string(&context, "upperdir", upper)?;
        rustix::mount::fsconfig_set_string(&context, "workdir", work)?;
    }
    if super::opaque_attribute().starts_with("user.") {
        rustix::mount::fsconfig_set_flag(&context, "userxattr")?;
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

/// The old way has no detached mounts: it is mounted on a folder of its own, taken from there, and the folder goes.
fn overlay_by_text(
    lower: &[PathBuf],
    upper: Option<(&Path, &Path)>,
) -> Result<OwnedFd, ArchiveError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let at = std::env::temp_dir().join(format!("hoist-merge-{}-{number}", std::process::id()));
    let failed = |source: io::Error| ArchiveError::File {
        action: "mount an overlay on",
        path: at.clone(),
        source,
    };
    let flags = if super::opaque_attribute().starts_with("user.") {
        "userxattr"
    } else {
        ""
    };
    fs::create_dir(&at).map_err(failed)?;
    let mounted = mount_overlay_by_text(lower, upper, flags, &at).and_then(|()| {
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(rustix::fs::CWD, &at, clone);
        rustix::mount::unmount(&at, UnmountFlags::DETACH)?;
        Ok(tree?)
    });
    fs::remove_dir(&at).map_err(failed)?;
    mounted.map_err(failed)
}
