//! `rm`: removes stopped containers.

use clap::Args;

use hoist::engine::ObservedContainer;
use hoist::plan;

use crate::cli::down::{Existing, check_services};
use crate::cli::reconcile::ask;
use crate::cli::{CommandResult, Context, ExitStatus};
use crate::ui::Ui;

/// Arguments of `rm`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct RmArgs {
    /// Has no effect any more
    #[arg(short, long, hide = true)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Stop the containers first
    #[arg(short, long)]
    stop: bool,
    /// Remove their anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// Services whose containers are removed
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Removes stopped containers.
pub(super) async fn cmd_rm(ui: &Ui, context: &Context, args: &RmArgs) -> CommandResult {
    super::warn_of_ignored(ui, &[("--all", args.all)]);
    let mut existing = Existing::open(ui, context, &args.services).await?;
    check_services(&existing.session.project, &args.services)?;
    if args.stop {
        let session = &existing.session;
        let plan = plan::stop(
            &session.project,
            existing.graph(),
            &existing.observed,
            (&args.services, None),
        );
        session.run("stop", plan, None).await?;
        existing.observed = existing.session.observe().await?;
    }
    let chosen: Vec<&ObservedContainer> = existing
        .observed
        .containers
        .iter()
        .filter(|container| !container.is_running() && container.state != "paused")
        .filter(|container| {
            existing
                .session
                .project
                .services
                .contains_key(container.service())
        })
        .filter(|container| {
            args.services.is_empty() || args.services.iter().any(|name| name == container.service())
        })
        .collect();
    if chosen.is_empty() {
        ui.status("No stopped containers");
        return Ok(ExitStatus::SUCCESS);
    }
    let names: Vec<_> = chosen
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    let question = format!("Going to remove {}", names.join(", "));
    if args.force {
        ui.status(&question);
    } else if !ask(ui, &question)? {
        return Ok(ExitStatus::SUCCESS);
    }
    let plan = plan::remove(chosen, args.volumes);
    existing.session.run("rm", plan, None).await?;
    Ok(ExitStatus::SUCCESS)
}
