//! Files to an archive: a tree below a [`Root`], in sorted order, so that the same tree is the same archive.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::ArchiveError;
use super::entry::{Entry, EntryKind};
use super::root::{Root, file_error, names_in, reopen_file};
use super::unpack::{is_allowed_attribute, opaque_attribute};
use super::writer::TarWriter;

/// How the tree says that something is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TreeWhiteouts {
    /// Not at all.
    #[default]
    None,
    /// It is the upper directory of an overlay: device 0:0 and opaque directories, which become `.wh.` entries.
    Overlay,
}

/// What of a tree is packed.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// Deletions in the tree.
    pub whiteouts: TreeWhiteouts,
    /// Paths relative to the root that stay out, with all below them.
    pub leave_out: HashSet<PathBuf>,
    /// What is mounted on the tree.
    pub mounts: Mounts,
    /// User and group that the tree shows for 0: what comes before them belongs to nobody in the archive.
    pub root: (u32, u32),
}

/// What happens at a mount point within the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mounts {
    /// What is mounted there is packed.
    #[default]
    Enter,
    /// A directory stays empty, a file too.
    LeaveEmpty,
}

/// Packs the object at `start` and all below it. The first entry has the name `rename`, the others begin with it; an
/// empty name leaves the first entry out.
///
/// # Errors
/// When a file cannot be read or the stream breaks.
pub fn pack<W: Write>(
    root: &Root,
    start: &Path,
    rename: &Path,
    options: &PackOptions,
    writer: &mut TarWriter<'_, W>,
) -> Result<(), ArchiveError> {
    let mut packer = Packer {
        options,
        writer,
        seen: HashMap::new(),
    };
    let object = root
        .open_at(start, OFlags::PATH | OFlags::NOFOLLOW)
        .map_err(|errno| file_error("open", start, errno))?;
    let found = rustix::fs::fstat(&object).map_err(|errno| file_error("look at", start, errno))?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        let directory = rustix::fs::openat(
            &object,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| file_error("open", start, errno))?;
        return packer.directory(&directory, &found, start, rename);
    }
    let parent = start.parent().unwrap_or(Path::new(""));
    let parent = root
        .open_at(parent, OFlags::PATH | OFlags::DIRECTORY)
        .map_err(|errno| file_error("open", parent, errno))?;
    let name = start.file_name().unwrap_or_default();
    packer.object(parent.as_fd(), name, start, rename)
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

struct Packer<'p, 'w, W> {
    options: &'p PackOptions,
    writer: &'p mut TarWriter<'w, W>,
    /// Names of files with several links, by device and inode.
    seen: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Packer<'_, '_, W> {
    fn object(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        as_name: &Path,
    ) -> Result<(), ArchiveError> {
        if self.options.leave_out.contains(path) {
            return Ok(());
        }
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Files of a running container come and go.
            Err(Errno::NOENT) => return Ok(()),
            result => result.map_err(|errno| file_error("look at", path, errno))?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.options.whiteouts == TreeWhiteouts::Overlay && is_whiteout(&stat) {
            return self.whiteout(as_name, &stat);
        }
        match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let directory = rustix::fs::openat(parent, name, flags, Mode::empty())
                    .map_err(|errno| file_error("open", path, errno))?;
                self.directory(&directory, &stat, path, as_name)
            }
            FileType::RegularFile => self.file(parent, name, &stat, path, as_name),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())
                    .map_err(|errno| file_error("read link", path, errno))?;
                self.writer.header(&Entry {
                    link: target.into_bytes(),
                    ..entry_of(as_name, EntryKind::Symlink, &stat, self.options.root)
                })
            }
            FileType::CharacterDevice => self.writer.header(&entry_of(
                as_name,
                EntryKind::CharDevice,
                &stat,
                self.options.root,
            )),
            FileType::BlockDevice => self.writer.header(&entry_of(
                as_name,
                EntryKind::BlockDevice,
                &stat,
                self.options.root,
            )),
            FileType::Fifo => self.writer.header(&entry_of(
                as_name,
                EntryKind::Fifo,
                &stat,
                self.options.root,
            )),
            // An archive cannot hold sockets; they are of no use without their process.
            FileType::Socket | FileType::Unknown => Ok(()),
        }
    }

    fn whiteout(&mut self, as_name: &Path, stat: &Stat) -> Result<(), ArchiveError> {
        let mut deletion = OsString::from(".wh.");
        deletion.push(as_name.file_name().unwrap_or_default());
        let name = as_name.with_file_name(deletion);
        self.writer.header(&Entry {
            mode: 0o600,
            device: (0, 0),
            ..entry_of(&name, EntryKind::File, stat, self.options.root)
        })
    }

    fn directory(
        &mut self,
        directory: &OwnedFd,
        stat: &Stat,
        path: &Path,
        as_name: &Path,
    ) -> Result<(), ArchiveError> {
        if !as_name.as_os_str().is_empty() {
            let mut entry = entry_of(as_name, EntryKind::Directory, stat, self.options.root);
            entry.xattrs = attributes_of(directory.as_fd(), path)?;
            self.writer.header(&entry)?;
        }
        if self.is_left_empty(directory.as_fd(), path) {
            return Ok(());
        }
        if self.options.whiteouts == TreeWhiteouts::Overlay && is_opaque(directory.as_fd()) {
            self.writer.header(&Entry {
                mode: 0o600,
                ..entry_of(
                    &as_name.join(".wh..wh..opq"),
                    EntryKind::File,
                    stat,
                    self.options.root,
                )
            })?;
        }
        for name in names_in(directory).map_err(|errno| file_error("list", path, errno))? {
            self.object(
                directory.as_fd(),
                &name,
                &path.join(&name),
                &as_name.join(&name),
            )?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        stat: &Stat,
        path: &Path,
        as_name: &Path,
    ) -> Result<(), ArchiveError> {
        let mut entry = entry_of(as_name, EntryKind::File, stat, self.options.root);
        if stat.st_nlink > 1
            && let Some(first) = self
                .seen
                .insert((stat.st_dev, stat.st_ino), entry.name.clone())
        {
            self.seen.insert((stat.st_dev, stat.st_ino), first.clone());
            return self.writer.header(&Entry {
                kind: EntryKind::HardLink,
                link: first,
                ..entry
            });
        }
        // It was a regular file a moment ago; a device that took its place must not be opened.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = rustix::fs::openat(parent, name, flags, Mode::empty());
        let fd = match place.and_then(|place| reopen_file(&place)) {
            Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
            result => result.map_err(|errno| file_error("open", path, errno))?,
        };
        if self.is_left_empty(fd.as_fd(), path) {
            return self.writer.header(&entry);
        }
        // The file may have grown since: its header says what is read.
        entry.size = rustix::fs::fstat(&fd)
            .map_err(|errno| file_error("look at", path, errno))?
            .st_size
            .cast_unsigned();
        entry.xattrs = attributes_of(fd.as_fd(), path)?;
        self.writer.file(&entry, path, std::fs::File::from(fd))
    }

    fn is_left_empty(&self, fd: BorrowedFd<'_>, path: &Path) -> bool {
        if self.options.mounts == Mounts::Enter || path.as_os_str().is_empty() {
            return false;
        }
        let status = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
        status.is_ok_and(|status| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }
}

fn entry_of(name: &Path, kind: EntryKind, stat: &Stat, root: (u32, u32)) -> Entry {
    const NOBODY: u32 = 65_534;
    let mut name = name.as_os_str().as_bytes().to_vec();
    if kind == EntryKind::Directory {
        name.push(b'/');
    }
    Entry {
        name,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid.checked_sub(root.0).unwrap_or(NOBODY),
        gid: stat.st_gid.checked_sub(root.1).unwrap_or(NOBODY),
        mtime: (stat.st_mtime, 0),
        size: 0,
        link: Vec::new(),
        device: (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        ),
        xattrs: Vec::new(),
        sparse: None,
    }
}

fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0u8; 8];
    rustix::fs::fgetxattr(directory, opaque_attribute(), &mut value)
        .is_ok_and(|n| value[..n] == *b"y")
}

fn attributes_of(fd: BorrowedFd<'_>, path: &Path) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    let mut names = [0u8; 4096];
    let length = match rustix::fs::flistxattr(fd, &mut names) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        result => {
            result.map_err(|errno| file_error("list the extended attributes of", path, errno))?
        }
    };
    let mut attributes = Vec::new();
    for name in names[..length]
        .split(|b| *b == 0)
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| is_allowed_attribute(name))
    {
        let mut value = vec![0u8; 64 * 1024];
        match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
            Ok(n) => attributes.push((name.to_owned(), value[..n].to_vec())),
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(file_error("read an extended attribute of", path, errno)),
        }
    }
    attributes.sort();
    Ok(attributes)
}
