//! One record of a json-file log. The log reader calls it for every line.
//!
//! The keeper writes all its records in one form, so that one that needs no decoding is read by its ends alone; any
//! other (with escapes, or from another writer) is read as JSON.

use std::borrow::Cow;

use serde::Deserialize;

const HEAD: &[u8] = b"{\"log\":\"";
const STDOUT: &[u8] = b"\",\"stream\":\"stdout\",\"time\":\"";
const STDERR: &[u8] = b"\",\"stream\":\"stderr\",\"time\":\"";
/// Of a time with nine digits of nanoseconds.
const TIME: usize = "2026-01-02T03:04:05.000000000Z".len();
const END: &[u8] = b"\"}";
/// How a newline is written in a record.
const NEWLINE: &[u8] = b"\\n";

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogRecord<'a> {
    /// The text without its newline.
    pub(super) text: Cow<'a, [u8]>,
    /// Whether the text ends its line.
    pub(super) ends_line: bool,
    pub(super) is_error: bool,
    pub(super) time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

impl<'a> LogRecord<'a> {
    /// Reads a line of the file; nothing for a line that is no record.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        Self::plain(line).or_else(|| Self::json(line))
    }

    fn plain(line: &'a [u8]) -> Option<Self> {
        let inner = line.strip_prefix(HEAD)?.strip_suffix(END)?;
        let (inner, time) = inner.split_at_checked(inner.len().checked_sub(TIME)?)?;
        let (inner, is_error) = match inner.strip_suffix(STDOUT) {
            Some(inner) => (inner, false),
            None => (inner.strip_suffix(STDERR)?, true),
        };
        let (text, ends_line) = match inner.strip_suffix(NEWLINE) {
            Some(text) => (text, true),
            None => (inner, false),
        };
        // Without either the text stands as it was written, and the ends above cannot be part of it.
        if memchr::memchr2(b'\\', b'"', text).is_some() {
            return None;
        }
        Some(Self {
            text: Cow::Borrowed(text),
            ends_line,
            is_error,
            time: Cow::Borrowed(std::str::from_utf8(time).ok()?),
        })
    }

    fn json(line: &'a [u8]) -> Option<Self> {
        let record: Json<'a> = serde_json::from_slice(line).ok()?;
        let ends_line = record.log.ends_with('\n');
        let text = match record.log {
            Cow::Borrowed(text) => {
                Cow::Borrowed(text.strip_suffix('\n').unwrap_or(text).as_bytes())
            }
            Cow::Owned(mut text) => {
                text.truncate(text.len() - usize::from(ends_line));
                Cow::Owned(text.into_bytes())
            }
        };
        Some(Self {
            text,
            ends_line,
            is_error: record.stream == "stderr",
            time: record.time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-01-02T03:04:05.000000006Z";

    fn line(log: &str, stream: &str) -> String {
        format!(r#"{{"log":"{log}","stream":"{stream}","time":"{AT}"}}"#)
    }

    fn texts(line: &str) -> Option<(String, bool, bool)> {
        let record = LogRecord::read(line.as_bytes())?;
        assert_eq!(record.time, AT);
        let text = String::from_utf8_lossy(&record.text).into_owned();
        Some((text, record.ends_line, record.is_error))
    }

    #[test]
    fn both_ways_of_reading_a_record_agree() {
        let bodies = [
            "",
            r"\n",
            "a",
            r"a\n",
            r"é ü\n",
            r"\n\n",
            r"a\tb\n",
            r"\\n",
            r#"\"}\n"#,
            r"\u001b[0m",
        ];
        for stream in ["stdout", "stderr"] {
            for body in bodies {
                let line = line(body, stream);
                assert_eq!(
                    LogRecord::read(line.as_bytes()),
                    LogRecord::json(line.as_bytes()),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn a_text_that_looks_like_the_end_of_a_record_is_text() {
        let forged = line(
            r#"x\",\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.000000006Z\"}"#,
            "stdout",
        );
        let expected = r#"x","stream":"stderr","time":"2026-01-02T03:04:05.000000006Z"}"#;
        assert_eq!(texts(&forged), Some((expected.to_owned(), false, false)));
    }

    #[test]
    fn a_line_that_ends_with_a_written_backslash_and_n_is_not_a_newline() {
        assert_eq!(
            texts(&line(r"a\\n", "stdout")),
            Some((r"a\n".to_owned(), false, false))
        );
        assert_eq!(
            texts(&line(r"a\n", "stderr")),
            Some(("a".to_owned(), true, true))
        );
    }

    #[test]
    fn half_a_record_is_none() {
        let whole = line("a", "stdout");
        for length in 0..whole.len() {
            assert_eq!(texts(&whole[..length]), None);
        }
    }
}
