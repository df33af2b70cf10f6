//! The one mount call that rustix lacks, and overlays on kernels that take their layers only as one text.

#![expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;

/// Whether mounts below are changed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only the mount.
    Single,
    /// All mounts below it.
    Recursive,
}

/// Sets attributes (`MOUNT_ATTR_…`) and propagation (`MS_PRIVATE` …, 0 leaves it) of a mount by descriptor.
///
/// # Errors
/// When the kernel refuses.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    propagation: u64,
    reach: Reach,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: 0,
    };
    change(mount, &attributes, reach)
}

/// Shows the owners of a mount that is attached nowhere as a user namespace maps them: 0 on the disk is its root.
///
/// # Errors
/// When the kernel refuses: `EINVAL` where the file system knows no such mounts.
pub fn map_owners(
    mount: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    reach: Reach,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.as_raw_fd().unsigned_abs()),
    };
    change(mount, &attributes, reach)
}

fn change(mount: BorrowedFd<'_>, attributes: &libc::mount_attr, reach: Reach) -> io::Result<()> {
    let recursive = match reach {
        Reach::Single => 0,
        Reach::Recursive => libc::AT_RECURSIVE,
    };
    let flags = libc::AT_EMPTY_PATH | recursive;
    // SAFETY: the path is an empty C string; `attributes` lives across the call and its size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Mounts an overlay in the way of kernels before 6.8, all layers in one text. Descriptors stand for the folders: the
/// text may be a page long at most, and needs no escapes then.
///
/// # Errors
/// When a folder cannot be opened, or the kernel refuses.
pub fn mount_overlay_by_text(
    lower: &[impl AsRef<Path>],
    upper: Option<(&Path, &Path)>,
    flags: &str,
    at: &Path,
) -> io::Result<()> {
    let open = |path: &Path| -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path, flags, Mode::empty())?)
    };
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let folders = lower
        .iter()
        .map(|layer| open(layer.as_ref()))
        .collect::<io::Result<Vec<_>>>()?;
    let names: Vec<String> = folders.iter().map(name).collect();
    let mut text = format!("lowerdir={}", names.join(":"));
    let mut held = Vec::new();
    if let Some((upper, work)) = upper {
        for (key, path) in [("upperdir", upper), ("workdir", work)] {
            let folder = open(path)?;
            text.push_str(&format!(",{key}={}", name(&folder)));
            held.push(folder);
        }
    }
    if !flags.is_empty() {
        text.push_str(&format!(",{flags}"));
    }
    let text = CString::new(text)?;
    Ok(rustix::mount::mount(
        "overlay",
        at,
        "overlay",
        MountFlags::empty(),
        Some(text.as_c_str()),
    )?)
}
