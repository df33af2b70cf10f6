//! Entries to a tar stream: ustar headers, with PAX records for what does not fit.

use std::io::{self, Read, Write};
use std::path::Path;

use super::entry::{BLOCK, Entry, EntryKind};
use super::{ArchiveError, Recorder};

const OCTAL_7: u64 = 0o7_777_777;
const OCTAL_11: u64 = 0o77_777_777_777;

/// Writes entries one after the other.
pub struct TarWriter<'a, W> {
    stream: W,
    recorder: &'a mut dyn Recorder,
    entries: u64,
}

impl<W> std::fmt::Debug for TarWriter<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarWriter")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl<'a, W: Write> TarWriter<'a, W> {
    /// Writes to a stream.
    pub fn new(stream: W, recorder: &'a mut dyn Recorder) -> Self {
        Self {
            stream,
            recorder,
            entries: 0,
        }
    }

    /// Writes an entry that has no content.
    ///
    /// # Errors
    /// When the stream breaks.
    pub fn header(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        self.entries += 1;
        let bytes = header_bytes(entry);
        self.raw(&bytes).map_err(ArchiveError::Write)
    }

    /// Writes a file. The recorder is told that its content is at `path`.
    ///
    /// # Errors
    /// When the content is shorter than the entry says, or the stream breaks.
    pub fn file(
        &mut self,
        entry: &Entry,
        path: &Path,
        content: impl Read,
    ) -> Result<(), ArchiveError> {
        self.header(entry)?;
        self.recorder
            .content(self.entries, path, entry.size)
            .map_err(ArchiveError::Write)?;
        let copied = io::copy(&mut content.take(entry.size), &mut self.stream)
            .map_err(ArchiveError::Write)?;
        if copied < entry.size {
            // The header is out: the file shrank while it was read, and zeros keep the archive whole.
            io::copy(
                &mut io::repeat(0).take(entry.size - copied),
                &mut self.stream,
            )
            .map_err(ArchiveError::Write)?;
        }
        let padding = entry.size.next_multiple_of(BLOCK as u64) - entry.size;
        self.raw(&[0; BLOCK][..usize::try_from(padding).unwrap_or(0)])
            .map_err(ArchiveError::Write)
    }

    /// Writes a file from memory.
    ///
    /// # Errors
    /// When the stream breaks.
    pub fn bytes(&mut self, name: &str, content: &[u8]) -> Result<(), ArchiveError> {
        self.file(
            &Entry::plain(name, content.len() as u64),
            Path::new(name),
            content,
        )
    }

    /// Ends the archive and gives the stream back.
    ///
    /// # Errors
    /// When the stream breaks.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        self.raw(&[0; 2 * BLOCK])
            .and_then(|()| self.stream.flush())
            .map_err(ArchiveError::Write)?;
        Ok(self.stream)
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.recorder.raw(bytes)?;
        self.stream.write_all(bytes)
    }
}

impl Entry {
    /// A regular file of root, mode 0644, from 1970.
    #[must_use]
    pub fn plain(name: &str, size: u64) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size,
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
            sparse: None,
        }
    }

    /// A directory of root, mode 0755, from 1970.
    #[must_use]
    pub fn directory(name: &str) -> Self {
        Self {
            kind: EntryKind::Directory,
            mode: 0o755,
            ..Self::plain(&format!("{}/", name.trim_end_matches('/')), 0)
        }
    }
}

fn header_bytes(entry: &Entry) -> Vec<u8> {
    let records = pax_records(entry);
    let mut bytes = Vec::with_capacity(3 * BLOCK);
    if !records.is_empty() {
        let extension = Entry {
            mode: 0o644,
            ..Entry::plain("PaxHeaders.0/entry", records.len() as u64)
        };
        bytes.extend_from_slice(&block(&extension, b'x'));
        bytes.extend_from_slice(&records);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.extend_from_slice(&block(entry, flag(entry.kind)));
    bytes
}

fn flag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}

fn pax_records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let fits = |text: &[u8]| text.len() <= 100 && text.is_ascii();
    if !fits(&entry.name) {
        push_record(&mut records, "path", &entry.name);
    }
    if !fits(&entry.link) {
        push_record(&mut records, "linkpath", &entry.link);
    }
    for (key, value, most) in [
        ("size", entry.size, OCTAL_11),
        ("uid", entry.uid.into(), OCTAL_7),
        ("gid", entry.gid.into(), OCTAL_7),
    ] {
        if value > most {
            push_record(&mut records, key, value.to_string().as_bytes());
        }
    }
    if entry.mtime.0 < 0 || entry.mtime.0.cast_unsigned() > OCTAL_11 {
        push_record(&mut records, "mtime", entry.mtime.0.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        push_record(&mut records, &format!("SCHILY.xattr.{name}"), value);
    }
    records
}

/// Appends `length key=value\n`, where the length counts its own digits.
fn push_record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn block(entry: &Entry, flag: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put_text(&mut block[..100], &entry.name);
    put_octal(&mut block[100..108], entry.mode.into());
    put_octal(&mut block[108..116], u64::from(entry.uid));
    put_octal(&mut block[116..124], u64::from(entry.gid));
    put_octal(&mut block[124..136], entry.size);
    put_octal(&mut block[136..148], entry.mtime.0.max(0).cast_unsigned());
    block[148..156].fill(b' ');
    block[156] = flag;
    put_text(&mut block[157..257], &entry.link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        put_octal(&mut block[329..337], entry.device.0.into());
        put_octal(&mut block[337..345], entry.device.1.into());
    }
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Octal digits and a NUL; what is too large is zero here and stands in a PAX record.
fn put_octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    let text = if text.len() > digits {
        "0".repeat(digits)
    } else {
        text
    };
    field[..digits].copy_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{Entry, TarWriter};
    use crate::runtime::archive::{EntryKind, Limits, NoRecorder, TarReader};

    #[test]
    fn what_is_written_is_read_again() -> Result<(), Box<dyn std::error::Error>> {
        let mut nothing = NoRecorder;
        let long = "n".repeat(150);
        let entry = Entry {
            uid: 3_000_000,
            xattrs: vec![("user.a".into(), b"x\0y".to_vec())],
            mtime: (-5, 0),
            ..Entry::plain(&long, 3)
        };
        let link = Entry {
            kind: EntryKind::Symlink,
            link: "ü".repeat(80).into_bytes(),
            ..Entry::plain("l", 0)
        };
        let mut writer = TarWriter::new(Vec::new(), &mut nothing);
        writer.file(&entry, std::path::Path::new("x"), &b"abc"[..])?;
        writer.header(&link)?;
        let archive = writer.finish()?;
        let mut nothing = NoRecorder;
        let mut reader = TarReader::new(&archive[..], Limits::default(), &mut nothing);
        let got = reader.next_entry()?.ok_or("no entry")?;
        let mut content = String::new();
        reader.read_to_string(&mut content)?;
        assert_eq!(
            (got.name, got.uid, got.mtime, got.xattrs, content.as_str()),
            (long.into_bytes(), 3_000_000, (-5, 0), entry.xattrs, "abc")
        );
        assert_eq!(reader.next_entry()?.ok_or("no entry")?.link, link.link);
        assert!(reader.next_entry()?.is_none());
        Ok(())
    }
}
