//! `POST /build` and `POST /build/prune`: a context in a tar, a stream of messages.
//!
//! ```text
//! body --decompress, unpack--> a scratch directory --builder--> events --Printer--> {"stream": …} lines
//! ```
//!
//! Our own `POST /hoist/build` is in `described`: what this route has no words for.

mod described;
mod narrator;
mod printer;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::StreamExt;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{block_in_place, spawn_blocking};

pub(crate) use described::described;
use printer::{Printer, Verbosity};

use super::bridge::{BodyReader, received};
use super::call::Call;
use super::reply::{RouteResult, json_ok, json_with, stream};
use super::router::page_not_found;
use crate::runtime::archive::{Devices, NoRecorder, Root, UnpackOptions, decompress, unpack};
use crate::runtime::build::{
    BuildError, BuildRequest, CacheUse, DockerfileSource, Entitlement, Network, PullPolicy,
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
    let cancelled = call.gone.child_token();
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
        // A classic build has no way to ask for it, and its `networkmode` gives the same.
        entitlements: std::iter::once(Entitlement::HostNetwork).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

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
