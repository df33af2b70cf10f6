//! `pause` and `unpause`: freeze and thaw the containers of services.

use std::sync::Arc;

use clap::Args;

use crate::cli::each::{Wording, for_each};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::engine::Engine;
use hoist::engine::member::{Member, OneOffs, Stopped, members};

/// Arguments of `pause` and `unpause`.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// Services to act on; none is all
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Freezes containers.
pub(super) async fn cmd_pause(ui: &Ui, context: &Context, args: &PauseArgs) -> CommandResult {
    let (engine, found) = select(ui, context, args).await?;
    let wording = Wording {
        doing: None,
        done: "Paused",
    };
    for_each(ui, &found, wording, |id| engine.pause_container(id)).await?;
    Ok(ExitStatus::SUCCESS)
}

/// Thaws containers.
pub(super) async fn cmd_unpause(ui: &Ui, context: &Context, args: &PauseArgs) -> CommandResult {
    let (engine, found) = select(ui, context, args).await?;
    let wording = Wording {
        doing: None,
        done: "Unpaused",
    };
    for_each(ui, &found, wording, |id| engine.unpause_container(id)).await?;
    Ok(ExitStatus::SUCCESS)
}

async fn select(
    ui: &Ui,
    context: &Context,
    args: &PauseArgs,
) -> Result<(Arc<dyn Engine>, Vec<Member>), CommandError> {
    let target = context.target(ui).await?;
    target.check_services(&args.services)?;
    let engine = context.engine().await?;
    let mut found = members(
        engine.as_ref(),
        &target.name,
        OneOffs::Exclude,
        Stopped::Exclude,
    )
    .await?;
    found.retain(|member| target.selects(&args.services, member));
    Ok((engine, found))
}
