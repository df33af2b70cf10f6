//! Images to and from registries: the pull of `/images/create`, `/images/NAME/push`, `/distribution/NAME/json`.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::image::{answer_lines, publish};
use super::reply::{RouteResult, json_ok};
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::image::{Platform, Reference};
use crate::runtime::registry::{Credential, PullEvent, PullRequest, PushRequest};
use crate::runtime::supervise::Supervisor;

const AUTH_HEADER: &str = "x-registry-auth";

/// `POST /images/create?fromImage=…`
pub(crate) async fn pull(engine: &Arc<Supervisor>, call: &Call) -> RouteResult {
    let request = PullRequest {
        reference: wanted(
            call.query.text("fromImage").unwrap_or_default(),
            call.query.text("tag"),
        )?,
        platform: Platform::parse(call.query.text("platform").unwrap_or_default())?,
        credential: credential(call)?,
    };
    let (engine, gone) = (Arc::clone(engine), call.gone.clone());
    let (lines, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let registries = engine.registries();
        let pulling = registries.pull(engine.images(), &request, teller(lines.clone()));
        if let Some(pulled) = while_heard((&lines, &gone), pulling).await {
            let result = pulled.map(drop);
            finish(&engine, &request.reference, "pull", result, &lines);
        }
    });
    answer_lines(unbounded(receiver)).await
}

/// `POST /images/NAME/push`; the whole answer is a stream, errors too.
pub(crate) async fn push(engine: &Arc<Supervisor>, name: &str, call: &Call) -> RouteResult {
    let bare = Reference::parse_bare(name)?;
    let request = PushRequest {
        reference: match call.query.text("tag") {
            Some(tag) => bare.with_tag(tag)?,
            None => bare,
        },
        credential: credential(call)?,
    };
    let (engine, gone) = (Arc::clone(engine), call.gone.clone());
    let (lines, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let registries = engine.registries();
        let pushing = registries.push(engine.images(), &request, teller(lines.clone()));
        if let Some(pushed) = while_heard((&lines, &gone), pushing).await {
            let result = pushed.map(drop);
            finish(&engine, &request.reference, "push", result, &lines);
        }
    });
    answer_lines(unbounded(receiver)).await
}

/// `GET /distribution/NAME/json`
pub(crate) async fn distribution(engine: &Arc<Supervisor>, name: &str, call: &Call) -> RouteResult {
    let reference = Reference::parse(name)?;
    let credential = credential(call)?;
    json_ok(
        &engine
            .registries()
            .distribution(&reference, credential.as_ref())
            .await?,
    )
}

type Lines = mpsc::UnboundedSender<RuntimeResult<Value>>;

fn teller(lines: Lines) -> impl FnMut(PullEvent) + Send + 'static {
    // A client that has left hears nothing.
    move |event| drop(lines.send(Ok(event.to_json())))
}

/// What a transfer comes to; `None` where the client left before, which ends it as Docker's does.
async fn while_heard<T>(
    (lines, gone): (&Lines, &CancellationToken),
    transfer: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        result = transfer => Some(result),
        () = lines.closed() => None,
        () = gone.cancelled() => None,
    }
}

fn finish(
    engine: &Supervisor,
    reference: &Reference,
    action: &str,
    result: Result<(), crate::runtime::registry::RegistryError>,
    lines: &Lines,
) {
    match result {
        Ok(()) => publish(
            engine,
            &reference.familiar(),
            &reference.familiar_repository(),
            action,
        ),
        Err(error) => drop(lines.send(Err(RuntimeError::from(error)))),
    }
}

fn unbounded<T: Send + 'static>(
    receiver: mpsc::UnboundedReceiver<T>,
) -> impl futures_util::Stream<Item = T> + Send + 'static {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    })
}

/// A name with the tag or digest that stands beside it.
fn wanted(name: &str, tag: Option<&str>) -> RuntimeResult<Reference> {
    let whole = match tag {
        Some(digest) if digest.starts_with("sha256:") => format!("{name}@{digest}"),
        Some(tag) => return Ok(Reference::parse_bare(name)?.with_tag(tag)?),
        None => name.to_owned(),
    };
    Ok(Reference::parse(&whole)?)
}

fn credential(call: &Call) -> RuntimeResult<Option<Credential>> {
    let header = call
        .headers()
        .get(AUTH_HEADER)
        .and_then(|value| value.to_str().ok());
    Ok(Credential::from_header(header.unwrap_or_default())?)
}
