//! Whether a bind can have the propagation that is asked for: only a mount that is shared on the host can pass mounts on.

use std::fs;
use std::path::Path;

use crate::runtime::container::request::Propagation;
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// How the host's mount below a source passes mounts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peers {
    shared: bool,
    slave: bool,
}

/// Refuses, in Docker's words, what the kernel would silently not do.
pub(super) fn check(source: &Path, wanted: Propagation) -> RuntimeResult<()> {
    let kind = match wanted {
        Propagation::Private | Propagation::RecursivePrivate => return Ok(()),
        Propagation::Shared | Propagation::RecursiveShared => "shared",
        Propagation::Slave | Propagation::RecursiveSlave => "shared or slave",
    };
    let failed = |error| {
        RuntimeError::internal(
            format!("cannot find the mount of `{}`", source.display()),
            error,
        )
    };
    let real = fs::canonicalize(source).map_err(failed)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(failed)?;
    let Some((at, peers)) = mount_of(&real, &mounts) else {
        return Ok(());
    };
    if peers.shared || (peers.slave && kind != "shared") {
        return Ok(());
    }
    Err(RuntimeError::invalid(format!(
        "path {} is mounted on {at} but it is not a {kind} mount",
        source.display()
    )))
}

/// The mount that a path lies on: the longest one above it, and of those the last, which covers the others.
fn mount_of(path: &Path, mountinfo: &str) -> Option<(String, Peers)> {
    let mut found: Option<(String, Peers)> = None;
    for line in mountinfo.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let Some(at) = fields.get(4).map(|at| unescape(at)) else {
            continue;
        };
        let longer = found
            .as_ref()
            .is_none_or(|(known, _)| known.len() <= at.len());
        if path.starts_with(&at) && longer {
            let optional = fields.iter().skip(6).take_while(|field| **field != "-");
            let has = |prefix: &str| optional.clone().any(|field| field.starts_with(prefix));
            let peers = Peers {
                shared: has("shared:"),
                slave: has("master:"),
            };
            found = Some((at, peers));
        }
    }
    found
}

/// The kernel writes blanks and backslashes of a path in octal.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 8:1 / / rw shared:1 - ext4 /dev/vda rw\n\
        30 22 0:5 / /data rw - tmpfs tmpfs rw\n\
        31 22 0:6 / /data/a\\040b rw master:4 - tmpfs tmpfs rw\n";

    #[test]
    fn the_longest_mount_above_counts() {
        let at = |path: &str| mount_of(Path::new(path), MOUNTS).map(|(at, _)| at);
        assert_eq!(at("/database"), Some("/".to_owned()));
        assert_eq!(at("/data/x"), Some("/data".to_owned()));
        assert_eq!(at("/data/a b/c"), Some("/data/a b".to_owned()));
    }

    #[test]
    fn peers_are_read_from_the_optional_fields() {
        let peers = |path: &str| mount_of(Path::new(path), MOUNTS).map(|(_, peers)| peers);
        let kinds = |shared, slave| Some(Peers { shared, slave });
        assert_eq!(peers("/x"), kinds(true, false));
        assert_eq!(peers("/data"), kinds(false, false));
        assert_eq!(peers("/data/a b"), kinds(false, true));
    }
}
