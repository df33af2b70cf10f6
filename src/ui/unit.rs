//! Sizes, durations and shortened texts in the forms of docker's command line.

/// A text cut to a number of characters, the last of them an ellipsis.
pub(crate) fn shorten(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let kept: String = text.chars().take(length.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// The first twelve characters of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

/// How long something takes or took, roughly: `About a minute`.
pub(crate) fn rough_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (..1, _, _) => "Less than a second".to_owned(),
        (1, _, _) => "1 second".to_owned(),
        (..60, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// A size in powers of 1000 with three significant digits: `1.98MB`.
pub(crate) fn decimal_size(bytes: u64) -> String {
    scaled(bytes, 1000.0, 3, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A size in powers of 1024 with four significant digits: `1.062MiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    scaled(
        bytes,
        1024.0,
        4,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
    )
}

fn scaled(bytes: u64, base: f64, digits: usize, units: &[&str]) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a few significant digits are shown"
    )]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// A number below 1024 with so many significant digits and no trailing zeros.
fn significant(value: f64, digits: usize) -> String {
    let whole = match value {
        1000.0.. => 4,
        100.0.. => 3,
        10.0.. => 2,
        _ => 1,
    };
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Seconds since the epoch as docker's lists show them: `2026-11-24 06:53:48 +0000 UTC`.
pub(crate) fn local_time(seconds: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_second(seconds) else {
        return String::new();
    };
    time.to_zoned_datetime(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %z %Z")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::{binary_size, decimal_size, rough_duration, short_id, shorten};

    #[test]
    fn sizes_have_few_significant_digits() {
        assert_eq!(decimal_size(1_984_230), "1.98MB");
        assert_eq!(decimal_size(126), "126B");
        assert_eq!(decimal_size(1_140), "1.14kB");
        assert_eq!(binary_size(568 * 1024), "568KiB");
        assert_eq!(binary_size(1_113_000), "1.061MiB");
        assert_eq!(binary_size(0), "0B");
    }

    #[test]
    fn durations_are_rough() {
        assert_eq!(rough_duration(0), "Less than a second");
        assert_eq!(rough_duration(59), "59 seconds");
        assert_eq!(rough_duration(61), "About a minute");
        assert_eq!(rough_duration(7 * 60), "7 minutes");
        assert_eq!(rough_duration(3600), "About an hour");
        assert_eq!(rough_duration(3 * 86400), "3 days");
    }

    #[test]
    fn texts_are_cut_with_an_ellipsis() {
        assert_eq!(
            shorten("sh -c 'echo hello-web'", 20),
            "sh -c 'echo hello-w…"
        );
        assert_eq!(shorten("short", 20), "short");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
    }
}
