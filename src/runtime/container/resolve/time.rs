//! Clocks of a container's own: the labels `hoist.time.monotonic` and `hoist.time.boottime`.
//!
//! Docker's API has no field for a time namespace. A label says how far the clock is ahead of the machine's (`36h`,
//! `-90s`, `1d12h`); with any of them the container gets a time namespace. The clock of the day has no namespace.

use std::collections::HashMap;

use super::ResolveError;
use crate::runtime::container::request::TimeOffset;

const CLOCKS: [&str; 2] = ["monotonic", "boottime"];
const PREFIX: &str = "hoist.time.";

/// The offsets that the labels ask for.
pub(super) fn offsets(
    labels: Option<&HashMap<String, String>>,
) -> Result<Vec<TimeOffset>, ResolveError> {
    let Some(labels) = labels else {
        return Ok(Vec::new());
    };
    let mut offsets = Vec::new();
    for clock in CLOCKS {
        let Some(text) = labels.get(&format!("{PREFIX}{clock}")) else {
            continue;
        };
        let offset = parse(text).ok_or_else(|| ResolveError::Invalid {
            what: "offset of a clock (as in `hoist.time.monotonic: 36h`)",
            value: text.clone(),
        })?;
        // The kernel takes whole seconds of either sign, and nanoseconds that are added.
        offsets.push(TimeOffset {
            clock: clock.to_owned(),
            seconds: i64::try_from(offset.div_euclid(NANOSECONDS)).unwrap_or(i64::MAX),
            nanoseconds: u32::try_from(offset.rem_euclid(NANOSECONDS)).unwrap_or_default(),
        });
    }
    Ok(offsets)
}

const NANOSECONDS: i128 = 1_000_000_000;

/// `1d2h3m4s5ms`, with a sign; no fractions.
fn parse(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.trim().strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.trim().trim_start_matches('+')),
    };
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0_i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let end = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        let (unit, next) = unit.split_at(end);
        let factor = match unit {
            "d" => 86_400 * NANOSECONDS,
            "h" => 3600 * NANOSECONDS,
            "m" => 60 * NANOSECONDS,
            "s" => NANOSECONDS,
            "ms" => 1_000_000,
            "us" => 1000,
            "ns" => 1,
            _ => return None,
        };
        // Nine digits of days are more than any clock holds.
        let number: i128 = number.parse().ok().filter(|number| *number <= 1 << 40)?;
        sum += number * factor;
        rest = next;
    }
    (sum <= i128::from(i64::MAX)).then_some(sign * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(i64, u32)> {
        let labels = HashMap::from([("hoist.time.boottime".to_owned(), text.to_owned())]);
        let offsets = offsets(Some(&labels)).ok()?;
        let [offset] = offsets.as_slice() else {
            return None;
        };
        assert_eq!(offset.clock, "boottime");
        Some((offset.seconds, offset.nanoseconds))
    }

    #[test]
    fn units_add_up() {
        assert_eq!(of("1d12h"), Some((129_600, 0)));
        assert_eq!(of("90s"), Some((90, 0)));
        assert_eq!(of("1m500ms"), Some((60, 500_000_000)));
    }

    #[test]
    fn nanoseconds_are_added_also_when_the_clock_is_behind() {
        assert_eq!(of("-1s500ms"), Some((-2, 500_000_000)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "-", "90", "h", "1.5h", "1y", "99999999999999999999d"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
