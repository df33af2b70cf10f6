//! Networks.

use bollard::Docker;
use bollard::query_parameters as query;
use bollard_stubs::models;

use super::convert::{already, failed, label_filter};
use crate::engine::{EngineResult, NetworkSpec};

pub(super) async fn list(client: &Docker, labels: &[String]) -> EngineResult<Vec<models::Network>> {
    let options = query::ListNetworksOptions {
        filters: Some(label_filter(labels)),
    };
    client
        .list_networks(Some(options))
        .await
        .map_err(failed("list networks", &labels.join(",")))
}

pub(super) async fn inspect(client: &Docker, name: &str) -> EngineResult<models::NetworkInspect> {
    client
        .inspect_network(name, None)
        .await
        .map_err(failed("inspect network", name))
}

pub(super) async fn create(client: &Docker, spec: &NetworkSpec) -> EngineResult<String> {
    let created = client
        .create_network(spec.body.clone())
        .await
        .map_err(failed("create network", &spec.body.name))?;
    Ok(created.id)
}

pub(super) async fn remove(client: &Docker, id: &str) -> EngineResult<()> {
    let result = client.remove_network(id).await;
    already(result, &[404]).map_err(failed("remove network", id))
}

pub(super) async fn connect(
    client: &Docker,
    network: &str,
    container: &str,
    endpoint: models::EndpointSettings,
) -> EngineResult<()> {
    let request = models::NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(endpoint),
    };
    client
        .connect_network(network, request)
        .await
        .map_err(failed("connect network", network))
}

pub(super) async fn disconnect(
    client: &Docker,
    network: &str,
    container: &str,
) -> EngineResult<()> {
    let request = models::NetworkDisconnectRequest {
        container: container.to_owned(),
        force: Some(true),
    };
    client
        .disconnect_network(network, request)
        .await
        .map_err(failed("disconnect network", network))
}
