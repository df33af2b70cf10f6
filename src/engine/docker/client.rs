//! The connection to an engine, and the trait on it: each method is one function of its resource's file.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard_stubs::models;

use super::convert::failed;
use super::dial::Dialer;
use super::file::files_tar;
use super::{
    build, container, event, exec, hello, image, key, network, observe, own, time, volume,
};
use crate::engine::endpoint::TlsFiles;
use crate::engine::keyring::Keyring;
use crate::engine::spec::FileSpec;
use crate::engine::{
    AttachOptions, BuildRequest, CommitOptions, ContainerFilter, ContainerSpec, Engine,
    EngineError, EngineErrorKind, EngineInfo, EngineResult, EventRequest, ExecSession, ExecSpec,
    LogOptions, LogStream, NetworkSpec, ObserveRequest, ObservedState, RawStream, RemoveContainer,
    Stream, VolumeSpec,
};

/// How long an engine may take to say who it is.
const HELLO: Duration = Duration::from_secs(20);
/// No limit: pulls, waits and streams take as long as they take.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// From this version of the API on a container is created with all of its networks.
const MANY_NETWORKS: (u32, u32) = (1, 44);

/// An engine behind the Docker Engine API.
#[derive(Debug)]
pub struct DockerEngine {
    client: Docker,
    info: EngineInfo,
    address: String,
    keyring: Arc<dyn Keyring>,
}

impl DockerEngine {
    /// Connects to an address and asks who answers; the keyring opens registries.
    ///
    /// # Errors
    /// Where the address is not understood, nothing answers, or what answers is no engine.
    pub async fn connect(
        address: &str,
        tls: Option<&TlsFiles>,
        keyring: Arc<dyn Keyring>,
    ) -> EngineResult<Self> {
        let mut client = open(address, tls)?
            .with_request_modifier(|request| time::rewrite(key::rewrite(request)));
        client.set_timeout(HELLO);
        let heard = tokio::time::timeout(HELLO, hello::ask(address)).await;
        let info = match heard.ok().flatten() {
            Some(info) => info,
            None => client
                .version()
                .await
                .map(to_info)
                .map_err(failed("connect to engine", address))?,
        };
        client.set_timeout(FOR_EVER);
        Ok(Self {
            client,
            info,
            address: address.to_owned(),
            keyring,
        })
    }
}

fn open(address: &str, tls: Option<&TlsFiles>) -> EngineResult<Docker> {
    let api = bollard::API_DEFAULT_VERSION;
    let seconds = HELLO.as_secs();
    let opened = match address.split_once("://") {
        Some(("unix", _)) => Docker::connect_with_unix(address, seconds, api),
        Some(("tcp", rest)) if tls.is_some() => {
            Dialer::tls(address, rest, &tls.cloned().unwrap_or_default())?.client(address, seconds)
        }
        Some(("ssh", rest)) => Dialer::ssh(address, rest)?.client(address, seconds),
        Some(("tcp" | "http", rest)) => {
            let host = format!("http://{}", rest.trim_end_matches('/'));
            Docker::connect_with_http(&host, seconds, api)
        }
        _ => {
            return Err(EngineError::new(
                "connect to engine",
                address,
                EngineErrorKind::Unsupported,
                "only unix://, tcp://, http:// and ssh:// addresses can be used",
            ));
        }
    };
    opened.map_err(failed("connect to engine", address))
}

fn to_info(version: models::SystemVersion) -> EngineInfo {
    let components = version.components.unwrap_or_default();
    let own = version
        .platform
        .is_some_and(|platform| platform.name == "hoist");
    let product = match components.first().map(|component| component.name.as_str()) {
        Some(_) if own => "hoist",
        Some("Engine") | None => "Docker",
        Some("Podman Engine") => "Podman",
        Some(other) => other,
    };
    EngineInfo {
        product: product.to_owned(),
        version: version.version.unwrap_or_default(),
        api: agree(version.api_version.as_deref().unwrap_or_default()),
    }
}

/// The older of the engine's API version and ours.
pub(super) fn agree(theirs: &str) -> (u32, u32) {
    let ours = bollard::API_DEFAULT_VERSION.to_string();
    let parse = |text: &str| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let ours = parse(&ours).unwrap_or((1, 40));
    parse(theirs).unwrap_or(ours).min(ours)
}

#[async_trait]
impl Engine for DockerEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    async fn observe(&self, request: &ObserveRequest) -> EngineResult<ObservedState> {
        observe::observe(&self.client, request).await
    }

    async fn list_containers(
        &self,
        filter: &ContainerFilter,
    ) -> EngineResult<Vec<models::ContainerSummary>> {
        container::list(&self.client, filter).await
    }

    async fn inspect_container(&self, id: &str) -> EngineResult<models::ContainerInspectResponse> {
        container::inspect(&self.client, id).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> EngineResult<(String, Vec<String>)> {
        if self.info.api >= MANY_NETWORKS {
            return container::create(&self.client, spec).await;
        }
        container::create_then_connect(&self.client, spec).await
    }

    async fn start_container(&self, id: &str) -> EngineResult<()> {
        container::start(&self.client, id).await
    }

    async fn stop_container(&self, id: &str, timeout: Option<i64>) -> EngineResult<()> {
        container::stop(&self.client, id, timeout).await
    }

    async fn restart_container(&self, id: &str, timeout: Option<i64>) -> EngineResult<()> {
        container::restart(&self.client, id, timeout).await
    }

    async fn kill_container(&self, id: &str, signal: &str) -> EngineResult<()> {
        container::kill(&self.client, id, signal).await
    }

    async fn pause_container(&self, id: &str) -> EngineResult<()> {
        container::pause(&self.client, id).await
    }

    async fn unpause_container(&self, id: &str) -> EngineResult<()> {
        container::unpause(&self.client, id).await
    }

    async fn rename_container(&self, id: &str, name: &str) -> EngineResult<()> {
        container::rename(&self.client, id, name).await
    }

    async fn remove_container(&self, id: &str, how: RemoveContainer) -> EngineResult<()> {
        container::remove(&self.client, id, how).await
    }

    async fn wait_container(&self, id: &str) -> EngineResult<i64> {
        container::wait(&self.client, id).await
    }

    async fn top_container(&self, id: &str) -> EngineResult<models::ContainerTopResponse> {
        container::top(&self.client, id).await
    }

    async fn stats_container(&self, id: &str) -> EngineResult<models::ContainerStatsResponse> {
        container::stats(&self.client, id).await
    }

    async fn commit_container(&self, id: &str, options: &CommitOptions) -> EngineResult<String> {
        container::commit(&self.client, id, options).await
    }

    async fn export_container(&self, id: &str) -> EngineResult<RawStream> {
        Ok(container::export(&self.client, id))
    }

    async fn download(&self, id: &str, path: &str) -> EngineResult<RawStream> {
        Ok(container::download(&self.client, id, path))
    }

    async fn upload(&self, id: &str, path: &str, tar: Vec<u8>) -> EngineResult<()> {
        container::upload(&self.client, id, path, bollard::body_full(tar.into())).await
    }

    async fn upload_stream(&self, id: &str, path: &str, tar: RawStream) -> EngineResult<()> {
        container::upload(&self.client, id, path, image::body(tar)).await
    }

    async fn check_health(&self, id: &str) -> EngineResult<()> {
        own::check_health(&self.address, id).await
    }

    async fn put_files(&self, id: &str, files: &[FileSpec]) -> EngineResult<()> {
        if self.info.is_own() {
            own::put_files(&self.address, id, files).await
        } else {
            let tar = bollard::body_full(files_tar(files).into());
            container::upload(&self.client, id, "/", tar).await
        }
    }

    async fn stat_path(&self, id: &str, path: &str) -> EngineResult<Option<serde_json::Value>> {
        container::stat(&self.client, id, path).await
    }

    async fn logs(&self, id: &str, options: &LogOptions) -> EngineResult<LogStream> {
        exec::logs(&self.client, id, options)
    }

    async fn attach(&self, id: &str, options: &AttachOptions) -> EngineResult<ExecSession> {
        exec::attach(&self.client, id, options).await
    }

    async fn create_exec(&self, id: &str, spec: &ExecSpec) -> EngineResult<String> {
        exec::create(&self.client, id, spec).await
    }

    async fn start_exec(&self, exec: &str, spec: &ExecSpec) -> EngineResult<ExecSession> {
        exec::start(&self.client, exec, spec).await
    }

    async fn start_exec_detached(&self, exec: &str) -> EngineResult<()> {
        exec::start_detached(&self.client, exec).await
    }

    async fn inspect_exec(&self, exec: &str) -> EngineResult<(bool, i64)> {
        exec::inspect(&self.client, exec).await
    }

    async fn resize_exec(&self, exec: &str, columns: u16, rows: u16) -> EngineResult<()> {
        exec::resize(&self.client, exec, columns, rows).await
    }

    async fn resize_container(&self, id: &str, columns: u16, rows: u16) -> EngineResult<()> {
        container::resize(&self.client, id, columns, rows).await
    }

    async fn list_networks(&self, labels: &[String]) -> EngineResult<Vec<models::Network>> {
        network::list(&self.client, labels).await
    }

    async fn inspect_network(&self, name: &str) -> EngineResult<models::NetworkInspect> {
        network::inspect(&self.client, name).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> EngineResult<String> {
        network::create(&self.client, spec).await
    }

    async fn remove_network(&self, id: &str) -> EngineResult<()> {
        network::remove(&self.client, id).await
    }

    async fn connect_network(
        &self,
        network: &str,
        container: &str,
        endpoint: models::EndpointSettings,
    ) -> EngineResult<()> {
        network::connect(&self.client, network, container, endpoint).await
    }

    async fn disconnect_network(&self, network: &str, container: &str) -> EngineResult<()> {
        network::disconnect(&self.client, network, container).await
    }

    async fn list_volumes(&self, labels: &[String]) -> EngineResult<Vec<models::Volume>> {
        volume::list(&self.client, labels).await
    }

    async fn inspect_volume(&self, name: &str) -> EngineResult<models::Volume> {
        volume::inspect(&self.client, name).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> EngineResult<()> {
        volume::create(&self.client, spec).await
    }

    async fn remove_volume(&self, name: &str) -> EngineResult<()> {
        volume::remove(&self.client, name).await
    }

    async fn list_images(&self, labels: &[String]) -> EngineResult<Vec<models::ImageSummary>> {
        image::list(&self.client, labels).await
    }

    async fn inspect_image(&self, reference: &str) -> EngineResult<Option<models::ImageInspect>> {
        image::inspect(&self.client, reference).await
    }

    async fn pull_image(
        &self,
        reference: &str,
        platform: Option<&str>,
    ) -> EngineResult<Stream<serde_json::Value>> {
        let key = key::for_image(&self.keyring, reference).await?;
        Ok(image::pull(&self.client, reference, platform, key))
    }

    async fn push_image(&self, reference: &str) -> EngineResult<Stream<serde_json::Value>> {
        let key = key::for_image(&self.keyring, reference).await?;
        Ok(image::push(&self.client, reference, key))
    }

    async fn tag_image(&self, source: &str, target: &str) -> EngineResult<()> {
        image::tag(&self.client, source, target).await
    }

    async fn image_history(
        &self,
        reference: &str,
    ) -> EngineResult<Vec<models::ImageHistoryResponseItem>> {
        let steps = self.client.image_history(reference).await;
        steps.map_err(failed("show history of image", reference))
    }

    async fn save_images(&self, references: &[String]) -> EngineResult<RawStream> {
        image::save(&self.client, references).await
    }

    async fn prune_images(&self, all: bool) -> EngineResult<models::ImagePruneResponse> {
        image::prune(&self.client, all).await
    }

    async fn remove_image(&self, reference: &str) -> EngineResult<()> {
        image::remove(&self.client, reference).await
    }

    async fn load_image(&self, tar: RawStream) -> EngineResult<Stream<serde_json::Value>> {
        Ok(image::load(&self.client, tar))
    }

    async fn import_image(
        &self,
        tar: RawStream,
        reference: &str,
        changes: &[String],
    ) -> EngineResult<String> {
        image::import(&self.client, tar, reference, changes).await
    }

    async fn build_image(&self, request: &BuildRequest) -> EngineResult<Stream<serde_json::Value>> {
        let keys = key::all(&self.keyring).await?;
        Ok(build::build(&self.client, request, keys))
    }

    async fn build_described(
        &self,
        description: &serde_json::Value,
    ) -> EngineResult<Stream<serde_json::Value>> {
        let keys = key::config_header(&self.keyring).await?;
        let request = own::Post {
            path: "/hoist/build",
            operation: "build image",
            body: description,
            registry_config: keys,
        };
        own::post(&self.address, request).await
    }

    async fn events(&self, request: &EventRequest) -> EngineResult<Stream<models::EventMessage>> {
        Ok(event::follow(&self.client, request))
    }

    async fn system_info(&self) -> EngineResult<models::SystemInfo> {
        self.client
            .info()
            .await
            .map_err(failed("describe engine", "info"))
    }
}
