//! User namespaces: whether a container gets one, and which ids its users have outside.
//!
//! ```text
//! HOIST_USERNS_REMAP, or `userns-remap` in /etc/hoist/engine.json
//!   default            the ranges of `hoist` in /etc/subuid and /etc/subgid
//!   USER[:GROUP]       the ranges of these
//!   FIRST+COUNT        this range
//! ```

use std::fs;
use std::io;
use std::path::Path;

use bollard_stubs::models::HostConfig;
use serde::Deserialize;

use super::Supervisor;
use crate::runtime::container::IdMaps;
use crate::runtime::container::request::Namespace;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::layout::Privilege;
use crate::runtime::sys::userns::{self, Holder, Owns};

const VARIABLE: &str = "HOIST_USERNS_REMAP";
/// The administrator's file.
pub(super) const FILE: &str = "/etc/hoist/engine.json";
const USER: &str = "hoist";

/// The engine's wish: none runs containers as they are, but for those that ask for a user namespace themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Remap {
    wish: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct EngineFile {
    userns_remap: String,
}

impl Remap {
    /// Reads the variable, or the administrator's file.
    ///
    /// # Errors
    /// When the file cannot be read, or no range belongs to what they name.
    pub(super) fn read(privilege: Privilege) -> RuntimeResult<Self> {
        let wish = match (std::env::var(VARIABLE), privilege) {
            (Ok(text), _) => text,
            (Err(_), Privilege::Rootful) => from_file(Path::new(FILE))?,
            // Root of the containers is an ordinary user already: the administrator's wish is fulfilled.
            (Err(_), Privilege::Rootless) => String::new(),
        };
        if privilege == Privilege::Rootless && !wish.is_empty() {
            return Err(RuntimeError::invalid(format!(
                "{VARIABLE} is for root's engine: in an ordinary user's, root of the containers is that user already"
            )));
        }
        let remap = Self {
            wish: Some(wish).filter(|wish| !wish.is_empty()),
        };
        if remap.wish.is_some() {
            // Told when the engine starts, not with the first container.
            remap.maps()?;
        }
        Ok(remap)
    }

    /// Whether all containers get a user namespace.
    pub(super) fn is_default(&self) -> bool {
        self.wish.is_some()
    }

    fn maps(&self) -> RuntimeResult<IdMaps> {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let wish = self.wish.as_deref().unwrap_or("default");
        maps_of(wish, &read("/etc/subuid"), &read("/etc/subgid"))
    }
}

fn from_file(path: &Path) -> RuntimeResult<String> {
    let failed = |source: io::Error| {
        RuntimeError::invalid(format!("cannot read `{}`", path.display())).caused_by(source)
    };
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed(error)),
        Ok(bytes) => serde_json::from_slice::<EngineFile>(&bytes)
            .map(|file| file.userns_remap)
            .map_err(|error| failed(error.into())),
    }
}

fn maps_of(wish: &str, subuid: &str, subgid: &str) -> RuntimeResult<IdMaps> {
    if let Some((first, count)) = wish.split_once('+') {
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number > 0);
        let (Some(first), Some(count)) = (number(first), number(count)) else {
            return Err(RuntimeError::invalid(format!(
                "invalid range `{wish}` in {VARIABLE}: it has to be `FIRST+COUNT`"
            )));
        };
        let map = vec![(0, first, count)];
        return Ok(IdMaps {
            users: map.clone(),
            groups: map,
        });
    }
    let wish = if wish == "default" { USER } else { wish };
    let (user, group) = wish.split_once(':').unwrap_or((wish, wish));
    Ok(IdMaps {
        users: ranges_of(user, subuid, "/etc/subuid")?,
        groups: ranges_of(group, subgid, "/etc/subgid")?,
    })
}

/// All ranges of a name, one after the other.
fn ranges_of(name: &str, text: &str, file: &str) -> RuntimeResult<Vec<(u32, u32, u32)>> {
    let mut next = 0_u32;
    let mut ranges = Vec::new();
    for line in text.lines() {
        let mut parts = line.trim().split(':');
        if parts.next() != Some(name) {
            continue;
        }
        let mut number = || parts.next()?.parse::<u32>().ok();
        let (Some(first), Some(count)) = (number(), number()) else {
            continue;
        };
        ranges.push((next, first, count));
        next = next.saturating_add(count);
    }
    if ranges.is_empty() {
        return Err(RuntimeError::invalid(format!(
            "no ids for user namespaces: `{file}` has no range for `{name}`; add a line such as `{name}:231072:65536`"
        )));
    }
    Ok(ranges)
}

impl Supervisor {
    /// The ids of a container's users outside; none where it has no user namespace of its own.
    ///
    /// # Errors
    /// When it asks for something that only the host's root may do, or no range is there.
    pub(super) fn remap_of(&self, host: &HostConfig) -> RuntimeResult<Option<IdMaps>> {
        let mode = host.userns_mode.as_deref().unwrap_or_default();
        let wanted = match mode {
            "host" => false,
            "" => self.remap.is_default(),
            _ => true,
        };
        if !wanted {
            return Ok(None);
        }
        let refuse = |text: &str| Err(RuntimeError::invalid(text));
        if self.layout().privilege() == Privilege::Rootless {
            return refuse(
                "`userns_mode` other than `host` needs root's engine: in an ordinary user's, root of the containers is that user already",
            );
        }
        if host.privileged == Some(true) {
            return refuse(
                "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
            );
        }
        if host.network_mode.as_deref() == Some("host") {
            return refuse(
                "cannot share the host's network namespace when user namespaces are enabled",
            );
        }
        if host.pid_mode.as_deref() == Some("host") {
            return refuse("cannot share the host PID namespace when user namespaces are enabled");
        }
        self.remap.maps().map(Some)
    }

    /// Whether all containers get a user namespace, for `/info`.
    #[must_use]
    pub fn remaps_users(&self) -> bool {
        self.remap.is_default()
    }
}

/// Makes a user namespace with the maps, and a network namespace that it owns.
pub(super) fn hold_namespaces(maps: &IdMaps) -> RuntimeResult<Holder> {
    let text = |map: &[(u32, u32, u32)]| {
        let lines = map
            .iter()
            .map(|(inside, outside, count)| format!("{inside} {outside} {count}\n"));
        lines.collect::<String>()
    };
    Holder::new(&text(&maps.users), &text(&maps.groups), Owns::Network).map_err(|source| {
        RuntimeError::internal("cannot make a user namespace for the container", source)
    })
}

/// A network that is shared brings its user namespace along: it has to be one.
pub(super) fn check_peer(
    network: Namespace,
    reference: &str,
    remap: Option<&IdMaps>,
) -> RuntimeResult<Namespace> {
    let (Namespace::Path(path), Some(_)) = (&network, remap) else {
        return Ok(network);
    };
    let owner = fs::File::open(path)
        .and_then(|file| userns::owner_of(std::os::fd::AsFd::as_fd(&file)))
        .and_then(|owner| Ok(rustix::fs::fstat(&owner)?.st_ino));
    let own =
        fs::metadata("/proc/self/ns/user").map(|own| std::os::unix::fs::MetadataExt::ino(&own));
    match (owner, own) {
        (Ok(owner), Ok(own)) if owner != own => Ok(network),
        _ => Err(RuntimeError::invalid(format!(
            "cannot share the network of container {reference}, which has no user namespace: set `userns_mode: host`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "other:100000:65536\nhoist:231072:65536\nhoist:400000:10\n";

    type Map = Vec<(u32, u32, u32)>;

    fn maps(wish: &str) -> Option<(Map, Map)> {
        let maps = maps_of(wish, FILE, FILE).ok()?;
        Some((maps.users, maps.groups))
    }

    #[test]
    fn all_ranges_of_a_name_follow_each_other() {
        let own = vec![(0, 231_072, 65_536), (65_536, 400_000, 10)];
        assert_eq!(maps("default"), Some((own.clone(), own.clone())));
        assert_eq!(maps("other:hoist"), Some((vec![(0, 100_000, 65_536)], own)));
    }

    #[test]
    fn a_range_needs_no_file() {
        let range = vec![(0, 5000, 100)];
        assert_eq!(maps("5000+100"), Some((range.clone(), range)));
        assert_eq!(maps("0+100"), None);
    }

    #[test]
    fn a_name_without_a_range_is_told_the_line_that_is_missing() {
        let said = maps_of("nobody", FILE, FILE).map_err(|error| error.chain());
        assert!(said.is_err_and(|said| said.contains("nobody:231072:65536")));
    }
}
