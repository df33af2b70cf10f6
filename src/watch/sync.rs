//! Copies of changed files into the containers of a service, and commands in them (behaviours.md B300).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use futures_util::future::try_join_all;

use super::changes::below;
use super::{Mapping, Rule};
use crate::engine::member::{Member, OneOffs, Stopped, members};
use crate::engine::{Engine, EngineError, ExecSpec};
use crate::model::Hook;

/// A copy or a command failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        /// Path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command ended with a failure.
    #[error("`{command}` in {container} exited with status {code}{output}")]
    Command {
        /// Container.
        container: String,
        /// Command.
        command: String,
        /// Exit status.
        code: i64,
        /// `: ` and what it printed, or nothing.
        output: String,
    },
}

/// The files that a rule copies at the start: all of its own.
#[must_use]
pub fn initial(rule: &Rule) -> Vec<Mapping> {
    below(&rule.path)
        .iter()
        .filter(|path| !path.is_dir())
        .filter_map(|path| rule.matches(path))
        .collect()
}

/// Copies files into every running container of a service; what is gone here is removed there.
///
/// # Errors
/// Where a file cannot be read or the engine fails.
pub async fn sync(
    engine: &dyn Engine,
    (project, service): (&str, &str),
    mappings: &[Mapping],
) -> Result<(), SyncError> {
    let containers = containers(engine, project, service).await?;
    let (there, gone): (Vec<&Mapping>, Vec<&Mapping>) = mappings
        .iter()
        .partition(|mapping| std::fs::symlink_metadata(&mapping.host).is_ok());
    let removal = ExecSpec {
        command: ["rm", "-rf", "--"]
            .into_iter()
            .chain(gone.iter().map(|mapping| mapping.container.as_str()))
            .map(str::to_owned)
            .collect(),
        output: true,
        ..ExecSpec::default()
    };
    let tar = if there.is_empty() {
        Vec::new()
    } else {
        pack(&there)?
    };
    try_join_all(containers.iter().map(async |container| {
        if !gone.is_empty() {
            let _output = run(engine, container, &removal).await?;
        }
        if !tar.is_empty() {
            engine.upload(container.id(), "/", tar.clone()).await?;
        }
        Ok::<_, SyncError>(())
    }))
    .await?;
    Ok(())
}

/// Runs a command in every running container of a service; answers the lines that it printed, by container.
///
/// # Errors
/// Where the command or the engine fails.
pub async fn exec(
    engine: &dyn Engine,
    (project, service): (&str, &str),
    hook: &Hook,
) -> Result<Vec<(String, String)>, SyncError> {
    let spec = ExecSpec {
        command: hook.command.clone().unwrap_or_default(),
        env: hook
            .environment
            .iter()
            .map(|(key, value)| match value {
                Some(value) => format!("{key}={value}"),
                None => key.clone(),
            })
            .collect(),
        user: hook.user.clone(),
        working_dir: hook.working_dir.clone(),
        privileged: hook.privileged,
        output: true,
        ..ExecSpec::default()
    };
    let containers = containers(engine, project, service).await?;
    let outputs = try_join_all(containers.iter().map(async |container| {
        let output = run(engine, container, &spec).await?;
        Ok::<_, SyncError>((container.log_name().to_owned(), output))
    }))
    .await?;
    let lines = outputs.into_iter().flat_map(|(name, output)| {
        let lines: Vec<_> = output
            .lines()
            .map(|line| (name.clone(), line.to_owned()))
            .collect();
        lines
    });
    Ok(lines.collect())
}

async fn containers(
    engine: &dyn Engine,
    project: &str,
    service: &str,
) -> Result<Vec<Member>, EngineError> {
    let mut found = members(engine, project, OneOffs::Include, Stopped::Exclude).await?;
    found.retain(|member| member.service() == service);
    Ok(found)
}

/// Runs a command in a container and answers what it printed.
async fn run(
    engine: &dyn Engine,
    container: &Member,
    spec: &ExecSpec,
) -> Result<String, SyncError> {
    let exec = engine.create_exec(container.id(), spec).await?;
    let mut session = engine.start_exec(&exec, spec).await?;
    let mut output = Vec::new();
    while let Some(piece) = session.output.next().await {
        output.extend_from_slice(&piece?.bytes);
    }
    let output = String::from_utf8_lossy(&output).trim_end().to_owned();
    let (_, code) = engine.inspect_exec(&exec).await?;
    if code == 0 {
        return Ok(output);
    }
    Err(SyncError::Command {
        container: container.name().to_owned(),
        command: spec.command.join(" "),
        code,
        output: if output.is_empty() {
            output
        } else {
            format!(": {output}")
        },
    })
}

/// A tar of files at their places in a container. They belong to root there, as in docker compose: who owns them here
/// says nothing about the users of an image.
fn pack(mappings: &[&Mapping]) -> Result<Vec<u8>, SyncError> {
    let mut archive = tar::Builder::new(Vec::new());
    for mapping in mappings {
        match append(&mut archive, mapping) {
            // It went away since it was looked at; its removal is the next batch.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(|source| failed(&mapping.host, source))?,
        }
    }
    archive
        .into_inner()
        .map_err(|source| failed(Path::new("the archive"), source))
}

fn failed(path: &Path, source: io::Error) -> SyncError {
    SyncError::Read {
        path: path.to_owned(),
        source,
    }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, mapping: &Mapping) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(&mapping.host)?;
    let place = mapping.container.trim_start_matches('/');
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    header.set_uid(0);
    header.set_gid(0);
    if metadata.is_symlink() {
        header.set_size(0);
        let target = std::fs::read_link(&mapping.host)?;
        return archive.append_link(&mut header, place, target);
    }
    if metadata.is_dir() {
        header.set_size(0);
        return archive.append_data(&mut header, place, io::empty());
    }
    if !metadata.is_file() {
        // Sockets and pipes of tools are nobody's source.
        return Ok(());
    }
    // Read whole: a file that grows meanwhile would not fit its header.
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut File::open(&mapping.host)?, &mut bytes)?;
    header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    archive.append_data(&mut header, place, bytes.as_slice())
}
