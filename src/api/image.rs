//! `/images/…`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{block_in_place, spawn_blocking};

use super::bridge::{BodyReader, body_writer, received};
use super::call::Call;
use super::filter::Filters;
use super::registry;
use super::reply::{self, RouteResult, empty, json_ok};
use super::router::page_not_found;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::image::{
    ImageRecord, ImportRequest, ListRequest, ListScope, LoadProgress, Parents, Removal, SharedSize,
};
use crate::runtime::supervise::Supervisor;

/// Routes below `/images`. A name may have slashes, so that the last segment is the action.
pub(crate) async fn route(
    engine: &Arc<Supervisor>,
    method: &str,
    path: &[&str],
    call: Call,
) -> RouteResult {
    match (method, path) {
        ("GET", ["json"]) => list(engine, &call),
        ("POST", ["create"]) => create(engine, call).await,
        ("POST", ["load"]) => load(engine, call).await,
        ("POST", ["prune"]) => prune(engine, &call),
        ("GET", ["get"]) => save(engine, names_of(&call)),
        ("GET", [name @ .., "json"]) if !name.is_empty() => {
            let name = name.join("/");
            json_ok(&inspect(engine, &name)?)
        }
        ("GET", [name @ .., "history"]) if !name.is_empty() => {
            let name = name.join("/");
            json_ok(&block_in_place(|| engine.images().history(&name))?)
        }
        ("GET", [name @ .., "get"]) if !name.is_empty() => save(engine, vec![name.join("/")]),
        ("POST", [name @ .., "push"]) if !name.is_empty() => {
            registry::push(engine, &name.join("/"), &call).await
        }
        ("POST", [name @ .., "tag"]) if !name.is_empty() => tag(engine, &name.join("/"), &call),
        ("DELETE", name) if !name.is_empty() => remove(engine, &name.join("/"), &call),
        _ => page_not_found(),
    }
}

/// Tells what happened to an image.
pub(crate) fn publish(engine: &Supervisor, id: &str, name: &str, action: &str) {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    engine.events().publish("image", action, id, attributes);
}

/// Ids of images and of those on which they are built.
pub(crate) fn parents(engine: &Supervisor) -> BTreeMap<String, String> {
    let request = ListRequest {
        scope: ListScope::All,
        ..ListRequest::default()
    };
    let listed = block_in_place(|| engine.images().list(&request, &[]));
    let images = listed.unwrap_or_default().into_iter();
    images.map(|image| (image.id, image.parent_id)).collect()
}

/// The `rootfs:` reference behind a public id, when a container uses it: the store knows no such images.
fn rootfs_of(engine: &Supervisor, id: &str) -> Option<String> {
    let images = engine.containers().into_iter();
    let images = images.map(|container| container.with(|record| record.image.clone()));
    images
        .filter(|image| image.starts_with("rootfs:"))
        .find(|image| ImageRecord::public_id(image) == id)
}

fn inspect(engine: &Supervisor, name: &str) -> RuntimeResult<Value> {
    let rootfs = rootfs_of(engine, name);
    let name = rootfs.as_deref().unwrap_or(name);
    let image = block_in_place(|| engine.images().inspect(name))?;
    let mut value = serde_json::to_value(&image).map_err(|source| {
        RuntimeError::internal(format!("cannot describe image {name}"), source)
    })?;
    let id = image.id.unwrap_or_default();
    value["Parent"] = json!(parents(engine).remove(&id).unwrap_or_default());
    Ok(value)
}

fn list(engine: &Supervisor, call: &Call) -> RouteResult {
    let request = ListRequest {
        filters: Filters::parse_open(call.query.find("filters"))?.into_map(),
        scope: if call.query.is_on("all") {
            ListScope::All
        } else {
            ListScope::Leaves
        },
        shared_size: if call.query.is_on("shared-size") {
            SharedSize::Compute
        } else {
            SharedSize::Skip
        },
    };
    json_ok(&block_in_place(|| {
        engine.images().list(&request, &engine.image_uses())
    })?)
}

fn names_of(call: &Call) -> Vec<String> {
    let names = call.query.all("names");
    let split = names.iter().flat_map(|names| names.split(','));
    split.map(str::to_owned).collect()
}

/// An archive of images; unknown ones are refused before anything is sent.
fn save(engine: &Supervisor, names: Vec<String>) -> RouteResult {
    for name in &names {
        block_in_place(|| engine.images().resolve(name))?;
    }
    let images = engine.images().clone();
    let (writer, body) = body_writer();
    spawn_blocking(move || {
        let mut writer = writer;
        let saved = images.save(&names, &mut writer).map_err(io::Error::other);
        if let Err(error) = saved.and_then(|()| io::Write::flush(&mut writer)) {
            writer.fail(error);
        }
    });
    Ok(reply::stream("application/x-tar", body))
}

type Lines = mpsc::Sender<RuntimeResult<Value>>;

/// Runs work that reports lines of JSON. A failure before the first line is the answer itself; a later one is a line.
async fn report(work: impl FnOnce(&Lines) -> RuntimeResult<()> + Send + 'static) -> RouteResult {
    let (sender, receiver) = mpsc::channel(64);
    spawn_blocking(move || {
        if let Err(error) = work(&sender) {
            // A client that has left hears no error.
            let _left = sender.blocking_send(Err(error));
        }
    });
    answer_lines(received(receiver)).await
}

/// Answers with lines of JSON as they come. An error that comes first is the answer itself; a later one is a line.
pub(crate) async fn answer_lines(
    lines: impl Stream<Item = RuntimeResult<Value>> + Send + 'static,
) -> RouteResult {
    let mut lines = Box::pin(lines);
    let first = match lines.next().await {
        Some(Err(error)) => return Err(error),
        first => first,
    };
    let all = stream::iter(first).chain(lines);
    let bytes = all.map(|line| {
        let value = line.unwrap_or_else(|error| {
            let text = error.chain();
            json!({ "errorDetail": { "message": text }, "error": text })
        });
        Ok(Bytes::from(format!("{value}\r\n")))
    });
    Ok(reply::stream("application/json", bytes))
}

fn say(lines: &Lines, value: Value) {
    // The work goes on when the client has left.
    let _left = lines.blocking_send(Ok(value));
}

async fn load(engine: &Arc<Supervisor>, call: Call) -> RouteResult {
    let quiet = call.query.is_on("quiet");
    let engine = Arc::clone(engine);
    let reader = BodyReader::new(call.into_stream());
    report(move |lines| {
        let mut progress = |news: LoadProgress| match news {
            LoadProgress::Layer { id, current, total } if !quiet => say(
                lines,
                json!({
                    "status": "Loading layer",
                    "progressDetail": { "current": current, "total": total },
                    "id": id.to_string().trim_start_matches("sha256:").chars().take(12).collect::<String>(),
                }),
            ),
            LoadProgress::Layer { .. } => {}
            LoadProgress::Loaded { message, id, name } => {
                let id = id.to_string();
                publish(&engine, &id, name.as_deref().unwrap_or(&id), "load");
                say(lines, json!({ "stream": format!("{message}\n") }));
            }
        };
        engine.images().load(reader, &mut progress)?;
        Ok(())
    })
    .await
}

async fn create(engine: &Arc<Supervisor>, call: Call) -> RouteResult {
    if call.query.text("fromImage").is_some() {
        return registry::pull(engine, &call).await;
    }
    match call.query.text("fromSrc") {
        Some("-") => import(engine, call).await,
        Some(source) => Err(RuntimeError::invalid(format!(
            "cannot import from `{source}`: only `-`, the request's body, is supported"
        ))),
        None => Err(RuntimeError::invalid("fromImage or fromSrc must be given")),
    }
}

async fn import(engine: &Arc<Supervisor>, call: Call) -> RouteResult {
    let text = |name: &str| call.query.text(name).map(str::to_owned);
    let changes = call.query.all("changes");
    let request = ImportRequest {
        repository: text("repo"),
        tag: text("tag"),
        changes: changes
            .iter()
            .flat_map(|text| text.lines())
            .map(str::to_owned)
            .collect(),
        message: text("message").unwrap_or_default(),
        platform: text("platform").unwrap_or_default(),
    };
    let engine = Arc::clone(engine);
    let reader = BodyReader::new(call.into_stream());
    report(move |lines| {
        let id = engine.images().import(reader, &request)?.to_string();
        let name = request.repository.map(|repository| {
            let tagged = repository
                .rsplit('/')
                .next()
                .is_some_and(|last| last.contains(':'));
            match request.tag {
                Some(tag) => format!("{repository}:{tag}"),
                None if tagged => repository,
                None => format!("{repository}:latest"),
            }
        });
        publish(&engine, &id, name.as_deref().unwrap_or(&id), "import");
        if let Some(name) = &name {
            publish(&engine, &id, name, "tag");
        }
        say(lines, json!({ "status": id }));
        Ok(())
    })
    .await
}

fn tag(engine: &Supervisor, name: &str, call: &Call) -> RouteResult {
    let repository = call.query.find("repo").unwrap_or_default();
    let tag = call.query.find("tag").unwrap_or_default();
    let (id, full) = block_in_place(|| engine.images().tag(name, repository, tag))?;
    publish(engine, &id.to_string(), &full, "tag");
    Ok(empty(StatusCode::CREATED))
}

fn remove(engine: &Supervisor, name: &str, call: &Call) -> RouteResult {
    let removal = if call.query.is_on("force") {
        Removal::Forced
    } else {
        Removal::Plain
    };
    let parents = if call.query.is_on("noprune") {
        Parents::Keep
    } else {
        Parents::Prune
    };
    let image = block_in_place(|| engine.images().resolve(name))?;
    let gone = block_in_place(|| {
        engine
            .images()
            .remove(name, removal, parents, &|| engine.image_uses())
    })?;
    for item in &gone {
        if let Some(name) = &item.untagged {
            publish(engine, &image.id, name, "untag");
        }
        if let Some(id) = &item.deleted {
            publish(engine, id, id, "delete");
        }
    }
    json_ok(&gone)
}

fn prune(engine: &Supervisor, call: &Call) -> RouteResult {
    let filters = Filters::parse_open(call.query.find("filters"))?.into_map();
    let pruned = block_in_place(|| engine.images().prune(&filters, &|| engine.image_uses()))?;
    for id in pruned
        .images_deleted
        .iter()
        .flatten()
        .filter_map(|item| item.deleted.as_ref())
    {
        publish(engine, id, id, "delete");
    }
    json_ok(&json!({
        "ImagesDeleted": pruned.images_deleted,
        "SpaceReclaimed": pruned.space_reclaimed.unwrap_or(0),
    }))
}
