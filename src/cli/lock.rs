//! One change of a project at a time: the second hoist waits for the first, and says who that is.
//!
//! The lock is an advisory lock (`flock`) on a file of the user's runtime directory, one for each engine and project, so
//! the kernel lets go of it when its holder ends, however it ends; the holder removes the file in the end. It is held
//! from the snapshot to the end of the run, not while output is followed. Commands that only look, and `--dry-run`, take
//! none; `kill` takes none either, since it is a way out. Called by `reconcile::Session`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cli::{CommandError, Context, interrupt};
use crate::ui::Ui;

/// Time between two looks at a lock that someone else holds: no event tells of its release.
const LOOK: Duration = Duration::from_millis(50);

/// Held while a project is changed.
#[derive(Debug)]
pub(crate) struct ProjectLock {
    /// Absent where another process, whose child this one is, holds the lock for both.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// Closed after the path is gone: whoever gets the lock of a file that has no name any more looks for the new one.
    _file: File,
}

impl Drop for ProjectLock {
    fn drop(&mut self) {
        let Some(held) = &self.held else { return };
        // A file or folder that stays is a lock that nobody holds; a folder may have other locks in it.
        let _gone = std::fs::remove_file(&held.path);
        let _empty = held.path.parent().map(std::fs::remove_dir);
    }
}

impl ProjectLock {
    /// Takes the lock, after whoever holds it. `engine` tells engines apart.
    pub(crate) async fn take(
        ui: &Ui,
        context: &Context,
        (engine, project): (&str, &str),
    ) -> Result<Self, CommandError> {
        let path = folder(context).join(file_name(engine, project));
        let failed = |error: io::Error| {
            CommandError::system(format!("lock project at `{}`: {error}", path.display()))
        };
        let mut file = open(&path).map_err(failed)?;
        let mut told = None;
        loop {
            match file.try_lock() {
                Ok(()) if is_named(&file, &path) => break,
                Ok(()) => {
                    file = open(&path).map_err(failed)?;
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = Holder::read(&mut file).map_err(failed)?;
            if holder.as_ref().is_some_and(Holder::is_ancestor) {
                return Ok(Self { held: None });
            }
            if holder.is_some() && told != holder {
                ui.status(format_args!("{}", waiting(project, holder.as_ref())));
                told = holder;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = interrupt::interrupted() => return Err(CommandError::cancelled()),
            }
        }
        Holder::this().write(&mut file).map_err(failed)?;
        let held = Held { path, _file: file };
        Ok(Self { held: Some(held) })
    }
}

fn waiting(project: &str, holder: Option<&Holder>) -> String {
    let who = holder.map_or_else(String::new, |holder| {
        format!(" by process {} (`{}`)", holder.pid, holder.command)
    });
    format!("Project {project} is being changed{who}; waiting for it to end")
}

/// Who holds a lock, as the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    pid: u32,
    command: String,
}

impl Holder {
    /// This process; its arguments may hold secrets, so only the command and its flags' names are told.
    fn this() -> Self {
        let plain = |word: &String| {
            let name = word.split('=').next().unwrap_or_default();
            name.to_owned()
        };
        let words: Vec<String> = std::env::args().skip(1).collect();
        let mut shown = vec!["hoist".to_owned()];
        shown.extend(words.iter().map(plain));
        Self {
            pid: std::process::id(),
            command: shown.join(" ").replace(char::is_control, " "),
        }
    }

    /// `None` while the holder has not written itself down yet.
    fn read(file: &mut File) -> io::Result<Option<Self>> {
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        let parsed = text.trim_end().split_once(' ');
        Ok(parsed.and_then(|(pid, command)| {
            Some(Self {
                pid: pid.parse().ok()?,
                command: command.to_owned(),
            })
        }))
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{} {}", self.pid, self.command)
    }

    /// Whether this process was started by the holder, which waits for it: a provider or a script of its.
    fn is_ancestor(&self) -> bool {
        let mut pid = std::process::id();
        while pid > 1 {
            let Some(parent) = parent_of(pid) else {
                return false;
            };
            if parent == self.pid {
                return true;
            }
            pid = parent;
        }
        false
    }
}

/// The parent as `/proc` tells it: the fourth word, counted after the name in brackets.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn open(path: &Path) -> io::Result<File> {
    let mut attempts = 0;
    loop {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        attempts += 1;
        match opened {
            // The last holder takes the empty folder away.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 100 => {}
            opened => return opened,
        }
    }
}

/// Whether the file is still the one of that path.
fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (named.dev(), named.ino())
}

/// A project is another one on another engine.
fn file_name(engine: &str, project: &str) -> String {
    let digest = hex::encode(Sha256::digest(engine.as_bytes()));
    format!("{project}-{}.lock", &digest[..12])
}

/// A folder that is the user's alone.
fn folder(context: &Context) -> PathBuf {
    let of = |name: &str| {
        let value = context.variable(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let runtime = || of("XDG_RUNTIME_DIR").filter(|folder| folder.is_dir());
    let home = || of("HOME").map(|home| home.join(".cache"));
    if let Some(folder) = of("HOIST_RUN_DIR") {
        return folder.join("locks");
    }
    let folder = runtime().or_else(home).unwrap_or_else(std::env::temp_dir);
    folder.join("hoist/locks")
}

#[cfg(test)]
mod tests {
    use super::{Holder, file_name, parent_of};

    #[test]
    fn a_process_knows_its_parent() {
        let parent = parent_of(std::process::id());
        assert_eq!(parent, Some(std::os::unix::process::parent_id()));
        let holder = Holder {
            pid: std::os::unix::process::parent_id(),
            command: String::new(),
        };
        assert!(holder.is_ancestor());
    }

    #[test]
    fn engines_do_not_share_a_lock() {
        assert_ne!(file_name("unix:///a", "p"), file_name("unix:///b", "p"));
    }

    #[test]
    fn a_holder_reads_what_it_wrote() -> std::io::Result<()> {
        let mut file = tempfile::tempfile()?;
        assert_eq!(Holder::read(&mut file)?, None);
        let holder = Holder {
            pid: 7,
            command: "hoist up -d".to_owned(),
        };
        holder.write(&mut file)?;
        assert_eq!(Holder::read(&mut file)?, Some(holder));
        Ok(())
    }
}
