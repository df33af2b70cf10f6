//! Calls of an OCI runtime's program, as containerd makes them, and what its log says of a failure.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::Value;

use crate::runtime::container::failure::{Failure, FailureKind};
use crate::runtime::container::request::OciRuntime;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A runtime, and the container that it is called for.
#[derive(Debug)]
pub(super) struct Program<'a> {
    runtime: &'a OciRuntime,
    id: &'a str,
    run_dir: &'a Path,
    log: PathBuf,
}

impl<'a> Program<'a> {
    /// With a log of its own for each of `name`.
    pub(super) fn new(runtime: &'a OciRuntime, id: &'a str, run_dir: &'a Path, name: &str) -> Self {
        Self {
            runtime,
            id,
            run_dir,
            log: run_dir.join(format!("{name}.log")),
        }
    }

    /// Calls `verb` with `options`, the container's id behind them.
    pub(super) fn call(
        &self,
        verb: &str,
        options: &[&str],
        stdio: Option<[OwnedFd; 3]>,
    ) -> Result<(), Failure> {
        let mut command = Command::new(&self.runtime.program);
        command
            .args(&self.runtime.args)
            .arg("--root")
            .arg(self.run_dir.join("oci"))
            .arg("--log")
            .arg(&self.log)
            .args(["--log-format", "json"])
            .arg(verb)
            .args(options)
            .arg(self.id)
            // The keeper has no environment, and some runtimes call others.
            .env("PATH", PATH)
            // Neither the engine's own notification nor its sockets concern a container.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID");
        match stdio {
            Some([input, output, error]) => command.stdin(input).stdout(output).stderr(error),
            None => command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        };
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failure(verb, &status.to_string())),
            Err(error) => Err(Failure::step(
                format!("cannot run `{}`", self.runtime.program.display()),
                error,
            )),
        }
    }

    fn failure(&self, verb: &str, status: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let said = last_error(&log).unwrap_or_else(|| format!("it ended with {status}"));
        let name = &self.runtime.name;
        let text = format!("OCI runtime {verb} failed: {name}: {said}");
        Failure::new(kind_of(&said), text)
    }
}

/// The last error in a log of JSON lines.
fn last_error(log: &str) -> Option<String> {
    let entries = log
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut errors =
        entries.filter(|entry| matches!(entry["level"].as_str(), Some("error" | "fatal")));
    Some(errors.next()?["msg"].as_str()?.trim().to_owned())
}

/// Docker's exit codes follow from the words of runtimes, too.
fn kind_of(said: &str) -> FailureKind {
    let said = said.to_lowercase();
    let about_program =
        said.contains("exec") || said.contains("executable") || said.contains("open ");
    let not_searched = said.contains("executable file") && said.contains("not found");
    if not_searched || (about_program && said.contains("no such file or directory")) {
        FailureKind::NotFound
    } else if about_program
        && (said.contains("permission denied") || said.contains("is a directory"))
    {
        FailureKind::NotExecutable
    } else {
        FailureKind::System
    }
}

/// The socket on which a runtime hands over the terminal's master, in the current folder: a path of a socket is short.
#[derive(Debug)]
pub(super) struct Console {
    listener: UnixListener,
    name: String,
}

impl Console {
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let name = format!("{name}.sock");
        let listener = UnixListener::bind(&name)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, name })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The master that the runtime has sent.
    pub(super) fn master(&self) -> io::Result<OwnedFd> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(false)?;
        let mut text = [0_u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [io::IoSliceMut::new(&mut text)];
        rustix::net::recvmsg(
            stream.as_fd(),
            slices,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let sent = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        sent.ok_or_else(|| io::Error::other("the runtime sent no terminal"))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        fs::remove_file(&self.name).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_the_log_is_what_the_runtime_says() {
        let log = "{\"level\":\"warning\",\"msg\":\"w\"}\n{\"msg\":\"first\",\"level\":\"error\"}\n\
                   {\"msg\":\"executable file `x` not found in $PATH: No such file or directory\",\"level\":\"error\"}\n";
        let said = last_error(log).unwrap_or_default();
        assert!(said.starts_with("executable file"));
        assert_eq!(last_error("no json\n"), None);
    }

    #[test]
    fn words_of_runtimes_have_docker_s_exit_codes() {
        let cases = [
            (
                "executable file `x` not found in $PATH: No such file or directory",
                127,
            ),
            ("exec: \"x\": executable file not found in $PATH", 127),
            ("exec: \"/x\": stat /x: no such file or directory", 127),
            ("open executable: Permission denied", 126),
            ("exec: \"/etc\": is a directory: permission denied", 126),
            ("mount `proc` to `proc`: Operation not permitted", 128),
        ];
        for (said, code) in cases {
            assert_eq!(kind_of(said).exit_code(), code, "{said}");
        }
    }
}
