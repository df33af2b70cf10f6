//! The tree that the tests of files, sums and copies share.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::files::{Source, SourceOwner};
use super::ignore::Ignore;
use crate::runtime::archive::{ArchiveError, Root};

/// A source that keeps owners, so that a test needs no rights.
pub(super) fn source(path: &Path, ignore: &str) -> Result<Source, ArchiveError> {
    Ok(Source {
        root: Root::open(path)?,
        ignore: Ignore::parse(ignore),
        owner: SourceOwner::Original,
    })
}

/// Files with modes, directories and links.
pub(super) fn example() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("d/sub"))?;
    fs::write(at("a.txt"), "a")?;
    fs::write(at("b.txt"), "b")?;
    fs::write(at("d/x"), "x")?;
    fs::set_permissions(at("d/x"), fs::Permissions::from_mode(0o755))?;
    fs::write(at("d/sub/y"), "y")?;
    symlink("x", at("d/link"))?;
    symlink("/etc/passwd", at("out"))?;
    Ok(folder)
}
