//! `export`: the file system of a service's container as a tar.

use std::io::Write;

use clap::Args;
use futures_util::StreamExt;

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::{StepState, Ui};
use hoist::engine::RawStream;
use hoist::engine::member::Stopped;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Choose this replica of the service
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    /// Service
    service: String,
}

/// Writes the tar.
pub(super) async fn cmd_export(ui: &Ui, context: &Context, args: &ExportArgs) -> CommandResult {
    if args.output.is_none() && ui.stdout_is_terminal() {
        return Err(CommandError::user(
            "output option is required when exporting to terminal",
        ));
    }
    let (engine, container) = context
        .container(ui, (&args.service, args.index), Stopped::Include)
        .await?;
    ui.step(StepState::Working, container.name(), "Exporting");
    let tar = engine.export_container(container.id()).await?;
    match &args.output {
        Some(path) => write_file(tar, path).await?,
        None => write_stdout(tar, ui).await?,
    }
    ui.step(StepState::Done, container.name(), "Exported");
    Ok(ExitStatus::SUCCESS)
}

async fn write_stdout(mut tar: RawStream, ui: &Ui) -> Result<(), CommandError> {
    while let Some(part) = tar.next().await {
        ui.print_bytes(&part?)?;
    }
    Ok(())
}

/// Writes beside the file and renames, so that a broken export leaves nothing behind.
async fn write_file(mut tar: RawStream, path: &std::path::Path) -> Result<(), CommandError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part_path = path.with_file_name(name);
    let mut file = std::fs::File::create(&part_path)?;
    let written = async {
        while let Some(part) = tar.next().await {
            file.write_all(&part?)?;
        }
        std::fs::rename(&part_path, path).map_err(CommandError::from)
    }
    .await;
    if written.is_err() {
        // The first failure is the one to tell.
        drop(std::fs::remove_file(&part_path));
    }
    written
}
