//! Copies of volumes, for a migration: by `cp` in a container of the service's own image, else through the API's
//! archive calls, which need no program in the image.

use super::scheduler::Run;
use super::{ApplyError, hook};
use crate::engine::spec::{COPY_FROM, COPY_TO};
use crate::engine::{ContainerSpec, EngineErrorKind, EngineResult, LogOptions, RemoveContainer};
use crate::plan::CopyVolume;

/// Exit codes of a shell that found no `cp`, or none that it can run.
const NO_PROGRAM: [i64; 2] = [126, 127];

pub(super) async fn copy(run: &Run, request: &CopyVolume) -> Result<(), ApplyError> {
    let id = create(run, &request.helper).await?;
    let outcome = tokio::select! {
        outcome = fill(run, request, &id) => outcome,
        () = run.options.cancel.cancelled() => {
            remove(run, &writer_name(request)).await?;
            Err(ApplyError::Cancelled)
        }
    };
    let removed = remove(run, &id).await;
    outcome?;
    Ok(removed?)
}

/// Makes the container; one of that name was left by a copy that was cut short.
async fn create(run: &Run, helper: &ContainerSpec) -> EngineResult<String> {
    match run.engine.create_container(helper).await {
        Ok((id, _)) => Ok(id),
        Err(error) if error.kind == EngineErrorKind::Conflict => {
            remove(run, &helper.name).await?;
            let (id, _) = run.engine.create_container(helper).await?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}

async fn remove(run: &Run, id: &str) -> EngineResult<()> {
    let how = RemoveContainer {
        force: true,
        volumes: true,
    };
    match run.engine.remove_container(id, how).await {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn fill(run: &Run, request: &CopyVolume, id: &str) -> Result<(), ApplyError> {
    // An engine says in many ways that an image has no shell; whatever it is, the archive calls need none.
    if run.engine.start_container(id).await.is_ok() {
        let code = run.engine.wait_container(id).await?;
        if code == 0 {
            return Ok(());
        }
        if !NO_PROGRAM.contains(&code) {
            return Err(ApplyError::CopyVolume {
                from: request.from.clone(),
                to: request.to.clone(),
                code,
                tail: tail(run, request, id).await,
            });
        }
    }
    Ok(through_archive(run, request, id).await?)
}

fn writer_name(request: &CopyVolume) -> String {
    format!("{}-archive", request.helper.name)
}

/// Reads from one container and writes to another: an engine that gives out an archive of a container holds it until
/// the last byte is taken.
async fn through_archive(run: &Run, request: &CopyVolume, reader: &str) -> EngineResult<()> {
    let mut helper = request.helper.clone();
    helper.name = writer_name(request);
    let writer = create(run, &helper).await?;
    let data = run.engine.download(reader, &format!("{COPY_FROM}/.")).await;
    let written = match data {
        Ok(data) => run.engine.upload_stream(&writer, COPY_TO, data).await,
        Err(error) => Err(error),
    };
    remove(run, &writer).await?;
    written
}

/// The end of what the container said.
async fn tail(run: &Run, request: &CopyVolume, id: &str) -> String {
    let source = format!("{} ->", request.helper.name);
    match run.engine.logs(id, &LogOptions::default()).await {
        Ok(output) => hook::pass_on(run, &source, output)
            .await
            .unwrap_or_default(),
        Err(_) => String::new(),
    }
}
