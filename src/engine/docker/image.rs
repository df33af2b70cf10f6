//! Images.

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::query_parameters as query;
use bollard_stubs::models;
use futures_util::StreamExt;

use super::convert::{build_progress, failed, label_filter, progress, split_reference};
use crate::engine::{EngineError, EngineErrorKind, EngineResult, RawStream, Stream};

pub(super) async fn list(
    client: &Docker,
    labels: &[String],
) -> EngineResult<Vec<models::ImageSummary>> {
    let options = query::ListImagesOptions {
        filters: Some(label_filter(labels)),
        ..query::ListImagesOptions::default()
    };
    client
        .list_images(Some(options))
        .await
        .map_err(failed("list images", &labels.join(",")))
}

pub(super) async fn inspect(
    client: &Docker,
    reference: &str,
) -> EngineResult<Option<models::ImageInspect>> {
    match client.inspect_image(reference).await {
        Ok(image) => Ok(Some(image)),
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(failed("inspect image", reference)(error)),
    }
}

pub(super) fn pull(
    client: &Docker,
    reference: &str,
    platform: Option<&str>,
    key: Option<DockerCredentials>,
) -> Stream<serde_json::Value> {
    let (name, tag) = split_reference(reference);
    let digest = name.contains('@');
    let options = query::CreateImageOptions {
        from_image: Some(name),
        tag: tag.or_else(|| (!digest).then(|| "latest".to_owned())),
        platform: platform.unwrap_or_default().to_owned(),
        ..query::CreateImageOptions::default()
    };
    let pulled = client.create_image(Some(options), None, key);
    progress("pull image", reference, pulled)
}

pub(super) fn push(
    client: &Docker,
    reference: &str,
    key: Option<DockerCredentials>,
) -> Stream<serde_json::Value> {
    let (name, tag) = split_reference(reference);
    let options = query::PushImageOptions {
        tag,
        platform: None,
    };
    let pushed = client.push_image(&name, Some(options), key);
    progress("push image", reference, pushed)
}

pub(super) async fn tag(client: &Docker, source: &str, target: &str) -> EngineResult<()> {
    let (repository, tag) = split_reference(target);
    let options = query::TagImageOptions {
        repo: Some(repository),
        tag,
    };
    client
        .tag_image(source, Some(options))
        .await
        .map_err(failed("tag image", source))
}

pub(super) async fn remove(client: &Docker, reference: &str) -> EngineResult<()> {
    let removed = client
        .remove_image(reference, None::<query::RemoveImageOptions>, None)
        .await;
    removed.map(drop).map_err(failed("remove image", reference))
}

/// An archive of images. What is unknown is refused before anything is written.
pub(super) async fn save(client: &Docker, references: &[String]) -> EngineResult<RawStream> {
    for reference in references {
        let found = client.inspect_image(reference).await;
        found.map_err(failed("save image", reference))?;
    }
    let (client, names) = (client.clone(), references.to_vec());
    // bollard's stream borrows the client, so a task of its own carries both.
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut pieces = Box::pin(client.export_images(&names));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(failed("save images", &names.join(" ")));
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    Ok(Box::pin(futures_util::stream::unfold(
        receiver,
        async |mut receiver| {
            let piece = receiver.recv().await?;
            Some((piece, receiver))
        },
    )))
}

pub(super) async fn prune(client: &Docker, all: bool) -> EngineResult<models::ImagePruneResponse> {
    let filters = [("dangling".to_owned(), vec![(!all).to_string()])];
    let options = query::PruneImagesOptions {
        filters: Some(filters.into()),
    };
    let pruned = client.prune_images(Some(options)).await;
    pruned.map_err(failed(
        "prune images",
        if all { "all" } else { "without a name" },
    ))
}

pub(super) fn load(client: &Docker, tar: RawStream) -> Stream<serde_json::Value> {
    let options = query::ImportImageOptions::default();
    let loaded = client.import_image(options, body(tar), None);
    build_progress("load image", "archive", loaded)
}

pub(super) async fn import(
    client: &Docker,
    tar: RawStream,
    reference: &str,
    changes: &[String],
) -> EngineResult<String> {
    let (repository, tag) = split_reference(reference);
    let options = query::CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repository),
        tag,
        changes: changes.to_vec(),
        ..query::CreateImageOptions::default()
    };
    let mut messages = Box::pin(client.create_image(Some(options), Some(body(tar)), None));
    let mut id = None;
    while let Some(message) = messages.next().await {
        let message = message.map_err(failed("import image", reference))?;
        id = message
            .status
            .filter(|text| text.starts_with("sha256:"))
            .or(id);
    }
    id.ok_or_else(|| {
        EngineError::new(
            "import image",
            reference,
            EngineErrorKind::Failed,
            "the engine did not say its id",
        )
    })
}

/// The body of a request that is a stream of ours.
pub(super) fn body(tar: RawStream) -> BodyType {
    bollard::body_try_stream(tar.map(|part| part.map_err(std::io::Error::other)))
}

pub(super) type BodyType = http_body_util::Either<
    http_body_util::Full<bytes::Bytes>,
    http_body_util::StreamBody<
        std::pin::Pin<
            Box<
                dyn futures_util::Stream<
                        Item = Result<hyper::body::Frame<bytes::Bytes>, std::io::Error>,
                    > + Send,
            >,
        >,
    >,
>;
