//! Owners of one bind mapped: the label `hoist.idmap`, in which `x-hoist-idmap` of a bind travels.
//!
//! ```text
//! hoist.idmap={"/data": "true", "/srv": "0:1000", "/mail": "uid=8:1000,gid=8:100"}
//! ```
//!
//! The host's user (the second number) owns on the disk what the container's (the first) makes, and the container's sees
//! as its own what is the host's there. `true` takes the container's user and the owner of the source. All other ids
//! stay what they are, but for the two that lost theirs: nobody can make a file on the host as somebody else by them.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bollard_stubs::models::ContainerConfig;

use super::Supervisor;
use super::container::Container;
use super::record::{MountRecord, MountType, Record};
use crate::runtime::container::IdMaps;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::sys::userns::{self, Holder, Owns};

/// The label.
const LABEL: &str = "hoist.idmap";

/// The container's id and the host's.
type Pair = (u32, u32);

/// What is wished for a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// The container's user is the owner of the source.
    Owner,
    /// These users and groups.
    Pairs {
        user: Option<Pair>,
        group: Option<Pair>,
    },
}

/// A line of a user namespace's map: on the disk, seen, count.
type Line = (u32, u32, u32);

fn wishes(config: &ContainerConfig) -> RuntimeResult<BTreeMap<String, Wish>> {
    let Some(text) = config.labels.as_ref().and_then(|labels| labels.get(LABEL)) else {
        return Ok(BTreeMap::new());
    };
    let read: BTreeMap<String, String> = serde_json::from_str(text).map_err(|source| {
        RuntimeError::invalid(format!("label {LABEL} is no JSON object of texts: {text}"))
            .caused_by(source)
    })?;
    let wish = |(target, text): (String, String)| {
        let wish = parse(&text).ok_or_else(|| {
            RuntimeError::invalid(format!(
                "label {LABEL}, {target}: `{text}` is not `true`, `CONTAINER:HOST` or `uid=CONTAINER:HOST,gid=CONTAINER:HOST`"
            ))
        })?;
        Ok((target, wish))
    };
    read.into_iter().map(wish).collect()
}

fn parse(text: &str) -> Option<Wish> {
    let pair = |text: &str| -> Option<Pair> {
        let (inside, outside) = text.split_once(':')?;
        let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id < u32::MAX);
        Some((number(inside)?, number(outside)?))
    };
    if text == "true" {
        return Some(Wish::Owner);
    }
    if let Some(both) = pair(text) {
        return Some(Wish::Pairs {
            user: Some(both),
            group: Some(both),
        });
    }
    let (mut user, mut group) = (None, None);
    for part in text.split(',') {
        match part.split_once('=')? {
            ("uid", ids) => user = Some(pair(ids)?),
            ("gid", ids) => group = Some(pair(ids)?),
            _ => return None,
        }
    }
    Some(Wish::Pairs { user, group })
}

/// Checks the label against the mounts of a container that is about to be made.
pub(super) fn check(config: &ContainerConfig, mounts: &[MountRecord]) -> RuntimeResult<()> {
    for target in wishes(config)?.into_keys() {
        let bound = mounts
            .iter()
            .any(|mount| mount.destination == target && mount.kind == MountType::Bind);
        if !bound {
            return Err(RuntimeError::invalid(format!(
                "label {LABEL}: no bind mount has the destination `{target}`"
            )));
        }
    }
    Ok(())
}

/// The map that shows `pair.1` of the disk as `pair.0` of the container and leaves the others, within what the
/// container's own user namespace has.
fn lines(pair: Option<Pair>, own: Option<&[(u32, u32, u32)]>) -> Vec<Line> {
    const ALL: [(u32, u32, u32); 1] = [(0, 0, u32::MAX)];
    let own = own.unwrap_or(&ALL);
    let outside = |id: u32| {
        own.iter()
            .find(|(inside, _, count)| id >= *inside && id - inside < *count)
            .map(|(inside, outside, _)| outside + (id - inside))
    };
    let Some((container, host)) = pair else {
        return own.to_vec();
    };
    let mut gone = [container, host];
    gone.sort_unstable();
    let mut lines: Vec<Line> = outside(container)
        .map(|seen| (host, seen, 1))
        .into_iter()
        .collect();
    for &(inside, seen, count) in own {
        let (mut next, end) = (inside, inside.saturating_add(count));
        for id in gone.into_iter().filter(|id| (inside..end).contains(id)) {
            if id > next {
                lines.push((next, seen + (next - inside), id - next));
            }
            next = next.max(id + 1);
        }
        if end > next {
            lines.push((next, seen + (next - inside), end - next));
        }
    }
    lines
}

fn text(lines: &[Line]) -> String {
    let lines = lines
        .iter()
        .map(|(disk, seen, count)| format!("{disk} {seen} {count}\n"));
    lines.collect()
}

impl Supervisor {
    /// The user namespaces whose maps the binds of a container are shown by, by destination; the mounts need them until
    /// they are made.
    pub(super) fn bind_owners(
        &self,
        container: &Container,
        record: &Record,
    ) -> RuntimeResult<Vec<(String, OwnedFd)>> {
        let mut owners = Vec::new();
        let wishes = wishes(&record.config)?;
        if wishes.is_empty() {
            return Ok(owners);
        }
        let remap = self.remap_of(&record.host_config)?;
        for mount in &record.mounts {
            let Some(wish) = wishes.get(&mount.destination) else {
                continue;
            };
            if mount.kind != MountType::Bind {
                continue;
            }
            let (user, group) = match wish {
                Wish::Pairs { user, group } => (*user, *group),
                Wish::Owner => {
                    let (user, group) = source_owner(&mount.source)?;
                    let own = self.user_of(container)?;
                    (Some((own.0, user)), Some((own.1, group)))
                }
            };
            let namespace = namespace(user, group, remap.as_ref())?;
            owners.push((mount.destination.clone(), namespace));
        }
        Ok(owners)
    }
}

fn source_owner(source: &Path) -> RuntimeResult<Pair> {
    let metadata = fs::metadata(source).map_err(|cause| {
        let text = format!("cannot tell the owner of `{}`", source.display());
        RuntimeError::invalid(text).caused_by(cause)
    })?;
    Ok((metadata.uid(), metadata.gid()))
}

fn namespace(
    user: Option<Pair>,
    group: Option<Pair>,
    remap: Option<&IdMaps>,
) -> RuntimeResult<OwnedFd> {
    if !userns::is_first() {
        return Err(RuntimeError::invalid(
            "mapped owners of a bind (x-hoist-idmap) need an engine run by root: leave them out",
        ));
    }
    let users = lines(user, remap.map(|maps| maps.users.as_slice()));
    let groups = lines(group, remap.map(|maps| maps.groups.as_slice()));
    let holder = Holder::new(&text(&users), &text(&groups), Owns::Nothing);
    holder.and_then(|holder| holder.users()).map_err(|source| {
        RuntimeError::internal(
            "cannot make a user namespace for the owners of a bind",
            source,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn one_id_changes_and_the_others_stay() {
        let all = [(1000, 0, 1), (1, 1, 999), (1001, 1001, u32::MAX - 1001)];
        assert_eq!(lines(Some((0, 1000)), None), all);
        assert_eq!(
            lines(Some((5, 5)), None),
            [(5, 5, 1), (0, 0, 5), (6, 6, u32::MAX - 6)]
        );
        assert_eq!(lines(None, None), [(0, 0, u32::MAX)]);
    }

    #[test]
    fn a_container_with_a_user_namespace_sees_what_it_can_name() {
        let own: &[Line] = &[(0, 300_000, 2000)];
        assert_eq!(
            lines(Some((0, 1000)), Some(own)),
            [(1000, 300_000, 1), (1, 300_001, 999), (1001, 301_001, 999)]
        );
        // The host's user is beyond what the container can name: it is shown all the same.
        assert_eq!(
            lines(Some((0, 5000)), Some(own)),
            [(5000, 300_000, 1), (1, 300_001, 1999)]
        );
    }

    #[test]
    fn wishes_have_three_forms() {
        assert_eq!(parse("true"), Some(Wish::Owner));
        let both = Wish::Pairs {
            user: Some((0, 1000)),
            group: Some((0, 1000)),
        };
        assert_eq!(parse("0:1000"), Some(both));
        let single = Wish::Pairs {
            user: None,
            group: Some((8, 100)),
        };
        assert_eq!(parse("gid=8:100"), Some(single));
        for text in [
            "",
            "false",
            "1000",
            "0:x",
            "uid=0",
            "0:4294967295",
            "uid=0:1,x=1:1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_wish_without_its_bind_is_refused() {
        let labels = HashMap::from([(LABEL.to_owned(), r#"{"/data":"true"}"#.to_owned())]);
        let config = ContainerConfig {
            labels: Some(labels),
            ..ContainerConfig::default()
        };
        let said = check(&config, &[]).map_err(|error| error.chain());
        assert!(said.is_err_and(|said| said.contains("`/data`")));
        assert!(check(&ContainerConfig::default(), &[]).is_ok());
    }
}
