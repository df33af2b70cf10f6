//! Archive to files, below a [`Root`].
//!
//! Order per entry: clean the name, resolve its directory within the root, make the object with `O_EXCL` and without
//! following, then content, owner, mode, extended attributes, time, all on the descriptor. Directories get their times
//! last, because making their children changes them.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::entry::{Entry, EntryKind, clean_name};
use super::reader::{Limits, TarReader};
use super::root::{Root, file_error, remove_all};
use super::{ArchiveError, Recorder};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const RESERVED: &[u8] = b".wh..wh.";
const COPY_BUFFER: usize = 128 * 1024;
/// Runs of zeros from this length on become holes.
const HOLE: usize = 4096;

/// What the names `.wh.…` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveWhiteouts {
    /// Nothing special.
    Ordinary,
    /// Deletions, made as overlay whiteouts and opaque directories.
    Overlay,
}

/// Who owns what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whom the archive says.
    Archive,
    /// Always this user and group.
    Fixed(u32, u32),
}

/// Whether a directory may replace another kind of file, and the reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Yes.
    Any,
    /// No, that is an error.
    SameKind,
}

/// What happens to device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// They are made; where the system forbids it to this user, they are left out.
    Make,
    /// They are an error.
    Refuse,
}

/// How an archive is unpacked.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// Meaning of `.wh.` names.
    pub whiteouts: ArchiveWhiteouts,
    /// Owner of the files.
    pub owner: Owner,
    /// User and group that 0 becomes, and all others after it.
    pub root: (u32, u32),
    /// What may replace what.
    pub overwrite: Overwrite,
    /// Device nodes.
    pub devices: Devices,
    /// How much is allowed.
    pub limits: Limits,
    /// Directory within the root that names are relative to.
    pub base: PathBuf,
    /// Directory that keeps regular files which a later entry takes the place of, named `0`, `1`, … as in
    /// [`Unpacked::replaced`].
    pub keep_replaced: Option<Arc<OwnedFd>>,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            whiteouts: ArchiveWhiteouts::Ordinary,
            owner: Owner::Archive,
            root: (0, 0),
            overwrite: Overwrite::Any,
            devices: Devices::Make,
            limits: Limits::default(),
            base: PathBuf::new(),
            keep_replaced: None,
        }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of contents.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
    /// Regular files that a later entry took the place of: the path, and the number of that entry.
    pub replaced: Vec<(PathBuf, u64)>,
}

/// Unpacks a plain tar stream below a root.
///
/// # Errors
/// When the archive is refused or a file cannot be made; what was made so far stays.
pub fn unpack(
    stream: impl Read,
    root: &Root,
    options: &UnpackOptions,
    recorder: &mut dyn Recorder,
) -> Result<Unpacked, ArchiveError> {
    let mut reader = TarReader::new(stream, options.limits, recorder);
    let mut unpacker = Unpacker {
        root,
        options,
        directories: Vec::new(),
        buffer: vec![0; COPY_BUFFER],
        total: Unpacked::default(),
    };
    while let Some(entry) = reader.next_entry()? {
        unpacker.total.entries = reader.number();
        unpacker.take(&entry, &mut reader)?;
    }
    unpacker.set_directory_times()?;
    Ok(Unpacked {
        bytes: reader.content_bytes(),
        ..unpacker.total
    })
}

/// The extended attribute that makes a directory opaque in an overlay: `trusted.` needs a capability in the first
/// user namespace; in others the overlay is mounted with `userxattr`.
#[must_use]
pub fn opaque_attribute() -> &'static str {
    if in_first_user_namespace() {
        "trusted.overlay.opaque"
    } else {
        "user.overlay.opaque"
    }
}

fn in_first_user_namespace() -> bool {
    static FIRST: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *FIRST.get_or_init(|| {
        rustix::process::geteuid().is_root() && crate::runtime::sys::userns::is_first()
    })
}

struct Unpacker<'a> {
    root: &'a Root,
    options: &'a UnpackOptions,
    /// Directories of the archive with their times, in order.
    directories: Vec<(PathBuf, (i64, u32))>,
    buffer: Vec<u8>,
    total: Unpacked,
}

impl Unpacker<'_> {
    fn take<R: Read>(
        &mut self,
        entry: &Entry,
        reader: &mut TarReader<'_, R>,
    ) -> Result<(), ArchiveError> {
        let relative = clean_name(&entry.name, self.options.limits.name)?;
        let Some(name) = relative.file_name() else {
            return self.root_itself(entry);
        };
        let path = self.options.base.join(&relative);
        if self.options.whiteouts == ArchiveWhiteouts::Overlay
            && name.as_bytes().starts_with(WHITEOUT)
        {
            return self.whiteout(&path);
        }
        match entry.kind {
            EntryKind::File => self.file(entry, &path, reader),
            EntryKind::Directory => self.directory(entry, &path),
            EntryKind::HardLink => self.hard_link(entry, &path),
            EntryKind::Symlink => self.symlink(entry, &path),
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                self.special(entry, &path)
            }
        }
    }

    /// The entry `./` sets the attributes of the root.
    fn root_itself(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        if entry.kind == EntryKind::Directory {
            let base = &self.options.base;
            let directory = self
                .root
                .open_at(base, OFlags::RDONLY | OFlags::DIRECTORY)
                .map_err(|errno| file_error("open", base, errno))?;
            self.attributes(directory.as_fd(), entry, base)?;
            self.directories.push((base.clone(), entry.mtime));
        }
        Ok(())
    }

    fn whiteout(&mut self, path: &Path) -> Result<(), ArchiveError> {
        let (parent, name) = self.root.parent_of(path)?;
        let name = name.as_bytes();
        if name == OPAQUE {
            return set_opaque(parent.as_fd(), path.parent().unwrap_or(path));
        }
        let deleted = &name[WHITEOUT.len()..];
        if name.starts_with(RESERVED) {
            return Ok(());
        }
        if deleted.is_empty() || deleted == b"." || deleted == b".." {
            return Err(refused(path, "it deletes no name"));
        }
        let deleted = OsStr::from_bytes(deleted);
        match rustix::fs::mknodat(
            parent.as_fd(),
            deleted,
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        ) {
            // What the same layer brings wins over its own deletion; a directory then hides the one below.
            Err(Errno::EXIST) => match open_directory(parent.as_fd(), deleted) {
                Ok(directory) => set_opaque(directory.as_fd(), path),
                Err(_) => Ok(()),
            },
            result => result.map_err(|errno| file_error("make a whiteout for", path, errno)),
        }
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        path: &Path,
        reader: &mut TarReader<'_, R>,
    ) -> Result<(), ArchiveError> {
        let (parent, name) = self.root.parent_of(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.made(entry, path, parent.as_fd(), name, || {
            rustix::fs::openat(parent.as_fd(), name, flags, Mode::from_raw_mode(0o600))
        })?;
        let mut file = std::fs::File::from(fd);
        if let Some(sparse) = &entry.sparse {
            write_sparse(&file, sparse, reader, path)?;
        } else {
            reader.content_is_at(path)?;
            self.copy(reader, &mut file, entry.size, path)?;
        }
        self.attributes(file.as_fd(), entry, path)?;
        rustix::fs::futimens(&file, &times(entry.mtime))
            .map_err(|errno| file_error("set the time of", path, errno))
    }

    /// Writes the content; long runs of zeros stay holes.
    fn copy(
        &mut self,
        from: &mut impl Read,
        file: &mut std::fs::File,
        size: u64,
        path: &Path,
    ) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::File {
            action: "write",
            path: path.to_owned(),
            source,
        };
        let mut offset = 0;
        while offset < size {
            let want = COPY_BUFFER.min(usize::try_from(size - offset).unwrap_or(COPY_BUFFER));
            let chunk = &mut self.buffer[..want];
            from.read_exact(chunk).map_err(ArchiveError::Read)?;
            if want >= HOLE && chunk.iter().all(|b| *b == 0) {
                offset += want as u64;
                continue;
            }
            file.write_all_at(chunk, offset).map_err(failed)?;
            offset += want as u64;
        }
        if size > 0 && file.metadata().map_err(failed)?.len() != size {
            file.set_len(size).map_err(failed)?;
        }
        file.flush().map_err(failed)
    }

    fn directory(&mut self, entry: &Entry, path: &Path) -> Result<(), ArchiveError> {
        let (parent, name) = self.root.parent_of(path)?;
        let was_whiteout = is_whiteout(parent.as_fd(), name);
        let directory = if let Some(directory) =
            self.existing_directory(path, parent.as_fd(), name)?
        {
            directory
        } else {
            self.made(entry, path, parent.as_fd(), name, || {
                rustix::fs::mkdirat(parent.as_fd(), name, Mode::from_raw_mode(0o700))
            })?;
            open_directory(parent.as_fd(), name).map_err(|errno| file_error("open", path, errno))?
        };
        if was_whiteout && self.options.whiteouts == ArchiveWhiteouts::Overlay {
            set_opaque(directory.as_fd(), path)?;
        }
        self.attributes(directory.as_fd(), entry, path)?;
        self.directories.push((path.to_owned(), entry.mtime));
        Ok(())
    }

    fn existing_directory(
        &self,
        path: &Path,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<Option<OwnedFd>, ArchiveError> {
        match open_directory(parent, name) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(file_error("open", path, errno)),
        }
    }

    fn hard_link(&mut self, entry: &Entry, path: &Path) -> Result<(), ArchiveError> {
        let target = clean_name(&entry.link, self.options.limits.name)?;
        if target.as_os_str().is_empty() {
            return Err(refused(path, "it is a hard link to the root"));
        }
        let target = self.options.base.join(target);
        if target == path {
            return Ok(());
        }
        let (from, from_name) = self.root.parent_of(&target)?;
        let (parent, name) = self.root.parent_of(path)?;
        if is_whiteout(from.as_fd(), from_name)
            && self.options.whiteouts == ArchiveWhiteouts::Overlay
        {
            return Err(refused(path, "it is a hard link to a whiteout"));
        }
        self.made(entry, path, parent.as_fd(), name, || {
            rustix::fs::linkat(
                from.as_fd(),
                from_name,
                parent.as_fd(),
                name,
                AtFlags::empty(),
            )
        })
    }

    fn symlink(&mut self, entry: &Entry, path: &Path) -> Result<(), ArchiveError> {
        let (parent, name) = self.root.parent_of(path)?;
        let target = OsStr::from_bytes(&entry.link);
        self.made(entry, path, parent.as_fd(), name, || {
            rustix::fs::symlinkat(target, parent.as_fd(), name)
        })?;
        let (uid, gid) = self.owner(entry);
        rustix::fs::chownat(
            parent.as_fd(),
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| file_error("set the owner of", path, errno))?;
        rustix::fs::utimensat(
            parent.as_fd(),
            name,
            &times(entry.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| file_error("set the time of", path, errno))
    }

    fn special(&mut self, entry: &Entry, path: &Path) -> Result<(), ArchiveError> {
        let kind = match entry.kind {
            EntryKind::CharDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        if kind != FileType::Fifo && self.options.devices == Devices::Refuse {
            return Err(refused(path, "it is a device node"));
        }
        if kind == FileType::CharacterDevice && entry.device == (0, 0) {
            return Err(refused(
                path,
                "it is an overlay whiteout in the shape of a device",
            ));
        }
        let (parent, name) = self.root.parent_of(path)?;
        let device = if kind == FileType::Fifo {
            0
        } else {
            rustix::fs::makedev(entry.device.0, entry.device.1)
        };
        let made = self.made(entry, path, parent.as_fd(), name, || {
            rustix::fs::mknodat(
                parent.as_fd(),
                name,
                kind,
                Mode::from_raw_mode(0o600),
                device,
            )
        });
        match made {
            Err(ArchiveError::File { source, .. })
                if kind != FileType::Fifo
                    && source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                return Ok(());
            }
            result => result?,
        }
        let (uid, gid) = self.owner(entry);
        rustix::fs::chownat(
            parent.as_fd(),
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| file_error("set the owner of", path, errno))?;
        // Nobody else writes here and the node was just made, so that this follows no link.
        rustix::fs::chmodat(
            parent.as_fd(),
            name,
            Mode::from_raw_mode(entry.mode),
            AtFlags::empty(),
        )
        .map_err(|errno| file_error("set the mode of", path, errno))?;
        rustix::fs::utimensat(
            parent.as_fd(),
            name,
            &times(entry.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| file_error("set the time of", path, errno))
    }

    /// Makes an object; if something is in its place, that is removed first.
    fn made<T>(
        &mut self,
        entry: &Entry,
        path: &Path,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, ArchiveError> {
        match make() {
            Err(Errno::EXIST) => {
                self.clear(entry, path, parent, name)?;
                make().map_err(|errno| file_error("make", path, errno))
            }
            result => result.map_err(|errno| file_error("make", path, errno)),
        }
    }

    fn clear(
        &mut self,
        entry: &Entry,
        path: &Path,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<(), ArchiveError> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| file_error("look at", path, errno))?;
        self.root.forget();
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let becomes_directory = entry.kind == EntryKind::Directory;
        if is_directory != becomes_directory && self.options.overwrite == Overwrite::SameKind {
            let kind = |directory| {
                if directory {
                    "directory"
                } else {
                    "non-directory"
                }
            };
            return Err(ArchiveError::Overwrite {
                name: path.display().to_string(),
                existing: kind(is_directory),
                new: kind(becomes_directory),
            });
        }
        let keep = self.options.keep_replaced.clone();
        let total = &mut self.total;
        remove_all(parent, name, path, &mut |at, name, path| {
            let Some(keep) = &keep else { return Ok(()) };
            if FileType::from_raw_mode(
                rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode,
            ) == FileType::RegularFile
            {
                rustix::fs::linkat(
                    at,
                    name,
                    keep,
                    total.replaced.len().to_string(),
                    AtFlags::empty(),
                )?;
                total.replaced.push((path.to_owned(), total.entries));
            }
            Ok(())
        })
        .map_err(|errno| file_error("replace", path, errno))
    }

    fn owner(&self, entry: &Entry) -> (Uid, Gid) {
        let (uid, gid) = match self.options.owner {
            Owner::Archive => (entry.uid, entry.gid),
            Owner::Fixed(uid, gid) => (uid, gid),
        };
        let (root, group) = self.options.root;
        (
            Uid::from_raw(uid.saturating_add(root)),
            Gid::from_raw(gid.saturating_add(group)),
        )
    }

    /// Owner first: changing it clears setuid and capabilities.
    fn attributes(
        &self,
        fd: BorrowedFd<'_>,
        entry: &Entry,
        path: &Path,
    ) -> Result<(), ArchiveError> {
        let (uid, gid) = self.owner(entry);
        rustix::fs::fchown(fd, Some(uid), Some(gid))
            .map_err(|errno| file_error("set the owner of", path, errno))?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))
            .map_err(|errno| file_error("set the mode of", path, errno))?;
        for (name, value) in entry
            .xattrs
            .iter()
            .filter(|(name, _)| is_allowed_attribute(name))
        {
            match rustix::fs::fsetxattr(fd, name.as_str(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(Errno::PERM) if !in_first_user_namespace() => {}
                Err(errno) => return Err(file_error("set an extended attribute of", path, errno)),
            }
        }
        Ok(())
    }

    fn set_directory_times(&self) -> Result<(), ArchiveError> {
        for (path, mtime) in self.directories.iter().rev() {
            // A later entry may have replaced the directory.
            let Ok(fd) = self
                .root
                .open_at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
            else {
                continue;
            };
            rustix::fs::futimens(&fd, &times(*mtime))
                .map_err(|errno| file_error("set the time of", path, errno))?;
        }
        Ok(())
    }
}

/// `security.capability` and the user's own; never what steers an overlay.
pub(super) fn is_allowed_attribute(name: &str) -> bool {
    name == "security.capability"
        || (name.starts_with("user.") && !name.starts_with("user.overlay."))
}

fn write_sparse<R: Read>(
    file: &std::fs::File,
    sparse: &super::entry::Sparse,
    reader: &mut TarReader<'_, R>,
    path: &Path,
) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let mut buffer = vec![0; COPY_BUFFER];
    file.set_len(sparse.size).map_err(failed)?;
    for (start, length) in &sparse.pieces {
        let mut done = 0;
        while done < *length {
            let want = COPY_BUFFER.min(usize::try_from(length - done).unwrap_or(COPY_BUFFER));
            let n = reader
                .read_recorded(&mut buffer[..want])
                .map_err(ArchiveError::Read)?;
            file.write_all_at(&buffer[..n], start + done)
                .map_err(failed)?;
            done += n as u64;
        }
    }
    Ok(())
}

fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn is_whiteout(parent: BorrowedFd<'_>, name: &OsStr) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| super::pack::is_whiteout(&stat))
}

fn set_opaque(directory: BorrowedFd<'_>, path: &Path) -> Result<(), ArchiveError> {
    // The parent of an entry is known by an O_PATH descriptor, on which attributes cannot be set.
    let open = rustix::fs::openat(
        directory,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| file_error("open", path, errno))?;
    rustix::fs::fsetxattr(&open, opaque_attribute(), b"y", XattrFlags::empty())
        .map_err(|errno| file_error("make opaque", path, errno))
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn refused(path: &Path, reason: &'static str) -> ArchiveError {
    ArchiveError::Refused {
        name: path.display().to_string(),
        reason,
    }
}
