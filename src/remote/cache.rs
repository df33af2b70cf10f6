//! The folders in which fetched files are kept, one for each commit or digest: made beside their place and renamed, so
//! that none is ever half there.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};

use crate::load::FetchError;

/// The names that a project's file may have, in the order in which they are looked for.
const FILE_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

/// Answers a folder, filled where it is not there yet.
pub(super) fn folder(
    cache: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<(), FetchError>,
) -> Result<PathBuf, FetchError> {
    let folder = cache.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let failed = |action: &str, error: &std::io::Error| {
        FetchError::new(format!("cannot {action} `{}`: {error}", cache.display()))
            .hint("`XDG_CACHE_HOME` names the folder of caches")
    };
    fs::create_dir_all(cache).map_err(|error| failed("make the folder", &error))?;
    let making = Making::new(cache, name).map_err(|error| failed("write to", &error))?;
    fill(&making.0)?;
    if let Err(error) = fs::rename(&making.0, &folder)
        // Another process may have been faster; what is in the way otherwise is an error.
        && !folder.is_dir()
    {
        return Err(failed("write to", &error));
    }
    Ok(folder)
}

/// A folder that is being filled; what is left of it at the end goes.
struct Making(PathBuf);

impl Making {
    fn new(cache: &Path, name: &str) -> std::io::Result<Self> {
        let folder = cache.join(format!(".{name}-{}", std::process::id()));
        if folder.exists() {
            // Of a process of the same number that was killed.
            fs::remove_dir_all(&folder)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.0.exists() {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

/// Finds the main file of a path inside of a folder: the path itself, or a project's file in it.
pub(super) fn main_file(folder: &Path, inside: &str) -> Result<PathBuf, FetchError> {
    let path = within(folder, inside)?;
    if !path.exists() {
        return Err(FetchError::new(format!(
            "stat {}: no such file or directory",
            path.display()
        )));
    }
    let file = if path.is_dir() {
        let names = FILE_NAMES.iter().map(|name| path.join(name));
        names
            .into_iter()
            .find(|file| file.exists())
            .ok_or_else(|| {
                FetchError::new(format!("no Compose file in `{}`", shown(inside)))
                    .hint(format!("it may be named {}", FILE_NAMES.join(", ")))
            })?
    } else {
        path
    };
    let (real, base) = (fs::canonicalize(&file), fs::canonicalize(folder));
    match (real, base) {
        (Ok(real), Ok(base)) if real.starts_with(&base) => Ok(file),
        _ => Err(FetchError::new(format!(
            "`{}` leads out of what was fetched",
            shown(inside)
        ))),
    }
}

fn shown(inside: &str) -> &str {
    if inside.is_empty() { "." } else { inside }
}

/// Joins a path that others chose, which must stay inside.
pub(super) fn within(folder: &Path, inside: &str) -> Result<PathBuf, FetchError> {
    let path = Path::new(inside.trim_start_matches('/'));
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.components().all(normal) && !inside.contains('\0') {
        Ok(folder.join(path))
    } else {
        Err(FetchError::new(format!(
            "`{inside}` leads out of what was fetched"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let base = Path::new("/cache/x");
        assert_eq!(
            within(base, "a/b").ok(),
            Some(PathBuf::from("/cache/x/a/b"))
        );
        assert_eq!(
            within(base, "/etc").ok(),
            Some(PathBuf::from("/cache/x/etc"))
        );
        assert!(within(base, "../y").is_err());
        assert!(within(base, "a/../../y").is_err());
    }

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() -> Result<(), std::io::Error> {
        let cache = tempfile::tempdir()?;
        let failed = folder(cache.path(), "a", |making| {
            drop(fs::write(making.join("part"), "x"));
            Err(FetchError::new("no"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(cache.path())?.count(), 0);
        let made = folder(cache.path(), "a", |making| {
            fs::write(making.join("f"), "x").map_err(|error| FetchError::new(error.to_string()))
        });
        assert!(made.is_ok_and(|made| made.join("f").is_file()));
        let again = folder(cache.path(), "a", |_| Err(FetchError::new("not asked")));
        assert!(again.is_ok());
        Ok(())
    }
}
