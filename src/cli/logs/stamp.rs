//! Time stamps that an engine puts before each line of a log, asked for so that reading can be taken up again where it
//! ended: they are noted, and taken out where the user did not ask for them.

use bytes::Bytes;

/// Longer than any stamp: `2024-01-02T13:23:37.123456789+00:00`.
const LONGEST: usize = 40;

/// The stamps of one log.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// Of the last line.
    last: Option<jiff::Timestamp>,
    /// The beginning of a line whose stamp is not whole yet.
    begun: Vec<u8>,
    /// Whether a line has begun behind its stamp.
    inside: bool,
}

impl Stamps {
    /// Just behind the last line, as an engine takes it; `None` where there was no line.
    pub(super) fn next(&self) -> Option<String> {
        let next = self
            .last?
            .checked_add(jiff::SignedDuration::from_nanos(1))
            .ok()?;
        Some(next.to_string())
    }

    /// What came, without its stamps.
    pub(super) fn strip(&mut self, piece: &[u8]) -> Bytes {
        let mut text = Vec::with_capacity(piece.len());
        // Each record of a framed log has a stamp, even where the one before had no end of line.
        if self.inside && stamp(piece).is_some() {
            self.inside = false;
        }
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.inside {
                text.extend_from_slice(line);
            } else {
                self.begun.extend_from_slice(line);
                let Some(length) = self.stamped() else {
                    continue;
                };
                text.extend_from_slice(&self.begun[length..]);
                self.begun.clear();
            }
            self.inside = !line.ends_with(b"\n");
        }
        text.into()
    }

    /// The length of the stamp and the space behind it, 0 where the line has none; `None` where more must come first.
    fn stamped(&mut self) -> Option<usize> {
        if let Some((time, length)) = stamp(&self.begun) {
            self.last = Some(time);
            return Some(length);
        }
        let open = self.begun.len() < LONGEST && !self.begun.contains(&b' ');
        (!open || self.begun.ends_with(b"\n")).then_some(0)
    }
}

fn stamp(text: &[u8]) -> Option<(jiff::Timestamp, usize)> {
    let end = text.iter().take(LONGEST).position(|byte| *byte == b' ')?;
    let time = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((time, end + 1))
}

#[cfg(test)]
mod tests {
    use super::Stamps;

    const FIRST: &[u8] = b"2024-01-02T13:23:37.000000001Z one\n";

    #[test]
    fn stamps_are_noted_and_taken_out() {
        let mut stamps = Stamps::default();
        assert_eq!(stamps.next(), None);
        assert_eq!(&stamps.strip(FIRST)[..], b"one\n");
        assert_eq!(
            stamps.next().as_deref(),
            Some("2024-01-02T13:23:37.000000002Z")
        );
        // A prompt, and what follows it in a record of its own.
        assert_eq!(&stamps.strip(b"2024-01-02T13:23:38Z name: ")[..], b"name: ");
        assert_eq!(
            &stamps.strip(b"2024-01-02T13:23:39Z two\n\n")[..],
            b"two\n\n"
        );
        assert_eq!(
            stamps.next().as_deref(),
            Some("2024-01-02T13:23:39.000000001Z")
        );
    }

    #[test]
    fn the_pieces_of_a_terminal_may_end_anywhere() {
        let mut stamps = Stamps::default();
        let mut text = Vec::new();
        for piece in FIRST.chunks(7).chain(FIRST.chunks(30)) {
            text.extend_from_slice(&stamps.strip(piece));
        }
        assert_eq!(text, b"one\none\n");
    }

    #[test]
    fn a_line_without_a_stamp_stays_whole() {
        let mut stamps = Stamps::default();
        assert_eq!(&stamps.strip(b"a\nplain line\n")[..], b"a\nplain line\n");
    }
}
