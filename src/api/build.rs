//! `POST /build` and `POST /build/prune`: a context in a tar, a stream of messages.
//!
//! ```text
//! body --decompress, unpack--> a scratch directory --builder--> events --Printer--> {"stream": …} lines
//! ```
//!
//! Stages that are built at once are printed one after the other: the first unfinished stage is live, what the others
//! say waits for their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{block_in_place, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::bridge::{BodyReader, received};
use super::call::Call;
use super::reply::{RouteResult, json_ok, json_with, stream};
use super::router::page_not_found;
use crate::runtime::archive::{Devices, NoRecorder, Root, UnpackOptions, decompress, unpack};
use crate::runtime::build::{
    BuildError, BuildEvent, BuildRequest, CacheUse, DockerfileSource, Network, PullPolicy,
};
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::image::Reference;
use crate::runtime::registry::Credential;
use crate::runtime::supervise::{Credentials, Supervisor};

const QUEUE: usize = 64;

/// Answers `/build…`.
#[expect(clippy::unused_async, reason = "every resource is routed the same way")]
pub(crate) async fn route(
    engine: &Arc<Supervisor>,
    method: &str,
    rest: &[&str],
    call: Call,
) -> RouteResult {
    match (method, rest) {
        ("POST", []) => build(engine, call),
        ("POST", ["prune"]) => prune(engine, &call),
        ("POST", ["cancel"]) => json_with(
            StatusCode::NOT_FOUND,
            &json!({ "message": "no such build" }),
        ),
        _ => page_not_found(),
    }
}

fn prune(engine: &Arc<Supervisor>, call: &Call) -> RouteResult {
    let filters: BTreeMap<String, Value> = json_parameter(call, "filters")?.unwrap_or_default();
    if filters
        .keys()
        .any(|name| name != "until" && name != "unused-for")
    {
        // Records have no ids, types or descriptions that a filter could name.
        return json_ok(&json!({ "CachesDeleted": [], "SpaceReclaimed": 0 }));
    }
    let pruned = block_in_place(|| engine.builder().prune())
        .map_err(|error| RuntimeError::internal("cannot prune the build cache", error))?;
    json_ok(&json!({ "CachesDeleted": pruned.0, "SpaceReclaimed": pruned.1 }))
}

fn build(engine: &Arc<Supervisor>, call: Call) -> RouteResult {
    let mut request = request(&call)?;
    let credentials = credentials(&call)?;
    let verbosity = if call.query.is_on("q") {
        Verbosity::IdOnly
    } else {
        Verbosity::All
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let cancelled = CancellationToken::new();
    // The answer's stream goes when it has been sent whole, or when the client has left.
    let guard = cancelled.clone().drop_guard();
    let engine = Arc::clone(engine);
    let presence = engine.client_present();
    let body = BodyReader::new(call.into_stream());
    spawn_blocking(move || {
        let printer = Mutex::new(Printer::new(sender, verbosity));
        let built = unpacked(&engine, body).and_then(|context| {
            context.path().clone_into(&mut request.context);
            let tell = |event| {
                printer
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(event);
            };
            engine.build_image(&request, cancelled, credentials, &tell)
        });
        let mut printer = printer.into_inner().unwrap_or_else(PoisonError::into_inner);
        printer.end(built.err().as_ref());
        drop(presence);
    });
    let lines = received(receiver).map(move |line| {
        let _held = &guard;
        line
    });
    Ok(stream("application/json", lines))
}

/// Unpacks the context into a scratch directory.
fn unpacked(
    engine: &Supervisor,
    body: impl io::Read + Send,
) -> Result<crate::runtime::image::Scratch, BuildError> {
    let scratch = engine.images().scratch()?;
    let options = UnpackOptions {
        devices: Devices::Refuse,
        ..UnpackOptions::default()
    };
    unpack(
        decompress(body)?,
        &Root::open(scratch.path())?,
        &options,
        &mut NoRecorder,
    )?;
    Ok(scratch)
}

fn request(call: &Call) -> RuntimeResult<BuildRequest> {
    let query = &call.query;
    if let Some(remote) = query.text("remote") {
        return Err(RuntimeError::invalid(format!(
            "remote context `{remote}` is not supported: send the context as a tar"
        )));
    }
    if query.text("version") == Some("2") {
        return Err(RuntimeError::invalid(
            "this engine's builder has no BuildKit sessions: use builder version 1",
        ));
    }
    let tags = query
        .all("t")
        .into_iter()
        .filter(|tag| !tag.is_empty())
        .collect::<Vec<_>>();
    for tag in &tags {
        Reference::parse(tag)?;
    }
    let args: BTreeMap<String, Option<String>> =
        json_parameter(call, "buildargs")?.unwrap_or_default();
    let owned = |name: &str| query.text(name).map(str::to_owned);
    Ok(BuildRequest {
        dockerfile: DockerfileSource::Context(
            owned("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned()),
        ),
        tags,
        args: args
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        labels: json_parameter(call, "labels")?.unwrap_or_default(),
        target: owned("target"),
        platform: owned("platform"),
        network: network(query.text("networkmode")),
        extra_hosts: extra_hosts(&query.all("extrahosts")),
        shm_size: query
            .number("shmsize")?
            .and_then(|size| u64::try_from(size).ok())
            .filter(|size| *size > 0),
        ulimits: ulimits(json_parameter(call, "ulimits")?.unwrap_or_default()),
        cache: if query.is_on("nocache") {
            CacheUse::Skip
        } else {
            CacheUse::Use
        },
        pull: if query.is_on("pull") {
            PullPolicy::Always
        } else {
            PullPolicy::Missing
        },
        ..BuildRequest::default()
    })
}

/// The header `X-Registry-Config`: credentials by registry.
fn credentials(call: &Call) -> RuntimeResult<Credentials> {
    let Some(header) = call.headers().get("X-Registry-Config") else {
        return Ok(Credentials::new());
    };
    let bytes = URL_SAFE.decode(header.as_bytes()).map_err(|source| {
        RuntimeError::invalid("invalid X-Registry-Config header").caused_by(source)
    })?;
    let parsed: BTreeMap<String, Credential> =
        serde_json::from_slice(&bytes).map_err(|source| {
            RuntimeError::invalid("invalid X-Registry-Config header").caused_by(source)
        })?;
    let named = parsed.into_iter().map(|(registry, credential)| {
        let host = registry
            .trim_start_matches("https://")
            .trim_start_matches("http://");
        let host = host.split('/').next().unwrap_or(host);
        let host = if host == "index.docker.io" {
            "docker.io"
        } else {
            host
        };
        (host.to_owned(), credential)
    });
    Ok(named.collect())
}

/// A parameter that is JSON.
fn json_parameter<T: serde::de::DeserializeOwned>(
    call: &Call,
    name: &str,
) -> RuntimeResult<Option<T>> {
    let Some(text) = call.query.text(name) else {
        return Ok(None);
    };
    let parsed = serde_json::from_str::<Option<T>>(text);
    parsed.map_err(|source| {
        RuntimeError::invalid(format!("invalid value of `{name}`")).caused_by(source)
    })
}

fn network(mode: Option<&str>) -> Network {
    match mode {
        None | Some("default" | "bridge") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(name) => Network::Named(name.to_owned()),
    }
}

/// `host:address` or `host=address`, several in one parameter or not.
fn extra_hosts(texts: &[String]) -> Vec<(String, String)> {
    let each = texts.iter().flat_map(|text| text.split(','));
    each.filter_map(|text| text.split_once(['=', ':']))
        .map(|(host, address)| (host.trim().to_owned(), address.trim().to_owned()))
        .collect()
}

fn ulimits(limits: Vec<Value>) -> Vec<String> {
    let text = |limit: Value| {
        let name = limit.get("Name")?.as_str()?.to_owned();
        Some(format!(
            "{name}={}:{}",
            limit.get("Soft")?,
            limit.get("Hard")?
        ))
    };
    limits.into_iter().filter_map(text).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verbosity {
    All,
    IdOnly,
}

/// Turns events into lines of the answer.
struct Printer {
    lines: mpsc::Sender<io::Result<Bytes>>,
    verbosity: Verbosity,
    /// What stages have said that is not printed yet.
    waiting: BTreeMap<usize, Vec<Value>>,
    ended: BTreeSet<usize>,
}

impl Printer {
    fn new(lines: mpsc::Sender<io::Result<Bytes>>, verbosity: Verbosity) -> Self {
        Self {
            lines,
            verbosity,
            waiting: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    fn take(&mut self, event: BuildEvent) {
        match event {
            BuildEvent::Step {
                stage,
                number,
                total,
                instruction,
                ..
            } => {
                self.stage(
                    stage,
                    said(&format!("Step {number}/{total} : {instruction}\n")),
                );
            }
            BuildEvent::Cached { stage } => self.stage(stage, said(" ---> Using cache\n")),
            BuildEvent::Output { stage, text, .. } => self.stage(stage, said(&text)),
            BuildEvent::Done { stage, state } => {
                self.stage(stage, said(&format!(" ---> {state}\n")));
            }
            BuildEvent::StageEnded { stage } => self.ended(stage),
            BuildEvent::Warning(text) => self.say(&said(&format!("{text}\n"))),
            BuildEvent::Pull(message) => self.say(&message),
            BuildEvent::Excerpt(text) => {
                self.flush();
                self.say(&said(&text));
            }
            BuildEvent::Built(id) => {
                self.flush();
                if self.verbosity == Verbosity::IdOnly {
                    self.send(&said(&format!("{id}\n")));
                }
                self.say(&json!({ "aux": { "ID": id.to_string() } }));
                self.say(&said(&format!("Successfully built {}\n", id.short())));
            }
            BuildEvent::Tagged(name) => self.say(&said(&format!("Successfully tagged {name}\n"))),
        }
    }

    /// Prints what the first unfinished stage says; keeps what others say.
    fn stage(&mut self, stage: usize, line: Value) {
        self.waiting.entry(stage).or_default().push(line);
        self.print_first();
    }

    /// Prints the first stage's lines; those of stages after it when it has ended.
    fn print_first(&mut self) {
        while let Some((stage, lines)) = self.waiting.pop_first() {
            for line in &lines {
                self.say(line);
            }
            if !self.ended.contains(&stage) {
                self.waiting.insert(stage, Vec::new());
                return;
            }
        }
    }

    fn ended(&mut self, stage: usize) {
        self.ended.insert(stage);
        self.print_first();
    }

    fn flush(&mut self) {
        for line in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.say(&line);
        }
    }

    fn end(&mut self, error: Option<&BuildError>) {
        self.flush();
        let Some(error) = error else { return };
        let message = error.chain();
        let mut detail = json!({ "message": message });
        if let BuildError::Exit { code, .. } = error {
            detail["code"] = json!(code);
        }
        self.send(&json!({ "errorDetail": detail, "error": message }));
    }

    fn say(&self, line: &Value) {
        if self.verbosity == Verbosity::All {
            self.send(line);
        }
    }

    fn send(&self, line: &Value) {
        // A client that has left cancels the build by another way.
        let _left = self
            .lines
            .blocking_send(Ok(Bytes::from(format!("{line}\r\n"))));
    }
}

fn said(text: &str) -> Value {
    json!({ "stream": text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(events: Vec<BuildEvent>) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(100);
        let mut printer = Printer::new(sender, Verbosity::All);
        for event in events {
            printer.take(event);
        }
        printer.end(None);
        drop(printer);
        let mut lines = Vec::new();
        while let Ok(Ok(bytes)) = receiver.try_recv() {
            let line: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            lines.push(
                line["stream"]
                    .as_str()
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
            );
        }
        lines
    }

    #[test]
    fn stages_that_run_at_once_are_printed_one_after_the_other() {
        let output = |stage, text: &str| BuildEvent::Output {
            stage,
            stream: crate::runtime::build::OutputStream::Stdout,
            text: text.to_owned(),
        };
        let events = vec![
            output(0, "a1"),
            output(1, "b1"),
            output(0, "a2"),
            output(2, "c1"),
            BuildEvent::StageEnded { stage: 0 },
            output(1, "b2"),
            BuildEvent::StageEnded { stage: 2 },
            BuildEvent::StageEnded { stage: 1 },
        ];
        assert_eq!(printed(events), ["a1", "a2", "b1", "b2", "c1"]);
    }

    #[test]
    fn hosts_are_read_in_each_spelling() {
        let texts = ["a:192.0.2.1,b=::1".to_owned(), "c:host-gateway".to_owned()];
        let pair = |host: &str, address: &str| (host.to_owned(), address.to_owned());
        assert_eq!(
            extra_hosts(&texts),
            [
                pair("a", "192.0.2.1"),
                pair("b", "::1"),
                pair("c", "host-gateway")
            ]
        );
    }
}
