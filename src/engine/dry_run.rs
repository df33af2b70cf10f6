//! An engine that looks and does not touch: what reads goes to the engine below, what acts is answered as done.
//!
//! Made by `cli::context` for `--dry-run`. What it "made" runs and is healthy, so that waits end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bollard_stubs::models;

use super::{
    AttachOptions, BuildRequest, CommitOptions, ContainerFilter, ContainerSpec, Engine, EngineInfo,
    EngineResult, EventRequest, ExecSession, ExecSpec, FileSpec, LogOptions, LogStream,
    NetworkSpec, ObserveRequest, ObservedState, RawStream, RemoveContainer, Stream, VolumeSpec,
};

/// The decorator.
#[derive(Debug)]
pub struct DryRun {
    inner: Arc<dyn Engine>,
    simulated: Mutex<HashMap<String, String>>,
}

impl DryRun {
    /// Wraps an engine.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        Self {
            inner,
            simulated: Mutex::default(),
        }
    }

    /// Makes up the id of an object.
    fn simulate(&self, name: &str) -> String {
        let simulated = self.simulated.lock();
        // A count and a name cannot be left half changed by a panic.
        let mut simulated = simulated.unwrap_or_else(PoisonError::into_inner);
        let id = format!("dryrun{:058}", simulated.len() + 1);
        simulated.insert(id.clone(), name.to_owned());
        id
    }

    fn simulated_name(&self, id: &str) -> Option<String> {
        let simulated = self.simulated.lock();
        let simulated = simulated.unwrap_or_else(PoisonError::into_inner);
        simulated.get(id).cloned()
    }
}

fn nothing<T: Send + 'static>() -> Stream<T> {
    Box::pin(futures_util::stream::empty())
}

/// A container that nobody started, as it would be.
fn running(id: &str, name: &str) -> models::ContainerInspectResponse {
    models::ContainerInspectResponse {
        id: Some(id.to_owned()),
        name: Some(format!("/{name}")),
        state: Some(models::ContainerState {
            status: Some(models::ContainerStateStatusEnum::RUNNING),
            running: Some(true),
            health: Some(models::Health {
                status: Some(models::HealthStatusEnum::HEALTHY),
                ..models::Health::default()
            }),
            ..models::ContainerState::default()
        }),
        ..models::ContainerInspectResponse::default()
    }
}

#[async_trait]
impl Engine for DryRun {
    fn info(&self) -> &EngineInfo {
        self.inner.info()
    }

    async fn observe(&self, request: &ObserveRequest) -> EngineResult<ObservedState> {
        self.inner.observe(request).await
    }

    async fn list_containers(
        &self,
        filter: &ContainerFilter,
    ) -> EngineResult<Vec<models::ContainerSummary>> {
        self.inner.list_containers(filter).await
    }

    async fn inspect_container(&self, id: &str) -> EngineResult<models::ContainerInspectResponse> {
        match self.simulated_name(id) {
            Some(name) => Ok(running(id, &name)),
            None => self.inner.inspect_container(id).await,
        }
    }

    async fn create_container(&self, spec: &ContainerSpec) -> EngineResult<(String, Vec<String>)> {
        Ok((self.simulate(&spec.name), Vec::new()))
    }

    async fn start_container(&self, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn stop_container(&self, _: &str, _: Option<i64>) -> EngineResult<()> {
        Ok(())
    }

    async fn restart_container(&self, _: &str, _: Option<i64>) -> EngineResult<()> {
        Ok(())
    }

    async fn kill_container(&self, _: &str, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn pause_container(&self, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn unpause_container(&self, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn rename_container(&self, _: &str, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn remove_container(&self, _: &str, _: RemoveContainer) -> EngineResult<()> {
        Ok(())
    }

    async fn wait_container(&self, id: &str) -> EngineResult<i64> {
        match self.simulated_name(id) {
            Some(_) => Ok(0),
            None => self.inner.wait_container(id).await,
        }
    }

    async fn top_container(&self, id: &str) -> EngineResult<models::ContainerTopResponse> {
        self.inner.top_container(id).await
    }

    async fn stats_container(&self, id: &str) -> EngineResult<models::ContainerStatsResponse> {
        self.inner.stats_container(id).await
    }

    async fn commit_container(&self, _: &str, options: &CommitOptions) -> EngineResult<String> {
        Ok(self.simulate(&options.reference))
    }

    async fn export_container(&self, id: &str) -> EngineResult<RawStream> {
        self.inner.export_container(id).await
    }

    async fn download(&self, id: &str, path: &str) -> EngineResult<RawStream> {
        self.inner.download(id, path).await
    }

    async fn upload(&self, _: &str, _: &str, _: Vec<u8>) -> EngineResult<()> {
        Ok(())
    }

    async fn upload_stream(&self, _: &str, _: &str, _: RawStream) -> EngineResult<()> {
        Ok(())
    }

    async fn put_files(&self, _: &str, _: &[FileSpec]) -> EngineResult<()> {
        Ok(())
    }

    async fn stat_path(&self, id: &str, path: &str) -> EngineResult<Option<serde_json::Value>> {
        self.inner.stat_path(id, path).await
    }

    async fn logs(&self, id: &str, options: &LogOptions) -> EngineResult<LogStream> {
        match self.simulated_name(id) {
            Some(_) => Ok(nothing()),
            None => self.inner.logs(id, options).await,
        }
    }

    async fn attach(&self, _: &str, _: &AttachOptions) -> EngineResult<ExecSession> {
        Ok(ExecSession {
            output: nothing(),
            input: Box::pin(tokio::io::sink()),
        })
    }

    async fn create_exec(&self, _: &str, _: &ExecSpec) -> EngineResult<String> {
        Ok(self.simulate("exec"))
    }

    async fn start_exec(&self, _: &str, _: &ExecSpec) -> EngineResult<ExecSession> {
        Ok(ExecSession {
            output: nothing(),
            input: Box::pin(tokio::io::sink()),
        })
    }

    async fn start_exec_detached(&self, _: &str) -> EngineResult<()> {
        Ok(())
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
        self.inner.list_networks(labels).await
    }

    async fn inspect_network(&self, name: &str) -> EngineResult<models::NetworkInspect> {
        self.inner.inspect_network(name).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> EngineResult<String> {
        Ok(self.simulate(&spec.body.name))
    }

    async fn remove_network(&self, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn connect_network(
        &self,
        _: &str,
        _: &str,
        _: models::EndpointSettings,
    ) -> EngineResult<()> {
        Ok(())
    }

    async fn disconnect_network(&self, _: &str, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn list_volumes(&self, labels: &[String]) -> EngineResult<Vec<models::Volume>> {
        self.inner.list_volumes(labels).await
    }

    async fn inspect_volume(&self, name: &str) -> EngineResult<models::Volume> {
        self.inner.inspect_volume(name).await
    }

    async fn create_volume(&self, _: &VolumeSpec) -> EngineResult<()> {
        Ok(())
    }

    async fn remove_volume(&self, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn list_images(&self, labels: &[String]) -> EngineResult<Vec<models::ImageSummary>> {
        self.inner.list_images(labels).await
    }

    async fn inspect_image(&self, reference: &str) -> EngineResult<Option<models::ImageInspect>> {
        self.inner.inspect_image(reference).await
    }

    async fn pull_image(
        &self,
        _: &str,
        _: Option<&str>,
    ) -> EngineResult<Stream<serde_json::Value>> {
        Ok(nothing())
    }

    async fn push_image(&self, _: &str) -> EngineResult<Stream<serde_json::Value>> {
        Ok(nothing())
    }

    async fn tag_image(&self, _: &str, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn image_history(
        &self,
        reference: &str,
    ) -> EngineResult<Vec<models::ImageHistoryResponseItem>> {
        self.inner.image_history(reference).await
    }

    async fn save_images(&self, references: &[String]) -> EngineResult<RawStream> {
        self.inner.save_images(references).await
    }

    async fn prune_images(&self, _: bool) -> EngineResult<models::ImagePruneResponse> {
        Ok(models::ImagePruneResponse::default())
    }

    async fn remove_image(&self, _: &str) -> EngineResult<()> {
        Ok(())
    }

    async fn load_image(&self, _: RawStream) -> EngineResult<Stream<serde_json::Value>> {
        Ok(nothing())
    }

    async fn import_image(
        &self,
        _: RawStream,
        reference: &str,
        _: &[String],
    ) -> EngineResult<String> {
        Ok(self.simulate(reference))
    }

    async fn build_image(&self, _: &BuildRequest) -> EngineResult<Stream<serde_json::Value>> {
        Ok(nothing())
    }

    async fn build_described(
        &self,
        _: &serde_json::Value,
    ) -> EngineResult<Stream<serde_json::Value>> {
        Ok(nothing())
    }

    async fn events(&self, request: &EventRequest) -> EngineResult<Stream<models::EventMessage>> {
        self.inner.events(request).await
    }

    async fn system_info(&self) -> EngineResult<models::SystemInfo> {
        self.inner.system_info().await
    }
}

#[cfg(test)]
mod tests {
    use super::DryRun;
    use crate::engine::fake::FakeEngine;
    use crate::engine::{ContainerSpec, Engine, EngineResult};
    use std::sync::Arc;

    #[tokio::test]
    async fn nothing_reaches_the_engine_below() -> EngineResult<()> {
        let below = FakeEngine::new();
        let engine = DryRun::new(Arc::new(below.clone()));
        let spec = ContainerSpec {
            name: "web".to_owned(),
            ..ContainerSpec::default()
        };
        let (id, _) = engine.create_container(&spec).await?;
        engine.start_container(&id).await?;
        engine.remove_image("busybox").await?;
        let state = engine
            .inspect_container(&id)
            .await?
            .state
            .unwrap_or_default();
        assert_eq!(state.running, Some(true));
        assert!(below.take_calls().is_empty());
        Ok(())
    }
}
