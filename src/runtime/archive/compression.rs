//! Compressed streams, told apart by their first bytes.

use std::io::{self, BufReader, Chain, Cursor, Read};

use super::ArchiveError;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

const MAGIC: [(&[u8], Compression); 4] = [
    (&[0x1f, 0x8b], Compression::Gzip),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
    (b"BZh", Compression::Bzip2),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
];

const HEAD: usize = 6;
/// Memory an xz stream may ask for, in KiB: more than `xz -9` needs.
const XZ_MEMORY: u32 = 128 * 1024;

impl Compression {
    /// Tells by the first six bytes.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        MAGIC
            .iter()
            .find(|(magic, _)| head.starts_with(magic))
            .map_or(Self::Plain, |(_, kind)| *kind)
    }
}

/// The plain bytes of a stream that may be compressed.
///
/// # Errors
/// When the first bytes cannot be read.
pub fn decompress<'a>(
    mut stream: impl Read + Send + 'a,
) -> Result<Box<dyn Read + Send + 'a>, ArchiveError> {
    let mut head = Vec::with_capacity(HEAD);
    stream
        .by_ref()
        .take(HEAD as u64)
        .read_to_end(&mut head)
        .map_err(ArchiveError::Read)?;
    let kind = Compression::of(&head);
    let whole: BufReader<Chain<Cursor<Vec<u8>>, _>> =
        BufReader::with_capacity(128 * 1024, Cursor::new(head).chain(stream));
    Ok(match kind {
        Compression::Plain => Box::new(whole),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_buffer(whole).map_err(ArchiveError::Read)?)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(whole, true, XZ_MEMORY)),
    })
}

/// Reads on to the end; the rest is only padding, and is bounded.
pub(super) fn drain(
    mut stream: impl Read,
    limit: u64,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ArchiveError> {
    let mut buffer = [0; 16 * 1024];
    let mut left = limit;
    loop {
        let n = stream.read(&mut buffer).map_err(ArchiveError::Read)?;
        if n == 0 {
            return Ok(());
        }
        left = left.checked_sub(n as u64).ok_or(ArchiveError::TooLarge {
            what: "bytes after its end",
            limit,
        })?;
        each(&buffer[..n]).map_err(ArchiveError::Write)?;
    }
}
