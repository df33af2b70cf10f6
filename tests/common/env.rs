//! A place of its own for a test: folders, an engine, and the binary run in a cleared environment.

use std::{
    ffi::OsStr,
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::user::{Ranges, User};

/// What a run of the binary gave.
#[derive(Debug, Clone)]
#[must_use]
pub(crate) struct CommandOutput {
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
    /// Exit status; -1 where a signal ended it.
    pub(crate) status: i32,
}

impl fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}[exit status: {}]",
            self.stdout, self.stderr, self.status
        )
    }
}

impl CommandOutput {
    /// The output of a run that has to succeed.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.status, 0, "{self}");
        self
    }
}

/// Folders and a built-in engine that nobody else has; all of it goes when it is dropped.
#[derive(Debug)]
pub(crate) struct TestEnvironment {
    folder: TempDir,
    user: Option<User>,
}

impl TestEnvironment {
    /// Makes the folders; the engine starts with the first command that needs it.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            folder: TempDir::with_prefix("hoist-test-")?,
            user: None,
        })
    }

    /// The same for an ordinary user, who owns the folder; the tests run as root.
    pub(crate) fn of_user(ranges: Ranges) -> io::Result<Self> {
        let mut env = Self::new()?;
        let path = env.folder.path();
        // The build folder may be closed to others.
        let program = path.join("hoist");
        fs::hard_link(env!("CARGO_BIN_EXE_hoist"), &program)
            .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_hoist"), &program).map(drop))?;
        env.user = Some(User::new(path, ranges)?);
        User::own(path)?;
        Ok(env)
    }

    /// A path inside the test's folder.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// The binary in the cleared environment, ready for arguments; the working directory is the test's folder.
    pub(crate) fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut command = match &self.user {
            Some(user) => user.command(&self.path("hoist")),
            None => Command::new(env!("CARGO_BIN_EXE_hoist")),
        };
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("HOIST_ROOT", self.path("root"))
            .env("HOIST_RUN_DIR", self.path("run"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
        &self,
        args: I,
    ) -> io::Result<CommandOutput> {
        output(&mut self.command(args))
    }

    /// What is left below the run directory, engine log and the engine's locks aside.
    pub(crate) fn left_in_run_folder(&self) -> io::Result<Vec<PathBuf>> {
        let mut left = Vec::new();
        files_below(&self.path("run"), &mut left)?;
        left.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !name.ends_with(".log") && !name.ends_with("keeper.lock")
        });
        Ok(left)
    }
}

/// Runs a prepared command to its end.
pub(crate) fn output(command: &mut Command) -> io::Result<CommandOutput> {
    let output = command.output()?;
    Ok(CommandOutput {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        status: output.status.code().unwrap_or(-1),
    })
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

impl Drop for TestEnvironment {
    fn drop(&mut self) {
        if !self.path("run/engine.sock").exists() && !self.path("root/containers").exists() {
            return;
        }
        let projects = self
            .run(["ls", "-a", "-q"])
            .map(|output| output.stdout)
            .unwrap_or_default();
        for project in projects.lines() {
            let _ended = self.run(["-p", project, "down", "-v", "-t", "0", "--remove-orphans"]);
        }
        let _ended = self.run(["engine", "stop"]);
    }
}
