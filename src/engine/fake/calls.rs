//! The trait on the engine in memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bollard_stubs::models;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::io::AsyncWrite;
use tokio::sync::broadcast::error::RecvError;

use super::{FakeEngine, Refusal, state};
use crate::engine::spec::FileSpec;
use crate::engine::{
    AttachOptions, BuildRequest, CommitOptions, ContainerFilter, ContainerSpec, Engine,
    EngineError, EngineErrorKind, EngineInfo, EngineResult, EventRequest, ExecSession, ExecSpec,
    LogOptions, LogStream, NetworkSpec, ObserveRequest, ObservedState, RawStream, RemoveContainer,
    Stream, VolumeSpec,
};

fn missing(operation: &'static str, resource: &str) -> EngineError {
    let message = format!("No such object: {resource}");
    EngineError::new(operation, resource, EngineErrorKind::NotFound, message)
}

fn empty<T: Send + 'static>() -> Stream<T> {
    Box::pin(futures_util::stream::empty())
}

#[async_trait]
impl Engine for FakeEngine {
    fn info(&self) -> &EngineInfo {
        &self.shared.info
    }

    async fn observe(&self, request: &ObserveRequest) -> EngineResult<ObservedState> {
        Ok(self.state().observe(request))
    }

    async fn list_containers(
        &self,
        filter: &ContainerFilter,
    ) -> EngineResult<Vec<models::ContainerSummary>> {
        Ok(self.state().list(filter))
    }

    async fn inspect_container(&self, id: &str) -> EngineResult<models::ContainerInspectResponse> {
        let found = self.state().inspect(id);
        found.ok_or_else(|| missing("inspect container", id))
    }

    async fn create_container(&self, spec: &ContainerSpec) -> EngineResult<(String, Vec<String>)> {
        let id = self.act("create container", &spec.name, |state| state.create(spec))?;
        Ok((id, Vec::new()))
    }

    async fn start_container(&self, id: &str) -> EngineResult<()> {
        let image = self.state().image_of(id);
        let script = self.script_of(&image);
        let name = self.state().name_of(id);
        self.act("start container", &name, |state| state.start(id, script))
    }

    async fn stop_container(&self, id: &str, _: Option<i64>) -> EngineResult<()> {
        let name = self.state().name_of(id);
        self.act("stop container", &name, |state| state.stop(id))
    }

    async fn restart_container(&self, id: &str, _: Option<i64>) -> EngineResult<()> {
        let image = self.state().image_of(id);
        let script = self.script_of(&image);
        let name = self.state().name_of(id);
        self.act("restart container", &name, |state| {
            let ((), mut events) = state.stop(id)?;
            let ((), started) = state.start(id, script)?;
            events.extend(started);
            Ok(((), events))
        })
    }

    async fn kill_container(&self, id: &str, signal: &str) -> EngineResult<()> {
        let name = self.state().name_of(id);
        self.act("kill container", &name, |state| state.kill(id, signal))
    }

    async fn pause_container(&self, id: &str) -> EngineResult<()> {
        let name = self.state().name_of(id);
        self.act("pause container", &name, |state| {
            state.change_state(id, "running", "paused")
        })
    }

    async fn unpause_container(&self, id: &str) -> EngineResult<()> {
        let name = self.state().name_of(id);
        self.act("unpause container", &name, |state| {
            state.change_state(id, "paused", "running")
        })
    }

    async fn rename_container(&self, id: &str, name: &str) -> EngineResult<()> {
        let old = self.state().name_of(id);
        self.act("rename container", &old, |state| state.rename(id, name))
    }

    async fn remove_container(&self, id: &str, how: RemoveContainer) -> EngineResult<()> {
        let name = self.state().name_of(id);
        self.act("remove container", &name, |state| state.remove(id, how))
    }

    async fn wait_container(&self, id: &str) -> EngineResult<i64> {
        let mut events = self.shared.events.subscribe();
        loop {
            let state = self.inspect_container(id).await?.state.unwrap_or_default();
            if state.running != Some(true) {
                return Ok(state.exit_code.unwrap_or_default());
            }
            if let Err(RecvError::Closed) = events.recv().await {
                return Err(missing("wait for container", id));
            }
        }
    }

    async fn top_container(&self, id: &str) -> EngineResult<models::ContainerTopResponse> {
        self.inspect_container(id).await?;
        Ok(models::ContainerTopResponse::default())
    }

    async fn stats_container(&self, id: &str) -> EngineResult<models::ContainerStatsResponse> {
        self.inspect_container(id).await?;
        Ok(models::ContainerStatsResponse::default())
    }

    async fn commit_container(&self, id: &str, options: &CommitOptions) -> EngineResult<String> {
        let name = self.state().name_of(id);
        let reference = options.reference.clone();
        self.act("commit container", &name, |state| {
            state.add_image(&reference, 0);
            let image = state.find_image(&reference);
            let id = image.map(|image| image.id.clone()).unwrap_or_default();
            Ok((id, Vec::new()))
        })
    }

    async fn export_container(&self, id: &str) -> EngineResult<RawStream> {
        self.inspect_container(id).await?;
        Ok(empty())
    }

    async fn download(&self, id: &str, path: &str) -> EngineResult<RawStream> {
        self.inspect_container(id).await?;
        Err(missing("copy from container", path))
    }

    async fn upload(&self, id: &str, _: &str, _: Vec<u8>) -> EngineResult<()> {
        let name = self.state().name_of(id);
        self.act("copy to container", &name, |state| {
            state.inspect(id).ok_or_else(|| Refusal::missing(id))?;
            Ok(((), Vec::new()))
        })
    }

    async fn upload_stream(&self, id: &str, path: &str, _: RawStream) -> EngineResult<()> {
        self.upload(id, path, Vec::new()).await
    }

    async fn put_files(&self, id: &str, _: &[FileSpec]) -> EngineResult<()> {
        self.upload(id, "/", Vec::new()).await
    }

    async fn stat_path(&self, id: &str, _: &str) -> EngineResult<Option<Value>> {
        self.inspect_container(id).await?;
        Ok(None)
    }

    async fn logs(&self, id: &str, _: &LogOptions) -> EngineResult<LogStream> {
        self.inspect_container(id).await?;
        Ok(empty())
    }

    async fn attach(&self, id: &str, _: &AttachOptions) -> EngineResult<ExecSession> {
        self.inspect_container(id).await?;
        Ok(ExecSession {
            output: empty(),
            input: Box::pin(Nowhere),
        })
    }

    async fn create_exec(&self, id: &str, _: &ExecSpec) -> EngineResult<String> {
        let name = self.state().name_of(id);
        self.act("prepare command in container", &name, |state| {
            state.inspect(id).ok_or_else(|| Refusal::missing(id))?;
            Ok((format!("exec-{id}"), Vec::new()))
        })
    }

    async fn start_exec(&self, exec: &str, _: &ExecSpec) -> EngineResult<ExecSession> {
        self.act("start command", exec, |_| Ok(((), Vec::new())))?;
        Ok(ExecSession {
            output: empty(),
            input: Box::pin(Nowhere),
        })
    }

    async fn start_exec_detached(&self, exec: &str) -> EngineResult<()> {
        self.act("start command", exec, |_| Ok(((), Vec::new())))
    }

    async fn inspect_exec(&self, _: &str) -> EngineResult<(bool, i64)> {
        Ok((false, 0))
    }

    async fn resize_exec(&self, _: &str, _: u16, _: u16) -> EngineResult<()> {
        Ok(())
    }

    async fn resize_container(&self, _: &str, _: u16, _: u16) -> EngineResult<()> {
        Ok(())
    }

    async fn list_networks(&self, labels: &[String]) -> EngineResult<Vec<models::Network>> {
        Ok(self.state().networks(labels))
    }

    async fn inspect_network(&self, name: &str) -> EngineResult<models::NetworkInspect> {
        let state = self.state();
        let network = state
            .find_network(name)
            .ok_or_else(|| missing("inspect network", name))?;
        Ok(models::NetworkInspect {
            id: Some(network.id.clone()),
            name: Some(network.name.clone()),
            driver: Some(network.driver.clone()),
            labels: Some(network.labels.clone().into_iter().collect()),
            ..models::NetworkInspect::default()
        })
    }

    async fn create_network(&self, spec: &NetworkSpec) -> EngineResult<String> {
        self.act("create network", &spec.body.name, |state| {
            state.create_network(spec)
        })
    }

    async fn remove_network(&self, id: &str) -> EngineResult<()> {
        self.act("remove network", id, |state| state.remove_network(id))
    }

    async fn connect_network(
        &self,
        network: &str,
        container: &str,
        _: models::EndpointSettings,
    ) -> EngineResult<()> {
        self.act("connect network", network, |state| {
            state.connect(network, container)
        })
    }

    async fn disconnect_network(&self, network: &str, container: &str) -> EngineResult<()> {
        self.act("disconnect network", network, |state| {
            state.disconnect(network, container)
        })
    }

    async fn list_volumes(&self, labels: &[String]) -> EngineResult<Vec<models::Volume>> {
        Ok(self.state().volumes(labels))
    }

    async fn inspect_volume(&self, name: &str) -> EngineResult<models::Volume> {
        let state = self.state();
        let volume = state.find_volume(name);
        volume
            .map(state::to_volume)
            .ok_or_else(|| missing("inspect volume", name))
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> EngineResult<()> {
        let name = spec.body.name.clone().unwrap_or_default();
        self.act("create volume", &name, |state| {
            state.create_volume(spec);
            Ok(((), Vec::new()))
        })
    }

    async fn remove_volume(&self, name: &str) -> EngineResult<()> {
        self.act("remove volume", name, |state| state.remove_volume(name))
    }

    async fn list_images(&self, _: &[String]) -> EngineResult<Vec<models::ImageSummary>> {
        Ok(self.state().images())
    }

    async fn inspect_image(&self, reference: &str) -> EngineResult<Option<models::ImageInspect>> {
        let state = self.state();
        let image = state.find_image(reference);
        Ok(image.map(|image| models::ImageInspect {
            id: Some(image.id.clone()),
            os: Some("linux".to_owned()),
            architecture: Some("amd64".to_owned()),
            repo_tags: Some(vec![reference.to_owned()]),
            ..models::ImageInspect::default()
        }))
    }

    async fn pull_image(&self, reference: &str, _: Option<&str>) -> EngineResult<Stream<Value>> {
        self.act("pull image", reference, |state| {
            state.add_image(reference, 0);
            Ok(((), Vec::new()))
        })?;
        Ok(empty())
    }

    async fn push_image(&self, reference: &str) -> EngineResult<Stream<Value>> {
        self.act("push image", reference, |state| {
            state
                .find_image(reference)
                .ok_or_else(|| Refusal::missing(reference))?;
            Ok(((), Vec::new()))
        })?;
        Ok(empty())
    }

    async fn tag_image(&self, source: &str, target: &str) -> EngineResult<()> {
        self.act("tag image", source, |state| state.tag(source, target))
    }

    async fn image_history(&self, _: &str) -> EngineResult<Vec<models::ImageHistoryResponseItem>> {
        Ok(Vec::new())
    }

    async fn save_images(&self, _: &[String]) -> EngineResult<RawStream> {
        Ok(empty())
    }

    async fn prune_images(&self, _: bool) -> EngineResult<models::ImagePruneResponse> {
        Ok(models::ImagePruneResponse::default())
    }

    async fn remove_image(&self, reference: &str) -> EngineResult<()> {
        self.act("remove image", reference, |state| {
            state.remove_image(reference)
        })
    }

    async fn load_image(&self, _: RawStream) -> EngineResult<Stream<Value>> {
        Ok(empty())
    }

    async fn import_image(
        &self,
        _: RawStream,
        reference: &str,
        _: &[String],
    ) -> EngineResult<String> {
        self.act("import image", reference, |state| {
            state.add_image(reference, 0);
            Ok((format!("sha256:{reference}:0"), Vec::new()))
        })
    }

    async fn build_image(&self, request: &BuildRequest) -> EngineResult<Stream<Value>> {
        let name = request.tags.first().cloned().unwrap_or_default();
        self.act("build image", &name, |state| {
            state.add_image(&name, 0);
            Ok(((), Vec::new()))
        })?;
        Ok(empty())
    }

    async fn events(&self, request: &EventRequest) -> EngineResult<Stream<models::EventMessage>> {
        let labels = request.labels.clone();
        let receiver = self.shared.events.subscribe();
        let events = futures_util::stream::unfold(receiver, async |mut receiver| {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, receiver)),
                    // A test that makes thousands of events without reading loses the oldest.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        let matching = events.filter(move |event| {
            let matches = labels.iter().all(|label| event_has(event, label));
            std::future::ready(matches)
        });
        Ok(Box::pin(matching.map(Ok)))
    }

    async fn system_info(&self) -> EngineResult<models::SystemInfo> {
        Ok(models::SystemInfo::default())
    }
}

fn event_has(event: &models::EventMessage, label: &str) -> bool {
    let attributes = event
        .actor
        .as_ref()
        .and_then(|actor| actor.attributes.as_ref());
    let (key, value) = match label.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (label, None),
    };
    let found = attributes.and_then(|attributes| attributes.get(key));
    found.is_some_and(|found| value.is_none_or(|value| found == value))
}

/// Input that nobody reads: it is taken, as a pipe takes it.
struct Nowhere;

impl AsyncWrite for Nowhere {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
