//! What a layer's archive had besides the contents of its files, so that the same archive, byte for byte, can be
//! written again from the unpacked files.
//!
//! A gzip stream of frames: `R <length u32> <bytes>` raw bytes, `C <entry u64> <size u64> <length u16> <path>` the
//! content of a file.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use rustix::fs::OFlags;

use crate::runtime::archive::{Recorder, Root};

const FRAME_MAX: usize = 64 * 1024;

/// Writes the frames.
pub(super) struct SplitRecorder {
    file: GzEncoder<BufWriter<File>>,
    pending: Vec<u8>,
}

impl SplitRecorder {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: GzEncoder::new(BufWriter::new(File::create(path)?), Compression::fast()),
            pending: Vec::new(),
        })
    }

    fn flush_raw(&mut self) -> io::Result<()> {
        for chunk in self.pending.chunks(FRAME_MAX) {
            self.file.write_all(b"R")?;
            self.file
                .write_all(&u32::try_from(chunk.len()).unwrap_or(0).to_le_bytes())?;
            self.file.write_all(chunk)?;
        }
        self.pending.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush_raw()?;
        self.file.finish()?.flush()
    }
}

impl Recorder for SplitRecorder {
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= FRAME_MAX {
            self.flush_raw()
        } else {
            Ok(())
        }
    }

    fn content(&mut self, entry: u64, path: &Path, size: u64) -> io::Result<()> {
        self.flush_raw()?;
        let name = path.as_os_str().as_bytes();
        self.file.write_all(b"C")?;
        self.file.write_all(&entry.to_le_bytes())?;
        self.file.write_all(&size.to_le_bytes())?;
        self.file.write_all(
            &u16::try_from(name.len())
                .map_err(|_| io::Error::other("a path is too long"))?
                .to_le_bytes(),
        )?;
        self.file.write_all(name)
    }
}

/// Where the contents are: the unpacked files, and those that a later entry replaced.
pub(super) struct Contents<'a> {
    pub(super) diff: &'a Root,
    pub(super) replaced_dir: PathBuf,
    pub(super) replaced: &'a [(PathBuf, u64)],
}

impl Contents<'_> {
    fn open(&self, entry: u64, path: &Path) -> io::Result<File> {
        let later = self
            .replaced
            .iter()
            .position(|(replaced, by)| replaced == path && *by > entry);
        match later {
            Some(index) => File::open(self.replaced_dir.join(index.to_string())),
            None => Ok(File::from(self.diff.open_at(
                path,
                OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK,
            )?)),
        }
    }
}

/// Writes the archive again.
pub(super) fn assemble(
    split: &Path,
    contents: &Contents<'_>,
    archive: &mut dyn Write,
) -> io::Result<()> {
    let mut frames = GzDecoder::new(BufReader::new(File::open(split)?));
    let mut kind = [0];
    while frames.read(&mut kind)? == 1 {
        match kind[0] {
            b'R' => {
                let length = u32::from_le_bytes(array(&mut frames)?);
                io::copy(&mut frames.by_ref().take(length.into()), archive)?;
            }
            b'C' => {
                let entry = u64::from_le_bytes(array(&mut frames)?);
                let size = u64::from_le_bytes(array(&mut frames)?);
                let mut name = vec![0; u16::from_le_bytes(array(&mut frames)?).into()];
                frames.read_exact(&mut name)?;
                let path = Path::new(std::ffi::OsStr::from_bytes(&name));
                copy_exactly(contents.open(entry, path)?, size, archive)?;
            }
            _ => {
                return Err(io::Error::other(
                    "the record of a layer's archive is damaged",
                ));
            }
        }
    }
    Ok(())
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn copy_exactly(file: File, size: u64, archive: &mut dyn Write) -> io::Result<()> {
    if io::copy(&mut file.take(size), archive)? == size {
        Ok(())
    } else {
        Err(io::Error::other("a file of a layer is shorter than it was"))
    }
}
