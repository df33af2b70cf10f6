//! `start`: starts containers that exist.

use std::time::Duration;

use clap::Args;

use hoist::graph::{Graph, Reach};
use hoist::plan::{self, Goal, PlanOptions};

use crate::cli::down::{Existing, check_services};
use crate::cli::up::wait_limit;
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;

/// Arguments of `start`.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// Wait until services run or are healthy
    #[arg(long)]
    wait: bool,
    /// Seconds to wait at most
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    wait_timeout: i64,
    /// Services to start
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Starts services.
pub(super) async fn cmd_start(ui: &Ui, context: &Context, args: &StartArgs) -> CommandResult {
    let mut existing = Existing::open(ui, context, &args.services).await?;
    check_services(&existing.session.project, &args.services)?;
    narrow(&mut existing, &args.services)?;
    existing.session.fill_in()?;
    let session = &existing.session;
    let options = PlanOptions {
        named: args.services.clone(),
        goal: if args.wait {
            Goal::Healthy
        } else {
            Goal::Running
        },
        wait_timeout_millis: wait_limit(args.wait_timeout)?
            .map(|limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        ..session.plan_options()
    };
    let plan = plan::start_existing(
        &session.project,
        existing.graph(),
        &existing.observed,
        &options,
    )
    .map_err(CommandError::user)?;
    session.run("start", plan, None).await?;
    Ok(ExitStatus::SUCCESS)
}

/// Leaves out the services that are neither named nor needed.
fn narrow(existing: &mut Existing<'_>, services: &[String]) -> Result<(), CommandError> {
    let session = &mut existing.session;
    let kept: Vec<String> = session
        .graph
        .select(services, Reach::Dependencies)
        .into_iter()
        .map(str::to_owned)
        .collect();
    session
        .project
        .services
        .retain(|name, _| kept.contains(name));
    session.graph = Graph::new(&session.project).map_err(CommandError::user)?;
    Ok(())
}
