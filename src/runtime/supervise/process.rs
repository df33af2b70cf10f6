//! The first process of a running container, held by its folder in `/proc`: when it has ended, nothing is found there
//! any more, even when its pid belongs to another process by then.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::container::Container;

/// A process that its number cannot be taken from.
#[derive(Debug)]
pub(super) struct HeldProcess {
    folder: OwnedFd,
}

impl HeldProcess {
    /// Holds a container's first process.
    ///
    /// # Errors
    /// `ESRCH` when it has ended, also when its pid has found another owner.
    pub(super) fn of(container: &Container) -> Result<Self, Errno> {
        let (pid, start_time) =
            container.with(|record| (record.state.pid, record.state.start_time));
        Self::hold(pid, start_time)
    }

    fn hold(pid: i32, start_time: u64) -> Result<Self, Errno> {
        if pid <= 0 {
            return Err(Errno::SRCH);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            openat(CWD, format!("/proc/{pid}"), flags, Mode::empty()).map_err(|errno| {
                if errno == Errno::NOENT {
                    Errno::SRCH
                } else {
                    errno
                }
            })?;
        let held = Self { folder };
        if held.start_time() == Some(start_time) {
            Ok(held)
        } else {
            Err(Errno::SRCH)
        }
    }

    /// Opens something of the process: `root`, `ns/net`.
    ///
    /// # Errors
    /// When the process has ended.
    pub(super) fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat(&self.folder, name, flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// The text of one of its files; empty when it has ended.
    #[must_use]
    pub(super) fn read(&self, name: &str) -> String {
        let mut text = String::new();
        let read = self
            .open(name, OFlags::RDONLY)
            .map(|file| File::from(file).read_to_string(&mut text));
        match read {
            Ok(Ok(_)) => text,
            _ => String::new(),
        }
    }

    /// A path by which another process of this machine reaches the folder, as long as `self` lives.
    #[must_use]
    pub(super) fn path(&self) -> PathBuf {
        let number = self.folder.as_raw_fd();
        Path::new("/proc").join(format!("{}/fd/{number}", std::process::id()))
    }

    /// Gives the descriptor away, which keeps [`HeldProcess::path`] alive.
    #[must_use]
    pub(super) fn into_fd(self) -> OwnedFd {
        self.folder
    }

    fn start_time(&self) -> Option<u64> {
        let stat = self.read("stat");
        // The name in parentheses may contain anything; fields are counted from behind it.
        let (_, fields) = stat.rsplit_once(") ")?;
        fields.split(' ').nth(19)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn time_of(pid: u32) -> Result<u64, Box<dyn std::error::Error>> {
        let folder = rustix::fs::open(
            format!("/proc/{pid}"),
            OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        )?;
        Ok(HeldProcess { folder }.start_time().ok_or("no start time")?)
    }

    #[test]
    fn a_pid_of_somebody_else_is_refused() -> TestResult {
        let own = std::process::id();
        let (pid, time) = (i32::try_from(own)?, time_of(own)?);
        assert!(HeldProcess::hold(pid, time).is_ok());
        assert_eq!(HeldProcess::hold(pid, time - 1).map(drop), Err(Errno::SRCH));
        assert_eq!(HeldProcess::hold(0, 0).map(drop), Err(Errno::SRCH));
        Ok(())
    }

    #[test]
    fn nothing_is_found_of_a_process_that_has_ended() -> TestResult {
        let mut child = std::process::Command::new("sleep").arg("100").spawn()?;
        let held = HeldProcess::hold(i32::try_from(child.id())?, time_of(child.id())?)?;
        child.kill()?;
        child.wait()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        assert_eq!(held.open("root", flags).map(drop), Err(Errno::SRCH));
        assert!(std::fs::metadata(held.path().join("ns")).is_err());
        Ok(())
    }
}
