//! The context of a build as a tar: a directory without what `.dockerignore` names.

use std::path::{Path, PathBuf};

use crate::model::Build;

/// The context cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// There is no such directory.
    #[error("read build context `{}`", path.display())]
    Read {
        /// Path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A further context is of a kind that the engine cannot fetch.
    #[error(
        "context `{name}`: `{scheme}://` is not supported by the built-in engine: use a directory, `docker-image://`, `service:` or an https address"
    )]
    Scheme {
        /// Its name.
        name: String,
        /// The kind.
        scheme: String,
    },
    /// The engine would have to fetch it.
    #[error("build context `{context}` is remote, which needs BuildKit")]
    Remote {
        /// Context.
        context: String,
    },
    /// The Dockerfile is not there.
    #[error("failed to read dockerfile `{}`", path.display())]
    Dockerfile {
        /// Path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Name under which a Dockerfile from elsewhere travels in the archive.
const INJECTED: &str = ".hoist.dockerfile";

/// Packs the context of a build; answers the tar and the Dockerfile's path in it.
///
/// # Errors
/// When the context or the Dockerfile cannot be read.
pub fn context_tar(build: &Build) -> Result<(Vec<u8>, String), ContextError> {
    if build.context.contains("://") || build.context.starts_with("git@") {
        return Err(ContextError::Remote {
            context: build.context.clone(),
        });
    }
    let root = PathBuf::from(&build.context);
    let ignore = Ignore::read(&root, &build.dockerfile);
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    let inside = dockerfile_inside(build, &root);
    add_directory(
        &mut archive,
        &root,
        Path::new(""),
        (&ignore, inside.as_deref()),
    )
    .map_err(|source| ContextError::Read {
        path: root.clone(),
        source,
    })?;
    let dockerfile = match inside {
        Some(path) => path,
        None => inject_dockerfile(&mut archive, build, &root)?,
    };
    let tar = archive
        .into_inner()
        .map_err(|source| ContextError::Read { path: root, source })?;
    Ok((tar, dockerfile))
}

/// The Dockerfile's path in the context, where it is inside of it.
fn dockerfile_inside(build: &Build, root: &Path) -> Option<String> {
    if !build.dockerfile_inline.is_empty() {
        return None;
    }
    let name = if build.dockerfile.is_empty() {
        "Dockerfile"
    } else {
        &build.dockerfile
    };
    let path = root.join(name);
    let relative = path.strip_prefix(root).ok()?;
    let escapes = relative
        .components()
        .any(|part| matches!(part, std::path::Component::ParentDir));
    (!escapes && path.exists()).then(|| relative.to_string_lossy().into_owned())
}

fn inject_dockerfile(
    archive: &mut tar::Builder<Vec<u8>>,
    build: &Build,
    root: &Path,
) -> Result<String, ContextError> {
    let path = root.join(if build.dockerfile.is_empty() {
        "Dockerfile"
    } else {
        &build.dockerfile
    });
    let text = if build.dockerfile_inline.is_empty() {
        std::fs::read(&path).map_err(|source| ContextError::Dockerfile {
            path: path.clone(),
            source,
        })?
    } else {
        build.dockerfile_inline.clone().into_bytes()
    };
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(text.len()).unwrap_or(0));
    header.set_mode(0o644);
    archive
        .append_data(&mut header, INJECTED, text.as_slice())
        .map_err(|source| ContextError::Dockerfile { path, source })?;
    Ok(INJECTED.to_owned())
}

fn add_directory(
    archive: &mut tar::Builder<Vec<u8>>,
    root: &Path,
    relative: &Path,
    (ignore, dockerfile): (&Ignore, Option<&str>),
) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(root.join(relative))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = relative.join(entry.file_name());
        let kind = entry.file_type()?;
        let kept = !ignore.ignores(&path) || dockerfile.is_some_and(|file| Path::new(file) == path);
        if kind.is_dir() {
            if kept {
                archive.append_dir(&path, entry.path())?;
            }
            if kept || ignore.has_exceptions {
                add_directory(archive, root, &path, (ignore, dockerfile))?;
            }
        } else if kept && (kind.is_file() || kind.is_symlink()) {
            archive.append_path_with_name(entry.path(), &path)?;
        }
    }
    Ok(())
}

/// The rules of `.dockerignore`, in order; the last one that fits wins. `watch` reads its patterns with them too.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<(String, Fit)>,
    has_exceptions: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Ignored,
    Kept,
}

impl Ignore {
    /// Reads `<Dockerfile>.dockerignore`, or `.dockerignore`.
    #[must_use]
    pub fn read(root: &Path, dockerfile: &str) -> Self {
        let own = root.join(format!("{dockerfile}.dockerignore"));
        let text = std::fs::read_to_string(own)
            .or_else(|_| std::fs::read_to_string(root.join(".dockerignore")))
            .unwrap_or_default();
        Self::parse(&text)
    }

    /// Reads rules, one a line.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut ignore = Self::default();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (pattern, fit) = match line.strip_prefix('!') {
                Some(pattern) => (pattern, Fit::Kept),
                None => (line, Fit::Ignored),
            };
            ignore.has_exceptions |= fit == Fit::Kept;
            let pattern = pattern
                .trim()
                .trim_start_matches("./")
                .trim_matches('/')
                .to_owned();
            ignore.rules.push((pattern, fit));
        }
        ignore
    }

    /// Whether a path relative to the folder of the rules is left out.
    #[must_use]
    pub fn ignores(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let fits = |pattern: &str| {
            // A rule for a directory is a rule for all that is in it.
            let ends = text
                .match_indices('/')
                .map(|(at, _)| at)
                .chain([text.len()]);
            ends.into_iter()
                .any(|end| matches(pattern.as_bytes(), &text.as_bytes()[..end]))
        };
        self.rules
            .iter()
            .rev()
            .find(|(pattern, _)| fits(pattern))
            .is_some_and(|(_, fit)| *fit == Fit::Ignored)
    }
}

/// Matches a path with a pattern of `*`, `**` and `?`.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', b'/', rest @ ..] => {
            matches(rest, path)
                || path
                    .iter()
                    .enumerate()
                    .any(|(at, byte)| *byte == b'/' && matches(rest, &path[at + 1..]))
        }
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|at| matches(rest, &path[at..])),
        [b'*', rest @ ..] => (0..=path.len())
            .take_while(|at| !path[..*at].contains(&b'/'))
            .any(|at| matches(rest, &path[at..])),
        [b'?', rest @ ..] => {
            path.first().is_some_and(|byte| *byte != b'/') && matches(rest, &path[1..])
        }
        [byte, rest @ ..] => path.first() == Some(byte) && matches(rest, &path[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rules_of_dockerignore_win() {
        let ignore = Ignore::parse("# comment\n*.md\n!README.md\nnode_modules\n**/target/\n");
        assert!(ignore.ignores(Path::new("notes.md")));
        assert!(!ignore.ignores(Path::new("README.md")));
        assert!(ignore.ignores(Path::new("node_modules/a/b.js")));
        assert!(ignore.ignores(Path::new("x/target/debug")));
        assert!(!ignore.ignores(Path::new("src/main.rs")));
    }
}
