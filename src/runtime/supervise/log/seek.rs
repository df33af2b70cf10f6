//! Where in a log file the reader begins: at its last lines, or at a time. The log reader calls it for each file.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use jiff::Timestamp;

use super::record::LogRecord;

/// What is read at once on the way back, and what is not worth to be divided further.
const BLOCK: u64 = 64 << 10;

/// Moves to where the last `lines` lines begin; tells how many of them there are.
pub(super) fn seek_to_tail(file: &mut (impl Read + Seek), lines: usize) -> io::Result<usize> {
    let mut position = file.seek(SeekFrom::End(0))?;
    let end = position;
    let mut found = 0;
    let mut block = Vec::new();
    while position > 0 {
        let start = position.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.resize(usize::try_from(position - start).unwrap_or(0), 0);
        file.read_exact(&mut block)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let offset = start + index as u64 + 1;
            if *byte != b'\n' || offset == end {
                continue;
            }
            found += 1;
            if found == lines {
                file.seek(SeekFrom::Start(offset))?;
                return Ok(lines);
            }
        }
        position = start;
    }
    let whole = if end > 0 { found + 1 } else { 0 };
    let start = if lines == 0 { end } else { 0 };
    file.seek(SeekFrom::Start(start))?;
    Ok(whole.min(lines))
}

/// How a file's first record lies to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// It is from before the time, so that older files have nothing to show.
    Earlier,
    /// It is not, or there is none.
    Later,
}

/// Moves forward to a record not far before the first one of a time, by halving: the records of one writer are in the
/// order of the clock. Where the clock was set back, records between the two settings may be passed over.
pub(super) fn seek_to_time(file: &mut (impl Read + Seek), since: i128) -> io::Result<Beginning> {
    let from = file.stream_position()?;
    let beginning = match record_after(file, 0)? {
        Some((_, time)) if time < since => Beginning::Earlier,
        _ => Beginning::Later,
    };
    let (mut low, mut high) = (from, file.seek(SeekFrom::End(0))?);
    while high.saturating_sub(low) > BLOCK {
        let middle = low + (high - low) / 2;
        match record_after(file, middle)? {
            Some((start, time)) if time < since && start > low && start < high => low = start,
            _ => high = middle,
        }
    }
    file.seek(SeekFrom::Start(low))?;
    Ok(beginning)
}

/// Where the first whole record at or after an offset begins, and its time.
fn record_after(file: &mut (impl Read + Seek), offset: u64) -> io::Result<Option<(u64, i128)>> {
    file.seek(SeekFrom::Start(offset.saturating_sub(1)))?;
    let mut reader = BufReader::new(file);
    let mut start = offset;
    if offset > 0 {
        // What is in front of the next line: only a newline where the offset is the start of one.
        start = offset - 1 + reader.skip_until(b'\n')? as u64;
    }
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let record = line.strip_suffix(b"\n").and_then(LogRecord::read);
    let time = record.and_then(|record| record.time.parse::<Timestamp>().ok());
    Ok(time.map(|time| (start, time.as_nanosecond())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str, lines: usize) -> io::Result<(usize, String)> {
        let mut cursor = io::Cursor::new(text.as_bytes().to_vec());
        let found = seek_to_tail(&mut cursor, lines)?;
        let mut rest = String::new();
        cursor.read_to_string(&mut rest)?;
        Ok((found, rest))
    }

    #[test]
    fn the_tail_begins_at_a_line() -> io::Result<()> {
        assert_eq!(after("a\nb\nc\n", 2)?, (2, "b\nc\n".to_owned()));
        assert_eq!(after("a\nb\nc\n", 3)?, (3, "a\nb\nc\n".to_owned()));
        assert_eq!(after("a\nb\nc\n", 9)?, (3, "a\nb\nc\n".to_owned()));
        assert_eq!(after("a\nb\n", 0)?, (0, String::new()));
        assert_eq!(after("", 4)?, (0, String::new()));
        Ok(())
    }

    /// A record each second, of various lengths.
    fn log(count: i64) -> String {
        let record = |second: i64| {
            let time = Timestamp::from_second(second)
                .map(|time| format!("{time:.9}"))
                .unwrap_or_default();
            let text = "x".repeat(usize::try_from(second * 37 % 501).unwrap_or(0));
            format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
        };
        (0..count).map(record).collect()
    }

    /// A file that counts what is read of it.
    struct Counted(io::Cursor<Vec<u8>>, usize);

    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1 += count;
            Ok(count)
        }
    }

    impl Seek for Counted {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn a_time_is_found_without_reading_what_is_before_it() -> io::Result<()> {
        let text = log(20_000);
        for second in [0_i64, 1, 777, 10_000, 19_999, 30_000] {
            let mut file = Counted(io::Cursor::new(text.clone().into_bytes()), 0);
            let since = i128::from(second) * 1_000_000_000;
            let beginning = seek_to_time(&mut file, since)?;
            assert_eq!(beginning == Beginning::Earlier, second > 0, "{second}");
            assert!(
                file.1 < 400_000,
                "{} of {} bytes were read",
                file.1,
                text.len()
            );
            let mut rest = String::new();
            file.read_to_string(&mut rest)?;
            assert!(text.ends_with(&rest));
            let skipped = &text[..text.len() - rest.len()];
            assert!(skipped.is_empty() || skipped.ends_with('\n'));
            let expected = text.lines().count() - usize::try_from(second.min(20_000)).unwrap_or(0);
            assert!(rest.lines().count() >= expected, "{second}");
            assert!(rest.len() < log_tail(&text, expected) + 100_000, "{second}");
        }
        Ok(())
    }

    fn log_tail(text: &str, lines: usize) -> usize {
        text.lines()
            .rev()
            .take(lines)
            .map(|line| line.len() + 1)
            .sum()
    }

    #[test]
    fn the_tail_is_not_left_for_an_earlier_time() -> io::Result<()> {
        let text = log(20_000);
        let mut cursor = io::Cursor::new(text.into_bytes());
        seek_to_tail(&mut cursor, 3)?;
        let at = cursor.position();
        assert_eq!(seek_to_time(&mut cursor, 5)?, Beginning::Earlier);
        assert_eq!(cursor.position(), at);
        Ok(())
    }
}
