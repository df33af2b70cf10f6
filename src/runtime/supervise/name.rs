//! Identifiers and names of containers: made, checked, found.

use crate::runtime::error::{RuntimeError, RuntimeResult};

const ADJECTIVES: &[&str] = &[
    "able", "amber", "bold", "brave", "brisk", "calm", "clear", "crisp", "eager", "early", "fair",
    "fine", "fresh", "gentle", "glad", "grand", "keen", "kind", "light", "lively", "lucky",
    "merry", "neat", "noble", "plain", "proud", "quick", "quiet", "rapid", "ready", "solid",
    "steady", "still", "sunny", "swift", "tidy", "vivid", "warm", "wise", "young",
];
const NOUNS: &[&str] = &[
    "anchor", "barge", "beacon", "boom", "bridge", "buoy", "cable", "capstan", "cargo", "chain",
    "clipper", "compass", "crane", "derrick", "dock", "ferry", "fleet", "gantry", "halyard",
    "harbor", "hatch", "helm", "hook", "jib", "keel", "lever", "lift", "mast", "mooring", "pallet",
    "pier", "pulley", "quay", "rigging", "rope", "rudder", "sail", "tackle", "tug", "winch",
];

/// 64 random hexadecimal digits; the first twelve are never all decimal digits, so that a short id is no number.
#[must_use]
pub(super) fn random_id() -> String {
    loop {
        let mut bytes = [0_u8; 32];
        fill_random(&mut bytes);
        let id = hex::encode(bytes);
        if id[..12].bytes().any(|byte| byte.is_ascii_alphabetic()) {
            return id;
        }
    }
}

/// A name nobody thought of.
#[must_use]
pub(super) fn random_name() -> String {
    let mut bytes = [0_u8; 3];
    fill_random(&mut bytes);
    let pick = |list: &[&str], byte: u8| list[usize::from(byte) % list.len()].to_owned();
    format!(
        "{}_{}{}",
        pick(ADJECTIVES, bytes[0]),
        pick(NOUNS, bytes[1]),
        bytes[2]
    )
}

fn fill_random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // An interrupted call is tried again; nothing else can fail for so few bytes.
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
}

/// Checks a container's name; gives it back without its slash.
///
/// # Errors
/// When it does not follow the rule.
pub(super) fn check_name(name: &str) -> RuntimeResult<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let fits = bare.len() >= 2
        && bare.as_bytes()[0].is_ascii_alphanumeric()
        && bare
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if fits {
        return Ok(bare);
    }
    Err(RuntimeError::invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["ab", "/a.b-c_9", "9x"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-x", ".x", "a b", "a/b", "é"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn made_names_follow_the_rule_too() {
        assert!(check_name(&random_name()).is_ok());
        assert_eq!(random_id().len(), 64);
    }
}
