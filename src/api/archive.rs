//! Files of containers as archives: `archive` (one path), `export` (the whole root), `changes`.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::json;
use tokio::task::{block_in_place, spawn_blocking};

use super::bridge::{BodyReader, body_writer};
use super::call::Call;
use super::reply::{self, RouteResult, empty, json_ok};
use super::router::page_not_found;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::supervise::{Container, Overwriting, PathStat, PutRequest, Supervisor};

/// Routes below `/containers/ID` that carry archives.
pub(crate) async fn route(
    engine: &Arc<Supervisor>,
    method: &str,
    action: &str,
    container: Arc<Container>,
    call: Call,
) -> RouteResult {
    match (method, action) {
        ("GET", "archive") => get(engine, container, &call),
        ("HEAD", "archive") => head(engine, &container, &call),
        ("PUT", "archive") => put(engine, container, call).await,
        ("GET", "export") => export(engine, container),
        ("GET", "changes") => changes(engine, &container),
        _ => page_not_found(),
    }
}

fn path(call: &Call) -> RuntimeResult<&str> {
    let path = call.query.text("path");
    path.ok_or_else(|| RuntimeError::invalid("bad parameter: missing path"))
}

fn stat_header(stat: &PathStat) -> RuntimeResult<HeaderValue> {
    let text = json!({
        "name": stat.name,
        "size": stat.size,
        "mode": stat.mode,
        "mtime": stat.mtime.to_string(),
        "linkTarget": stat.link_target,
    });
    HeaderValue::from_str(&STANDARD.encode(text.to_string()))
        .map_err(|source| RuntimeError::internal("cannot describe the path", source))
}

fn head(engine: &Arc<Supervisor>, container: &Arc<Container>, call: &Call) -> RouteResult {
    let path = path(call)?;
    let stat = block_in_place(|| engine.stat_path(container, path))?;
    let mut reply = empty(StatusCode::OK);
    reply
        .headers_mut()
        .insert("X-Docker-Container-Path-Stat", stat_header(&stat)?);
    Ok(reply)
}

fn get(engine: &Arc<Supervisor>, container: Arc<Container>, call: &Call) -> RouteResult {
    let path = path(call)?.to_owned();
    let stat = block_in_place(|| engine.stat_path(&container, &path))?;
    let (writer, body) = body_writer();
    let engine = Arc::clone(engine);
    spawn_blocking(move || {
        let mut writer = writer;
        let packed = engine
            .pack_path(&container, &path, &mut writer)
            .map_err(io::Error::other);
        if let Err(error) = packed.and_then(|()| io::Write::flush(&mut writer)) {
            writer.fail(error);
        }
    });
    let mut reply = reply::stream("application/x-tar", body);
    reply
        .headers_mut()
        .insert("X-Docker-Container-Path-Stat", stat_header(&stat)?);
    Ok(reply)
}

async fn put(engine: &Arc<Supervisor>, container: Arc<Container>, call: Call) -> RouteResult {
    let request = PutRequest {
        path: path(&call)?.to_owned(),
        overwriting: if call.query.is_on("noOverwriteDirNonDir") {
            Overwriting::SameKind
        } else {
            Overwriting::Any
        },
        copies_owner: call.query.is_on("copyUIDGID"),
    };
    let engine = Arc::clone(engine);
    let reader = BodyReader::new(call.into_stream());
    let unpacked = spawn_blocking(move || {
        let result = engine.unpack_into(&container, &request, reader);
        if result.is_ok() {
            engine.publish(&container, "extract-to-dir", [("path", request.path)]);
        }
        result
    });
    unpacked
        .await
        .map_err(|source| RuntimeError::internal("unpacking was broken off", source))??;
    Ok(empty(StatusCode::OK))
}

fn export(engine: &Arc<Supervisor>, container: Arc<Container>) -> RouteResult {
    let (writer, body) = body_writer();
    engine.publish(&container, "export", []);
    let engine = Arc::clone(engine);
    spawn_blocking(move || {
        let mut writer = writer;
        let packed = engine
            .export(&container, &mut writer)
            .map_err(io::Error::other);
        if let Err(error) = packed.and_then(|()| io::Write::flush(&mut writer)) {
            writer.fail(error);
        }
    });
    Ok(reply::stream("application/x-tar", body))
}

fn changes(engine: &Arc<Supervisor>, container: &Arc<Container>) -> RouteResult {
    let found = block_in_place(|| engine.changes(container))?;
    let list: Vec<_> = found
        .iter()
        .map(|change| json!({ "Path": change.path, "Kind": change.kind as u8 }))
        .collect();
    if list.is_empty() {
        return json_ok(&json!(null));
    }
    json_ok(&list)
}
