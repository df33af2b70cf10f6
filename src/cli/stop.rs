//! `stop`: stops containers without removing them.

use clap::Args;

use hoist::plan;

use crate::cli::down::{Existing, check_services};
use crate::cli::{CommandResult, Context, ExitStatus};
use crate::ui::Ui;

/// Arguments of `stop`.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// Seconds between the stop signal and SIGKILL
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Services to stop
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Stops services.
pub(super) async fn cmd_stop(ui: &Ui, context: &Context, args: &StopArgs) -> CommandResult {
    let existing = Existing::open(ui, context, &args.services).await?;
    let session = &existing.session;
    check_services(&session.project, &args.services)?;
    let plan = plan::stop(
        &session.project,
        existing.graph(),
        &existing.observed,
        (&args.services, args.timeout),
    );
    session.run("stop", plan, None).await?;
    Ok(ExitStatus::SUCCESS)
}
