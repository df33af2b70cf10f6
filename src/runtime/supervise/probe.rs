//! Health probes that the engine does itself, in the container's network: no program in the image is needed.
//!
//! A container asks for one by a label: `hoist.health.http=8080/healthz`, `hoist.health.tcp=5432`,
//! `hoist.health.grpc=50051` (the standard health service, `50051/NAME` for one of its services). Before the port may
//! stand an address, `127.0.0.1:8080/`; without one it is the container's loopback. Times and retries are those of the
//! container's healthcheck.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::runtime::sys::netns;

/// The beginning of the labels.
const LABEL: &str = "hoist.health.";
/// Most of an answer that is read.
const MOST: usize = 64 * 1024;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    kind: Kind,
    address: Option<IpAddr>,
    port: u16,
    /// The path of a request, or the service that is asked about.
    rest: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Tcp,
    Grpc,
}

/// The probe that the labels ask for.
///
/// # Errors
/// A text that says what is wrong with the label.
pub(super) fn wanted(labels: Option<&HashMap<String, String>>) -> Result<Option<Probe>, String> {
    let mut found = None;
    for (name, value) in labels.into_iter().flatten() {
        let Some(kind) = name.strip_prefix(LABEL) else {
            continue;
        };
        let kind = match kind {
            "http" => Kind::Http,
            "tcp" => Kind::Tcp,
            "grpc" => Kind::Grpc,
            _ => return Err(format!("label {name}: a probe is http, tcp or grpc")),
        };
        let probe = parse(kind, value).ok_or_else(|| {
            format!(
                "label {name}: {value:?} is not a port with what to ask there: 8080/healthz, 5432"
            )
        })?;
        if found.replace(probe).is_some() {
            return Err(format!("label {name}: there is another {LABEL}* label"));
        }
    }
    Ok(found)
}

fn parse(kind: Kind, value: &str) -> Option<Probe> {
    let value = match kind {
        Kind::Http => value.strip_prefix("http://").unwrap_or(value),
        Kind::Tcp | Kind::Grpc => value,
    };
    let (place, rest) = match value.split_once('/') {
        Some((_, rest)) if kind == Kind::Tcp && !rest.is_empty() => return None,
        Some((place, rest)) => (place, rest),
        None => (value, ""),
    };
    let (host, port) = place.rsplit_once(':').unwrap_or(("", place));
    let address = match host.trim_matches(['[', ']']) {
        "" | "localhost" => None,
        host => Some(host.parse().ok()?),
    };
    // What is sent is a line of text: it must stay one.
    if rest.contains(|letter: char| letter.is_control() || letter == ' ') {
        return None;
    }
    Some(Probe {
        kind,
        address,
        port: port.parse().ok().filter(|port| *port != 0)?,
        rest: rest.to_owned(),
    })
}

impl Probe {
    /// Asks, in a network namespace; answers whether all is well, and a text.
    pub(super) fn ask(&self, namespace: BorrowedFd<'_>, patience: Duration) -> (bool, String) {
        let until = Instant::now() + patience;
        let answer = netns::inside(namespace, || self.connect(until))
            .and_then(|stream| stream)
            .and_then(|stream| match self.kind {
                Kind::Tcp => Ok((true, "connected".to_owned())),
                Kind::Http => self.ask_http(Timed { stream, until }),
                Kind::Grpc => self.ask_grpc(Timed { stream, until }),
            });
        answer.unwrap_or_else(|error| (false, format!("port {}: {error}", self.port)))
    }

    fn connect(&self, until: Instant) -> io::Result<TcpStream> {
        let loopback = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let hosts = match &self.address {
            Some(address) => std::slice::from_ref(address),
            None => &loopback,
        };
        let mut result = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        for host in hosts {
            let one = TcpStream::connect_timeout(&SocketAddr::new(*host, self.port), left(until)?);
            match one {
                Ok(stream) => return Ok(stream),
                // The first address is the one that people mean.
                Err(error)
                    if result
                        .as_ref()
                        .is_err_and(|known| known.kind() == io::ErrorKind::AddrNotAvailable) =>
                {
                    result = Err(error);
                }
                Err(_) => {}
            }
        }
        result
    }

    fn ask_http(&self, mut stream: Timed) -> io::Result<(bool, String)> {
        let host = self
            .address
            .map_or("localhost".to_owned(), |host| host.to_string());
        let request = format!(
            "GET /{} HTTP/1.1\r\nHost: {host}:{}\r\nUser-Agent: hoist-health\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.rest, self.port
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while !answer.contains(&b'\n') && answer.len() < MOST {
            match stream.read(&mut piece)? {
                0 => break,
                count => answer.extend_from_slice(&piece[..count]),
            }
        }
        let text = String::from_utf8_lossy(&answer);
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        let mut words = line.split(' ');
        let code = match (
            words.next(),
            words.next().and_then(|code| code.parse::<u16>().ok()),
        ) {
            (Some(version), Some(code)) if version.starts_with("HTTP/") => code,
            _ => return Ok((false, format!("no answer of HTTP: {line:?}"))),
        };
        Ok(((200..400).contains(&code), line))
    }

    /// One unary call of `grpc.health.v1.Health/Check`, written by hand: of the answer only the message matters.
    fn ask_grpc(&self, mut stream: Timed) -> io::Result<(bool, String)> {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &self.grpc_headers()))?;
        stream.write_all(&frame(DATA, END_STREAM, 1, &grpc_request(&self.rest)))?;
        let mut message = Vec::new();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head)?;
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            if length > MOST {
                return Ok((false, "no answer of gRPC".to_owned()));
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            let (kind, flags) = (head[3], head[4]);
            match kind {
                SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
                PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &body))?,
                DATA => {
                    let padding = usize::from(flags & PADDED != 0);
                    message.extend_from_slice(body.get(padding..).unwrap_or_default());
                    if let Some(status) = grpc_status(&message) {
                        return Ok((status == "SERVING", status.to_owned()));
                    }
                }
                RESET | GO_AWAY => return Ok((false, "the call was refused".to_owned())),
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return Ok((
                    false,
                    "the health service does not answer for it".to_owned(),
                ));
            }
        }
    }

    fn grpc_headers(&self) -> Vec<u8> {
        let authority = format!("localhost:{}", self.port);
        let headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority.as_str()),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        let mut block = Vec::new();
        for (name, value) in headers {
            // A literal that nobody indexes, without Huffman's code; all lengths are below 127.
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap_or(0));
                block.extend_from_slice(text.as_bytes());
            }
        }
        block
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

fn frame(kind: u8, flags: u8, stream: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(body);
    frame
}

/// `HealthCheckRequest { service = 1 }` with gRPC's prefix.
fn grpc_request(service: &str) -> Vec<u8> {
    let service = &service.as_bytes()[..service.len().min(120)];
    let mut message = Vec::new();
    if !service.is_empty() {
        message.extend_from_slice(&[0x0a, u8::try_from(service.len()).unwrap_or(0)]);
        message.extend_from_slice(service);
    }
    let mut whole = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap_or(0)];
    whole.extend_from_slice(&message);
    whole
}

/// The status of a whole `HealthCheckResponse { status = 1 }`.
fn grpc_status(message: &[u8]) -> Option<&'static str> {
    let (prefix, body) = message.split_at_checked(5)?;
    let length = usize::from(prefix[3]) << 8 | usize::from(prefix[4]);
    let body = body.get(..length)?;
    Some(match body {
        [0x08, 1, ..] => "SERVING",
        [0x08, 2, ..] => "NOT_SERVING",
        [0x08, 3, ..] => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    })
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// A connection of which all steps together have a time.
struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(buffer).map_err(said)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(bytes).map_err(said)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The kernel says of a time that is over that there is nothing now.
fn said(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::from(io::ErrorKind::TimedOut),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn of(label: &str, value: &str) -> Result<Option<Probe>, String> {
        wanted(Some(&HashMap::from([(label.to_owned(), value.to_owned())])))
    }

    #[test]
    fn labels_are_read() {
        let probe = |kind, address: Option<&str>, port, rest: &str| Probe {
            kind,
            address: address.and_then(|address| address.parse().ok()),
            port,
            rest: rest.to_owned(),
        };
        for (label, value, expected) in [
            (
                "hoist.health.http",
                "8080/healthz?a=b",
                probe(Kind::Http, None, 8080, "healthz?a=b"),
            ),
            (
                "hoist.health.http",
                "http://localhost:80/",
                probe(Kind::Http, None, 80, ""),
            ),
            (
                "hoist.health.http",
                "[::1]:80",
                probe(Kind::Http, Some("::1"), 80, ""),
            ),
            (
                "hoist.health.tcp",
                "127.0.0.2:5432",
                probe(Kind::Tcp, Some("127.0.0.2"), 5432, ""),
            ),
            (
                "hoist.health.grpc",
                "50051/my.Service",
                probe(Kind::Grpc, None, 50051, "my.Service"),
            ),
        ] {
            assert_eq!(of(label, value), Ok(Some(expected)), "{value}");
        }
        assert_eq!(of("hoist.other", "1"), Ok(None));
        for (label, value) in [
            ("hoist.health.http", "healthz"),
            ("hoist.health.http", "https://localhost/"),
            ("hoist.health.http", "80/a\r\nX: y"),
            ("hoist.health.tcp", "0"),
            ("hoist.health.tcp", "80/path"),
            ("hoist.health.smtp", "25"),
        ] {
            assert!(
                of(label, value).is_err_and(|text| text.contains(label)),
                "{value}"
            );
        }
    }

    /// Serves one connection: reads until `end` was seen, answers, closes.
    fn serve(end: &'static [u8], answer: Vec<u8>) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let (mut seen, mut piece) = (Vec::new(), [0; 1024]);
            while !seen.windows(end.len()).any(|window| window == end) {
                match stream.read(&mut piece)? {
                    0 => break,
                    count => seen.extend_from_slice(&piece[..count]),
                }
            }
            stream.write_all(&answer)
        });
        Ok(port)
    }

    fn ask(kind: Kind, port: u16) -> Result<(bool, String), Box<dyn std::error::Error>> {
        let own = std::fs::File::open("/proc/self/ns/net")?;
        let probe = Probe {
            kind,
            address: None,
            port,
            rest: "x".into(),
        };
        // Entering even one's own namespace needs root.
        if !rustix::process::geteuid().is_root() {
            let until = Instant::now() + Duration::from_secs(5);
            let stream = Timed {
                stream: probe.connect(until)?,
                until,
            };
            return Ok(match kind {
                Kind::Http => probe.ask_http(stream)?,
                Kind::Grpc => probe.ask_grpc(stream)?,
                Kind::Tcp => (true, "connected".into()),
            });
        }
        Ok(probe.ask(own.as_fd(), Duration::from_secs(5)))
    }

    #[test]
    fn an_answer_below_400_is_healthy() -> TestResult {
        for (status, healthy) in [
            ("200 OK", true),
            ("302 Found", true),
            ("404 Not Found", false),
            ("503 Busy", false),
        ] {
            let port = serve(
                b"\r\n\r\n",
                format!("HTTP/1.1 {status}\r\n\r\n").into_bytes(),
            )?;
            assert_eq!(
                ask(Kind::Http, port)?,
                (healthy, format!("HTTP/1.1 {status}"))
            );
        }
        let port = serve(b"\r\n\r\n", b"SSH-2.0\r\n".to_vec())?;
        assert!(!ask(Kind::Http, port)?.0);
        Ok(())
    }

    #[test]
    fn the_health_service_of_grpc_is_understood() -> TestResult {
        for (status, healthy) in [(1, true), (2, false)] {
            let mut answer = frame(SETTINGS, 0, 0, &[]);
            answer.extend(frame(HEADERS, END_HEADERS, 1, &[0x88]));
            answer.extend(frame(DATA, 0, 1, &[0, 0, 0, 0, 2, 8, status]));
            let port = serve(b"\x0a\x01x", answer)?;
            assert_eq!(ask(Kind::Grpc, port)?.0, healthy);
        }
        // Trailers only: the service is not there.
        let answer = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
        let port = serve(b"\x0a\x01x", answer)?;
        assert_eq!(
            ask(Kind::Grpc, port)?,
            (false, "the health service does not answer for it".into())
        );
        Ok(())
    }

    #[test]
    fn a_port_where_nobody_listens_is_not_healthy() -> TestResult {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        assert_eq!(ask(Kind::Tcp, port)?, (true, "connected".into()));
        drop(listener);
        let (healthy, text) =
            ask(Kind::Tcp, port).unwrap_or_else(|error| (false, format!("port: {error}")));
        assert!(!healthy && text.contains("refused"), "{text}");
        Ok(())
    }
}
