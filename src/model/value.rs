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

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string())
    }
}

/// A span of time in nanoseconds, printed as Go prints it: `1m30s` (behaviours.md B099).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Duration(pub i64);

impl Duration {
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
    fn prints_durations_as_go_does() {
        let shown = |nanos| Duration(nanos).to_string();
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(1_500_000), "1.5ms");
        assert_eq!(shown(90_000_000_000), "1m30s");
        assert_eq!(shown(3_600_000_000_000), "1h0m0s");
        assert_eq!(shown(2_500_000_000), "2.5s");
    }
}
