//! Builds, by the builder that every engine has.

use std::collections::HashMap;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters as query;

use super::convert::build_progress;
use crate::engine::{BuildRequest, Stream};

pub(super) fn build(
    client: &Docker,
    request: &BuildRequest,
    keys: Option<HashMap<String, DockerCredentials>>,
) -> Stream<serde_json::Value> {
    let name = request.tags.first().cloned().unwrap_or_default();
    let options = to_options(request);
    let context = bollard::body_full(request.context.clone().into());
    let client = client.clone();
    // bollard's stream borrows the client, so a task of its own carries both.
    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        let mut messages = Box::pin(client.build_image(options, keys, Some(context)));
        while let Some(message) = futures_util::StreamExt::next(&mut messages).await {
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    let messages = futures_util::stream::unfold(receiver, async |mut receiver| {
        let message = receiver.recv().await?;
        Some((message, receiver))
    });
    build_progress("build image", &name, messages)
}

fn to_options(request: &BuildRequest) -> query::BuildImageOptions {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    query::BuildImageOptions {
        dockerfile: request.dockerfile.clone(),
        // bollard has room for one name only; the others are given by tagging.
        t: request.tags.first().cloned(),
        extrahosts: some(&request.extra_hosts.join(",")),
        nocache: request.no_cache,
        cachefrom: Some(request.cache_from.clone()).filter(|sources| !sources.is_empty()),
        pull: request.pull.then(|| "true".to_owned()),
        memory: request
            .memory
            .map(|bytes| i32::try_from(bytes).unwrap_or(i32::MAX)),
        rm: true,
        forcerm: true,
        buildargs: Some(
            request
                .args
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
                .collect(),
        ),
        shmsize: request
            .shm_size
            .map(|size| i32::try_from(size).unwrap_or(i32::MAX)),
        labels: Some(
            request
                .labels
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        ),
        networkmode: some(&request.network),
        platform: request.platform.clone(),
        target: request.target.clone(),
        ..query::BuildImageOptions::default()
    }
}
