//! Containers.

use std::collections::{BTreeMap, HashMap};

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters as query;
use bollard_stubs::models;
use futures_util::StreamExt;

use super::convert::{already, failed, label_filter, split_reference, stream};
use super::image::BodyType;
use super::network;
use crate::engine::{
    CommitOptions, ContainerFilter, ContainerSpec, EngineError, EngineErrorKind, EngineResult,
    RawStream, RemoveContainer,
};

pub(super) async fn list(
    client: &Docker,
    filter: &ContainerFilter,
) -> EngineResult<Vec<models::ContainerSummary>> {
    let options = query::ListContainersOptions {
        all: filter.all,
        filters: Some(label_filter(&filter.labels)),
        ..query::ListContainersOptions::default()
    };
    client
        .list_containers(Some(options))
        .await
        .map_err(failed("list containers", &filter.labels.join(",")))
}

pub(super) async fn inspect(
    client: &Docker,
    id: &str,
) -> EngineResult<models::ContainerInspectResponse> {
    client
        .inspect_container(id, None)
        .await
        .map_err(failed("inspect container", id))
}

pub(super) async fn create(
    client: &Docker,
    spec: &ContainerSpec,
) -> EngineResult<(String, Vec<String>)> {
    let options = query::CreateContainerOptions {
        name: Some(spec.name.clone()).filter(|name| !name.is_empty()),
        platform: spec.platform.clone(),
    };
    let created = client
        .create_container(Some(options), spec.body.clone())
        .await
        .map_err(failed("create container", &spec.name))?;
    Ok((created.id, created.warnings))
}

/// As [`create`], for engines that take one network at creation: the others are connected before the start, and a
/// container that cannot have them is removed again (behaviours.md B158).
pub(super) async fn create_then_connect(
    client: &Docker,
    spec: &ContainerSpec,
) -> EngineResult<(String, Vec<String>)> {
    let mut spec = spec.clone();
    let later = other_networks(&mut spec.body);
    let (id, warnings) = create(client, &spec).await?;
    for (name, endpoint) in later {
        if let Err(error) = network::connect(client, &name, &id, endpoint).await {
            let how = RemoveContainer {
                force: true,
                volumes: true,
            };
            // The first failure is the one to tell.
            let _removed = remove(client, &id, how).await;
            return Err(error);
        }
    }
    Ok((id, warnings))
}

/// Takes all networks but the first one, which the container's network mode names, out of a body; sorted by name.
fn other_networks(
    body: &mut models::ContainerCreateBody,
) -> BTreeMap<String, models::EndpointSettings> {
    let mode = body
        .host_config
        .as_ref()
        .and_then(|host| host.network_mode.clone());
    let endpoints = body
        .networking_config
        .as_mut()
        .and_then(|config| config.endpoints_config.as_mut());
    let (Some(mode), Some(endpoints)) = (mode, endpoints) else {
        return BTreeMap::new();
    };
    if endpoints.len() < 2 {
        return BTreeMap::new();
    }
    let all = std::mem::take(endpoints);
    let (first, others): (HashMap<_, _>, HashMap<_, _>) =
        all.into_iter().partition(|(name, _)| *name == mode);
    *endpoints = first;
    others.into_iter().collect()
}

pub(super) async fn start(client: &Docker, id: &str) -> EngineResult<()> {
    let result = client.start_container(id, None).await;
    already(result, &[]).map_err(failed("start container", id))
}

pub(super) async fn stop(client: &Docker, id: &str, timeout: Option<i64>) -> EngineResult<()> {
    let options = query::StopContainerOptions {
        t: timeout.map(seconds),
        signal: None,
    };
    let result = client.stop_container(id, Some(options)).await;
    already(result, &[]).map_err(failed("stop container", id))
}

pub(super) async fn restart(client: &Docker, id: &str, timeout: Option<i64>) -> EngineResult<()> {
    let options = query::RestartContainerOptions {
        t: timeout.map(seconds),
        signal: None,
    };
    client
        .restart_container(id, Some(options))
        .await
        .map_err(failed("restart container", id))
}

/// The API's time-outs are 32 bits wide in bollard; more than 68 years is for ever.
fn seconds(timeout: i64) -> i32 {
    i32::try_from(timeout).unwrap_or(i32::MAX)
}

pub(super) async fn kill(client: &Docker, id: &str, signal: &str) -> EngineResult<()> {
    let options = query::KillContainerOptions {
        signal: signal.to_owned(),
    };
    client
        .kill_container(id, Some(options))
        .await
        .map_err(failed("kill container", id))
}

pub(super) async fn pause(client: &Docker, id: &str) -> EngineResult<()> {
    client
        .pause_container(id)
        .await
        .map_err(failed("pause container", id))
}

pub(super) async fn unpause(client: &Docker, id: &str) -> EngineResult<()> {
    client
        .unpause_container(id)
        .await
        .map_err(failed("unpause container", id))
}

pub(super) async fn rename(client: &Docker, id: &str, name: &str) -> EngineResult<()> {
    let options = query::RenameContainerOptions {
        name: name.to_owned(),
    };
    client
        .rename_container(id, options)
        .await
        .map_err(failed("rename container", id))
}

/// Removing what is gone, or is being removed already, is a success.
pub(super) async fn remove(client: &Docker, id: &str, how: RemoveContainer) -> EngineResult<()> {
    let options = query::RemoveContainerOptions {
        v: how.volumes,
        force: how.force,
        link: false,
    };
    match client.remove_container(id, Some(options)).await {
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(()),
        Err(Error::DockerResponseServerError { message, .. })
            if message.contains("is already in progress") =>
        {
            gone(client, id).await
        }
        result => result.map_err(failed("remove container", id)),
    }
}

/// Waits until a container whose removal is under way is gone.
async fn gone(client: &Docker, id: &str) -> EngineResult<()> {
    let options = query::WaitContainerOptions {
        condition: "removed".to_owned(),
    };
    let mut events = Box::pin(client.wait_container(id, Some(options)));
    while let Some(event) = events.next().await {
        match event {
            Ok(_) | Err(Error::DockerContainerWaitError { .. }) => {}
            Err(error) => {
                let error = failed("remove container", id)(error);
                return if error.is_not_found() {
                    Ok(())
                } else {
                    Err(error)
                };
            }
        }
    }
    Ok(())
}

pub(super) async fn wait(client: &Docker, id: &str) -> EngineResult<i64> {
    let options = query::WaitContainerOptions {
        condition: "not-running".to_owned(),
    };
    let mut events = Box::pin(client.wait_container(id, Some(options)));
    match events.next().await {
        Some(Ok(exit)) => Ok(exit.status_code),
        // bollard calls every exit code but 0 an error.
        Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(failed("wait for container", id)(error)),
        None => Err(EngineError::new(
            "wait for container",
            id,
            EngineErrorKind::Failed,
            "the engine closed the connection",
        )),
    }
}

pub(super) async fn top(client: &Docker, id: &str) -> EngineResult<models::ContainerTopResponse> {
    client
        .top_processes(id, None)
        .await
        .map_err(failed("list processes of container", id))
}

pub(super) async fn stats(
    client: &Docker,
    id: &str,
) -> EngineResult<models::ContainerStatsResponse> {
    let options = query::StatsOptions {
        stream: false,
        one_shot: false,
    };
    let mut readings = Box::pin(client.stats(id, Some(options)));
    match readings.next().await {
        Some(reading) => reading.map_err(failed("read usage of container", id)),
        None => Ok(models::ContainerStatsResponse::default()),
    }
}

pub(super) async fn commit(
    client: &Docker,
    id: &str,
    options: &CommitOptions,
) -> EngineResult<String> {
    let (repository, tag) = split_reference(&options.reference);
    let request = query::CommitContainerOptions {
        container: Some(id.to_owned()),
        repo: Some(repository).filter(|name| !name.is_empty()),
        tag,
        comment: Some(options.message.clone()),
        author: Some(options.author.clone()),
        pause: options.pause,
        changes: Some(options.changes.join("\n")).filter(|text| !text.is_empty()),
    };
    let answer = client
        .commit_container(request, models::ContainerConfig::default())
        .await
        .map_err(failed("commit container", id))?;
    Ok(answer.id)
}

pub(super) fn export(client: &Docker, id: &str) -> RawStream {
    stream("export container", id, client.export_container(id))
}

pub(super) fn download(client: &Docker, id: &str, path: &str) -> RawStream {
    let options = query::DownloadFromContainerOptions {
        path: path.to_owned(),
    };
    stream(
        "copy from container",
        id,
        client.download_from_container(id, Some(options)),
    )
}

pub(super) async fn upload(
    client: &Docker,
    id: &str,
    path: &str,
    tar: BodyType,
) -> EngineResult<()> {
    let options = query::UploadToContainerOptions {
        path: path.to_owned(),
        ..query::UploadToContainerOptions::default()
    };
    client
        .upload_to_container(id, Some(options), tar)
        .await
        .map_err(failed("copy to container", id))
}

pub(super) async fn stat(
    client: &Docker,
    id: &str,
    path: &str,
) -> EngineResult<Option<serde_json::Value>> {
    let options = query::ContainerArchiveInfoOptions {
        path: path.to_owned(),
    };
    match client.get_container_archive_info(id, Some(options)).await {
        Ok(found) => Ok(Some(serde_json::json!({
            "name": found.name,
            "size": found.size,
            "mode": found.file_mode,
            "mtime": found.modification_time,
            "linkTarget": found.link_target,
        }))),
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(failed("look at path in container", id)(error)),
    }
}

pub(super) async fn resize(client: &Docker, id: &str, columns: u16, rows: u16) -> EngineResult<()> {
    let options = query::ResizeContainerTTYOptions {
        h: i32::from(rows),
        w: i32::from(columns),
    };
    client
        .resize_container_tty(id, options)
        .await
        .map_err(failed("resize terminal of container", id))
}

#[cfg(test)]
mod tests {
    use super::{models, other_networks};

    #[test]
    fn an_old_engine_gets_the_first_network_only() {
        let endpoint = || models::EndpointSettings::default();
        let networks = ["back", "front", "other"].map(|name| (name.to_owned(), endpoint()));
        let mut body = models::ContainerCreateBody {
            host_config: Some(models::HostConfig {
                network_mode: Some("front".to_owned()),
                ..models::HostConfig::default()
            }),
            networking_config: Some(models::NetworkingConfig {
                endpoints_config: Some(networks.into()),
            }),
            ..models::ContainerCreateBody::default()
        };
        let later: Vec<_> = other_networks(&mut body).into_keys().collect();
        assert_eq!(later, ["back", "other"]);
        let kept = body.networking_config.and_then(|it| it.endpoints_config);
        let kept: Vec<_> = kept.into_iter().flatten().map(|(name, _)| name).collect();
        assert_eq!(kept, ["front"]);
    }
}
