//! An ordinary user of a test's own, without a change of the machine: where the tests run as root, the user and its ranges
//! of ids stand in copies of the files in `/etc`, which only the commands of the test see.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{chown, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::skip;

/// The user's number, which no distribution gives away.
pub(crate) const UID: u32 = 48_211;
/// The first of its further ids.
pub(crate) const FIRST: u32 = 1_879_048_192;

/// Whether the user has ids beside its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// 65,536 of them.
    Usual,
    /// None.
    None,
}

/// Who runs the commands of a test.
#[derive(Debug, Clone)]
pub(crate) struct User {
    etc: PathBuf,
}

/// Whether a test can have an ordinary user; says what is missing where not.
pub(crate) fn has_user(test: &str) -> bool {
    if !super::has_root(test) {
        return false;
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found =
        |program: &str| std::env::split_paths(&paths).any(|path| path.join(program).is_file());
    let missing = ["newuidmap", "newgidmap"]
        .iter()
        .any(|program| !found(program));
    if missing {
        skip(test, "uidmap");
    }
    !missing
}

impl User {
    /// Makes the files of a user below `folder`.
    pub(crate) fn new(folder: &Path, ranges: Ranges) -> io::Result<Self> {
        let etc = folder.join("etc-of-user");
        fs::create_dir(&etc)?;
        for (file, line) in [
            (
                "passwd",
                format!("tester:x:{UID}:{UID}::/nonexistent:/bin/sh\n"),
            ),
            ("group", format!("tester:x:{UID}:\n")),
        ] {
            let old = fs::read_to_string(Path::new("/etc").join(file))?;
            fs::write(etc.join(file), old + &line)?;
        }
        let line = match ranges {
            Ranges::Usual => format!("tester:{FIRST}:65536\n"),
            Ranges::None => String::new(),
        };
        for file in ["subuid", "subgid"] {
            fs::write(etc.join(file), &line)?;
        }
        Ok(Self { etc })
    }

    /// Gives a folder to the user.
    pub(crate) fn own(folder: &Path) -> io::Result<()> {
        chown(folder, Some(UID), Some(UID))
    }

    /// Gives a folder to the user, with all that is in it: files of root's would be nobody's to its containers.
    pub(crate) fn own_all(folder: &Path) -> io::Result<()> {
        lchown(folder, Some(UID), Some(UID))?;
        if !folder.symlink_metadata()?.is_dir() {
            return Ok(());
        }
        fs::read_dir(folder)?.try_for_each(|entry| Self::own_all(&entry?.path()))
    }

    /// A command that runs `program` as the user.
    pub(crate) fn command(&self, program: &Path) -> Command {
        const SCRIPT: &str = "etc=$1; shift; for file in passwd group subuid subgid; do \
            [ -e /etc/$file ] || exit 97; mount --bind \"$etc/$file\" /etc/$file || exit 98; done; exec \"$@\"";
        let mut command = Command::new("unshare");
        let own = UID.to_string();
        let words: [&OsStr; 12] = [
            "--mount".as_ref(),
            "sh".as_ref(),
            "-c".as_ref(),
            SCRIPT.as_ref(),
            "sh".as_ref(),
            self.etc.as_os_str(),
            "setpriv".as_ref(),
            "--reuid".as_ref(),
            own.as_ref(),
            "--regid".as_ref(),
            own.as_ref(),
            "--clear-groups".as_ref(),
        ];
        command.args(words).arg(program);
        command
    }
}
