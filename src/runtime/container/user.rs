//! Who a process is: the user specification looked up in the image's own `/etc/passwd` and `/etc/group`.

/// A user with its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: String,
}

/// Why a user cannot be found.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UserError {
    /// The user has a name that the image does not know.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// The group has a name that the image does not know.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// An id beyond what Docker accepts.
    #[error("uids and gids must be in range 0-2147483647")]
    Range,
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or_default();
        Some(PasswdEntry {
            name,
            uid,
            gid,
            home,
        })
    })
}

fn group_entries(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

/// Parses an id: digits only, in Docker's range.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let id: u32 = text.parse().map_err(|_| UserError::Range)?;
    if id > i32::MAX.cast_unsigned() {
        Err(UserError::Range)
    } else {
        Ok(Some(id))
    }
}

/// Finds the identity of `spec` (`user[:group]`, names or numbers; empty is root).
pub(crate) fn look_up(
    spec: &str,
    group_add: &[String],
    passwd: &str,
    group: &str,
) -> Result<Identity, UserError> {
    let (user, group_name) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|name| !name.is_empty())),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let id = number(user)?;
    // A name of digits only is looked up as a name first, as Docker does.
    let entry = passwd_entries(passwd)
        .find(|entry| entry.name == user)
        .or_else(|| passwd_entries(passwd).find(|entry| Some(entry.uid) == id));
    let mut identity = match (entry, id) {
        (Some(entry), _) => Identity {
            uid: entry.uid,
            gid: entry.gid,
            groups: member_of(group, entry.name),
            home: entry.home.to_owned(),
        },
        (None, Some(uid)) => Identity {
            uid,
            gid: 0,
            groups: Vec::new(),
            home: String::new(),
        },
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    if let Some(name) = group_name {
        identity.gid = group_id(name, group)?;
        identity.groups.clear();
    }
    for name in group_add {
        identity.groups.push(group_id(name, group)?);
    }
    if identity.home.is_empty() {
        "/".clone_into(&mut identity.home);
    }
    // The primary group is one of the additional ones too (CVE-2022-36109).
    identity.groups.insert(0, identity.gid);
    deduplicate(&mut identity.groups);
    Ok(identity)
}

fn member_of(group: &str, name: &str) -> Vec<u32> {
    group_entries(group)
        .filter(|(_, _, members)| members.split(',').any(|member| member == name))
        .map(|(_, gid, _)| gid)
        .collect()
}

fn group_id(name: &str, group: &str) -> Result<u32, UserError> {
    if let Some((_, gid, _)) = group_entries(group).find(|(entry, _, _)| *entry == name) {
        return Ok(gid);
    }
    number(name)?.ok_or_else(|| UserError::NoGroup(name.to_owned()))
}

fn deduplicate(groups: &mut Vec<u32>) {
    let mut seen = Vec::new();
    groups.retain(|gid| {
        let new = !seen.contains(gid);
        seen.push(*gid);
        new
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n1000:x:7:7::/odd:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nlogs:x:44:web,root\nstaff:x:50:web\n";

    fn find(spec: &str, add: &[&str]) -> Result<Identity, UserError> {
        let add: Vec<String> = add.iter().map(ToString::to_string).collect();
        look_up(spec, &add, PASSWD, GROUP)
    }

    #[test]
    fn nobody_asked_for_is_root() -> Result<(), UserError> {
        let identity = find("", &[])?;
        assert_eq!(
            (identity.uid, identity.gid, identity.home.as_str()),
            (0, 0, "/root")
        );
        Ok(())
    }

    #[test]
    fn a_name_brings_its_groups_and_an_explicit_group_replaces_them() -> Result<(), UserError> {
        assert_eq!(find("web", &[])?.groups, [33, 44, 50]);
        let identity = find("web:staff", &["logs", "7", "7"])?;
        assert_eq!((identity.gid, identity.groups), (50, vec![50, 44, 7]));
        Ok(())
    }

    #[test]
    fn a_number_without_an_entry_has_group_0_and_home_slash() -> Result<(), UserError> {
        let identity = find("4242", &[])?;
        assert_eq!(
            (identity.uid, identity.gid, identity.home.as_str()),
            (4242, 0, "/")
        );
        Ok(())
    }

    #[test]
    fn what_is_not_there_is_refused_in_docker_s_words() {
        assert_eq!(find("nobody", &[]), Err(UserError::NoUser("nobody".into())));
        assert_eq!(find("0:none", &[]), Err(UserError::NoGroup("none".into())));
        assert_eq!(find("4294967296", &[]), Err(UserError::Range));
        assert_eq!(find("-1", &[]), Err(UserError::NoUser("-1".into())));
    }
}
