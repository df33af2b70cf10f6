//! The snapshot: a list call for each kind of resource, all at once, then only what the lists cannot say.

use std::collections::HashMap;

use bollard::Docker;
use bollard_stubs::models;
use futures_util::future::try_join_all;
use futures_util::try_join;
use indexmap::IndexMap;

use super::{container, image, network, volume};
use crate::engine::member::{Member, exit_code_of};
use crate::engine::{
    ContainerFilter, EngineError, EngineResult, ObserveRequest, ObservedContainer, ObservedImage,
    ObservedNetwork, ObservedState, ObservedVolume, label,
};

pub(super) async fn observe(
    client: &Docker,
    request: &ObserveRequest,
) -> EngineResult<ObservedState> {
    let (containers, networks, volumes, images) = try_join!(
        containers(client, &request.project),
        networks(client, request),
        volumes(client, request),
        images(client, &request.images),
    )?;
    Ok(ObservedState {
        containers,
        networks,
        volumes,
        images,
    })
}

fn of_project(project: &str) -> String {
    format!("{}={project}", label::PROJECT)
}

async fn containers(client: &Docker, project: &str) -> EngineResult<Vec<ObservedContainer>> {
    let filter = ContainerFilter {
        all: true,
        labels: vec![of_project(project)],
    };
    let found = container::list(client, &filter).await?;
    let observed = found
        .into_iter()
        .map(|summary| observe_container(client, summary));
    let mut containers = try_join_all(observed)
        .await?
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
    containers.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(containers)
}

/// The list says everything; the exit code only in a sentence, so an engine that words it otherwise is asked.
/// A container that went away meanwhile is none.
async fn observe_container(
    client: &Docker,
    summary: models::ContainerSummary,
) -> EngineResult<Option<ObservedContainer>> {
    let told = exit_code_of(summary.status.as_deref().unwrap_or_default());
    let mut observed = to_observed(summary);
    observed.exit_code = match (told, observed.state.as_str()) {
        (Some(code), _) => code,
        (None, "exited" | "dead") => match container::inspect(client, &observed.id).await {
            Ok(details) => details
                .state
                .and_then(|state| state.exit_code)
                .unwrap_or_default(),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        },
        (None, _) => 0,
    };
    Ok(Some(observed))
}

fn to_observed(summary: models::ContainerSummary) -> ObservedContainer {
    let member = Member { summary };
    let (name, state, health) = (member.name().to_owned(), member.state(), member.health());
    let summary = member.summary;
    ObservedContainer {
        id: summary.id.unwrap_or_default(),
        name,
        state,
        health: health.to_owned(),
        exit_code: 0,
        image: summary.image.unwrap_or_default(),
        image_id: summary.image_id.unwrap_or_default(),
        labels: sorted(summary.labels.unwrap_or_default()),
        networks: summary
            .network_settings
            .and_then(|settings| settings.networks)
            .map(|networks| {
                let ids = networks
                    .into_iter()
                    .map(|(name, endpoint)| (name, endpoint.network_id.unwrap_or_default()));
                sorted(ids.collect())
            })
            .unwrap_or_default(),
        mounts: summary.mounts.unwrap_or_default(),
        created: summary.created.unwrap_or_default(),
    }
}

fn sorted(map: HashMap<String, String>) -> IndexMap<String, String> {
    let mut sorted: IndexMap<_, _> = map.into_iter().collect();
    sorted.sort_keys();
    sorted
}

/// The project's networks, and those asked for by name. One list of all is cheaper than a call for each name.
async fn networks(
    client: &Docker,
    request: &ObserveRequest,
) -> EngineResult<IndexMap<String, ObservedNetwork>> {
    let all = network::list(client, &[]).await?;
    Ok(all
        .into_iter()
        .map(to_network)
        .filter(|network| {
            belongs(&network.labels, &request.project)
                || request
                    .networks
                    .iter()
                    .any(|wanted| *wanted == network.name || *wanted == network.id)
        })
        .map(|network| (network.name.clone(), network))
        .collect())
}

fn belongs(labels: &IndexMap<String, String>, project: &str) -> bool {
    labels
        .get(label::PROJECT)
        .is_some_and(|name| name == project)
}

fn to_network(network: models::Network) -> ObservedNetwork {
    ObservedNetwork {
        id: network.id.unwrap_or_default(),
        name: network.name.unwrap_or_default(),
        driver: network.driver.unwrap_or_default(),
        labels: sorted(network.labels.unwrap_or_default()),
    }
}

async fn volumes(
    client: &Docker,
    request: &ObserveRequest,
) -> EngineResult<IndexMap<String, ObservedVolume>> {
    let all = volume::list(client, &[]).await?;
    Ok(all
        .into_iter()
        .map(to_volume)
        .filter(|volume| {
            belongs(&volume.labels, &request.project) || request.volumes.contains(&volume.name)
        })
        .map(|volume| (volume.name.clone(), volume))
        .collect())
}

fn to_volume(volume: models::Volume) -> ObservedVolume {
    ObservedVolume {
        name: volume.name,
        driver: volume.driver,
        labels: sorted(volume.labels),
    }
}

async fn images(
    client: &Docker,
    references: &[String],
) -> EngineResult<IndexMap<String, ObservedImage>> {
    let mut wanted = references.to_vec();
    wanted.sort();
    wanted.dedup();
    let found = wanted.into_iter().map(async |reference| {
        let image = image::inspect(client, &reference).await?;
        Ok::<_, EngineError>(image.map(|image| (reference, to_image(image))))
    });
    Ok(try_join_all(found).await?.into_iter().flatten().collect())
}

fn to_image(image: models::ImageInspect) -> ObservedImage {
    let config = image.config.unwrap_or_default();
    let mut platform = format!(
        "{}/{}",
        image.os.unwrap_or_default(),
        image.architecture.unwrap_or_default()
    );
    if let Some(variant) = image.variant.filter(|variant| !variant.is_empty()) {
        platform.push('/');
        platform.push_str(&variant);
    }
    let mut volumes = config.volumes.unwrap_or_default();
    volumes.sort();
    ObservedImage {
        id: image.id.unwrap_or_default(),
        platform,
        tagged: image
            .metadata
            .and_then(|metadata| metadata.last_tag_time)
            .and_then(|time| time.parse::<jiff::Timestamp>().ok())
            .map(|time| time.as_second().max(0))
            .unwrap_or_default(),
        volumes,
        labels: sorted(config.labels.unwrap_or_default()),
    }
}
