//! Driver options of `local`: `type`, `o`, `device`, as in mount(8).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::net::ToSocketAddrs;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::VolumeError;

const KNOWN: [&str; 3] = ["type", "o", "device"];

/// Options that must come with another.
const NEEDS: [(&str, &[&str]); 3] = [
    ("device", &["type"]),
    ("type", &["device"]),
    ("o", &["device", "type"]),
];

/// Words of `o` that are flags, not data of the file system.
const FLAGS: [(&str, MountFlags); 13] = [
    ("bind", MountFlags::BIND),
    ("rbind", MountFlags::BIND.union(MountFlags::REC)),
    ("ro", MountFlags::RDONLY),
    ("nosuid", MountFlags::NOSUID),
    ("nodev", MountFlags::NODEV),
    ("noexec", MountFlags::NOEXEC),
    ("sync", MountFlags::SYNCHRONOUS),
    ("dirsync", MountFlags::DIRSYNC),
    ("noatime", MountFlags::NOATIME),
    ("nodiratime", MountFlags::NODIRATIME),
    ("relatime", MountFlags::RELATIME),
    ("strictatime", MountFlags::STRICTATIME),
    ("silent", MountFlags::SILENT),
];

const PROPAGATION: [(&str, MountPropagationFlags); 8] = [
    ("private", MountPropagationFlags::PRIVATE),
    (
        "rprivate",
        MountPropagationFlags::PRIVATE.union(MountPropagationFlags::REC),
    ),
    ("shared", MountPropagationFlags::SHARED),
    (
        "rshared",
        MountPropagationFlags::SHARED.union(MountPropagationFlags::REC),
    ),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    (
        "rslave",
        MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC),
    ),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
    (
        "runbindable",
        MountPropagationFlags::UNBINDABLE.union(MountPropagationFlags::REC),
    ),
];

/// Words that say what is so anyway.
const DEFAULTS: [&str; 9] = [
    "rw", "defaults", "suid", "dev", "exec", "async", "atime", "diratime", "loud",
];

/// What is mounted for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountOptions {
    pub(super) device: String,
    pub(super) kind: String,
    pub(super) flags: MountFlags,
    pub(super) propagation: Option<MountPropagationFlags>,
    pub(super) data: String,
}

/// Refuses options that `local` does not have, or that lack another.
pub(super) fn validate(name: &str, options: &BTreeMap<String, String>) -> Result<(), VolumeError> {
    if let Some(option) = options
        .keys()
        .find(|option| !KNOWN.contains(&option.as_str()))
    {
        return Err(VolumeError::InvalidOption {
            name: name.to_owned(),
            option: option.clone(),
        });
    }
    for (option, needed) in NEEDS {
        let missing = needed
            .iter()
            .find(|needed| options.contains_key(option) && !options.contains_key(**needed));
        if let Some(missing) = missing {
            return Err(VolumeError::IncompleteOptions {
                name: name.to_owned(),
                message: format!("missing required option: \"{missing}\""),
            });
        }
    }
    Ok(())
}

impl MountOptions {
    /// `None` for a plain volume.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Option<Self> {
        let device = options.get("device")?.clone();
        let mut parsed = Self {
            device,
            kind: options.get("type").cloned().unwrap_or_default(),
            flags: MountFlags::empty(),
            propagation: None,
            data: String::new(),
        };
        let words = options
            .get("o")
            .map(String::as_str)
            .unwrap_or_default()
            .split(',');
        for word in words
            .map(str::trim)
            .filter(|word| !word.is_empty() && !DEFAULTS.contains(word))
        {
            parsed.add(word);
        }
        Some(parsed)
    }

    fn add(&mut self, word: &str) {
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == word) {
            self.flags |= *flag;
        } else if let Some((_, propagation)) = PROPAGATION.iter().find(|(name, _)| *name == word) {
            self.propagation = Some(*propagation);
        } else {
            let separator = if self.data.is_empty() { "" } else { "," };
            self.data = format!("{}{separator}{word}", self.data);
        }
    }

    /// Mounts at the target.
    pub(super) fn mount(&self, target: &Path) -> Result<(), VolumeError> {
        let data = self.resolved_data();
        self.mount_with(target, &data)
            .map_err(|errno| VolumeError::Mount {
                device: self.device.clone(),
                target: target.to_owned(),
                data: data.clone(),
                reason: in_docker_words(errno),
            })
    }

    fn mount_with(&self, target: &Path, data: &str) -> Result<(), Errno> {
        let data = CString::new(data).map_err(|_| Errno::INVAL)?;
        let data = Some(data.as_c_str()).filter(|data| !data.is_empty());
        let binds = self.flags.contains(MountFlags::BIND);
        let first = if binds {
            self.flags & (MountFlags::BIND | MountFlags::REC)
        } else {
            self.flags
        };
        rustix::mount::mount(
            self.device.as_str(),
            target,
            self.kind.as_str(),
            first,
            data,
        )?;
        let rest = self.finish(
            target,
            if binds {
                self.flags - first
            } else {
                MountFlags::empty()
            },
        );
        if rest.is_err() {
            // The mount is not what was asked for, so that nobody may find it.
            unmount(target)?;
        }
        rest
    }

    /// A bind takes its flags, and any mount its propagation, in a second step.
    fn finish(&self, target: &Path, flags: MountFlags) -> Result<(), Errno> {
        if !flags.is_empty() {
            rustix::mount::mount_remount(target, flags | MountFlags::BIND, "")?;
        }
        match self.propagation {
            Some(propagation) => rustix::mount::mount_change(target, propagation),
            None => Ok(()),
        }
    }

    /// The kernel's NFS client wants an address where people write a name.
    fn resolved_data(&self) -> String {
        let resolve = |word: &str| match word.split_once('=') {
            Some(("addr", host)) if self.kind.starts_with("nfs") || self.kind == "cifs" => {
                let address = (host, 0)
                    .to_socket_addrs()
                    .ok()
                    .and_then(|mut all| all.next());
                address.map_or_else(
                    || word.to_owned(),
                    |address| format!("addr={}", address.ip()),
                )
            }
            _ => word.to_owned(),
        };
        self.data
            .split(',')
            .map(resolve)
            .collect::<Vec<_>>()
            .join(",")
    }
}

/// Takes a mount away, also when a container that is just ending still holds it.
pub(super) fn unmount(target: &Path) -> Result<(), Errno> {
    rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH)
}

/// `No such file or directory (os error 2)` as `no such file or directory`.
fn in_docker_words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rustix::mount::MountFlags;

    use super::{MountOptions, validate};

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn words_are_flags_or_data() -> Result<(), Box<dyn std::error::Error>> {
        let all = options(&[
            ("type", "tmpfs"),
            ("device", "tmpfs"),
            ("o", "rw,size=1m,nosuid,uid=1000"),
        ]);
        let parsed = MountOptions::parse(&all).ok_or("no mount")?;
        assert_eq!(
            (parsed.flags, parsed.data.as_str()),
            (MountFlags::NOSUID, "size=1m,uid=1000")
        );
        assert_eq!(MountOptions::parse(&BTreeMap::new()), None);
        Ok(())
    }

    #[test]
    fn incomplete_or_unknown_options_are_refused() {
        let message = |pairs: &[(&str, &str)]| {
            validate("v", &options(pairs))
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(
            message(&[("bogus", "1")]).as_deref(),
            Some("create v: invalid option: \"bogus\"")
        );
        assert_eq!(
            message(&[("type", "none"), ("o", "bind")]).as_deref(),
            Some("create v: missing required option: \"device\"")
        );
        assert_eq!(
            message(&[("type", "none"), ("o", "bind"), ("device", "/x")]),
            None
        );
    }
}
