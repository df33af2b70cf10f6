//! Points in time as users write them, down to the nanosecond, and their way to the engine.
//!
//! bollard's question for a log has whole seconds only. Exact times travel in the text of its `tail` parameter, and are
//! put where they belong before the request leaves ([`rewrite`], a hook of the client).

use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, civil};

/// Between the parts of a `tail` that carries times; in no number, no `all`, and untouched by URL encoding.
const SEPARATOR: char = '_';

/// What is no time.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither a time such as 2024-01-02T13:23:37Z nor a duration such as 1h30m")]
pub(super) struct NoTime(String);

/// Reads RFC 3339 with any of its parts left out from the end (a local time without zone), seconds since the epoch with
/// a fraction, or a Go duration before now; answers seconds since the epoch, as engines take them.
pub(super) fn parse(text: &str) -> Result<String, NoTime> {
    if let Some(seconds) = seconds(text) {
        return Ok(seconds);
    }
    let time = ago(text).or_else(|| calendar(text));
    time.map(to_seconds).ok_or_else(|| NoTime(text.to_owned()))
}

fn to_seconds(time: Timestamp) -> String {
    let nanos = time.as_nanosecond();
    let (seconds, fraction) = (
        nanos.div_euclid(1_000_000_000),
        nanos.rem_euclid(1_000_000_000),
    );
    if fraction == 0 {
        seconds.to_string()
    } else {
        format!("{seconds}.{fraction:09}")
    }
}

/// Seconds stay as they are: a number of floating point would lose nanoseconds.
fn seconds(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    let fits = digits(unsigned) && digits(fraction) && fraction.len() <= 9;
    fits.then(|| text.to_owned())
}

fn ago(text: &str) -> Option<Timestamp> {
    let span = text.parse::<SignedDuration>().ok()?;
    Timestamp::now().checked_sub(span).ok()
}

fn calendar(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let (text, zone) = split_zone(text)?;
    let time = text.parse::<civil::DateTime>().ok()?;
    let zoned = zone.to_ambiguous_zoned_datetime(time).compatible().ok()?;
    Some(zoned.timestamp())
}

/// A date, with or without a time that may end after its hours or minutes, and its zone: the local one where none is
/// said.
fn split_zone(text: &str) -> Option<(&str, TimeZone)> {
    if let Some(rest) = text.strip_suffix(['Z', 'z']) {
        return Some((rest, TimeZone::UTC));
    }
    // The dashes of a date are none of a zone.
    let Some(at) = text
        .rfind(['+', '-'])
        .filter(|at| *at >= "2024-01-02".len())
    else {
        return Some((text, TimeZone::system()));
    };
    let (rest, zone) = text.split_at(at);
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    let offset = Offset::from_seconds(if zone.starts_with('-') {
        -seconds
    } else {
        seconds
    });
    Some((rest, TimeZone::fixed(offset.ok()?)))
}

/// The `tail` of a question for a log, with the times between which it is asked for.
pub(super) fn tail(lines: Option<u64>, since: Option<&str>, until: Option<&str>) -> String {
    let tail = lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    if since.is_none() && until.is_none() {
        return tail;
    }
    let (since, until) = (since.unwrap_or("0"), until.unwrap_or("0"));
    format!("{tail}{SEPARATOR}{since}{SEPARATOR}{until}")
}

/// Puts times that travel in `tail` where they belong.
pub(super) fn rewrite<B>(mut request: hyper::Request<B>) -> hyper::Request<B> {
    if let Some(uri) = rewritten(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn rewritten(uri: &Uri) -> Option<Uri> {
    let query = uri.query().filter(|_| uri.path().ends_with("/logs"))?;
    let tail = query
        .split('&')
        .find_map(|part| part.strip_prefix("tail="))?;
    let mut parts = tail.split(SEPARATOR);
    let (lines, since, until) = (parts.next()?, parts.next()?, parts.next()?);
    let kept = query.split('&').filter(|part| {
        let name = part.split('=').next().unwrap_or_default();
        !matches!(name, "tail" | "since" | "until")
    });
    let times = [
        format!("tail={lines}"),
        format!("since={since}"),
        format!("until={until}"),
    ];
    let query: Vec<_> = kept.map(str::to_owned).chain(times).collect();
    let path = format!("{}?{}", uri.path(), query.join("&"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::{parse, rewrite, tail};

    fn read(text: &str) -> String {
        parse(text).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn times_keep_their_fraction() {
        assert_eq!(read("1700000000"), "1700000000");
        assert_eq!(read("1136073845.000000001"), "1136073845.000000001");
        assert_eq!(read("2023-11-14T22:13:20Z"), "1700000000");
        assert_eq!(read("2023-11-14T22:13:20.25Z"), "1700000000.250000000");
        assert_eq!(
            read("2023-11-14T23:13:20.000000001+01:00"),
            "1700000000.000000001"
        );
    }

    #[test]
    fn what_a_time_leaves_out_is_zero() {
        for (text, seconds) in [
            ("2023-11-14T22:13Z", "1699999980"),
            ("2023-11-14T22Z", "1699999200"),
            ("2023-11-14Z", "1699920000"),
            ("2023-11-14T00-05:30", "1699939800"),
            ("2023-11-14+01:00", "1699916400"),
        ] {
            assert_eq!(read(text), seconds, "{text}");
        }
        let local = |text: &str| read(text).parse::<i64>().unwrap_or_default();
        assert_eq!(local("2023-11-14T22:13") - local("2023-11-14"), 79_980);
        assert_eq!(local("2023-11-14T22") - local("2023-11-14"), 79_200);
    }

    #[test]
    fn durations_are_before_now() {
        let now = jiff::Timestamp::now().as_millisecond();
        for (text, millis) in [
            ("42m", 2_520_000),
            ("1h30m", 5_400_000),
            ("1h0m0s", 3_600_000),
            ("1.5h", 5_400_000),
            ("250ms", 250),
            ("-1m", -60_000),
        ] {
            let seconds: f64 = read(text).parse().unwrap_or_default();
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of today fit")]
            let off = (now as f64 - seconds * 1000.0 - f64::from(millis)).abs();
            assert!(off < 5000.0, "{text}: {off} ms off");
        }
    }

    #[test]
    fn what_is_no_time_is_said() {
        for text in [
            "yesterday",
            "",
            "1.2.3",
            "2023-13-01",
            "1700000000.",
            "10 apples",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn exact_times_reach_the_question_for_a_log() -> Result<(), Box<dyn std::error::Error>> {
        let asked = |tail: String| -> Result<String, hyper::http::Error> {
            let path = format!("/v1.44/containers/x/logs?follow=true&since=0&until=0&tail={tail}");
            let request = rewrite(hyper::Request::get(path).body(())?);
            Ok(request.uri().to_string())
        };
        assert_eq!(
            asked(tail(Some(10), Some("1.000000001"), None))?,
            "/v1.44/containers/x/logs?follow=true&tail=10&since=1.000000001&until=0"
        );
        assert_eq!(
            asked(tail(None, None, None))?,
            "/v1.44/containers/x/logs?follow=true&since=0&until=0&tail=all"
        );
        Ok(())
    }
}
