//! `https://HOST/PATH.git#REF:FOLDER` and the other forms of a repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{Remote, cache};
use crate::load::FetchError;

/// Settings under which git runs nothing that a repository, or the folder it is run in, brings along.
const SETTINGS: [&str; 7] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "protocol.ext.allow=never",
    "safe.bareRepository=explicit",
    "init.defaultBranch=main",
];
/// Variables that would point git at another repository.
const POINTERS: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
];

/// A reference to a folder of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Repository {
    /// What git fetches from.
    remote: String,
    /// A branch, a tag or a commit; empty is the default branch.
    name: String,
    /// A folder or a file in it; empty is the top.
    folder: String,
}

impl Repository {
    fn parse(reference: &str) -> Result<Self, FetchError> {
        let (remote, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let (name, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let remote = match remote.strip_prefix("github.com/") {
            Some(path) => format!("https://github.com/{path}"),
            None => remote.to_owned(),
        };
        let host = remote
            .split_once("://")
            .map_or(remote.as_str(), |(_, rest)| rest);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        // git would take these for options of its own or of ssh.
        let is_option = |text: &str| text.starts_with('-');
        let control = |text: &str| text.contains(char::is_control);
        if is_option(&remote) || is_option(host) || is_option(name) || control(reference) {
            let shown = without_password(reference);
            return Err(FetchError::new(format!(
                "`{shown}` is not a reference to a repository: no part of it may start with `-`"
            )));
        }
        Ok(Self {
            remote,
            name: name.to_owned(),
            folder: folder.to_owned(),
        })
    }
}

fn is_commit(name: &str) -> bool {
    name.len() == 40
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Remote {
    /// Fetches a repository at one commit; answers the main file in it.
    pub(super) fn fetch_repository(&self, reference: &str) -> Result<PathBuf, FetchError> {
        let repository = Repository::parse(reference)?;
        let commit = if is_commit(&repository.name) {
            repository.name.clone()
        } else {
            self.commit_of(&repository, reference)?
        };
        let folder = cache::folder(&self.cache()?, &commit, |making| {
            self.check_out(&repository, &commit, making)
        })?;
        cache::main_file(&folder, &repository.folder)
    }

    /// Asks the repository which commit a name stands for.
    fn commit_of(&self, repository: &Repository, shown: &str) -> Result<String, FetchError> {
        let shown = without_password(shown);
        let name = match repository.name.as_str() {
            "" => "HEAD",
            name => name,
        };
        let arguments = ["ls-remote", "--exit-code", "--", &repository.remote, name];
        let output = self.git(Path::new("/"), &arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(2) {
            return Err(
                FetchError::new(format!("repository does not contain ref {shown}"))
                    .hint("a branch, a tag or a whole commit stands behind the `#`"),
            );
        }
        check(&output, "ask", &repository.remote)?;
        // The first of several, as docker compose takes it.
        let first = text.lines().next().and_then(|line| line.split_once('\t'));
        let commit = first
            .map(|(commit, _)| commit)
            .filter(|commit| is_commit(commit));
        commit
            .map(str::to_owned)
            .ok_or_else(|| FetchError::new(format!("repository does not contain ref {shown}")))
    }

    fn check_out(
        &self,
        repository: &Repository,
        commit: &str,
        folder: &Path,
    ) -> Result<(), FetchError> {
        let run =
            |arguments: &[&str]| -> Result<Output, FetchError> { self.git(folder, arguments) };
        check(
            &run(&["init", "--quiet", "--template="])?,
            "keep",
            &repository.remote,
        )?;
        let fetch = |name: &str| {
            let options = [
                "fetch",
                "--quiet",
                "--depth=1",
                "--no-tags",
                "--no-recurse-submodules",
            ];
            run(&[&options[..], &["--", &repository.remote, name]].concat())
        };
        let mut fetched = fetch(commit)?;
        if !fetched.status.success() && !repository.name.is_empty() {
            // Some servers hand out names only.
            fetched = fetch(&repository.name)?;
        }
        check(&fetched, "fetch", &repository.remote)?;
        let arguments = ["checkout", "--quiet", "--detach", commit, "--"];
        check(&run(&arguments)?, "check out", &repository.remote)
    }

    fn git(&self, folder: &Path, arguments: &[&str]) -> Result<Output, FetchError> {
        let mut command = Command::new("git");
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .envs(&self.environment)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        for pointer in POINTERS {
            command.env_remove(pointer);
        }
        command.output().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => FetchError::new("git is not installed")
                .hint("install it, or fetch the files first and name the local copy"),
            _ => FetchError::new(format!("cannot run git: {error}")),
        })
    }
}

fn check(output: &Output, action: &str, remote: &str) -> Result<(), FetchError> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).replace(remote, &without_password(remote));
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    let because = last.map(|line| format!(": {line}")).unwrap_or_default();
    Err(FetchError::new(format!(
        "cannot {action} the repository `{}`{because}",
        without_password(remote)
    ))
    .hint("is its address right, and may this user read it? git's own settings and keys are used"))
}

/// Leaves the name and password of an address out.
fn without_password(remote: &str) -> String {
    match remote.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split_once('/').map_or(rest, |(host, _)| host);
            match host.rsplit_once('@') {
                Some((who, _)) => format!("{scheme}://…{}", &rest[who.len()..]),
                None => remote.to_owned(),
            }
        }
        None => remote.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_references() -> Result<(), FetchError> {
        let parts = |text: &str| -> Result<_, FetchError> {
            let read = Repository::parse(text)?;
            Ok((read.remote, read.name, read.folder))
        };
        let owned = |parts: [&str; 3]| {
            let [remote, name, folder] = parts.map(str::to_owned);
            (remote, name, folder)
        };
        assert_eq!(
            parts("https://h/a.git#v1:sub/dir")?,
            owned(["https://h/a.git", "v1", "sub/dir"])
        );
        assert_eq!(parts("git@h:a/b.git")?, owned(["git@h:a/b.git", "", ""]));
        assert_eq!(
            parts("github.com/a/b#:x")?,
            owned(["https://github.com/a/b", "", "x"])
        );
        Ok(())
    }

    #[test]
    fn refuses_what_would_be_an_option() {
        for text in [
            "--upload-pack=x",
            "ssh://-oProxyCommand=x/a.git",
            "git@-oProxyCommand=x:a.git",
            "https://h/a.git#--upload-pack=x",
            "https://h/a.git#a\nb",
        ] {
            assert!(Repository::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hides_passwords() {
        assert_eq!(
            without_password("https://me:pw@h/a.git"),
            "https://…@h/a.git"
        );
        assert_eq!(without_password("https://h/a@b.git"), "https://h/a@b.git");
    }
}
