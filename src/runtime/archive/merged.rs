//! The merged view of layers, as a detached overlay mount that exists only as a descriptor.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::ArchiveError;
use super::root::file_error;

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
    let failed = |errno| file_error("mount an overlay with", at, errno);
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    for directory in lower {
        rustix::mount::fsconfig_set_string(&context, "lowerdir+", directory)
            .map_err(|errno| file_error("mount an overlay with", directory, errno))?;
    }
    if let Some((upper, work)) = upper {
        rustix::mount::fsconfig_set_string(&context, "upperdir", upper).map_err(failed)?;
        rustix::mount::fsconfig_set_string(&context, "workdir", work).map_err(failed)?;
    }
    if super::opaque_attribute().starts_with("user.") {
        rustix::mount::fsconfig_set_flag(&context, "userxattr").map_err(failed)?;
    }
    rustix::mount::fsconfig_create(&context).map_err(failed)?;
    rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .map_err(failed)
}
