//! An engine that answers from a list: enough of the Docker API for the commands that only read, without any engine.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// The server; it ends with the process.
#[derive(Debug)]
pub(crate) struct StubEngine {
    socket: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
}

type Routes = Vec<(&'static str, u16, Value)>;

impl StubEngine {
    /// Listens in a folder. A route is the beginning of `METHOD /path`, a status and a body.
    pub(crate) fn start(folder: &Path, routes: Routes) -> io::Result<Self> {
        let socket = folder.join("stub.sock");
        let listener = UnixListener::bind(&socket)?;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let routes = Arc::new(routes);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (routes, seen) = (Arc::clone(&routes), Arc::clone(&seen));
                // A client that goes away before its answer is its own affair.
                std::thread::spawn(move || answer(&stream, &routes, &seen).ok());
            }
        });
        Ok(Self { socket, requests })
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The requests so far: `GET /containers/json?all=true…`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(stream: &UnixStream, routes: &Routes, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    io::copy(&mut io::Read::take(&mut reader, length), &mut io::sink())?;
    let request = first.rsplit_once(' ').map_or("", |(request, _)| request);
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request.to_owned());
    let version = json!({ "ApiVersion": "1.51", "Version": "28.0.0" });
    let (status, body) = routes
        .iter()
        .find(|(start, ..)| request.starts_with(start))
        .map_or_else(
            || match request {
                "GET /version" => (200, version),
                other => (404, json!({ "message": format!("no route for {other}") })),
            },
            |(_, status, body)| (*status, body.clone()),
        );
    let body = body.to_string();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A container as the engine lists it.
pub(crate) fn container(name: &str, service: &str, number: u32, status: &str) -> Value {
    let state = if status.starts_with("Up") {
        "running"
    } else {
        "exited"
    };
    json!({
        "Id": format!("{name:0>64}").replace(|letter: char| !letter.is_ascii_hexdigit(), "0"),
        "Names": [format!("/{name}")],
        "Image": "busybox",
        "ImageID": "sha256:1234",
        "Command": "sh -c 'echo \"hello\"; sleep 100'",
        "Created": 1_700_000_000,
        "State": state,
        "Status": status,
        "Ports": [
            { "IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp" },
            { "PrivatePort": 9000, "Type": "tcp" },
        ],
        "Labels": {
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": service,
            "com.docker.compose.container-number": number.to_string(),
            "com.docker.compose.config-hash": "x",
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.project.config_files": "/srv/shop/compose.yaml",
        },
    })
}
