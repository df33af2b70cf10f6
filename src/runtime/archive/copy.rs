//! Into and out of the root of a container: `docker cp`, `export`.
//!
//! The root is [`open_merged`](super::open_merged) of a container that does not run, or `/proc/<pid>/root` of one that
//! does, so that its mounts are seen. Resolution happens below that descriptor only, whatever the container's
//! processes rename meanwhile.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::root::{Root, file_error};
use super::{
    ArchiveError, Mounts, NoRecorder, Overwrite, Owner, PackOptions, TarWriter, UnpackOptions,
    pack, unpack,
};

/// Go's bits of a file mode, which the API shows.
const GO_DIRECTORY: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_FIFO: u32 = 1 << 25;
const GO_SOCKET: u32 = 1 << 24;
const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_CHARACTER: u32 = 1 << 21;
const GO_STICKY: u32 = 1 << 20;
/// Symlinks that a look-up follows.
const LINKS_MAX: usize = 40;

/// The content of `X-Docker-Container-Path-Stat`, before base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathStat {
    /// Last part of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Mode, in Go's bits.
    pub mode: u32,
    /// Modification time, RFC 3339.
    pub mtime: String,
    /// Where a symlink leads, as an absolute path in the container; empty for others.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

/// What is put into a container.
#[derive(Debug, Clone, Copy)]
pub struct PutOptions {
    /// Whether a directory may replace a file, and the reverse.
    pub overwrite: Overwrite,
    /// Owner of what is put.
    pub owner: Owner,
}

/// Looks at a path of a container without following its last part.
///
/// # Errors
/// When it is not there.
pub fn stat_path(root: &Root, path: &str) -> Result<PathStat, ArchiveError> {
    let wanted = Wanted::parse(path);
    let fd = wanted.open(root, OFlags::PATH)?;
    let stat =
        rustix::fs::fstat(&fd).map_err(|errno| file_error("look at", &wanted.path, errno))?;
    let link = if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        wanted.link_target(root)
    } else {
        String::new()
    };
    Ok(PathStat {
        name: wanted.name(),
        size: stat.st_size,
        mode: go_mode(stat.st_mode),
        mtime: jiff::Timestamp::new(
            stat.st_mtime,
            i32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        )
        .unwrap_or_default()
        .to_string(),
        link_target: link,
    })
}

/// Writes a path of a container as an archive; its name is the first entry, or `./` when the path ends in `/.`.
///
/// # Errors
/// When it is not there, or the stream breaks.
pub fn get_path(root: &Root, path: &str, archive: impl Write) -> Result<(), ArchiveError> {
    let wanted = Wanted::parse(path);
    let resolved = wanted.resolved(root)?;
    let mut nothing = NoRecorder;
    let mut writer = TarWriter::new(archive, &mut nothing);
    let rename = if wanted.contents || wanted.path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        PathBuf::from(wanted.name())
    };
    pack(
        root,
        &resolved,
        &rename,
        &PackOptions::default(),
        &mut writer,
    )?;
    writer.finish().map(drop)
}

/// Unpacks a plain archive into a directory of a container.
///
/// # Errors
/// When the directory is not there or is none, or the archive is refused.
pub fn put_path(
    root: &Root,
    path: &str,
    archive: impl Read,
    options: PutOptions,
) -> Result<(), ArchiveError> {
    let wanted = Wanted::parse(path);
    let fd = root
        .open_at(&wanted.path, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(|errno| file_error("open", &wanted.path, errno))?;
    if rustix::fs::fstatvfs(&fd)
        .is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    {
        return Err(ArchiveError::ReadOnly {
            path: Path::new("/").join(&wanted.path),
        });
    }
    // Symlinks may lead anywhere within the container's root, as they do for its own processes.
    let unpacking = UnpackOptions {
        overwrite: options.overwrite,
        owner: options.owner,
        base: wanted.path,
        ..UnpackOptions::default()
    };
    unpack(archive, root, &unpacking, &mut NoRecorder).map(drop)
}

/// Writes the whole root as an archive, without what is mounted on it.
///
/// # Errors
/// When a file cannot be read or the stream breaks.
pub fn export(root: &Root, archive: impl Write) -> Result<(), ArchiveError> {
    let mut nothing = NoRecorder;
    let mut writer = TarWriter::new(archive, &mut nothing);
    let options = PackOptions {
        mounts: Mounts::LeaveEmpty,
        ..PackOptions::default()
    };
    pack(root, Path::new(""), Path::new(""), &options, &mut writer)?;
    writer.finish().map(drop)
}

/// A path of a request, cleaned within the root.
struct Wanted {
    path: PathBuf,
    /// It ends in `/.`: what is in the directory is meant.
    contents: bool,
    /// It ends in `/` or `/.`: a last symlink is followed.
    follow: bool,
}

impl Wanted {
    fn parse(path: &str) -> Self {
        let mut clean = PathBuf::new();
        for component in Path::new(path).components() {
            match component {
                Component::Normal(part) => clean.push(part),
                Component::ParentDir => drop(clean.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let contents = path.ends_with("/.") || path == ".";
        Self {
            path: clean,
            contents,
            follow: contents || path.ends_with('/'),
        }
    }

    fn name(&self) -> String {
        self.path.file_name().map_or_else(
            || "/".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    fn open(&self, root: &Root, flags: OFlags) -> Result<std::os::fd::OwnedFd, ArchiveError> {
        let flags = if self.follow {
            flags | OFlags::DIRECTORY
        } else {
            flags | OFlags::NOFOLLOW
        };
        root.open_at(&self.path, flags)
            .map_err(|errno| file_error("open", &self.path, errno))
    }

    /// The path without a symlink at its end, when that is to be followed.
    fn resolved(&self, root: &Root) -> Result<PathBuf, ArchiveError> {
        let mut path = self.path.clone();
        for _ in 0..LINKS_MAX {
            match read_link(root, &path)? {
                Some(target) if self.follow => path = join_link(&path, &target),
                _ => return Ok(path),
            }
        }
        Err(file_error("open", &self.path, Errno::LOOP))
    }

    fn link_target(&self, root: &Root) -> String {
        let target = read_link(root, &self.path)
            .ok()
            .flatten()
            .unwrap_or_default();
        format!("/{}", join_link(&self.path, &target).display())
    }
}

fn read_link(root: &Root, path: &Path) -> Result<Option<PathBuf>, ArchiveError> {
    use std::os::unix::ffi::OsStringExt;
    let fd = root
        .open_at(path, OFlags::PATH | OFlags::NOFOLLOW)
        .map_err(|errno| file_error("open", path, errno))?;
    match rustix::fs::readlinkat(fd.as_fd(), "", Vec::new()) {
        Ok(target) => Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(
            target.into_bytes(),
        )))),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(file_error("read link", path, errno)),
    }
}

/// Where a link at `path` leads, relative to the root.
fn join_link(path: &Path, target: &Path) -> PathBuf {
    let mut joined = if target.is_absolute() {
        PathBuf::new()
    } else {
        path.parent().unwrap_or(Path::new("")).to_owned()
    };
    for component in target.components() {
        match component {
            Component::Normal(part) => joined.push(part),
            Component::ParentDir => drop(joined.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    joined
}

/// Go's `os.FileMode` of a mode.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => GO_DIRECTORY,
        FileType::Symlink => GO_SYMLINK,
        FileType::BlockDevice => GO_DEVICE,
        FileType::CharacterDevice => GO_DEVICE | GO_CHARACTER,
        FileType::Fifo => GO_FIFO,
        FileType::Socket => GO_SOCKET,
        FileType::RegularFile | FileType::Unknown => 0,
    };
    let special = [
        (0o4000, GO_SETUID),
        (0o2000, GO_SETGID),
        (0o1000, GO_STICKY),
    ];
    special
        .iter()
        .filter(|(bit, _)| mode & bit != 0)
        .fold(kind | (mode & 0o777), |whole, (_, go)| whole | go)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Wanted, go_mode, join_link};

    #[test]
    fn a_path_never_leaves_the_root() {
        assert_eq!(Wanted::parse("/../../etc/./x").path, Path::new("etc/x"));
        assert_eq!(
            join_link(Path::new("tmp/up"), Path::new("../../../../root")),
            Path::new("root")
        );
        assert!(Wanted::parse("/a/.").contents);
        assert!(!Wanted::parse("/a").follow);
    }

    #[test]
    fn modes_have_the_bits_of_go() {
        assert_eq!(go_mode(0o040_750), 1 << 31 | 0o750);
        assert_eq!(go_mode(0o120_777), 1 << 27 | 0o777);
        assert_eq!(go_mode(0o104_755), 1 << 23 | 0o755);
    }
}
