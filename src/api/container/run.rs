//! The routes that change containers.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_stubs::models::{
    ContainerConfig, ContainerUpdateBody, EndpointSettings, ImageConfig, Mount,
};
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use tokio::task::block_in_place;

use super::body::{plain_object, typed};
use crate::api::call::Call;
use crate::api::filter::{Filters, instant_or_age};
use crate::api::reply::{self, RouteResult, created, empty, json_ok, no_content};
use crate::runtime::container::request::TerminalSize;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::image::CommitRequest;
use crate::runtime::supervise::status::Operation;
use crate::runtime::supervise::{
    AnonymousVolumes, Container, CreateRequest, Force, StopRequest, Supervisor, WaitCondition,
    merge_image,
};

const MOUNT_TYPES: &[&str] = &["bind", "volume", "tmpfs", "image"];

pub(super) async fn create(engine: &Arc<Supervisor>, mut call: Call) -> RouteResult {
    let mut body = plain_object(&mut call).await?;
    let mut host = part(&mut body, "HostConfig");
    check_mount_types(&host)?;
    // Docker's old place for the driver of all volumes; ours is always `local`.
    let endpoints = part(&mut body, "NetworkingConfig");
    let endpoints: HashMap<String, EndpointSettings> = match endpoints.get("EndpointsConfig") {
        Some(value) => typed(value.clone())?,
        None => HashMap::new(),
    };
    if host
        .get("ConsoleSize")
        .is_some_and(|size| size == &json!([0, 0]))
    {
        host.remove("ConsoleSize");
    }
    let request = CreateRequest {
        name: call.query.text("name").map(str::to_owned),
        platform: call.query.text("platform").map(str::to_owned),
        config: typed(Value::Object(body))?,
        host_config: typed(Value::Object(host))?,
        endpoints,
    };
    let made = engine.create(request)?;
    created(&json!({ "Id": made.id, "Warnings": made.warnings }))
}

fn part(body: &mut Map<String, Value>, key: &str) -> Map<String, Value> {
    match body.remove(key) {
        Some(Value::Object(part)) => part,
        Some(other) => Map::from_iter([(key.to_owned(), other)]),
        None => Map::new(),
    }
}

fn check_mount_types(host: &Map<String, Value>) -> RuntimeResult<()> {
    let mounts = host.get("Mounts").and_then(Value::as_array);
    for mount in mounts.into_iter().flatten() {
        let kind = mount["Type"].as_str().unwrap_or_default();
        if !MOUNT_TYPES.contains(&kind) {
            return Err(RuntimeError::invalid(format!(
                "invalid mount config for type \"{kind}\": mount type unknown"
            )));
        }
        // Found here, so that the refusal has Docker's words.
        let _parsed: Mount = typed(mount.clone())?;
    }
    Ok(())
}

pub(super) async fn start(
    engine: &Arc<Supervisor>,
    container: &Arc<Container>,
    call: &mut Call,
) -> RouteResult {
    // Old clients send a host configuration here; it has had no effect since API 1.24.
    let _old = call.bytes().await?;
    engine.start(container).await?;
    no_content()
}

fn stop_request(call: &Call) -> RuntimeResult<StopRequest> {
    Ok(StopRequest {
        timeout: call.query.number("t")?,
        signal: call.query.text("signal").map(str::to_owned),
    })
}

pub(super) async fn stop(
    engine: &Arc<Supervisor>,
    container: &Arc<Container>,
    call: &Call,
) -> RouteResult {
    engine.stop(container, &stop_request(call)?).await?;
    no_content()
}

pub(super) async fn restart(
    engine: &Arc<Supervisor>,
    container: &Arc<Container>,
    call: &Call,
) -> RouteResult {
    engine.restart(container, &stop_request(call)?).await?;
    no_content()
}

pub(super) async fn kill(
    engine: &Arc<Supervisor>,
    container: &Arc<Container>,
    call: &Call,
) -> RouteResult {
    let signal = call.query.find("signal").unwrap_or_default();
    engine.kill(container, signal).await?;
    no_content()
}

pub(super) async fn pause(engine: &Arc<Supervisor>, container: &Arc<Container>) -> RouteResult {
    engine.pause(container).await?;
    no_content()
}

pub(super) async fn unpause(engine: &Arc<Supervisor>, container: &Arc<Container>) -> RouteResult {
    engine.unpause(container).await?;
    no_content()
}

pub(super) async fn rename(
    engine: &Arc<Supervisor>,
    container: &Arc<Container>,
    call: &Call,
) -> RouteResult {
    let name = call.query.find("name").unwrap_or_default();
    engine.rename(container, name).await?;
    no_content()
}

pub(super) async fn update(
    engine: &Arc<Supervisor>,
    container: &Arc<Container>,
    mut call: Call,
) -> RouteResult {
    let body = plain_object(&mut call).await?;
    let wish: ContainerUpdateBody = typed(Value::Object(body))?;
    let warnings = engine.update(container, &wish).await?;
    json_ok(&json!({ "Warnings": warnings }))
}

/// The head of the answer goes out at once: clients start the container when they see it.
pub(super) fn wait(container: Arc<Container>, call: &Call) -> RouteResult {
    let condition = WaitCondition::parse(call.query.find("condition").unwrap_or_default())?;
    let ended = container.wait(condition);
    let body = stream::once(async move {
        let code = ended.await;
        Ok(Bytes::from(format!("{{\"StatusCode\":{code}}}\n")))
    });
    Ok(reply::stream("application/json", body))
}

pub(crate) fn terminal_size(call: &Call) -> RuntimeResult<TerminalSize> {
    let side = |name: &str| {
        let text = call.query.find(name).unwrap_or_default();
        text.parse::<u16>()
            .map_err(|_| RuntimeError::invalid(format!("invalid resize {name}: \"{text}\"")))
    };
    Ok(TerminalSize {
        rows: side("h")?,
        columns: side("w")?,
    })
}

pub(super) async fn resize(
    engine: &Arc<Supervisor>,
    container: &Arc<Container>,
    call: &Call,
) -> RouteResult {
    let size = terminal_size(call)?;
    container.allows(Operation::Look)?;
    engine.keeper().resize(container.id(), size).await?;
    let more = [
        ("height", size.rows.to_string()),
        ("width", size.columns.to_string()),
    ];
    engine.publish(container, "resize", more);
    Ok(empty(StatusCode::OK))
}

pub(super) async fn remove(engine: &Arc<Supervisor>, id: &str, call: &Call) -> RouteResult {
    let container = engine.container(id)?;
    let force = if call.query.is_on("force") {
        Force::Yes
    } else {
        Force::No
    };
    let volumes = if call.query.is_on("v") {
        AnonymousVolumes::Remove
    } else {
        AnonymousVolumes::Keep
    };
    engine.remove(&container, force, volumes).await?;
    no_content()
}

pub(super) async fn prune(engine: &Arc<Supervisor>, call: &Call) -> RouteResult {
    let filters = Filters::parse(call.query.find("filters"), &["label", "label!", "until"])?;
    let until = match filters.values("until") {
        [] => None,
        [until] => Some(instant_or_age(until)?),
        _ => {
            return Err(RuntimeError::invalid(
                "more than one until filter specified",
            ));
        }
    };
    let wanted = |container: &Container| {
        container.with(|record| {
            filters.labels(|key| record.label(key))
                && until.is_none_or(|until| record.created.as_nanosecond() < until)
        })
    };
    let pruned = engine.prune_containers(wanted).await;
    json_ok(&json!({ "ContainersDeleted": pruned.containers, "SpaceReclaimed": pruned.reclaimed }))
}

/// `POST /commit`.
pub(crate) async fn commit(engine: &Arc<Supervisor>, mut call: Call) -> RouteResult {
    let container = engine.container(call.query.find("container").unwrap_or_default())?;
    let body: Option<Value> = call.json_or_none().await?;
    let record = container.record();
    let own: ImageConfig = typed(serde_json::to_value(&record.config).unwrap_or_default())?;
    let config = match body {
        Some(Value::Object(mut asked)) if !asked.is_empty() => {
            asked.retain(|_, value| !value.is_null());
            overlay(&own, asked)?
        }
        _ => own,
    };
    let text = |name: &str| call.query.text(name).map(str::to_owned);
    let pauses = call.query.is_on_or("pause", crate::api::call::Default::On)
        && record.state.status == crate::runtime::supervise::status::Status::Running
        // An ordinary user's engine commits what it finds, as with `--pause=false`.
        && engine.can_pause(&container);
    let request = CommitRequest {
        parent: Some(record.image.clone()),
        upper: container.upper(),
        mount_points: record
            .mounts
            .iter()
            .map(|mount| mount.destination.clone())
            .collect(),
        config,
        changes: call
            .query
            .all("changes")
            .iter()
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect(),
        repository: text("repo"),
        tag: text("tag"),
        author: text("author").unwrap_or_default(),
        comment: text("comment").unwrap_or_default(),
        created_by: record.command().join(" "),
        container: record.id.clone(),
    };
    if pauses {
        engine.pause(&container).await?;
    }
    let committed = block_in_place(|| engine.images().commit(&request));
    if pauses {
        engine.unpause(&container).await?;
    }
    let id = committed?.to_string();
    engine.publish(&container, "commit", [("imageID", id.clone())]);
    crate::api::image::publish(engine, &id, &id, "create");
    if let Some(repository) = &request.repository {
        let name = format!(
            "{repository}:{}",
            request.tag.as_deref().unwrap_or("latest")
        );
        crate::api::image::publish(engine, &id, &name, "tag");
    }
    created(&json!({ "Id": id }))
}

fn overlay(own: &ImageConfig, asked: Map<String, Value>) -> RuntimeResult<ImageConfig> {
    let mut config: ContainerConfig = typed(Value::Object(asked))?;
    merge_image(&mut config, own);
    typed(serde_json::to_value(&config).unwrap_or_default())
}
