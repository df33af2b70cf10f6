//! `/volumes/…`.

use std::sync::Arc;

use bollard_stubs::models::VolumeCreateRequest;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::call::Call;
use super::container::plain_object;
use super::filter::Filters;
use super::reply::{RouteResult, created, json_ok, no_content};
use super::router::page_not_found;
use crate::runtime::error::{ErrorKind, RuntimeError};
use crate::runtime::supervise::Supervisor;

/// Routes below `/volumes`.
pub(crate) async fn route(
    engine: &Arc<Supervisor>,
    method: &str,
    path: &[&str],
    mut call: Call,
) -> RouteResult {
    match (method, path) {
        ("GET", []) => list(engine, &call),
        ("POST", ["create"]) => create(engine, &mut call).await,
        ("POST", ["prune"]) => prune(engine, &call),
        ("GET", [name]) => json_ok(&block_in_place(|| engine.volumes().inspect(name))?),
        ("DELETE", [name]) => remove(engine, name, &call),
        _ => page_not_found(),
    }
}

fn list(engine: &Supervisor, call: &Call) -> RouteResult {
    let filters = Filters::parse_open(call.query.find("filters"))?.into_map();
    let found = block_in_place(|| engine.volumes().list(&filters, &engine.volume_uses()))?;
    json_ok(&json!({ "Volumes": found.volumes.unwrap_or_default(), "Warnings": found.warnings }))
}

async fn create(engine: &Supervisor, call: &mut Call) -> RouteResult {
    let body = plain_object(call).await?;
    let request: VolumeCreateRequest = serde_json::from_value(Value::Object(body))
        .map_err(|source| RuntimeError::invalid("invalid JSON").caused_by(source))?;
    let name = request.name.clone().unwrap_or_default();
    let known = !name.is_empty() && block_in_place(|| engine.volumes().inspect(&name)).is_ok();
    let volume = block_in_place(|| engine.volumes().create(&request))?;
    if !known {
        engine.publish_volume(&volume.name, "create", []);
    }
    created(&volume)
}

fn remove(engine: &Supervisor, name: &str, call: &Call) -> RouteResult {
    match block_in_place(|| engine.volumes().remove(name, &engine.volume_uses())) {
        Ok(()) => engine.publish_volume(name, "destroy", []),
        Err(error) => {
            let error = RuntimeError::from(error);
            let forgiven = error.kind() == ErrorKind::NotFound && call.query.is_on("force");
            if !forgiven {
                return Err(error);
            }
        }
    }
    no_content()
}

fn prune(engine: &Supervisor, call: &Call) -> RouteResult {
    let filters = Filters::parse_open(call.query.find("filters"))?.into_map();
    let pruned = block_in_place(|| engine.volumes().prune(&filters, &engine.volume_uses()))?;
    let names = pruned.volumes_deleted.unwrap_or_default();
    for name in &names {
        engine.publish_volume(name, "destroy", []);
    }
    json_ok(
        &json!({ "VolumesDeleted": names, "SpaceReclaimed": pruned.space_reclaimed.unwrap_or(0) }),
    )
}
