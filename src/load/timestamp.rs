//! Plain scalars that docker compose's YAML reader takes for a point in time, and what becomes of them: in an extension
//! `2001-01-01` is `2001-01-01T00:00:00Z`, and where text is wanted `2001-01-01 00:00:00 +0000 UTC`.

use std::fmt::Write as _;

/// Returns a date or a point in time in the form of RFC 3339; `None` where the text is neither.
pub(super) fn parse(text: &str) -> Option<String> {
    if text.len() < 8 || text.as_bytes()[4] != b'-' {
        return None;
    }
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let (year, month, day) = date_parts(date)?;
    let mut written = format!("{year:04}-{month:02}-{day:02}T");
    match rest {
        None => written.push_str("00:00:00Z"),
        Some((" ", clock)) => write!(written, "{}Z", clock_text(clock)?).ok()?,
        Some((_, clock)) => {
            let (clock, zone) = clock.split_at(clock.find(['Z', '+', '-'])?);
            write!(written, "{}{}", clock_text(clock)?, zone_text(zone)?).ok()?;
        }
    }
    Some(written)
}

/// Writes a point in time, which is in the form of RFC 3339, as docker compose does where it wants text.
pub(super) fn as_text(time: &str) -> String {
    let (date, clock) = time.split_once('T').unwrap_or((time, ""));
    match clock.find(['Z', '+', '-']).map(|at| clock.split_at(at)) {
        Some((clock, zone)) if zone != "Z" => {
            let zone = zone.replace(':', "");
            format!("{date} {clock} {zone} {zone}")
        }
        Some((clock, _)) => format!("{date} {clock} +0000 UTC"),
        None => time.to_owned(),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn digits(text: &str, most: usize) -> Option<u32> {
    let fits = text.len() <= most && is_number(text);
    fits.then(|| text.parse().ok()).flatten()
}

fn date_parts(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('-');
    let year = parts.next().filter(|year| year.len() == 4)?;
    let (year, month, day) = (
        digits(year, 4)?,
        digits(parts.next()?, 2)?,
        digits(parts.next()?, 2)?,
    );
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (parts.next().is_none() && (1..=last).contains(&day)).then_some((year, month, day))
}

fn clock_text(text: &str) -> Option<String> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let mut parts = clock.split(':').map(|part| digits(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut written = format!("{hour:02}:{minute:02}:{second:02}");
    if let Some(fraction) = fraction {
        if !is_number(fraction) {
            return None;
        }
        let significant = fraction[..fraction.len().min(9)].trim_end_matches('0');
        if !significant.is_empty() {
            write!(written, ".{significant}").ok()?;
        }
    }
    Some(written)
}

fn zone_text(text: &str) -> Option<String> {
    if text == "Z" {
        return Some("Z".to_owned());
    }
    let (sign, zone) = text.split_at_checked(1)?;
    let (hours, minutes) = zone.split_once(':')?;
    let (hours, minutes) = (
        digits(hours, 2).filter(|_| hours.len() == 2)?,
        digits(minutes, 2).filter(|_| minutes.len() == 2)?,
    );
    (hours < 24 && minutes < 60).then(|| match (hours, minutes) {
        (0, 0) => "Z".to_owned(),
        _ => format!("{sign}{hours:02}:{minutes:02}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_as_docker_compose_does() {
        for (text, want) in [
            ("2001-1-2", Some("2001-01-02T00:00:00Z")),
            ("2001-01-01T10:20:30Z", Some("2001-01-01T10:20:30Z")),
            ("2001-01-01 10:20:30", Some("2001-01-01T10:20:30Z")),
            (
                "2001-01-01t1:2:3.50+02:00",
                Some("2001-01-01T01:02:03.5+02:00"),
            ),
            ("2001-01-01T00:00:00-00:00", Some("2001-01-01T00:00:00Z")),
            (
                "2001-01-01 0:0:0.1234567891",
                Some("2001-01-01T00:00:00.123456789Z"),
            ),
            ("2000-02-29", Some("2000-02-29T00:00:00Z")),
            ("2001-13-01", None),
            ("2001-02-30", None),
            ("2001-01-01 10:20:30.", None),
            ("2001-01-01 10:20:30.120Z", None),
            ("2001-01-01-x", None),
            ("127-1-1", None),
            ("9091-9092", None),
        ] {
            assert_eq!(parse(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn writes_times_as_docker_compose_does() {
        for (time, want) in [
            ("2001-01-02T00:00:00Z", "2001-01-02 00:00:00 +0000 UTC"),
            (
                "2001-01-01T01:02:03.5-11:30",
                "2001-01-01 01:02:03.5 -1130 -1130",
            ),
        ] {
            assert_eq!(as_text(time), want);
        }
    }
}
