//! Which ids a user has: one's own, and the ranges of `/etc/subuid` and `/etc/subgid`. Pure.

use std::fmt::Write as _;

/// Where ids of a nest are outside: first inside, first outside, how many.
pub(super) type Range = (u32, u32, u32);

/// Ids as many as a distribution gives a user; images have users up to `nobody`, 65534.
pub(super) const USUAL_COUNT: u32 = 65_536;
/// Where the first range begins when nobody has one.
const FIRST: u32 = 100_000;

/// The name of a user in the text of `/etc/passwd`.
pub(super) fn name_of(uid: u32, passwd: &str) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The nest's ids: its root is the user, all others come from the ranges that `text` gives to the user by name or number.
/// None where there is no range.
pub(super) fn map(own: u32, user: (u32, Option<&str>), text: &str) -> Option<Vec<Range>> {
    let (uid, name) = user;
    let number = uid.to_string();
    let mut ranges = vec![(0, own, 1)];
    let mut next = 1_u32;
    for (owner, first, count) in text.lines().filter_map(range_of) {
        if owner != number && Some(owner) != name {
            continue;
        }
        ranges.push((next, first, count));
        next = next.checked_add(count)?;
    }
    (ranges.len() > 1).then_some(ranges)
}

/// The end of a range that nobody has yet: what to add for a user without one.
pub(super) fn free_range(text: &str) -> (u32, u32) {
    let taken = text.lines().filter_map(range_of);
    let end = taken
        .map(|(_, first, count)| first.saturating_add(count))
        .max();
    let first = end.unwrap_or(FIRST).max(FIRST);
    (first, first.saturating_add(USUAL_COUNT - 1))
}

fn range_of(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.trim().split(':');
    let owner = fields.next()?;
    let mut number = || fields.next()?.parse::<u32>().ok();
    let (first, count) = (number()?, number()?);
    // Root's own ids are never anybody's range.
    (first > 0 && count > 0).then_some((owner, first, count))
}

/// The arguments of `newuidmap` and `newgidmap` after the pid.
pub(super) fn arguments(ranges: &[Range]) -> Vec<String> {
    let numbers = ranges
        .iter()
        .flat_map(|(inside, outside, count)| [inside, outside, count]);
    numbers.map(u32::to_string).collect()
}

/// The same for people.
pub(super) fn text(ranges: &[Range]) -> String {
    let mut text = String::new();
    for (inside, outside, count) in ranges {
        let separator = if text.is_empty() { "" } else { ", " };
        // A `String` takes everything.
        let _ = write!(text, "{separator}{inside}={outside}+{count}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "ada:100000:65536\n1001:200000:10\nada:300000:4\nbroken\neve:0:5\n";

    #[test]
    fn the_root_of_a_nest_is_the_user_and_all_ranges_follow() {
        assert_eq!(
            map(1000, (1000, Some("ada")), SUBUID),
            Some(vec![
                (0, 1000, 1),
                (1, 100_000, 65_536),
                (65_537, 300_000, 4)
            ])
        );
    }

    #[test]
    fn a_range_may_name_its_owner_by_number() {
        let ranges = map(100, (1001, None), SUBUID);
        assert_eq!(ranges, Some(vec![(0, 100, 1), (1, 200_000, 10)]));
    }

    #[test]
    fn without_a_range_there_is_no_nest() {
        assert_eq!(map(1002, (1002, Some("bob")), SUBUID), None);
        assert_eq!(map(1003, (1003, Some("eve")), SUBUID), None, "root's ids");
    }

    #[test]
    fn the_range_to_add_overlaps_no_other() {
        assert_eq!(free_range(SUBUID), (300_004, 365_539));
        assert_eq!(free_range(""), (100_000, 165_535));
    }

    #[test]
    fn a_user_is_found_by_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_of(1000, passwd), Some("ada"));
        assert_eq!(name_of(1001, passwd), None);
    }

    #[test]
    fn the_helpers_take_three_numbers_a_range() {
        let ranges = [(0, 1000, 1), (1, 100_000, 65_536)];
        assert_eq!(arguments(&ranges).join(" "), "0 1000 1 1 100000 65536");
        assert_eq!(text(&ranges), "0=1000+1, 1=100000+65536");
    }
}
