//! A tar stream as entries, within limits.

use std::io::{self, Read};

use super::compression::drain;
use super::entry::{BLOCK, Entry, Extension, Header, malformed, sparse_pieces};
use super::{ArchiveError, Recorder};

/// The map of a sparse file may be this many times longer than other extended headers: an image of a disk has many
/// pieces.
const SPARSE_SHARE: u64 = 16;

/// How much an archive may contain.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all contents together, holes counted.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of a name.
    pub name: usize,
    /// Bytes of all extended headers of one entry.
    pub extension: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 4_000_000,
            name: 4096,
            extension: 1 << 20,
        }
    }
}

/// Reads entries one after the other; as [`Read`] it is the content of the present entry.
pub struct TarReader<'a, R> {
    stream: R,
    recorder: &'a mut dyn Recorder,
    limits: Limits,
    /// Content of the present entry that was not read yet.
    left: u64,
    padding: u64,
    bytes: u64,
    entries: u64,
}

impl<R> std::fmt::Debug for TarReader<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarReader")
            .field("bytes", &self.bytes)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl<'a, R: Read> TarReader<'a, R> {
    /// Reads a plain (decompressed) stream.
    pub fn new(stream: R, limits: Limits, recorder: &'a mut dyn Recorder) -> Self {
        Self {
            stream,
            recorder,
            limits,
            left: 0,
            padding: 0,
            bytes: 0,
            entries: 0,
        }
    }

    /// Number of the present entry, from 1.
    pub(super) fn number(&self) -> u64 {
        self.entries
    }

    /// Bytes of content so far.
    pub(super) fn content_bytes(&self) -> u64 {
        self.bytes
    }

    /// Tells the recorder that the content of the present entry is kept in the file at `path`.
    pub(super) fn content_is_at(&mut self, path: &std::path::Path) -> Result<(), ArchiveError> {
        self.recorder
            .content(self.entries, path, self.left)
            .map_err(ArchiveError::Write)
    }

    /// The next entry, or `None` at the end, when the whole stream has been read.
    ///
    /// # Errors
    /// When the stream breaks, is no tar archive, or exceeds a limit.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.finish_entry()?;
        let mut extension = Extension::default();
        let mut extended = 0;
        loop {
            let Some(block) = self.header_block()? else {
                return Ok(None);
            };
            let header = Header::verified(&block)?;
            if !matches!(header.flag(), b'x' | b'g' | b'L' | b'K') {
                return self.start_entry(&header, extension).map(Some);
            }
            extended = header.size()?.saturating_add(extended);
            if extended > self.limits.extension {
                return Err(ArchiveError::TooLarge {
                    what: "bytes of extended headers",
                    limit: self.limits.extension,
                });
            }
            let value = self.recorded(header.size()?)?;
            match header.flag() {
                b'x' => extension.add_pax(&value)?,
                b'L' => extension.path = Some(until_nul(value)),
                b'K' => extension.link = Some(until_nul(value)),
                _ => {}
            }
        }
    }

    fn start_entry(
        &mut self,
        header: &Header<'_>,
        extension: Extension,
    ) -> Result<Entry, ArchiveError> {
        let mut entry = header.entry(extension)?;
        let mut real_size = entry.size;
        if header.flag() == b'S' {
            let (mut sparse, mut more) = header.sparse()?;
            let limit = self.limits.extension.saturating_mul(SPARSE_SHARE);
            let mut mapped = 0;
            while more {
                mapped += BLOCK as u64;
                if mapped > limit {
                    return Err(ArchiveError::TooLarge {
                        what: "bytes of the map of a sparse file",
                        limit,
                    });
                }
                let block = self.recorded(BLOCK as u64)?;
                sparse.pieces.extend(sparse_pieces(&block[..504])?);
                more = block[504] != 0;
            }
            check_sparse(&sparse, entry.size)?;
            real_size = sparse.size;
            entry.sparse = Some(sparse);
        }
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(real_size.max(entry.size));
        if self.entries > self.limits.entries {
            return Err(ArchiveError::TooLarge {
                what: "entries",
                limit: self.limits.entries,
            });
        }
        if self.bytes > self.limits.bytes {
            return Err(ArchiveError::TooLarge {
                what: "bytes",
                limit: self.limits.bytes,
            });
        }
        self.left = entry.size;
        self.padding = entry.size.next_multiple_of(BLOCK as u64) - entry.size;
        Ok(entry)
    }

    /// Records what is left of the present entry, and its padding.
    fn finish_entry(&mut self) -> Result<(), ArchiveError> {
        let rest = self.left + self.padding;
        self.left = 0;
        self.padding = 0;
        let recorder = &mut *self.recorder;
        let mut short = rest;
        drain(self.stream.by_ref().take(rest), u64::MAX, |bytes| {
            short -= bytes.len() as u64;
            recorder.raw(bytes)
        })?;
        if short == 0 { Ok(()) } else { Err(truncated()) }
    }

    /// The next block that is not the end, which is two blocks of zeros or the end of the stream.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block.iter().any(|b| *b != 0) {
            return Ok(Some(block));
        }
        match self.block()? {
            Some(second) if second.iter().any(|b| *b != 0) => {
                Err(malformed("a block of zeros between entries"))
            }
            Some(_) => {
                let recorder = &mut *self.recorder;
                drain(&mut self.stream, 1 << 30, |bytes| recorder.raw(bytes))?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.stream.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(truncated()),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
        self.recorder.raw(&block).map_err(ArchiveError::Write)?;
        Ok(Some(block))
    }

    /// Reads and records `size` bytes and their padding.
    fn recorded(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > self.limits.extension {
            return Err(ArchiveError::TooLarge {
                what: "bytes of extended headers",
                limit: self.limits.extension,
            });
        }
        let padded = size.next_multiple_of(BLOCK as u64);
        let mut value = Vec::new();
        self.stream
            .by_ref()
            .take(padded)
            .read_to_end(&mut value)
            .map_err(ArchiveError::Read)?;
        if (value.len() as u64) < padded {
            return Err(truncated());
        }
        self.recorder.raw(&value).map_err(ArchiveError::Write)?;
        value.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(value)
    }

    /// Like [`Read::read`], but the bytes are recorded.
    pub(super) fn read_recorded(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.read(buffer)?;
        self.recorder.raw(&buffer[..n])?;
        Ok(n)
    }
}

impl<R: Read> Read for TarReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.stream.read(&mut buffer[..most])?;
        if n == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends within a file",
            ));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

fn check_sparse(sparse: &super::entry::Sparse, stored: u64) -> Result<(), ArchiveError> {
    let mut end = 0u64;
    let mut content = 0u64;
    for (offset, length) in &sparse.pieces {
        let next = offset
            .checked_add(*length)
            .filter(|next| *offset >= end && *next <= sparse.size);
        end = next.ok_or_else(|| malformed("sparse map with pieces out of order"))?;
        content += length;
    }
    if content == stored {
        Ok(())
    } else {
        Err(malformed("sparse map that does not fit the content"))
    }
}

fn until_nul(mut value: Vec<u8>) -> Vec<u8> {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    value.truncate(end);
    value
}

fn truncated() -> ArchiveError {
    ArchiveError::Read(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the archive ends too early",
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::{Limits, TarReader};
    use crate::runtime::archive::{Entry, NoRecorder, TarWriter};

    /// Reads an archive to its end or to the first error; neither may panic, hang or take much memory.
    fn read_all(archive: &[u8]) {
        let mut nothing = NoRecorder;
        let limits = Limits {
            bytes: 1 << 20,
            ..Limits::default()
        };
        let mut reader = TarReader::new(archive, limits, &mut nothing);
        while let Ok(Some(_)) = reader.next_entry() {
            let mut content = Vec::new();
            if reader.read_to_end(&mut content).is_err() {
                return;
            }
        }
    }

    fn sample() -> Vec<u8> {
        let mut nothing = NoRecorder;
        let mut writer = TarWriter::new(Vec::new(), &mut nothing);
        let long = "n".repeat(120);
        let written = writer
            .header(&Entry::directory("d"))
            .and_then(|()| writer.bytes(&long, b"content"))
            .and_then(|()| writer.bytes("d/f", &[7; 700]));
        assert!(written.is_ok());
        writer.finish().unwrap_or_default()
    }

    /// An entry of the old form for sparse files, whose map goes on and on.
    fn endless_map(blocks: usize) -> Vec<u8> {
        let mut archive = sample();
        archive.truncate(512);
        archive[156] = b'S';
        archive[257..265].copy_from_slice(b"ustar  \0");
        archive[386..496].fill(0);
        archive[482] = 1;
        archive[148..156].fill(b' ');
        let sum: u32 = archive.iter().map(|byte| u32::from(*byte)).sum();
        archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut block = [0; 512];
        block[504] = 1;
        archive.extend(std::iter::repeat_n(block, blocks).flatten());
        archive
    }

    #[test]
    fn the_map_of_a_sparse_file_is_bounded() {
        let mut nothing = NoRecorder;
        let limits = Limits {
            extension: 1024,
            ..Limits::default()
        };
        let archive = endless_map(100);
        let mut reader = TarReader::new(archive.as_slice(), limits, &mut nothing);
        let refused = reader.next_entry().err().map(|error| error.to_string());
        assert!(
            refused.as_ref().is_some_and(|error| error.contains("map")),
            "{refused:?}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            read_all(&bytes);
        }

        #[test]
        fn a_changed_archive_is_read_or_refused(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
            let mut archive = sample();
            let length = archive.len();
            for (index, byte) in changes {
                archive[index.index(length)] = byte;
            }
            read_all(&archive);
        }
    }
}
