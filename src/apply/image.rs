//! Pulls, with their progress.

use futures_util::StreamExt;
use serde_json::Value;

use super::dispatch::Told;
use super::scheduler::Run;
use super::{ApplyError, ApplyEvent, Progress, ResourceEvent, Status};

pub(super) async fn pull(run: &Run, image: &str, platform: &str) -> Result<Told, ApplyError> {
    match fetch(run, image, platform).await {
        Ok(()) => Ok(Told::No),
        Err(error)
            if run
                .options
                .optional_pulls
                .iter()
                .any(|optional| optional == image) =>
        {
            run.tell_resource(
                &format!("Image {image}"),
                Status::Warning,
                "Warning",
                &error.chain(),
            );
            Ok(Told::Yes)
        }
        Err(error) => Err(error),
    }
}

async fn fetch(run: &Run, image: &str, platform: &str) -> Result<(), ApplyError> {
    let platform = Some(platform).filter(|platform| !platform.is_empty());
    let mut stream = run.engine.pull_image(image, platform).await?;
    loop {
        let item = tokio::select! {
            item = stream.next() => item,
            () = run.options.cancel.cancelled() => return Err(ApplyError::Cancelled),
        };
        let Some(item) = item else { return Ok(()) };
        let item = item?;
        if let Some(message) = find_error(&item) {
            return Err(ApplyError::Pull {
                image: image.to_owned(),
                message,
            });
        }
        if !run.options.quiet_pulls
            && let Some(event) = layer_event(image, &item)
        {
            run.tell(ApplyEvent::Resource(event));
        }
    }
}

/// The message of an item that reports a failure.
pub(super) fn find_error(item: &Value) -> Option<String> {
    let detail = item
        .pointer("/errorDetail/message")
        .or_else(|| item.get("error"))?;
    Some(detail.as_str().unwrap_or("unknown").to_owned())
}

fn layer_event(image: &str, item: &Value) -> Option<ResourceEvent> {
    let text = item.get("status")?.as_str()?;
    let layer = item.get("id")?.as_str()?;
    let number = |name: &str| {
        item.pointer(&format!("/progressDetail/{name}"))
            .and_then(Value::as_u64)
    };
    let done = matches!(text, "Pull complete" | "Already exists");
    Some(ResourceEvent {
        id: layer.to_owned(),
        parent: Some(format!("Image {image}")),
        status: if done { Status::Done } else { Status::Working },
        text: text.to_owned(),
        details: String::new(),
        progress: number("current")
            .zip(number("total"))
            .map(|(current, total)| Progress { current, total }),
    })
}
