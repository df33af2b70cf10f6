//! Paths of a container, always resolved below a descriptor of its root.
//!
//! No path of an image is ever followed by the plain kernel calls while the host's tree is in reach: `openat2` keeps
//! `..` and absolute links inside and refuses the magic links of `/proc`. Called by the child of a start or exec.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens a path below `root` for use as a place (`O_PATH`).
///
/// # Errors
/// When it is not there, or leads to a magic link.
pub(crate) fn resolve(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    open(root, Path::new(path), OFlags::PATH)
}

/// Opens a path below `root`.
///
/// # Errors
/// When it is not there, or leads to a magic link.
pub(crate) fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_with(
        root,
        path,
        flags,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

fn open_with(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    // The kernel answers EAGAIN when something was renamed meanwhile and it cannot tell whether `..` stayed inside.
    for _ in 0..64 {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// A folder at the top of the root that must be a real one (`proc`, `dev`, `sys`): made where it is missing, refused
/// where the image has a link in its place.
///
/// # Errors
/// When it is a link or a file.
pub(crate) fn real_directory(root: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    match open_with(root, Path::new(name), flags, resolve) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755))?;
            open_with(root, Path::new(name), flags, resolve)
        }
        result => result,
    }
}

/// Opens a folder below `root`, and makes what of its path is missing.
///
/// # Errors
/// When a part of it is not a folder.
pub(crate) fn make_directory(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match open(root, Path::new(path), flags) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let mut prefix = PathBuf::from("/");
    let mut folder = open(root, &prefix, flags)?;
    for name in names(path) {
        prefix.push(name);
        folder = match open(root, &prefix, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_child(folder.as_fd(), name)?;
                open(root, &prefix, flags)?
            }
            result => result?,
        };
    }
    Ok(folder)
}

fn make_child(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn names(path: &str) -> impl Iterator<Item = &OsStr> {
    Path::new(path)
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        })
}

/// Opens a file below `root`, and makes an empty one (with its folders) where nothing is.
///
/// # Errors
/// When a part of its path is not a folder.
pub(crate) fn make_file(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    match resolve(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let path = Path::new(path);
    let parent = path.parent().and_then(Path::to_str).unwrap_or("/");
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(Errno::ISDIR))?;
    let parent = make_directory(root, parent)?;
    let flags =
        OFlags::CREATE | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    drop(rustix::fs::openat(
        &parent,
        name,
        flags,
        Mode::from_raw_mode(0o644),
    )?);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&parent, name, flags, Mode::empty())?)
}

/// The place for a mount: a folder or a file, as its source is one.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_like(
    root: BorrowedFd<'_>,
    path: &str,
    source: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    if is_directory(source)? {
        make_directory(root, path)
    } else {
        make_file(root, path)
    }
}

/// Whether a descriptor is a folder's.
///
/// # Errors
/// When it cannot be asked.
pub(crate) fn is_directory(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Reads a small regular file below `root`; an empty text where there is none. Fifos and devices are not waited for.
pub(crate) fn read_small(root: BorrowedFd<'_>, path: &str) -> String {
    const LIMIT: usize = 4 << 20;
    let Ok(file) = open(root, Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK) else {
        return String::new();
    };
    let regular = rustix::fs::fstat(&file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let mut bytes = Vec::new();
    if regular {
        let mut chunk = [0_u8; 8192];
        while bytes.len() < LIMIT {
            match rustix::io::read(&file, &mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(folder: &Path) -> io::Result<OwnedFd> {
        Ok(rustix::fs::open(
            folder,
            OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        )?)
    }

    #[test]
    fn a_link_out_of_the_root_stays_inside() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        std::os::unix::fs::symlink("/etc", folder.path().join("out"))?;
        let root = root(folder.path())?;
        std::fs::create_dir(folder.path().join("etc"))?;
        make_directory(root.as_fd(), "/out/a/b")?;
        assert!(folder.path().join("etc/a/b").is_dir());
        let error = resolve(root.as_fd(), "/out/passwd").map(drop);
        assert_eq!(
            error.map_err(|error| error.kind()),
            Err(io::ErrorKind::NotFound)
        );
        Ok(())
    }

    #[test]
    fn a_link_in_place_of_proc_is_refused() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        std::os::unix::fs::symlink("/tmp", folder.path().join("proc"))?;
        let root = root(folder.path())?;
        assert!(real_directory(root.as_fd(), "proc").is_err());
        assert!(real_directory(root.as_fd(), "sys").is_ok());
        Ok(())
    }

    #[test]
    fn a_file_is_made_with_its_folders() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let root = root(folder.path())?;
        make_file(root.as_fd(), "/etc/hosts")?;
        assert!(folder.path().join("etc/hosts").is_file());
        Ok(())
    }
}
