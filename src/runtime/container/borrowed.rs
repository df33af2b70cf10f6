//! The steps of an ordinary user's container that root's does not have: devices, `/proc` and `/sys` that are opened while the
//! host's tree is in sight (see [`super::setup::Powers`]).

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::FileType;

use super::operation::{Performer, Step, attach, named, new_mount};
use super::rootfs;
use super::setup::SetupOp;
use crate::runtime::sys::mount::{Reach, set_attributes};

impl Performer<'_> {
    /// Performs such a step; any other is none.
    pub(super) fn perform_borrowed(&mut self, step: &SetupOp) -> Step {
        match step {
            SetupOp::OpenKernel {
                filesystem,
                attributes,
                ..
            } => {
                let mount = named(new_mount(filesystem, &[], *attributes), || {
                    format!("mount `{filesystem}`")
                })?;
                self.sources.push(mount);
                Ok(())
            }
            SetupOp::AttachDevice { slot, path } => named(self.attach_device(*slot, path), || {
                format!("attach the host's device on `{path}`")
            }),
            SetupOp::AttachKernel {
                slot,
                name,
                attributes,
            } => named(self.attach_kernel(*slot, name, *attributes), || {
                format!("attach `/{name}`")
            }),
            _ => Ok(()),
        }
    }

    fn attach_kernel(&mut self, slot: usize, name: &str, attributes: u64) -> io::Result<()> {
        let source = self.source(slot)?;
        set_attributes(source, attributes, libc::MS_PRIVATE, Reach::Recursive)?;
        let target = rootfs::real_directory(self.root(), name)?;
        attach(source, target.as_fd())?;
        if name == "proc" {
            self.proc = Some(rustix::io::fcntl_dupfd_cloexec(source, 3)?);
        }
        Ok(())
    }

    fn attach_device(&self, slot: usize, path: &str) -> io::Result<()> {
        let source = self.source(slot)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(source)?.st_mode);
        if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            return Err(io::Error::other("the host's file is no device"));
        }
        set_attributes(source, 0, libc::MS_PRIVATE, Reach::Single)?;
        let place = rootfs::make_file(self.root(), path)?;
        attach(source, place.as_fd())
    }
}

/// Whether something is mounted below a folder.
pub(super) fn has_mounts(folder: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    places.any(|place| Path::new(place) != folder && Path::new(place).starts_with(folder))
}
