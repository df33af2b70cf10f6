//! `wait`: blocks until the containers of services have stopped.

use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::cli::down::down_project;
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::engine::member::{OneOffs, Stopped, members};

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// Take the project down when the first container has stopped
    #[arg(long)]
    down_project: bool,
    /// Services to wait for
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

/// Waits; the exit status is that of the container that stopped last.
pub(super) async fn cmd_wait(ui: &Ui, context: &Context, args: &WaitArgs) -> CommandResult {
    let target = context.target(ui).await?;
    let engine = context.engine().await?;
    let mut found = members(
        engine.as_ref(),
        &target.name,
        OneOffs::Exclude,
        Stopped::Exclude,
    )
    .await?;
    found.retain(|member| args.services.iter().any(|name| name == member.service()));
    if found.is_empty() {
        let message = format!("no containers for project \"{}\"", target.name);
        return Err(CommandError::user(message));
    }
    let mut waiting: FuturesUnordered<_> = found
        .iter()
        .map(async |member| (member.id(), engine.wait_container(member.id()).await))
        .collect();
    let mut status = ExitStatus::SUCCESS;
    while let Some((id, code)) = waiting.next().await {
        let code = code?;
        ui.print(format_args!(
            "container {id:?} exited with status code {code}\n"
        ))?;
        status = ExitStatus::of_container(code);
        if args.down_project {
            break;
        }
    }
    drop(waiting);
    if args.down_project {
        down_project(ui, context).await?;
    }
    Ok(status)
}
