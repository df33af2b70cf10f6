//! The log drivers `syslog` and `journald`: what the keeper writes into the container's own log is passed on from
//! there, so that `logs` shows it too and nothing is lost while the other side is away.
//!
//! ```text
//! keeper --> LOG --read on, place in forward.json--> syslog (udp, tcp, unix) | journald
//! ```
//! The place is noted after each batch: after a killed engine the last batch may come twice, but none is missing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};

use super::Supervisor;
use super::container::Container;
use super::log::Watch;
use super::record::{Record, read_json, write_json};
use crate::runtime::error::{RuntimeError, RuntimeResult};

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";
/// Records that are passed on between two notes of the place.
const BATCH: usize = 256;
const PATIENCE: Duration = Duration::from_secs(5);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Journal(PathBuf),
    Unix(PathBuf),
    Udp(String),
    Tcp(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Local,
    Rfc3164,
    Rfc5424,
    Rfc5424Micro,
}

/// A forwarding driver with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forward {
    address: Address,
    facility: u8,
    format: Format,
    tag: String,
    fields: Vec<(String, String)>,
}

/// The forwarding that a container asks for.
///
/// # Errors
/// When an option cannot be honoured.
pub(super) fn wanted(record: &Record) -> RuntimeResult<Option<Forward>> {
    let Some(config) = record.host_config.log_config.as_ref() else {
        return Ok(None);
    };
    let none = HashMap::new();
    let options = config.config.as_ref().unwrap_or(&none);
    let option = |name: &str| {
        options
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    };
    let address = match config.typ.as_deref() {
        Some("journald") => Address::Journal(JOURNAL.into()),
        Some("syslog") => parse_address(option("syslog-address"))?,
        _ => return Ok(None),
    };
    Ok(Some(Forward {
        address,
        facility: parse_facility(option("syslog-facility").unwrap_or("daemon"))?,
        format: match option("syslog-format") {
            None => Format::Local,
            Some("rfc3164") => Format::Rfc3164,
            Some("rfc5424") => Format::Rfc5424,
            Some("rfc5424micro") => Format::Rfc5424Micro,
            Some(other) => {
                return Err(RuntimeError::invalid(format!(
                    "Invalid syslog format: {other}"
                )));
            }
        },
        tag: tag(record, option("tag").unwrap_or("{{.ID}}")),
        fields: journal_fields(record),
    }))
}

fn parse_address(text: Option<&str>) -> RuntimeResult<Address> {
    let Some(text) = text else {
        return Ok(Address::Unix(SYSLOG.into()));
    };
    let refuse = |why: &str| RuntimeError::invalid(format!("syslog-address {text:?}: {why}"));
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| refuse("should be in form proto://address"))?;
    let with_port = |rest: &str| {
        let has_port = rest
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if has_port {
            rest.to_owned()
        } else {
            format!("{rest}:514")
        }
    };
    match scheme {
        "unix" | "unixgram" => Ok(Address::Unix(rest.into())),
        "udp" => Ok(Address::Udp(with_port(rest))),
        "tcp" => Ok(Address::Tcp(with_port(rest))),
        "tcp+tls" => Err(refuse(
            "TLS is not spoken by this engine; use a local relay",
        )),
        _ => Err(refuse("unsupported protocol")),
    }
}

fn parse_facility(text: &str) -> RuntimeResult<u8> {
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4",
        "local5", "local6", "local7",
    ];
    let named = NAMES.iter().position(|name| *name == text);
    let number = named
        .or_else(|| text.parse().ok())
        .filter(|number| *number < 24);
    number
        .and_then(|number| u8::try_from(number).ok())
        .ok_or_else(|| RuntimeError::invalid(format!("invalid syslog facility: {text}")))
}

/// Fills in what the template of the tag names.
fn tag(record: &Record, template: &str) -> String {
    let short = record.id.get(..12).unwrap_or(&record.id);
    let image = record.config.image.as_deref().unwrap_or_default();
    template
        .replace("{{.ID}}", short)
        .replace("{{.FullID}}", &record.id)
        .replace("{{.Name}}", &record.name)
        .replace("{{.ImageName}}", image)
        .replace("{{.ImageFullID}}", &record.image)
        .replace("{{.DaemonName}}", "docker")
}

fn journal_fields(record: &Record) -> Vec<(String, String)> {
    let short = record.id.get(..12).unwrap_or(&record.id);
    let image = record.config.image.clone().unwrap_or_default();
    [
        ("CONTAINER_ID", short.to_owned()),
        ("CONTAINER_ID_FULL", record.id.clone()),
        ("CONTAINER_NAME", record.name.clone()),
        ("IMAGE_NAME", image),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// A record of the log.
#[derive(Debug, Deserialize)]
struct Line {
    log: String,
    stream: String,
    time: Timestamp,
}

impl Forward {
    /// What is sent for a line.
    fn message(&self, line: &Line) -> Vec<u8> {
        let text = line.log.trim_end_matches('\n');
        let severity = if line.stream == "stderr" { 3 } else { 6 };
        if let Address::Journal(_) = self.address {
            return self.journal_message(text, severity, line.time);
        }
        let priority = u32::from(self.facility) * 8 + severity;
        let (tag, pid) = (&self.tag, std::process::id());
        let local = line.time.to_zoned_datetime(TimeZone::system());
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let whole = match self.format {
            Format::Local => format!(
                "<{priority}>{} {tag}[{pid}]: {text}",
                local.strftime("%b %e %H:%M:%S")
            ),
            Format::Rfc3164 => {
                format!(
                    "<{priority}>{} {host} {tag}[{pid}]: {text}",
                    local.strftime("%b %e %H:%M:%S")
                )
            }
            Format::Rfc5424 => {
                format!(
                    "<{priority}>1 {} {host} {tag} {pid} {tag} - {text}",
                    local.strftime("%Y-%m-%dT%H:%M:%S%:z")
                )
            }
            Format::Rfc5424Micro => {
                let time = local.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z");
                format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - {text}")
            }
        };
        let mut whole = whole.into_bytes();
        whole.push(b'\n');
        whole
    }

    fn journal_message(&self, text: &str, severity: u32, time: Timestamp) -> Vec<u8> {
        let mut message = Vec::new();
        let fixed = [
            ("PRIORITY".to_owned(), severity.to_string()),
            ("SYSLOG_IDENTIFIER".to_owned(), self.tag.clone()),
            ("CONTAINER_TAG".to_owned(), self.tag.clone()),
            ("SYSLOG_TIMESTAMP".to_owned(), time.to_string()),
            ("MESSAGE".to_owned(), text.to_owned()),
        ];
        for (name, value) in fixed.iter().chain(&self.fields) {
            // With its length in front, a value may contain anything.
            message.extend_from_slice(name.as_bytes());
            message.push(b'\n');
            message.extend_from_slice(&(value.len() as u64).to_le_bytes());
            message.extend_from_slice(value.as_bytes());
            message.push(b'\n');
        }
        message
    }

    async fn connect(&self) -> io::Result<Connection> {
        let connecting = async {
            Ok(match &self.address {
                Address::Journal(path) => Connection::Datagram(unix_datagram(path)?),
                // As syslog(3) does: most daemons take datagrams, some a stream.
                Address::Unix(path) => match unix_datagram(path) {
                    Ok(socket) => Connection::Datagram(socket),
                    Err(_) => Connection::Stream(UnixStream::connect(path).await?),
                },
                Address::Udp(address) => {
                    let to = tokio::net::lookup_host(address).await?.next();
                    let to = to.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                    let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(from).await?;
                    socket.connect(to).await?;
                    Connection::Udp(socket)
                }
                Address::Tcp(address) => Connection::Tcp(TcpStream::connect(address).await?),
            })
        };
        tokio::time::timeout(PATIENCE, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn unix_datagram(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

#[derive(Debug)]
enum Connection {
    Datagram(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Connection {
    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let whole = message.strip_suffix(b"\n").unwrap_or(message);
        match self {
            Self::Datagram(socket) => socket.send(message).await.map(drop),
            // Over UDP the datagram is the frame.
            Self::Udp(socket) => socket.send(whole).await.map(drop),
            Self::Stream(stream) => stream.write_all(message).await,
            Self::Tcp(stream) => stream.write_all(message).await,
        }
    }
}

/// How far a container's log was passed on.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Place {
    file: u64,
    offset: u64,
}

impl Supervisor {
    /// Refuses a start whose lines would have nowhere to go.
    pub(super) async fn check_forward(&self, container: &Container) -> RuntimeResult<()> {
        let Some(forward) = container.with(wanted)? else {
            return Ok(());
        };
        forward
            .connect()
            .await
            .map(drop)
            .map_err(|source| RuntimeError::internal("failed to initialize logging driver", source))
    }

    /// Passes the log of a container on, where it asks for that.
    pub(super) fn watch_forward(self: &Arc<Self>, container: &Arc<Container>) {
        let Ok(Some(forward)) = container.with(wanted) else {
            return;
        };
        let watched = Arc::clone(container);
        let task = tokio::spawn(async move {
            // A connection that breaks is made again; what was not passed on is read again.
            while let Err(error) = pass_on(&watched, &forward).await {
                tracing::warn!(container = watched.id(), %error, "cannot pass the log on; trying again");
                tokio::time::sleep(PATIENCE).await;
                if watched.pulse().borrow().removed {
                    return;
                }
            }
        });
        let mut forwards = container
            .forward
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = forwards.replace(task.abort_handle()) {
            old.abort();
        }
    }
}

async fn pass_on(container: &Container, forward: &Forward) -> io::Result<()> {
    let mut connection = forward.connect().await?;
    let note = container.folder().join("forward.json");
    let mut place: Place = read_json(&note).unwrap_or_default();
    let watch = Watch::new(container.folder())?;
    let mut pulse = container.pulse();
    loop {
        let over = !container.status().is_running() || pulse.borrow_and_update().removed;
        loop {
            let (lines, next) =
                tokio::task::block_in_place(|| read_on(&container.log_path(), place))?;
            for line in &lines {
                connection.send(&forward.message(line)).await?;
            }
            let moved = (next.file, next.offset) != (place.file, place.offset);
            place = next;
            if moved {
                tokio::task::block_in_place(|| write_json(&note, &place))?;
            } else {
                break;
            }
        }
        if over {
            return Ok(());
        }
        tokio::select! {
            changed = watch.changed() => changed?,
            _ = pulse.changed() => {}
        }
    }
}

/// The next lines from a place: in the file that it names, under whatever name that has by now, else in the oldest.
fn read_on(log: &Path, place: Place) -> io::Result<(Vec<Line>, Place)> {
    let mut files = log_files(log)?;
    let known = files.iter().position(|(number, _)| *number == place.file);
    let at = known.unwrap_or(0);
    if files.is_empty() {
        return Ok((Vec::new(), place));
    }
    let last = at + 1 == files.len();
    let (number, file) = files.swap_remove(at);
    let offset = if known.is_some() { place.offset } else { 0 };
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(offset))?;
    let mut next = Place {
        file: number,
        offset,
    };
    let mut lines = Vec::new();
    let mut text = Vec::new();
    while lines.len() < BATCH {
        text.clear();
        let count = reader.by_ref().take(1 << 20).read_until(b'\n', &mut text)?;
        if text.last() != Some(&b'\n') {
            break;
        }
        next.offset += count as u64;
        // A record that cannot be read has nothing in it to pass on.
        lines.extend(serde_json::from_slice::<Line>(&text));
    }
    if lines.is_empty() && !last {
        // This file is done with: on to the next newer one.
        let newer = log_files(log)?.into_iter().nth(at + 1);
        next = newer.map_or(next, |(file, _)| Place { file, offset: 0 });
    }
    Ok((lines, next))
}

/// The log's files that are not compressed, oldest first, by their inodes.
fn log_files(log: &Path) -> io::Result<Vec<(u64, File)>> {
    let mut files = Vec::new();
    let rotated = (1..100).rev().map(|number| {
        let mut name = log.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    for path in rotated.chain([log.to_owned()]) {
        match fs::File::open(&path) {
            Ok(file) => files.push((file.metadata()?.ino(), file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn forward(address: Address, format: Format) -> Forward {
        Forward {
            address,
            facility: 3,
            format,
            tag: "web".into(),
            fields: vec![("CONTAINER_NAME".into(), "shop-web-1".into())],
        }
    }

    fn line(text: &str, stream: &str) -> Result<Line, jiff::Error> {
        Ok(Line {
            log: text.into(),
            stream: stream.into(),
            time: "2026-01-02T03:04:05.123456789Z".parse()?,
        })
    }

    #[test]
    fn addresses_and_facilities_are_read() {
        let of = |text| parse_address(Some(text)).ok();
        assert_eq!(
            of("udp://10.0.0.1"),
            Some(Address::Udp("10.0.0.1:514".into()))
        );
        assert_eq!(
            of("tcp://log.example:1514"),
            Some(Address::Tcp("log.example:1514".into()))
        );
        assert_eq!(
            of("unixgram:///run/log"),
            Some(Address::Unix("/run/log".into()))
        );
        assert_eq!(
            parse_address(None).ok(),
            Some(Address::Unix("/dev/log".into()))
        );
        assert!(
            of("tcp+tls://x").is_none() && of("log.example").is_none() && of("http://x").is_none()
        );
        assert_eq!(parse_facility("local7").ok(), Some(23));
        assert_eq!(parse_facility("4").ok(), Some(4));
        assert!(parse_facility("24").is_err() && parse_facility("nonsense").is_err());
    }

    #[test]
    fn messages_have_the_form_that_was_asked_for() -> TestResult {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let pid = std::process::id();
        let of = |format, stream: &str| -> Result<String, Box<dyn std::error::Error>> {
            let message =
                forward(Address::Udp(String::new()), format).message(&line("said\n", stream)?);
            Ok(String::from_utf8(message)?)
        };
        let local = of(Format::Local, "stdout")?;
        assert!(
            local.starts_with("<30>Jan  ") && local.ends_with(&format!(" web[{pid}]: said\n")),
            "{local}"
        );
        let old = of(Format::Rfc3164, "stderr")?;
        assert!(
            old.starts_with("<27>Jan  ") && old.ends_with(&format!(" {host} web[{pid}]: said\n")),
            "{old}"
        );
        let new = of(Format::Rfc5424Micro, "stdout")?;
        assert!(
            new.starts_with("<30>1 2026-01-0") && new.contains(".123456"),
            "{new}"
        );
        assert!(
            new.ends_with(&format!(" {host} web {pid} web - said\n")),
            "{new}"
        );
        Ok(())
    }

    #[test]
    fn the_journal_s_fields_carry_their_lengths() -> TestResult {
        let forward = forward(Address::Journal(JOURNAL.into()), Format::Local);
        let message = forward.message(&line("a\nb\n", "stderr")?);
        let text = String::from_utf8_lossy(&message);
        assert!(
            text.contains("MESSAGE\n\u{3}\0\0\0\0\0\0\0a\nb\n"),
            "{text:?}"
        );
        assert!(
            text.contains("PRIORITY\n\u{1}\0\0\0\0\0\0\x003\n"),
            "{text:?}"
        );
        assert!(text.contains("CONTAINER_NAME\n"));
        Ok(())
    }

    #[test]
    fn reading_goes_on_over_a_rotation() -> TestResult {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let say = |number: u32| -> io::Result<()> {
            let mut file = File::options().append(true).create(true).open(&log)?;
            writeln!(
                file,
                r#"{{"log":"{number}\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}}"#
            )
        };
        let (mut place, mut seen) = (Place::default(), Vec::new());
        let mut read_all = |seen: &mut Vec<String>| -> io::Result<()> {
            loop {
                let (lines, next) = read_on(&log, place)?;
                seen.extend(lines.into_iter().map(|line| line.log));
                if (next.file, next.offset) == (place.file, place.offset) {
                    return Ok(());
                }
                place = next;
            }
        };
        say(1)?;
        read_all(&mut seen)?;
        say(2)?;
        fs::rename(&log, folder.path().join("log.1"))?;
        say(3)?;
        read_all(&mut seen)?;
        say(4)?;
        read_all(&mut seen)?;
        assert_eq!(seen, ["1\n", "2\n", "3\n", "4\n"]);
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lines_arrive_over_udp_tcp_and_unix() -> TestResult {
        let folder = tempfile::tempdir()?;
        let udp = UdpSocket::bind("127.0.0.1:0").await?;
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let path = folder.path().join("socket");
        let unix = UnixDatagram::bind(&path)?;
        let mut buffer = [0; 1024];
        let said = line("said\n", "stdout")?;
        for address in [
            Address::Udp(udp.local_addr()?.to_string()),
            Address::Tcp(tcp.local_addr()?.to_string()),
            Address::Unix(path),
        ] {
            let forward = forward(address.clone(), Format::Local);
            let mut connection = forward.connect().await?;
            connection.send(&forward.message(&said)).await?;
            let count = match address {
                Address::Udp(_) => udp.recv(&mut buffer).await?,
                Address::Tcp(_) => {
                    let (mut stream, _) = tcp.accept().await?;
                    tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await?
                }
                Address::Unix(_) | Address::Journal(_) => unix.recv(&mut buffer).await?,
            };
            assert!(
                String::from_utf8_lossy(&buffer[..count])
                    .trim_end()
                    .ends_with("]: said")
            );
        }
        Ok(())
    }
}
