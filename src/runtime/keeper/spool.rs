//! What a container has said and its log does not have yet, kept where a killed keeper cannot lose it.
//!
//! Output goes from the fifo into a file by one `splice`: the kernel takes from the one exactly what it gives to the
//! other, also when a signal ends the keeper meanwhile. After every write to the log the mark says, in one small
//! write, how much of the spool the log has, and how long the log is. A new keeper cuts the log off at the mark, and
//! takes up the spool from there: no line is lost, none is there twice, and the beginning of a line waits for its end.
//!
//! ```text
//! fifo --splice--> spool.stdout, spool.stderr --Log::add--> log --commit--> spool.mark
//! ```

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{CWD, FallocateFlags, Mode, OFlags};
use rustix::pipe::SpliceFlags;

use super::log::{Log, Stream};

/// A spool gives back the space of what is done with in pieces of this size.
const PIECE: u64 = 256 * 1024;
const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// The spool of a container.
#[derive(Debug)]
pub(super) struct Spool {
    parts: [Part; 2],
    mark: File,
}

/// One stream of it; counts bytes since the container's start.
#[derive(Debug)]
struct Part {
    file: File,
    /// Bytes that came.
    end: u64,
    /// Bytes that the log has.
    done: u64,
    /// Bytes whose space was given back.
    freed: u64,
}

/// How far the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    done: [u64; 2],
    log_size: u64,
    log_file: u64,
}

impl Mark {
    const SIZE: usize = 32;

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let numbers = [self.done[0], self.done[1], self.log_size, self.log_file];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let mut numbers = bytes.chunks_exact(8).map(|chunk| {
            chunk
                .iter()
                .rev()
                .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        });
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            done: [next(), next()],
            log_size: next(),
            log_file: next(),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file: OwnedFd = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?;
    Ok(File::from(file))
}

impl Spool {
    /// The file that says how far the log is.
    pub(super) const MARK: &str = "spool.mark";

    /// Opens the spool of a container's run folder, and gives the log what a keeper before this one left in it.
    pub(super) fn open(run_dir: &Path, log: &mut Log) -> io::Result<Self> {
        let part = |stream: Stream| -> io::Result<Part> {
            let file = open(&run_dir.join(format!("spool.{}", stream.name())))?;
            Ok(Part {
                end: file.metadata()?.size(),
                file,
                done: 0,
                freed: 0,
            })
        };
        let mut spool = Self {
            parts: [part(Stream::Stdout)?, part(Stream::Stderr)?],
            mark: open(&run_dir.join(Self::MARK))?,
        };
        let mut bytes = [0; Mark::SIZE];
        if spool.mark.read_exact_at(&mut bytes, 0).is_ok() {
            spool.recover(log, Mark::from_bytes(bytes))?;
        }
        spool.commit(log)?;
        Ok(spool)
    }

    fn recover(&mut self, log: &mut Log, mark: Mark) -> io::Result<()> {
        log.cut(mark.log_file, mark.log_size)?;
        for (part, done) in self.parts.iter_mut().zip(mark.done) {
            part.done = done.min(part.end);
            part.freed = part.done / PIECE * PIECE;
        }
        let mut buffer = vec![0; 64 * 1024];
        for stream in STREAMS {
            let part = &self.parts[stream as usize];
            let (mut at, end) = (part.done, part.end);
            while at < end {
                let wanted = usize::try_from(end - at).unwrap_or(buffer.len());
                let count = wanted.min(buffer.len());
                self.parts[stream as usize]
                    .file
                    .read_exact_at(&mut buffer[..count], at)?;
                at += count as u64;
                log.add(stream, &buffer[..count]);
            }
        }
        Ok(())
    }

    /// Takes output from a fifo; 0 bytes are its end.
    pub(super) fn take(
        &mut self,
        stream: Stream,
        from: BorrowedFd<'_>,
        buffer: &mut [u8],
    ) -> rustix::io::Result<usize> {
        let part = &mut self.parts[stream as usize];
        let mut at = part.end;
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let count = rustix::pipe::splice(
            from,
            None,
            part.file.as_fd(),
            Some(&mut at),
            buffer.len(),
            flags,
        )?;
        let read = part.file.read_exact_at(&mut buffer[..count], part.end);
        part.end += count as u64;
        read.map(|()| count).map_err(|error| {
            rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
        })
    }

    /// Notes that the log has everything but the beginnings of lines that it waits with.
    pub(super) fn commit(&mut self, log: &Log) -> io::Result<()> {
        for stream in STREAMS {
            let part = &mut self.parts[stream as usize];
            part.done = part.end.saturating_sub(log.waiting(stream) as u64);
        }
        let (log_file, log_size) = log.position();
        let mark = Mark {
            done: [self.parts[0].done, self.parts[1].done],
            log_size,
            log_file,
        };
        self.mark.write_all_at(&mark.to_bytes(), 0)?;
        for part in &mut self.parts {
            part.free();
        }
        Ok(())
    }
}

impl Part {
    fn free(&mut self) {
        let pieces = self.done / PIECE * PIECE;
        if pieces > self.freed {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A file system that cannot do it keeps the bytes until the container ends.
            rustix::fs::fallocate(&self.file, flags, self.freed, pieces - self.freed)
                .unwrap_or_default();
            self.freed = pieces;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::container::request::{Compression, LogFile};
    use std::fs;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    struct Scene {
        folder: tempfile::TempDir,
        target: LogFile,
        read: OwnedFd,
        write: OwnedFd,
    }

    impl Scene {
        fn new(max_size: Option<u64>) -> Result<Self, Box<dyn std::error::Error>> {
            let folder = tempfile::tempdir()?;
            let target = LogFile {
                path: folder.path().join("log"),
                max_size,
                max_file: 100,
                compression: Compression::Plain,
            };
            let (read, write) = rustix::pipe::pipe()?;
            Ok(Self {
                folder,
                target,
                read,
                write,
            })
        }

        /// A keeper's life: takes what was said, and dies before or after it notes that the log has it.
        fn live(&self, says: &[&str], commits: bool) -> TestResult {
            let mut log = Log::open(&self.target)?;
            let mut spool = Spool::open(self.folder.path(), &mut log)?;
            let mut buffer = [0; 4096];
            for text in says {
                rustix::io::write(&self.write, text.as_bytes())?;
                let count = spool.take(Stream::Stdout, self.read.as_fd(), &mut buffer)?;
                log.add(Stream::Stdout, &buffer[..count]);
                if commits {
                    spool.commit(&log)?;
                }
            }
            Ok(())
        }

        fn said(&self) -> Result<String, Box<dyn std::error::Error>> {
            let mut names: Vec<_> = fs::read_dir(self.folder.path())?
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|name| name.starts_with("log"))
                .collect();
            names.sort_by_key(|name| {
                let number = name
                    .rsplit_once('.')
                    .and_then(|(_, number)| number.parse().ok());
                std::cmp::Reverse(number.unwrap_or(0_u32))
            });
            let mut said = String::new();
            for name in names {
                for line in fs::read_to_string(self.folder.path().join(name))?.lines() {
                    let value: serde_json::Value = serde_json::from_str(line)?;
                    said += value["log"].as_str().unwrap_or_default();
                }
            }
            Ok(said)
        }
    }

    #[test]
    fn a_line_is_whole_when_the_keeper_dies_in_its_middle() -> TestResult {
        for commits in [true, false] {
            let scene = Scene::new(None)?;
            scene.live(&["one\ntw"], commits)?;
            scene.live(&["o\nthr", "ee"], commits)?;
            scene.live(&["\n"], commits)?;
            scene.live(&[], commits)?;
            assert_eq!(scene.said()?, "one\ntwo\nthree\n");
        }
        Ok(())
    }

    #[test]
    fn a_torn_write_and_a_rotation_lose_and_double_nothing() -> TestResult {
        let scene = Scene::new(Some(150))?;
        let mut expected = String::new();
        for number in 0..30 {
            let line = format!("line {number}\n");
            expected += &line;
            scene.live(&[&line], number % 3 == 0)?;
            if number % 5 == 0 {
                // What a keeper leaves that dies in the middle of a write.
                let mut log = fs::OpenOptions::new()
                    .append(true)
                    .open(&scene.target.path)?;
                std::io::Write::write_all(&mut log, b"{\"log\":\"to")?;
            }
        }
        scene.live(&[], true)?;
        assert_eq!(scene.said()?, expected);
        Ok(())
    }
}
