//! The engine as a whole: ping, version, info, events, and what is switched off.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::header::{CACHE_CONTROL, HeaderValue, PRAGMA};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::call::Call;
use super::filter::Filters;
use super::reply::{Reply, RouteResult, json_ok, no_content, stream, text};
use super::router::page_not_found;
use super::version::{API_VERSION, MIN_API_VERSION};
use crate::runtime::error::{ErrorKind, RuntimeError, RuntimeResult};
use crate::runtime::supervise::event::{Event, EventWindow};
use crate::runtime::supervise::{Stay, Supervisor, host};

/// Routes of the engine as a whole.
pub(crate) async fn route(
    engine: &Arc<Supervisor>,
    method: &str,
    path: &[&str],
    call: Call,
) -> RouteResult {
    match (method, path) {
        ("GET", ["_ping"]) => Ok(ping()),
        ("GET", ["version"]) => json_ok(&version()),
        ("GET", ["info"]) => json_ok(&info(engine)),
        ("GET", ["events"]) => events(engine, &call),
        ("GET", ["system", "df"]) => disk_usage(engine, &call),
        ("POST", ["auth"]) => auth(call).await,
        ("GET", ["plugins"]) => json_ok(&Vec::<Value>::new()),
        ("POST", ["hoist", "shutdown"]) => {
            engine.request_shutdown();
            no_content()
        }
        ("GET", ["hoist", "network", "rules"]) => json_ok(&engine.networks().rules()),
        ("POST", ["hoist", "linger"]) => {
            engine.set_stay(Stay::Linger);
            no_content()
        }
        ("POST", ["hoist", "release"]) => {
            engine.set_stay(Stay::Released);
            no_content()
        }
        (
            _,
            [
                "services" | "nodes" | "tasks" | "secrets" | "configs" | "swarm",
                ..,
            ],
        ) => Err(swarm_is_off()),
        _ => page_not_found(),
    }
}

fn ping() -> Reply {
    let mut reply = text("OK");
    let headers = reply.headers_mut();
    headers.insert("Builder-Version", HeaderValue::from_static("1"));
    headers.insert("Swarm", HeaderValue::from_static("inactive"));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    reply
}

fn version() -> Value {
    let kernel = host::kernel_release();
    let package = env!("CARGO_PKG_VERSION");
    json!({
        "Platform": { "Name": "hoist" },
        "Components": [{
            "Name": "Engine",
            "Version": package,
            "Details": {
                "ApiVersion": API_VERSION.to_string(),
                "Arch": host::architecture(),
                "BuildTime": "",
                "Experimental": "false",
                "GitCommit": "",
                "KernelVersion": kernel,
                "MinAPIVersion": MIN_API_VERSION.to_string(),
                "Os": "linux",
            },
        }],
        "Version": package,
        "ApiVersion": API_VERSION.to_string(),
        "MinAPIVersion": MIN_API_VERSION.to_string(),
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": host::architecture(),
        "KernelVersion": kernel,
        "BuildTime": "",
    })
}

fn info(engine: &Arc<Supervisor>) -> Value {
    let mut info = host::describe(engine.layout());
    let counts = engine.counts();
    info["Containers"] = json!(counts.running + counts.paused + counts.stopped);
    info["ContainersRunning"] = json!(counts.running);
    info["ContainersPaused"] = json!(counts.paused);
    info["ContainersStopped"] = json!(counts.stopped);
    let images = super::image::parents(engine).len();
    info["Images"] = json!(images);
    if let (true, Some(options)) = (
        engine.remaps_users(),
        info["SecurityOptions"].as_array_mut(),
    ) {
        options.push(json!("name=userns"));
    }
    info["ServerVersion"] = json!(env!("CARGO_PKG_VERSION"));
    info
}

const EVENT_FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

fn events(engine: &Arc<Supervisor>, call: &Call) -> RouteResult {
    let filters = Filters::parse(call.query.find("filters"), EVENT_FILTERS)?;
    let window = EventWindow {
        since: instant(call, "since")?,
        until: instant(call, "until")?,
    };
    let found = engine.events().read(window);
    let lines = found.filter_map(move |event| {
        let line = event_matches(&event, &filters).then(|| event_line(&event));
        async move { line }
    });
    Ok(stream("application/json", lines))
}

fn event_line(event: &Event) -> std::io::Result<Bytes> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(Bytes::from(line))
}

fn event_matches(event: &Event, filters: &Filters) -> bool {
    let of_kind = |kind: &str| {
        filters.any(kind, |wanted| {
            let name = event.attribute("name").unwrap_or_default();
            event.kind == kind
                && (event.id == wanted
                    || name == wanted
                    || (wanted.len() >= 12 && event.id.starts_with(wanted)))
        })
    };
    let action = filters.any("event", |wanted| {
        event.action == wanted || event.action.split(':').next() == Some(wanted)
    });
    action
        && filters.any("type", |wanted| event.kind == wanted)
        && filters.any("scope", |wanted| wanted == "local")
        && filters.labels(|key| event.attribute(key))
        && filters.any("image", |wanted| image_matches(event, wanted))
        && ["container", "network", "volume", "daemon", "plugin"]
            .into_iter()
            .all(of_kind)
}

fn image_matches(event: &Event, wanted: &str) -> bool {
    let named = match event.kind.as_str() {
        "image" => event.attribute("name").unwrap_or(&event.id),
        _ => event.attribute("image").unwrap_or_default(),
    };
    let without_tag = |name: &str| {
        name.rsplit_once(':')
            .map_or(name.to_owned(), |(repo, _)| repo.to_owned())
    };
    named == wanted || without_tag(named) == wanted || (event.kind == "image" && event.id == wanted)
}

/// A point in time as clients write it: seconds with a fraction, or RFC 3339. Nanoseconds since the epoch.
pub(crate) fn instant(call: &Call, name: &str) -> RuntimeResult<Option<i128>> {
    let Some(value) = call.query.text(name) else {
        return Ok(None);
    };
    let parsed = parse_seconds(value).or_else(|| {
        value
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_nanosecond)
    });
    parsed
        .map(Some)
        .ok_or_else(|| RuntimeError::invalid(format!("invalid time `{value}` of `{name}`")))
}

fn parse_seconds(value: &str) -> Option<i128> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let seconds: i128 = whole.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i128 = format!("{fraction:0<9}").parse().ok()?;
    Some(seconds * 1_000_000_000 + nanoseconds)
}

const USAGE_TYPES: &[&str] = &["container", "image", "volume", "build-cache"];

fn disk_usage(engine: &Arc<Supervisor>, call: &Call) -> RouteResult {
    let wanted = call.query.all("type");
    if let Some(unknown) = wanted
        .iter()
        .find(|kind| !USAGE_TYPES.contains(&kind.as_str()))
    {
        return Err(RuntimeError::invalid(format!(
            "unknown object type: {unknown}"
        )));
    }
    let wants = |kind: &str| wanted.is_empty() || wanted.iter().any(|wish| wish == kind);
    let mut usage = json!({ "LayersSize": 0, "Images": null, "Containers": null, "Volumes": null, "BuildCache": null });
    if wants("image") {
        let request = crate::runtime::image::ListRequest {
            shared_size: crate::runtime::image::SharedSize::Compute,
            ..Default::default()
        };
        let images = block_in_place(|| engine.images().list(&request, &engine.image_uses()))?;
        usage["LayersSize"] = json!(
            images
                .iter()
                .map(|image| image.size - image.shared_size.max(0))
                .sum::<i64>()
        );
        usage["Images"] = json!(images);
    }
    if wants("container") {
        usage["Containers"] = json!(super::container::sized_summaries(engine));
    }
    if wants("volume") {
        usage["Volumes"] = json!(sized_volumes(engine)?);
    }
    if wants("build-cache") {
        usage["BuildCache"] = json!([]);
    }
    json_ok(&usage)
}

fn sized_volumes(engine: &Arc<Supervisor>) -> RuntimeResult<Vec<Value>> {
    let uses = engine.volume_uses();
    let listed = block_in_place(|| engine.volumes().list(&HashMap::default(), &uses))?;
    let volumes = listed.volumes.unwrap_or_default().into_iter();
    Ok(volumes
        .map(|volume| {
            let count = uses.iter().filter(|one| one.volume == volume.name).count();
            let size = block_in_place(|| engine.folder_size(volume.mountpoint.as_ref()));
            let mut value = json!(volume);
            value["UsageData"] = json!({ "RefCount": count, "Size": size });
            value
        })
        .collect())
}

async fn auth(mut call: Call) -> RouteResult {
    let credentials: Value = call.json().await?;
    let server = credentials["serveraddress"].as_str().unwrap_or_default();
    Err(RuntimeError::new(
        ErrorKind::NotImplemented,
        format!("checking a login at `{server}` is not supported"),
    ))
}

fn swarm_is_off() -> RuntimeError {
    RuntimeError::new(
        ErrorKind::Unavailable,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    )
}
