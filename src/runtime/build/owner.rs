//! `--chown` and `--chmod`: names looked up in the image's own files, modes in numbers or letters.

use std::io::Read;
use std::path::Path;

use rustix::fs::OFlags;

use crate::runtime::archive::Root;

/// Most bytes that are read of `/etc/passwd` or `/etc/group`.
const FILE_MAX: u64 = 4 << 20;

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Nobody but root.
pub(super) const ROOT: Owner = Owner { uid: 0, gid: 0 };

/// Resolves `user[:group]`, each a name or a number.
///
/// # Errors
/// With the name that is not in the image.
pub(super) fn resolve(text: &str, image: &Root) -> Result<Owner, String> {
    resolve_in(text, Some(image))
}

/// Resolves numbers, where there are no files that names could be in.
///
/// # Errors
/// With the name.
pub(super) fn resolve_numbers(text: &str) -> Result<Owner, String> {
    resolve_in(text, None)
}

fn resolve_in(text: &str, image: Option<&Root>) -> Result<Owner, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let (uid, own_group) = match user {
        // `:group` leaves the user to be root, and `user:` the group.
        "" if group.is_some() => (ROOT.uid, ROOT.gid),
        user => find_user(user, image)?,
    };
    let gid = match group {
        Some("") => ROOT.gid,
        Some(group) => find_group(group, image)?,
        None => own_group,
    };
    Ok(Owner { uid, gid })
}

/// A user's number and first group; a bare number is both.
fn find_user(user: &str, image: Option<&Root>) -> Result<(u32, u32), String> {
    if let Ok(uid) = user.parse() {
        return Ok((uid, uid));
    }
    let text = read(image, "etc/passwd");
    let found = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_user = fields.first() == Some(&user);
        let numbers = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        is_user.then_some(numbers)
    });
    found.ok_or_else(|| format!("unable to find user {user}: no matching entries in passwd file"))
}

fn find_group(group: &str, image: Option<&Root>) -> Result<u32, String> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let text = read(image, "etc/group");
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_group = fields.next() == Some(group);
        let gid = fields.nth(1)?.parse().ok()?;
        is_group.then_some(gid)
    });
    found.ok_or_else(|| format!("unable to find group {group}: no matching entries in group file"))
}

/// A small text file of the image; nothing where it cannot be read.
fn read(image: Option<&Root>, path: &str) -> String {
    let mut bytes = Vec::new();
    let Some(image) = image else {
        return String::new();
    };
    if let Ok(fd) = image.open_at(Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK) {
        let whole = std::fs::File::from(fd)
            .take(FILE_MAX)
            .read_to_end(&mut bytes);
        if whole.is_err() {
            bytes.clear();
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A `--chmod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ModeChange {
    /// These bits.
    Set(u32),
    /// Clauses such as `u+x`, in order.
    Clauses(Vec<Clause>),
}

/// One clause of a mode in letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clause {
    /// Bits of the classes it speaks of: `0o700`, `0o070`, `0o007`.
    classes: u32,
    operator: char,
    /// `r`, `w`, `x` as bits of one class.
    bits: u32,
    /// `X`: execution for directories and what is executable already.
    conditional: u32,
    /// Set-id and sticky bits.
    special: u32,
}

impl ModeChange {
    /// Reads `755` or `u=rwX,go-w`.
    ///
    /// # Errors
    /// When it is neither.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            )
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Set).ok_or_else(bad);
        }
        let clauses: Option<Vec<Clause>> = text.split(',').map(clause).collect();
        clauses.map(Self::Clauses).ok_or_else(bad)
    }

    /// The mode of a file that had another.
    #[must_use]
    pub(super) fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Set(bits) => *bits,
            Self::Clauses(clauses) => clauses.iter().fold(mode & 0o7777, |mode, clause| {
                clause.apply(mode, is_directory)
            }),
        }
    }
}

impl Clause {
    fn apply(self, mode: u32, is_directory: bool) -> u32 {
        let executable = is_directory || mode & 0o111 != 0;
        let one = self.bits | if executable { self.conditional } else { 0 };
        let bits = ((one * 0o111) & self.classes) | self.special;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => (mode & !self.classes) | bits,
        }
    }
}

fn clause(text: &str) -> Option<Clause> {
    let at = text.find(['+', '-', '='])?;
    let (who, what) = text.split_at(at);
    let mut classes = 0;
    for c in who.chars() {
        classes |= match c {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => 0o777,
            _ => return None,
        };
    }
    let classes = if who.is_empty() { 0o777 } else { classes };
    let mut letters = what.chars();
    let operator = letters.next()?;
    let (mut bits, mut conditional, mut special) = (0, 0, 0);
    for c in letters {
        match c {
            'r' => bits |= 4,
            'w' => bits |= 2,
            'x' => bits |= 1,
            'X' => conditional |= 1,
            's' => special |= ((classes & 0o100) << 5) | ((classes & 0o010) << 7),
            't' => special |= 0o1000,
            _ => return None,
        }
    }
    Some(Clause {
        classes,
        operator,
        bits,
        conditional,
        special,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_numbers_or_letters() -> Result<(), String> {
        let table = [
            ("755", 0o600, false, 0o755),
            ("4711", 0o600, false, 0o4711),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("go-w", 0o666, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("a=r", 0o777, false, 0o444),
            ("u+s,g+s,+t", 0o755, false, 0o7755),
        ];
        for (text, mode, is_directory, expected) in table {
            let change = ModeChange::parse(text)?;
            assert_eq!(change.apply(mode, is_directory), expected, "{text}");
        }
        for bad in ["", "9", "77777", "z+x", "u*x", "u+y"] {
            assert!(ModeChange::parse(bad).is_err(), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn names_come_from_the_image() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("etc"))?;
        std::fs::write(
            folder.path().join("etc/passwd"),
            "root:x:0:0::/:\nbad\napp:x:1000:1001::/:\n",
        )?;
        std::fs::write(folder.path().join("etc/group"), "extra:x:2000:app\n")?;
        let image = Root::open(folder.path())?;
        let owner = |text| resolve(text, &image).map(|owner| (owner.uid, owner.gid));
        assert_eq!(owner("app"), Ok((1000, 1001)));
        assert_eq!(owner("app:extra"), Ok((1000, 2000)));
        assert_eq!(owner("7"), Ok((7, 7)));
        assert_eq!(owner("7:8"), Ok((7, 8)));
        assert_eq!(owner(":extra"), Ok((0, 2000)));
        assert_eq!(owner("app:"), Ok((1000, 0)));
        assert!(owner("none").is_err() && owner("app:none").is_err());
        Ok(())
    }
}
