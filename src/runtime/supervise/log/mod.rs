//! Reading a container's log: the keeper's json-file records, framed for clients of the Docker API.
//!
//! ```text
//! LOG.2(.gz) -> LOG.1(.gz) -> LOG --(tail: start offset)--> records --(since, until, stream)--> frames --> follow
//! ```
//! Following is event-driven: inotify on the file, and the container's own changes for its end.

mod record;
mod seek;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures_util::Stream;
use jiff::Timestamp;
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use self::record::LogRecord;
use self::seek::{Beginning, seek_to_tail, seek_to_time};
use super::container::Container;
use super::status::Status;

/// Pieces that are sent at once.
const CHUNK: usize = 64 << 10;
/// Pieces on the way to a slow client.
const QUEUE: usize = 16;

/// Whether something is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    #[default]
    Off,
}

impl From<bool> for Switch {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

/// What a client wants to read.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Standard output.
    pub stdout: Switch,
    /// Standard error.
    pub stderr: Switch,
    /// Not before, nanoseconds since the epoch.
    pub since: Option<i128>,
    /// Not after.
    pub until: Option<i128>,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// Times in front of lines.
    pub timestamps: Switch,
    /// What comes later too.
    pub follow: Switch,
    /// Attributes in front of lines.
    pub details: Switch,
}

/// Turns records into what the client gets.
#[derive(Debug)]
struct Writer {
    query: LogQuery,
    framed: bool,
    details: String,
    out: Vec<u8>,
    /// Whether the next record of each stream begins a line.
    at_line_start: [bool; 2],
    past_until: bool,
}

impl Writer {
    fn new(container: &Container, query: &LogQuery) -> Self {
        let (framed, details) =
            container.with(|record| (!record.has_terminal(), details_of(record)));
        Self {
            query: query.clone(),
            framed,
            details,
            out: Vec::with_capacity(CHUNK),
            at_line_start: [true; 2],
            past_until: false,
        }
    }

    fn take(&mut self, line: &[u8]) {
        // A record that cannot be read is half-written by a killed keeper: there is nothing in it to show.
        let Some(record) = LogRecord::read(line) else {
            return;
        };
        let is_error = record.is_error;
        let wanted = if is_error {
            self.query.stderr
        } else {
            self.query.stdout
        };
        if wanted == Switch::Off || !self.is_in_time(&record.time) {
            return;
        }
        let mut prefix = String::new();
        let start = &mut self.at_line_start[usize::from(is_error)];
        if *start {
            if self.query.timestamps == Switch::On {
                prefix = full_time(&record.time) + " ";
            }
            if self.query.details == Switch::On {
                prefix = prefix + &self.details + " ";
            }
        }
        *start = record.ends_line;
        if self.framed {
            let kind = if is_error { 2 } else { 1 };
            let length = prefix.len() + record.text.len() + usize::from(record.ends_line);
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            self.out.extend_from_slice(&[kind, 0, 0, 0]);
            self.out.extend_from_slice(&length.to_be_bytes());
        }
        self.out.extend_from_slice(prefix.as_bytes());
        self.out.extend_from_slice(&record.text);
        if record.ends_line {
            self.out.push(b'\n');
        }
    }

    fn is_in_time(&mut self, time: &str) -> bool {
        if self.query.since.is_none() && self.query.until.is_none() {
            return true;
        }
        let Ok(at) = time.parse::<Timestamp>() else {
            return true;
        };
        let at = at.as_nanosecond();
        let late = self.query.until.is_some_and(|until| at > until);
        self.past_until |= late;
        !late && self.query.since.is_none_or(|since| at >= since)
    }

    fn chunk(&mut self) -> Bytes {
        Bytes::from(std::mem::replace(&mut self.out, Vec::with_capacity(CHUNK)))
    }
}

/// Nine digits of nanoseconds, as Docker writes times in logs.
fn full_time(time: &str) -> String {
    let Some(bare) = time.strip_suffix('Z') else {
        return time.to_owned();
    };
    let (seconds, fraction) = bare.split_once('.').unwrap_or((bare, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

/// The labels and variables that the log's options name.
fn details_of(record: &super::record::Record) -> String {
    let options = record
        .host_config
        .log_config
        .as_ref()
        .and_then(|log| log.config.clone());
    let options = options.unwrap_or_default();
    let named = |key: &str| -> Vec<String> {
        let list = options.get(key).map(String::as_str).unwrap_or_default();
        list.split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut found = BTreeMap::new();
    for name in named("labels") {
        if let Some(value) = record.label(&name) {
            found.insert(name, value.to_owned());
        }
    }
    let variables = record.config.env.clone().unwrap_or_default();
    for name in named("env") {
        let value = variables
            .iter()
            .find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        if let Some(value) = value {
            found.insert(name, value.to_owned());
        }
    }
    let pairs: Vec<_> = found
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// The log as a stream of pieces.
pub fn read(
    container: Arc<Container>,
    query: LogQuery,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let ended = send_all(&container, &query, &sender).await;
        if let Err(error) = ended {
            // A client that has left hears no error.
            let _left = sender.send(Err(error)).await;
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    })
}

type Sender = mpsc::Sender<io::Result<Bytes>>;

/// The current file, with what of it is not a whole line yet.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    file: Option<File>,
    rest: Vec<u8>,
}

async fn send_all(container: &Container, query: &LogQuery, sender: &Sender) -> io::Result<()> {
    let mut writer = Writer::new(container, query);
    let path = container.log_path();
    // The watch begins before the first read, so that nothing is missed in between.
    let mut pulse = container.pulse();
    let watch = match query.follow {
        Switch::On => Some(Watch::new(container.folder())?),
        Switch::Off => None,
    };
    let (mut tail, old) = tokio::task::block_in_place(|| open_at(&path, query))?;
    for mut source in old {
        if copy(&mut *source, &mut Vec::new(), &mut writer, sender).await? == Client::Left {
            return Ok(());
        }
    }
    loop {
        let ended = matches!(
            container.status(),
            Status::Exited | Status::Dead | Status::Removing
        ) || pulse.borrow_and_update().removed;
        if tail.read_on(&mut writer, sender).await? == Client::Left {
            return Ok(());
        }
        let Some(watch) = watch.as_ref().filter(|_| !ended && !writer.past_until) else {
            return Ok(());
        };
        let end = query.until.and_then(time_left);
        tokio::select! {
            changed = watch.changed() => changed?,
            _ = pulse.changed() => {}
            () = sender.closed() => return Ok(()),
            () = sleep_if(end) => return Ok(()),
        }
    }
}

fn time_left(until: i128) -> Option<Duration> {
    let left = until - Timestamp::now().as_nanosecond();
    Some(Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
}

async fn sleep_if(end: Option<Duration>) {
    match end {
        Some(end) => tokio::time::sleep(end).await,
        None => std::future::pending().await,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    There,
    Left,
}

/// Copies whole lines of a source; what is left of the last one stays in `rest`.
async fn copy(
    source: &mut (dyn Read + Send),
    rest: &mut Vec<u8>,
    writer: &mut Writer,
    sender: &Sender,
) -> io::Result<Client> {
    let mut block = vec![0; CHUNK];
    loop {
        let count = tokio::task::block_in_place(|| source.read(&mut block))?;
        if count == 0 {
            break;
        }
        rest.extend_from_slice(&block[..count]);
        let mut whole = 0;
        for end in memchr::memchr_iter(b'\n', rest) {
            if end > whole {
                writer.take(&rest[whole..end]);
            }
            whole = end + 1;
        }
        rest.drain(..whole);
        if writer.out.len() >= CHUNK && sender.send(Ok(writer.chunk())).await.is_err() {
            return Ok(Client::Left);
        }
    }
    if !writer.out.is_empty() && sender.send(Ok(writer.chunk())).await.is_err() {
        return Ok(Client::Left);
    }
    Ok(Client::There)
}

impl Tail {
    /// Reads what has come, through rotations.
    async fn read_on(&mut self, writer: &mut Writer, sender: &Sender) -> io::Result<Client> {
        loop {
            if self.file.is_none() {
                self.file = open_if_there(&self.path)?;
            }
            let Some(file) = &mut self.file else {
                return Ok(Client::There);
            };
            if copy(file, &mut self.rest, writer, sender).await? == Client::Left {
                return Ok(Client::Left);
            }
            let mine = file.metadata()?.ino();
            match std::fs::metadata(&self.path) {
                Ok(current) if current.ino() == mine => return Ok(Client::There),
                Ok(_) => {
                    self.file = None;
                    self.rest.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Client::There),
                Err(error) => return Err(error),
            }
        }
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

type Source = Box<dyn Read + Send>;

/// What of the log is still asked for, on the way from the newest file to older ones.
#[derive(Debug)]
struct Wanted {
    lines: Option<usize>,
    since: Option<i128>,
    /// Whether older files may have some of it.
    older: bool,
}

impl Wanted {
    /// Moves to where the file begins to be asked for.
    fn seek(&mut self, file: &mut (impl Read + Seek)) -> io::Result<()> {
        if let Some(lines) = &mut self.lines {
            *lines -= seek_to_tail(file, *lines)?;
            self.older &= *lines > 0;
        }
        if let Some(since) = self.since {
            self.older &= seek_to_time(file, since)? == Beginning::Later;
        }
        Ok(())
    }

    fn is_all(&self) -> bool {
        self.lines.is_none() && self.since.is_none()
    }
}

/// Opens the log so that what is asked for is ahead: the current file, and rotated ones to read before it.
fn open_at(path: &Path, query: &LogQuery) -> io::Result<(Tail, Vec<Source>)> {
    let mut wanted = Wanted {
        lines: query.tail,
        since: query.since,
        older: true,
    };
    let mut file = open_if_there(path)?;
    if let Some(file) = &mut file {
        wanted.seek(file)?;
    }
    let mut old: Vec<Source> = Vec::new();
    for number in 1.. {
        if !wanted.older || wanted.lines == Some(0) {
            break;
        }
        let Some(source) = open_rotated(path, number, &mut wanted)? else {
            break;
        };
        old.push(source);
    }
    old.reverse();
    let tail = Tail {
        path: path.to_owned(),
        file,
        rest: Vec::new(),
    };
    Ok((tail, old))
}

fn open_rotated(path: &Path, number: u32, wanted: &mut Wanted) -> io::Result<Option<Source>> {
    let name = |suffix: &str| PathBuf::from(format!("{}.{number}{suffix}", path.display()));
    if let Some(mut file) = open_if_there(&name(""))? {
        wanted.seek(&mut file)?;
        return Ok(Some(Box::new(file)));
    }
    let Some(file) = open_if_there(&name(".gz"))? else {
        return Ok(None);
    };
    if wanted.is_all() {
        return Ok(Some(Box::new(MultiGzDecoder::new(file))));
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(file).read_to_end(&mut text)?;
    let mut cursor = io::Cursor::new(text);
    wanted.seek(&mut cursor)?;
    Ok(Some(Box::new(cursor)))
}

/// Changes of a folder's files.
#[derive(Debug)]
pub(super) struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let descriptor = inotify::init(flags)?;
        let news = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&descriptor, folder, news)?;
        #[expect(
            deprecated,
            reason = "the new constructor is unsafe; an `OwnedFd` keeps what it asks for"
        )]
        let registered = AsyncFd::new(descriptor)?;
        Ok(Self(registered))
    }

    pub(super) async fn changed(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut buffer = [0_u8; 4096];
        // What changed does not matter: the file is read on in any case.
        while rustix::io::read(self.0.get_ref(), &mut buffer).is_ok_and(|count| count > 0) {}
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_nine_digits() {
        assert_eq!(
            full_time("2026-01-02T03:04:05.1Z"),
            "2026-01-02T03:04:05.100000000Z"
        );
        assert_eq!(
            full_time("2026-01-02T03:04:05Z"),
            "2026-01-02T03:04:05.000000000Z"
        );
    }
}
