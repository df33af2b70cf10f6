//! The one writer of a container's log: lines into Docker's json-file records, and rotation.
//!
//! A batch of records is one write, so that a reader never sees half of one; what could not be written whole is cut
//! off again, and waits. What waits is bounded: on a disk that stays full the newest lines are dropped, and counted, and
//! the log says so at that place once it can be written again.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;

use super::clock;
use crate::runtime::container::request::{Compression, LogFile};

/// Docker's limit of one record; a longer line becomes several records of which only the last ends with a newline.
const LONGEST: usize = 16 * 1024;
/// Most bytes that wait for room on the disk.
const MOST_WAITING: usize = 1 << 20;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its name in records.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// An open log.
#[derive(Debug)]
pub(super) struct Log {
    target: LogFile,
    file: File,
    /// The inode of the file.
    number: u64,
    size: u64,
    /// The beginnings of lines whose ends have not come yet.
    open_lines: [Vec<u8>; 2],
    batch: Vec<u8>,
    /// Why the batch could not be written, while it waits.
    trouble: Option<io::Error>,
    /// Lines dropped since then.
    dropped: u64,
}

impl Log {
    /// Opens a log to append to.
    pub(super) fn open(target: &LogFile) -> io::Result<Self> {
        let file = append(&target.path)?;
        let found = file.metadata()?;
        Ok(Self {
            target: target.clone(),
            file,
            number: found.ino(),
            size: found.len(),
            open_lines: [Vec::new(), Vec::new()],
            batch: Vec::new(),
            trouble: None,
            dropped: 0,
        })
    }

    /// Which file it is in, and how long that is.
    pub(super) fn position(&self) -> (u64, u64) {
        (self.number, self.size)
    }

    /// Bytes of a line whose end has not come.
    pub(super) fn waiting(&self, stream: Stream) -> usize {
        self.open_lines[stream as usize].len()
    }

    /// Whether lines wait for room on the disk, and none is dropped yet.
    pub(super) fn is_behind(&self) -> bool {
        self.trouble.is_some() && self.dropped == 0
    }

    /// Whether it could not be written the last time.
    pub(super) fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }

    /// Lines that nobody will find in it.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Cuts off what came after a position: all of a file that came later.
    pub(super) fn cut(&mut self, number: u64, size: u64) -> io::Result<()> {
        let size = if number == self.number { size } else { 0 };
        if self.size > size {
            self.file.set_len(size)?;
            self.size = size;
        }
        Ok(())
    }

    /// Tries once more to write what waits.
    pub(super) fn retry(&mut self) {
        if self.trouble.is_some() {
            self.write_batch();
        }
    }

    /// Adds output: whole lines are written, the rest waits for its end.
    pub(super) fn add(&mut self, stream: Stream, bytes: &[u8]) {
        let time = clock::now();
        let mut rest = bytes;
        while let Some(position) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(position + 1);
            self.add_part(stream, line, &time);
            rest = after;
            if self.trouble.is_none() && self.is_full(self.batch.len() as u64) {
                self.write_batch();
            }
        }
        self.add_part(stream, rest, &time);
        self.write_batch();
    }

    /// Adds a part that contains no newline but perhaps at its end.
    fn add_part(&mut self, stream: Stream, mut part: &[u8], time: &str) {
        let mut line = std::mem::take(&mut self.open_lines[stream as usize]);
        while line.len() + part.len() > LONGEST {
            let (head, tail) = part.split_at(LONGEST - line.len());
            line.extend_from_slice(head);
            self.record(stream, &line, time);
            line.clear();
            part = tail;
        }
        if line.is_empty() && part.ends_with(b"\n") {
            self.record(stream, part, time);
        } else {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") {
                self.record(stream, &line, time);
                line.clear();
            }
        }
        self.open_lines[stream as usize] = line;
    }

    fn record(&mut self, stream: Stream, line: &[u8], time: &str) {
        if self.trouble.is_some() && self.batch.len() >= MOST_WAITING {
            self.dropped += 1;
            return;
        }
        self.encode(stream, line, time);
    }

    fn encode(&mut self, stream: Stream, line: &[u8], time: &str) {
        let batch = &mut self.batch;
        batch.extend_from_slice(b"{\"log\":\"");
        escape(line, batch);
        batch.extend_from_slice(b"\",\"stream\":\"");
        batch.extend_from_slice(stream.name().as_bytes());
        batch.extend_from_slice(b"\",\"time\":\"");
        batch.extend_from_slice(time.as_bytes());
        batch.extend_from_slice(b"\"}\n");
    }

    /// Writes lines that never got an end.
    pub(super) fn finish(&mut self) {
        let time = clock::now();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = std::mem::take(&mut self.open_lines[stream as usize]);
            if !line.is_empty() {
                self.record(stream, &line, &time);
            }
        }
        self.write_batch();
        let records = self.batch.split(|byte| *byte == b'\n');
        let left = records.filter(|record| !record.is_empty()).count();
        self.dropped += left as u64;
    }

    /// Writes what waits, and where lines were dropped a line that says so.
    fn write_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match (self.try_write(), self.trouble.take()) {
            (Err(error), _) => self.trouble = Some(error),
            (Ok(()), Some(trouble)) if self.dropped > 0 => {
                let text = format!(
                    "hoist: {} lines are missing here: the log could not be written: {trouble}\n",
                    self.dropped
                );
                self.dropped = 0;
                self.encode(Stream::Stderr, text.as_bytes(), &clock::now());
                self.write_batch();
            }
            (Ok(()), _) => {}
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        if self.size > 0 && self.is_full(0) {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(&self.batch) {
            // A torn record would spoil the whole file for readers.
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size += self.batch.len() as u64;
        self.batch.clear();
        Ok(())
    }

    /// Whether the file, with so many bytes more, has reached its limit: as with Docker, the record that reaches it
    /// still belongs to the file.
    fn is_full(&self, more: u64) -> bool {
        let limit = self.target.max_size;
        limit.is_some_and(|limit| self.size + more >= limit)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = self.target.path.clone();
        let suffix = match self.target.compression {
            Compression::Plain => "",
            Compression::Gzip => ".gz",
        };
        for number in (1..self.target.max_file.saturating_sub(1)).rev() {
            let from = numbered(&path, number, suffix);
            ignore_missing(fs::rename(from, numbered(&path, number + 1, suffix)))?;
        }
        if self.target.max_file > 1 {
            fs::rename(&path, numbered(&path, 1, ""))?;
            if self.target.compression == Compression::Gzip {
                compress(&numbered(&path, 1, ""), &numbered(&path, 1, ".gz"))?;
            }
        } else {
            fs::remove_file(&path)?;
        }
        self.file = append(&path)?;
        self.number = self.file.metadata()?.ino();
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn numbered(path: &Path, number: u32, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}{suffix}"));
    PathBuf::from(name)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let partial = to.with_extension("gz.partial");
    let mut encoder = GzEncoder::new(File::create(&partial)?, flate2::Compression::fast());
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&partial, to)?;
    fs::remove_file(from)
}

/// Escapes as Docker does; bytes that are not UTF-8 become the replacement character.
fn escape(text: &[u8], into: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        escape_valid(chunk.valid().as_bytes(), into);
        for _ in chunk.invalid() {
            into.extend_from_slice(b"\\ufffd");
        }
    }
}

fn escape_valid(text: &[u8], into: &mut Vec<u8>) {
    let mut start = 0;
    for (index, &byte) in text.iter().enumerate() {
        let plain = byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
        if plain {
            continue;
        }
        into.extend_from_slice(&text[start..index]);
        start = index + 1;
        match byte {
            b'"' => into.extend_from_slice(b"\\\""),
            b'\\' => into.extend_from_slice(b"\\\\"),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            _ => into.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    into.extend_from_slice(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn target(
        folder: &Path,
        max_size: Option<u64>,
        max_file: u32,
        compression: Compression,
    ) -> LogFile {
        LogFile {
            path: folder.join("c-json.log"),
            max_size,
            max_file,
            compression,
        }
    }

    fn lines(path: &Path) -> Result<Vec<(String, String)>, Box<dyn std::error::Error>> {
        let mut lines = Vec::new();
        for line in fs::read_to_string(path)?.lines() {
            let value: serde_json::Value = serde_json::from_str(line)?;
            let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            lines.push((field("stream"), field("log")));
        }
        Ok(lines)
    }

    #[test]
    fn lines_wait_for_their_end_and_streams_do_not_mix() -> TestResult {
        let folder = tempfile::tempdir()?;
        let target = target(folder.path(), None, 1, Compression::Plain);
        let mut log = Log::open(&target)?;
        log.add(Stream::Stdout, b"one\ntw");
        log.add(Stream::Stderr, b"\"err\" <\xff>\n");
        log.add(Stream::Stdout, b"o\nlast");
        log.finish();
        let found = lines(&target.path)?;
        let expected = [
            ("stdout", "one\n"),
            ("stderr", "\"err\" <\u{fffd}>\n"),
            ("stdout", "two\n"),
            ("stdout", "last"),
        ];
        assert_eq!(
            found,
            expected.map(|(stream, line)| (stream.to_owned(), line.to_owned()))
        );
        Ok(())
    }

    #[test]
    fn a_long_line_becomes_several_records() -> TestResult {
        let folder = tempfile::tempdir()?;
        let target = target(folder.path(), None, 1, Compression::Plain);
        let mut log = Log::open(&target)?;
        let mut long = vec![b'x'; 40_000];
        long.push(b'\n');
        log.add(Stream::Stdout, &long);
        let found = lines(&target.path)?;
        assert_eq!(
            found.iter().map(|(_, line)| line.len()).collect::<Vec<_>>(),
            [16_384, 16_384, 7_233]
        );
        Ok(())
    }

    #[test]
    fn much_output_at_once_is_rotated_too() -> TestResult {
        let folder = tempfile::tempdir()?;
        let target = target(folder.path(), Some(200), 2, Compression::Plain);
        let mut log = Log::open(&target)?;
        log.add(Stream::Stdout, "line\n".repeat(50).as_bytes());
        log.add(Stream::Stdout, b"last\n");
        let kept = lines(&numbered(&target.path, 1, ""))?.len() + lines(&target.path)?.len();
        assert!((1..=8).contains(&kept), "{kept} lines are kept");
        Ok(())
    }

    #[test]
    fn rotation_keeps_as_many_files_as_asked_for() -> TestResult {
        let folder = tempfile::tempdir()?;
        let target = target(folder.path(), Some(200), 3, Compression::Gzip);
        let mut log = Log::open(&target)?;
        for number in 0..20 {
            log.add(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        let mut names: Vec<_> = fs::read_dir(folder.path())?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        assert_eq!(names, ["c-json.log", "c-json.log.1.gz", "c-json.log.2.gz"]);
        Ok(())
    }

    /// A log on a disk that is full: the file is one that takes no byte.
    fn on_a_full_disk(folder: &Path) -> Result<Log, Box<dyn std::error::Error>> {
        let mut log = Log::open(&target(folder, None, 1, Compression::Plain))?;
        log.file = OpenOptions::new().append(true).open("/dev/full")?;
        Ok(log)
    }

    fn gets_room(log: &mut Log) -> TestResult {
        log.file = append(&log.target.path.clone())?;
        log.retry();
        Ok(())
    }

    #[test]
    fn on_a_full_disk_lines_wait_for_room() -> TestResult {
        let folder = tempfile::tempdir()?;
        let mut log = on_a_full_disk(folder.path())?;
        log.add(Stream::Stdout, b"one\ntwo\n");
        assert!(log.is_behind());
        gets_room(&mut log)?;
        log.add(Stream::Stdout, b"three\n");
        let found = lines(&log.target.path)?;
        let texts: Vec<_> = found.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(texts, ["one\n", "two\n", "three\n"]);
        Ok(())
    }

    #[test]
    fn what_waits_is_bounded_and_the_log_says_what_is_missing() -> TestResult {
        let folder = tempfile::tempdir()?;
        let mut log = on_a_full_disk(folder.path())?;
        let line = format!("{}\n", "x".repeat(1000));
        for _ in 0..2000 {
            log.add(Stream::Stdout, line.as_bytes());
        }
        assert!(log.batch.len() < MOST_WAITING + 2000);
        let dropped = log.dropped();
        gets_room(&mut log)?;
        log.add(Stream::Stdout, b"after\n");
        let found = lines(&log.target.path)?;
        let kept = found.iter().filter(|(_, text)| *text == line).count() as u64;
        assert_eq!(kept + dropped, 2000);
        let [.., (stream, said), (_, after)] = found.as_slice() else {
            return Err("too few lines".into());
        };
        let start =
            format!("hoist: {dropped} lines are missing here: the log could not be written: ");
        assert!(stream == "stderr" && said.starts_with(&start), "{said}");
        assert_eq!(after, "after\n");
        Ok(())
    }
}
