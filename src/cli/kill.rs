//! `kill`: sends a signal to the running containers of services.

use clap::Args;

use crate::cli::each::{Wording, for_each};
use crate::cli::{CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::engine::member::{OneOffs, Stopped, members};

/// Arguments of `kill`.
#[derive(Debug, Args)]
pub(super) struct KillArgs {
    /// Kill containers of services that are not in the files too
    #[arg(long, env = "COMPOSE_REMOVE_ORPHANS", hide_env = true)]
    remove_orphans: bool,
    /// Send this signal
    #[arg(short, long, default_value = "SIGKILL")]
    signal: String,
    /// Services to act on; none is all
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Sends the signal.
pub(super) async fn cmd_kill(ui: &Ui, context: &Context, args: &KillArgs) -> CommandResult {
    let target = context.target(ui).await?;
    target.check_services(&args.services)?;
    let engine = context.engine().await?;
    let mut found = members(
        engine.as_ref(),
        &target.name,
        OneOffs::Include,
        Stopped::Exclude,
    )
    .await?;
    found.retain(|member| {
        target.selects(&args.services, member) || (args.services.is_empty() && args.remove_orphans)
    });
    if found.is_empty() {
        ui.status("No container to kill");
        return Ok(ExitStatus::SUCCESS);
    }
    let wording = Wording {
        doing: Some("Killing"),
        done: "Killed",
    };
    for_each(ui, &found, wording, |id| {
        engine.kill_container(id, &args.signal)
    })
    .await?;
    Ok(ExitStatus::SUCCESS)
}
