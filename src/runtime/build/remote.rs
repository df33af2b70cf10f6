//! Sources of contexts and of ADD that are fetched: files over HTTP, and git repositories.
//!
//! ```text
//! address --parse--> Http --host--> file, 0600, with the server's time
//!                    Git  --git fetch, checkout--> directory without .git
//! ```
//!
//! `git` is the host's program, as with `BuildKit`. A Dockerfile is untrusted, so it runs without the keys, helpers and
//! settings of whoever runs the engine, without terminal and hooks, and over network protocols only.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::cache::failed;
use super::{BuildError, BuildHost};
use crate::runtime::image::Hashing;

const PROTOCOLS: &str = "http:https:git";
/// Most bytes of what `git` says.
const SAID_MAX: usize = 4000;

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remote {
    /// A file.
    Http(String),
    /// A repository.
    Git(GitSource),
}

/// A place in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitSource {
    /// The repository.
    pub repository: String,
    /// Branch, tag or commit; the default branch without one.
    pub reference: Option<String>,
    /// Directory in it.
    pub directory: PathBuf,
}

/// Whether the history comes with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GitDirectory {
    /// It does (`--keep-git-dir`).
    Keep,
    /// Only the files.
    Drop,
}

impl Remote {
    /// Reads an address; `None` when it is a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_http = text.starts_with("http://") || text.starts_with("https://");
        let address = text.split(['#', '?']).next().unwrap_or(text);
        let is_git = ["git://", "ssh://", "git@"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
            || (is_http && address.strip_suffix(".git").is_some());
        if is_git {
            return Some(Self::Git(GitSource::parse(text)));
        }
        is_http.then(|| Self::Http(text.to_owned()))
    }
}

impl GitSource {
    /// `ADDRESS#REFERENCE:DIRECTORY`, or the same in a query.
    fn parse(text: &str) -> Self {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (repository, query) = address.split_once('?').unwrap_or((address, ""));
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut source = Self {
            repository: repository.to_owned(),
            reference: Some(reference.to_owned()),
            directory: super::files::within(directory),
        };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "ref" | "tag" | "branch" | "commit" | "checksum" => {
                    source.reference = Some(value.to_owned());
                }
                "subdir" => source.directory = super::files::within(value),
                _ => {}
            }
        }
        source.reference = source.reference.filter(|reference| !reference.is_empty());
        source
    }

    /// Checks the files out into a new directory, and gives the commit.
    ///
    /// # Errors
    /// When `git` is missing or refuses.
    pub(super) fn check_out(
        &self,
        host: &dyn BuildHost,
        to: &Path,
        keep: GitDirectory,
    ) -> Result<String, BuildError> {
        let reference = self.reference.as_deref().unwrap_or("HEAD");
        if reference.starts_with('-') || self.repository.starts_with('-') {
            return Err(BuildError::Invalid(format!(
                "invalid git reference `{reference}`"
            )));
        }
        if self.repository.starts_with("ssh://") || self.repository.starts_with("git@") {
            return Err(BuildError::Invalid(format!(
                "`{}` needs an SSH key, and a build gets none of this machine's: use an https address",
                self.repository
            )));
        }
        fs::create_dir_all(to).map_err(failed("make directory", to))?;
        let git = |arguments: &[&str]| run_git(host, to, arguments);
        git(&["init", "--quiet"])?;
        let repository = self.repository.as_str();
        let shallow = git(&["fetch", "--quiet", "--depth", "1", repository, reference]);
        if shallow.is_err() {
            // Neither a commit's number nor the simplest servers allow the short way.
            let all = [
                "+refs/heads/*:refs/remotes/origin/*",
                "+refs/tags/*:refs/tags/*",
                "HEAD",
            ];
            let fetch = [&["fetch", "--quiet", repository][..], &all].concat();
            git(&fetch)?;
            let wanted = format!("{reference}^{{commit}}");
            let branch = format!("refs/remotes/origin/{reference}^{{commit}}");
            let found = match reference {
                "HEAD" => git(&["rev-parse", "--verify", "--quiet", "FETCH_HEAD"]),
                _ => git(&["rev-parse", "--verify", "--quiet", &branch])
                    .or_else(|_| git(&["rev-parse", "--verify", "--quiet", &wanted])),
            };
            let commit = found
                .map_err(|_| BuildError::Invalid(format!("`{repository}` has no `{reference}`")))?;
            git(&["checkout", "--quiet", "--detach", commit.trim()])?;
        } else {
            git(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
        }
        if to.join(".gitmodules").exists() {
            git(&["submodule", "--quiet", "update", "--init", "--recursive"])?;
        }
        let commit = git(&["rev-parse", "HEAD"])?.trim().to_owned();
        if keep == GitDirectory::Drop {
            let history = to.join(".git");
            fs::remove_dir_all(&history).map_err(failed("remove", &history))?;
        }
        Ok(commit)
    }
}

/// Whether a variable of the engine is `git`'s too: where programs are, and the way out of this network.
fn is_passed(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    matches!(name.as_str(), "path" | "ssl_cert_file" | "ssl_cert_dir") || name.ends_with("_proxy")
}

/// Runs `git` and gives what it prints.
fn run_git(
    host: &dyn BuildHost,
    directory: &Path,
    arguments: &[&str],
) -> Result<String, BuildError> {
    let said = directory.with_extension("said");
    let errors = File::create(&said).map_err(failed("make", &said))?;
    let printed = directory.with_extension("printed");
    let output = File::create(&printed).map_err(failed("make", &printed))?;
    let mut command = Command::new("git");
    command
        .args(["-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*"])
        .args(["-c", "advice.detachedHead=false"])
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| is_passed(name)))
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("HOME", directory)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    let status = host.run_program(command)?;
    let text = fs::read_to_string(&printed).unwrap_or_default();
    if status.success() {
        return Ok(text);
    }
    let why = fs::read(&said).unwrap_or_default();
    let why = String::from_utf8_lossy(&why[..why.len().min(SAID_MAX)]).into_owned();
    Err(BuildError::Invalid(format!(
        "git {} failed: {}",
        arguments.first().unwrap_or(&""),
        why.trim()
    )))
}

/// Downloads a file into a directory: its name there, with the server's time and the mode of such files.
///
/// # Errors
/// When it cannot be had, or is not what `checksum` says.
pub(super) fn download(
    host: &dyn BuildHost,
    url: &str,
    directory: &Path,
    checksum: Option<&str>,
) -> Result<String, BuildError> {
    let partial = directory.join("download");
    let facts = host.download(url, &partial)?;
    let mut file = File::open(&partial).map_err(failed("open", &partial))?;
    let mut hashing = Hashing::new(&mut file);
    std::io::copy(&mut hashing, &mut std::io::sink()).map_err(failed("read", &partial))?;
    let found = hashing.finish().0.to_string();
    if let Some(promised) = checksum
        && promised != found
    {
        return Err(BuildError::Invalid(format!(
            "digest mismatch of {url}: {promised} was expected, {found} came"
        )));
    }
    let name = facts
        .name
        .filter(|name| is_file_name(name))
        .unwrap_or_else(|| name_in(url));
    fs::set_permissions(&partial, Permissions::from_mode(0o600))
        .map_err(failed("set the mode of", &partial))?;
    let seconds = facts.modified.and_then(|time| u64::try_from(time).ok());
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unwrap_or(0));
    file.set_modified(time)
        .map_err(failed("set the time of", &partial))?;
    let place = directory.join("files");
    fs::create_dir_all(&place).map_err(failed("make directory", &place))?;
    let path = place.join(&name);
    fs::rename(&partial, &path).map_err(failed("rename into", &path))?;
    Ok(name)
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// The last part of an address's path.
fn name_in(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let name = path
        .split_once('/')
        .and_then(|(_, path)| path.rsplit('/').next());
    let name = name.filter(|name| is_file_name(name));
    name.unwrap_or("download").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        let git = |repository: &str, reference: Option<&str>, directory: &str| {
            Some(Remote::Git(GitSource {
                repository: repository.to_owned(),
                reference: reference.map(str::to_owned),
                directory: PathBuf::from(directory),
            }))
        };
        let table = [
            ("a/b.git", None),
            (
                "https://h/a.tar",
                Some(Remote::Http("https://h/a.tar".to_owned())),
            ),
            ("https://h/a.git", git("https://h/a.git", None, "")),
            (
                "https://h/a.git#v1:sub/../d",
                git("https://h/a.git", Some("v1"), "d"),
            ),
            ("https://h/a.git#:d", git("https://h/a.git", None, "d")),
            (
                "https://h/a.git?branch=b&subdir=d",
                git("https://h/a.git", Some("b"), "d"),
            ),
            ("git@h:a/b", git("git@h:a/b", None, "")),
        ];
        for (text, expected) in table {
            assert_eq!(Remote::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_download_is_named_after_its_address() {
        for (url, name) in [
            ("http://h/a/b.txt?x=/y", "b.txt"),
            ("http://h/", "download"),
            ("http://h", "download"),
            ("http://h/..", "download"),
        ] {
            assert_eq!(name_in(url), name, "{url}");
        }
    }
}
