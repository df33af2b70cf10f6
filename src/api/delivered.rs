//! `POST /hoist/containers/ID/files`: secrets and configs, into memory instead of the container's root.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::task::block_in_place;

use super::call::Call;
use super::reply::{RouteResult, no_content};
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::supervise::Supervisor;
use crate::runtime::supervise::delivered::{DeliveredFile, DeliveredPlace};

#[derive(Deserialize)]
struct Sent {
    #[serde(flatten)]
    place: DeliveredPlace,
    /// In base64.
    content: String,
}

/// Takes the files of a container.
pub(crate) async fn deliver(engine: &Arc<Supervisor>, id: &str, mut call: Call) -> RouteResult {
    let container = engine.container(id)?;
    let sent: Vec<Sent> = call.json().await?;
    let files = sent
        .into_iter()
        .map(decode)
        .collect::<RuntimeResult<Vec<_>>>()?;
    block_in_place(|| engine.deliver(&container, &files))?;
    no_content()
}

fn decode(sent: Sent) -> RuntimeResult<DeliveredFile> {
    let content = STANDARD.decode(&sent.content).map_err(|_| {
        RuntimeError::invalid(format!("the content of `{}` is no base64", sent.place.path))
    })?;
    Ok(DeliveredFile {
        place: sent.place,
        content,
    })
}
