//! Volumes.

use bollard::Docker;
use bollard::query_parameters as query;
use bollard_stubs::models;

use super::convert::{already, failed, label_filter};
use crate::engine::{EngineResult, VolumeSpec};

pub(super) async fn list(client: &Docker, labels: &[String]) -> EngineResult<Vec<models::Volume>> {
    let options = query::ListVolumesOptions {
        filters: Some(label_filter(labels)),
    };
    let answer = client
        .list_volumes(Some(options))
        .await
        .map_err(failed("list volumes", &labels.join(",")))?;
    Ok(answer.volumes.unwrap_or_default())
}

pub(super) async fn inspect(client: &Docker, name: &str) -> EngineResult<models::Volume> {
    client
        .inspect_volume(name)
        .await
        .map_err(failed("inspect volume", name))
}

pub(super) async fn create(client: &Docker, spec: &VolumeSpec) -> EngineResult<()> {
    let name = spec.body.name.clone().unwrap_or_default();
    let created = client.create_volume(spec.body.clone()).await;
    created.map(drop).map_err(failed("create volume", &name))
}

pub(super) async fn remove(client: &Docker, name: &str) -> EngineResult<()> {
    let result = client
        .remove_volume(name, None::<query::RemoveVolumeOptions>)
        .await;
    already(result, &[404]).map_err(failed("remove volume", name))
}
