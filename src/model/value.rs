//! Scalars with one parser each, and the maps that many attributes share.

use std::fmt;

use indexmap::IndexMap;
use serde::{Serialize, Serializer};

/// `KEY: value` pairs where every key has a value.
pub type Mapping = IndexMap<String, String>;

/// Labels of a resource.
pub type Labels = IndexMap<String, String>;

/// Environment variables; `None` takes the value from the environment, or removes the image's one (behaviours.md B044).
pub type Environment = IndexMap<String, Option<String>>;

/// A number of bytes, printed as a decimal string (behaviours.md B099).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub i64);

impl ByteSize {
    /// Reads a number of bytes: `512`, `64m`, `1.5GiB` (behaviours.md B099).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(bytes) = text.parse() {
            return Some(Self(bytes));
        }
        let end = text.rfind(|next: char| next.is_ascii_digit() || next == '.' || next == ' ')?;
        let suffix = text[end + 1..].to_ascii_lowercase();
        let digits = text[..=end].strip_suffix(' ').unwrap_or(&text[..=end]);
        let size: f64 = digits.parse().ok().filter(|size| *size >= 0.0)?;
        let exponent = match suffix.bytes().next() {
            None | Some(b'b') => 0,
            Some(unit) => 1 + b"kmgtp".iter().position(|known| *known == unit)?,
        };
        let fits = match suffix.get(1..).unwrap_or_default() {
            "" => true,
            rest => exponent > 0 && matches!(rest, "b" | "ib"),
        };
        let factor = 1024_f64.powi(i32::try_from(exponent).ok()?);
        #[expect(clippy::cast_possible_truncation, reason = "Go truncates here too")]
        fits.then_some(Self((size * factor) as i64))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string())
    }
}

/// A span of time in nanoseconds, printed as Go prints it: `1m30s` (behaviours.md B099).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Duration(pub i64);

/// The units of time, longest names first among those that start alike.
const UNITS: [(&str, f64); 10] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
];

impl Duration {
    /// Reads a span of time: `90s`, `1h30m`, `1w2d` (behaviours.md B099).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        let mut total: i64 = 0;
        while !rest.is_empty() || total == 0 && text.is_empty() {
            let end = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
            let number: f64 = rest[..end].parse().ok()?;
            rest = &rest[end..];
            let unit_end = rest.find(|next: char| next.is_ascii_digit() || next == '.');
            let (unit, after) = rest.split_at(unit_end.unwrap_or(rest.len()));
            let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "checked against the bounds"
            )]
            let part = Some(number * nanos).filter(|part| *part < 9.2e18)?.round() as i64;
            total = total.checked_add(part)?;
            rest = after;
        }
        (!text.is_empty() && text != "-" && text != "+").then_some(Self(sign * total))
    }

    /// Returns the span as the standard library's type; a negative one counts as zero.
    #[must_use]
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str, u32); 2] = [(1_000, "µs", 3), (1_000_000, "ms", 6)];
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < 1_000 {
            return write!(f, "{nanos}ns");
        }
        if nanos < 1_000_000_000 {
            let (unit, name, digits) = if nanos < 1_000_000 {
                UNITS[0]
            } else {
                UNITS[1]
            };
            return write!(f, "{}{name}", decimal(nanos / unit, nanos % unit, digits));
        }
        let seconds = nanos / 1_000_000_000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(seconds % 60, nanos % 1_000_000_000, 9))
    }
}

/// Joins a whole part with a fraction of `digits` digits, without trailing zeros.
fn decimal(whole: u64, fraction: u64, digits: u32) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    let text = format!("{fraction:0width$}", width = digits as usize);
    format!("{whole}.{}", text.trim_end_matches('0'))
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        let read = |text| ByteSize::parse(text).map(|size| size.0);
        assert_eq!(read("512"), Some(512));
        assert_eq!(read("-1"), Some(-1));
        assert_eq!(read("64m"), Some(64 << 20));
        assert_eq!(read("1.5 GiB"), Some(3 << 29));
        assert_eq!(read("1kb"), Some(1024));
        assert_eq!(read("10x"), None);
        assert_eq!(read("m"), None);
        assert_eq!(read("1bb"), None);
    }

    #[test]
    fn reads_durations() {
        let read = |text| Duration::parse(text).map(|span| span.0);
        assert_eq!(read("90s"), Some(90_000_000_000));
        assert_eq!(read("1h30m"), Some(5_400_000_000_000));
        assert_eq!(read("1.5ms"), Some(1_500_000));
        assert_eq!(read("1w"), Some(604_800_000_000_000));
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("30"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("-"), None);
    }

    #[test]
    fn prints_durations_as_go_does() {
        let shown = |nanos| Duration(nanos).to_string();
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(1_500_000), "1.5ms");
        assert_eq!(shown(90_000_000_000), "1m30s");
        assert_eq!(shown(3_600_000_000_000), "1h0m0s");
        assert_eq!(shown(2_500_000_000), "2.5s");
    }
}
