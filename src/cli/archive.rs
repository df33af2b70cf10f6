//! Tars of local files, made and taken apart for `cp`.
//!
//! Unpacking trusts nobody: the tar comes from a container, so entries never leave the destination, whatever their
//! names and links say (the `tar` crate refuses them).

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::cli::CommandError;

/// What becomes of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// They stay links.
    Keep,
    /// What they point at is copied.
    Follow,
}

/// Whose the unpacked files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// As the tar says.
    Keep,
    /// Ours.
    Ours,
}

/// The tar on standard input.
pub(super) fn read_stdin() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last name of a path; `.` and `..` are looked up.
pub(super) fn base_name(path: &Path) -> Result<String, CommandError> {
    let full = match path.components().next_back() {
        Some(Component::Normal(_)) => path.to_owned(),
        _ => std::fs::canonicalize(path)?,
    };
    let name = full.file_name().unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// Packs a file or a folder under a name; the empty name packs what is in the folder.
pub(super) fn pack(source: &Path, name: &str, links: Links) -> Result<Vec<u8>, CommandError> {
    let missing = |error: std::io::Error| {
        let full = std::path::absolute(source).unwrap_or_else(|_| source.to_owned());
        let error = if error.kind() == std::io::ErrorKind::NotFound {
            "no such file or directory".to_owned()
        } else {
            error.to_string()
        };
        CommandError::user(format!("lstat {}: {error}", full.display()))
    };
    let metadata = match links {
        Links::Keep => std::fs::symlink_metadata(source),
        Links::Follow => std::fs::metadata(source),
    }
    .map_err(missing)?;
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(links == Links::Follow);
    if metadata.is_dir() {
        let name = if name.is_empty() { "." } else { name };
        builder.append_dir_all(name, source)?;
    } else {
        builder.append_path_with_name(source, name)?;
    }
    Ok(builder.into_inner()?)
}

/// Unpacks what was at `path` in a container: into a folder that is there, else under the destination's own name.
pub(super) fn unpack(
    bytes: &[u8],
    path: &str,
    destination: &Path,
    owners: Owners,
) -> Result<(), CommandError> {
    let contents_only = path.ends_with("/.") || path == ".";
    let (folder, renamed) = if destination.is_dir() {
        (destination.to_owned(), None)
    } else {
        let name = destination.file_name().unwrap_or_default();
        let parent = destination.parent().unwrap_or(Path::new(""));
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        if !parent.is_dir() {
            let message = format!(
                "invalid output path: directory {} does not exist",
                parent.display()
            );
            return Err(CommandError::user(message));
        }
        (parent.to_owned(), Some(PathBuf::from(name)))
    };
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries()? {
        let mut entry = entry?;
        entry.set_preserve_permissions(true);
        let inner = entry.path()?.into_owned();
        match place(&inner, renamed.as_deref(), contents_only) {
            // The tar's own name for the folder that is there already.
            None => {}
            Some(place) => unpack_entry(&mut entry, &folder, &place, owners)?,
        }
    }
    Ok(())
}

/// The place of an entry below the folder: its first name is dropped or becomes the destination's.
fn place(inner: &Path, renamed: Option<&Path>, contents_only: bool) -> Option<PathBuf> {
    let mut names = inner
        .components()
        .filter(|name| matches!(name, Component::Normal(_)));
    let place = match (renamed, contents_only) {
        (Some(name), _) => {
            let _first = names.next();
            // Not `join` at once: joining nothing would leave a slash behind the name.
            names.fold(name.to_owned(), |path, name| path.join(name))
        }
        (None, true) => {
            let _first = names.next();
            names.collect()
        }
        (None, false) => names.collect(),
    };
    (!place.as_os_str().is_empty()).then_some(place)
}

/// Unpacks one entry at a place, which the `tar` crate keeps below the folder.
fn unpack_entry<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    folder: &Path,
    place: &Path,
    owners: Owners,
) -> Result<(), CommandError> {
    let path = folder.join(place);
    let root = std::fs::canonicalize(folder)?;
    let parent = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent)?;
    // A link made by an earlier entry must not lead us out of the folder.
    if !std::fs::canonicalize(parent)?.starts_with(&root) {
        let message = format!("the archive leaves `{}` by a link", folder.display());
        return Err(CommandError::user(message));
    }
    if entry.header().entry_type().is_hard_link() {
        return Err(CommandError::user(format!(
            "cannot unpack the hard link `{}`",
            place.display()
        )));
    }
    entry.unpack(&path)?;
    if owners == Owners::Keep {
        let id = |id: std::io::Result<u64>| id.map(|id| u32::try_from(id).ok());
        let (user, group) = (id(entry.header().uid())?, id(entry.header().gid())?);
        std::os::unix::fs::lchown(&path, user, group)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Links, Owners, base_name, pack, place, unpack};
    use std::path::{Path, PathBuf};

    type Result = std::result::Result<(), Box<dyn std::error::Error>>;

    #[expect(clippy::needless_pass_by_value, reason = "the form of `map_err`")]
    fn failed(error: crate::cli::CommandError) -> String {
        error.message()
    }

    #[test]
    fn a_file_takes_the_name_of_the_destination_and_a_folder_keeps_its_own() -> Result {
        let folder = tempfile::tempdir()?;
        let source = folder.path().join("a.txt");
        std::fs::write(&source, "hello")?;
        let tar = pack(&source, "a.txt", Links::Keep).map_err(failed)?;
        let target = folder.path().join("b.txt");
        unpack(&tar, "/x/a.txt", &target, Owners::Ours).map_err(failed)?;
        assert_eq!(std::fs::read_to_string(target)?, "hello");
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside)?;
        unpack(&tar, "/x/a.txt", &inside, Owners::Ours).map_err(failed)?;
        assert_eq!(std::fs::read_to_string(inside.join("a.txt"))?, "hello");
        Ok(())
    }

    #[test]
    fn an_archive_does_not_leave_its_folder() -> Result {
        let folder = tempfile::tempdir()?;
        let mut builder = tar::Builder::new(Vec::new());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "out", "/tmp")?;
        let mut file = tar::Header::new_gnu();
        file.set_size(1);
        file.set_mode(0o644);
        builder.append_data(&mut file, "out/hoist-escape", &b"x"[..])?;
        let tar = builder.into_inner()?;
        let outcome = unpack(&tar, "/x", folder.path(), Owners::Ours);
        assert!(outcome.is_err());
        assert!(!Path::new("/tmp/hoist-escape").exists());
        Ok(())
    }

    #[test]
    fn the_first_name_becomes_the_destinations() {
        let inner = Path::new("etc/hosts");
        let renamed = place(inner, Some(Path::new("copy")), false);
        assert_eq!(renamed, Some(PathBuf::from("copy/hosts")));
        assert_eq!(place(inner, None, true), Some(PathBuf::from("hosts")));
        assert_eq!(place(Path::new("etc/"), None, true), None);
    }

    #[test]
    fn the_name_of_a_path_is_its_last() -> Result {
        assert_eq!(base_name(Path::new("/a/b")).map_err(failed)?, "b");
        assert_eq!(base_name(Path::new("a/b/.")).map_err(failed)?, "b");
        Ok(())
    }
}
