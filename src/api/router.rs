//! Method and path to a function: one table per resource, by the first segment.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;

use super::call::Call;
use super::reply::{RouteResult, json_with};
use super::{build, container, delivered, exec, image, network, registry, system, volume};
use crate::runtime::supervise::Supervisor;

/// Answers a call.
pub(crate) async fn route(engine: &Arc<Supervisor>, call: Call) -> RouteResult {
    let path = call.path.clone();
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = match call.method {
        Method::HEAD if segments.last() != Some(&"archive") => Method::GET,
        ref other => other.clone(),
    };
    let method = method.as_str();
    match segments.as_slice() {
        ["containers", rest @ ..] => container::route(engine, method, rest, call).await,
        ["exec", rest @ ..] => exec::route(engine, method, rest, call).await,
        ["images", rest @ ..] => image::route(engine, method, rest, call).await,
        ["build", rest @ ..] => build::route(engine, method, rest, call).await,
        ["hoist", "build"] if method == "POST" => build::described(engine, call).await,
        ["hoist", "containers", id, "files"] if method == "POST" => {
            delivered::deliver(engine, id, call).await
        }
        ["distribution", name @ .., "json"] if method == "GET" && !name.is_empty() => {
            registry::distribution(engine, &name.join("/"), &call).await
        }
        ["commit"] if method == "POST" => container::commit(engine, call).await,
        ["networks", rest @ ..] => network::route(engine, method, rest, call).await,
        ["volumes", rest @ ..] => volume::route(engine, method, rest, call).await,
        whole => system::route(engine, method, whole, call).await,
    }
}

/// 404 for a path that nobody knows.
pub(crate) fn page_not_found() -> RouteResult {
    json_with(
        StatusCode::NOT_FOUND,
        &json!({ "message": "page not found" }),
    )
}
