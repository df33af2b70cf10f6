//! `restart`: restarts containers as they are.

use clap::Args;

use hoist::graph::Reach;
use hoist::plan;

use crate::cli::down::{Existing, check_services};
use crate::cli::{CommandResult, Context, ExitStatus};
use crate::ui::Ui;

/// Arguments of `restart`.
#[derive(Debug, Args)]
pub(super) struct RestartArgs {
    /// Leave services alone that depend on the named ones
    #[arg(long)]
    no_deps: bool,
    /// Seconds between the stop signal and SIGKILL
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Services to restart
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Restarts services.
pub(super) async fn cmd_restart(ui: &Ui, context: &Context, args: &RestartArgs) -> CommandResult {
    let existing = Existing::open(ui, context, &args.services).await?;
    let session = &existing.session;
    check_services(&session.project, &args.services)?;
    let reach = if args.no_deps {
        Reach::Named
    } else {
        Reach::Dependents
    };
    let plan = plan::restart(
        &session.project,
        existing.graph(),
        &existing.observed,
        (&args.services, args.timeout, reach),
    );
    session.run("restart", plan, None).await?;
    Ok(ExitStatus::SUCCESS)
}
