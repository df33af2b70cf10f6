//! `up`: makes the project true, and follows its output unless told otherwise (behaviours.md section 16).

mod attached;
mod beside;
mod follow;
mod wishes;

use std::time::Duration;

use clap::Args;

use hoist::apply::awaited;
use hoist::engine::ObservedState;
use hoist::plan::{Action, Plan, Wait};

use crate::cli::create::check_selection;
use crate::cli::reconcile::Session;
use crate::cli::{
    CommandError, CommandResult, Context, ExitStatus, plan as preview, provider, stack,
};
use crate::ui::Ui;
pub(super) use wishes::Wishes;

/// Arguments of `up`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 where all was done; 1 where something failed; 3 where the only failure is a \
rolling update that was rolled back, so that the old containers serve again; 130 after Ctrl-C; with --exit-code-from \
and the like, that of the container."
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(crate) struct UpArgs {
    /// Stop everything when a container ends
    #[arg(long, conflicts_with_all = ["detach", "abort_on_container_failure"])]
    abort_on_container_exit: bool,
    /// Stop everything when a container ends with a failure
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_failure: bool,
    /// Follow only these services
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    attach: Vec<String>,
    /// Follow what the named services need too
    #[arg(long, conflicts_with = "detach")]
    attach_dependencies: bool,
    /// Leave the containers running and return
    #[arg(short, long)]
    detach: bool,
    /// End with the exit code of this service's container
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    exit_code_from: Option<String>,
    /// Offer keys while attached
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    menu: Option<bool>,
    /// Follow all but these services
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Print logs without colour
    #[arg(long)]
    no_color: bool,
    /// Print logs without names
    #[arg(long)]
    no_log_prefix: bool,
    /// Build without output
    #[arg(long)]
    quiet_build: bool,
    /// Print logs with time stamps
    #[arg(long)]
    timestamps: bool,
    /// Seconds to wait at most
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    wait_timeout: i64,
    /// Act when the files of services change
    #[arg(short, long, conflicts_with = "detach")]
    watch: bool,
    #[command(flatten)]
    wishes: Wishes,
}

/// Brings a project up.
pub(crate) async fn cmd_up(ui: &Ui, context: &Context, args: &UpArgs) -> CommandResult {
    let limit = wait_limit(args.wait_timeout)?;
    let attached = args.abort_on_container_exit || args.abort_on_container_failure || args.watch;
    if args.wishes.wait && (attached || !args.attach.is_empty() || args.attach_dependencies) {
        return Err(CommandError::user(
            "--wait cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch",
        ));
    }
    if args.watch && args.wishes.images.no_build {
        return Err(CommandError::user(
            "--no-build and --watch are incompatible",
        ));
    }
    let mut session = open(ui, context, args).await?;
    if context.global().dry_run {
        let images = args.wishes.images.options(&session)?;
        let mut options = args.wishes.plan_options(&session, limit)?;
        return preview::dry_run(&session, &images, &mut options, args.wishes.answers()).await;
    }
    let images = args.wishes.images.options(&session)?;
    // Attached, the end of the command would leave the others running unseen.
    let in_part = args.detach || args.wishes.wait || args.wishes.no_start;
    let observed = if in_part {
        session.prepare_images_in_part(&images).await?
    } else {
        session.prepare_images(&images).await?
    };
    let mut options = args.wishes.plan_options(&session, limit)?;
    let plan = session
        .plan(&observed, &mut options, args.wishes.answers())
        .await?;
    if args.wishes.no_start {
        session.run("create", plan, None).await?;
        return Ok(ExitStatus::SUCCESS);
    }
    if args.detach || args.wishes.wait {
        return detached(&session, plan, args, limit).await;
    }
    attached::up(&mut session, args, plan, &observed).await
}

/// Loads the project as the flags change it.
async fn open<'a>(
    ui: &'a Ui,
    context: &'a Context,
    args: &UpArgs,
) -> Result<Session<'a>, CommandError> {
    let mut project = args.wishes.load(ui, context).await?;
    stack::confirm(ui, context, &project, args.wishes.answers())?;
    args.wishes.scale(&mut project)?;
    if let Some(service) = &args.exit_code_from
        && !project.services.contains_key(service)
    {
        return Err(CommandError::user(format!("no such service: {service}")));
    }
    check_selection(context, &project)?;
    let mut session = Session::open_for_containers(ui, context, project).await?;
    session.build.quiet = args.quiet_build;
    session.quiet_pulls = args.wishes.images.quiet_pull;
    // What a provider starts is an effect.
    if context.global().dry_run {
        return Ok(session);
    }
    provider::provide(session, "up").await
}

async fn detached(
    session: &Session<'_>,
    plan: Plan,
    args: &UpArgs,
    limit: Option<Duration>,
) -> CommandResult {
    let waits = waits(&plan);
    let running = session.run("up", plan, None);
    let Some(limit) = limit.filter(|_| args.wishes.wait) else {
        running.await?;
        return Ok(ExitStatus::SUCCESS);
    };
    if let Ok(outcome) = tokio::time::timeout(limit, running).await {
        outcome?;
        return Ok(ExitStatus::SUCCESS);
    }
    let open = awaited::awaited(session.engine.as_ref(), &waits).await;
    Err(CommandError::user(format!(
        "application not healthy after {}{}",
        go_duration(limit.as_secs()),
        awaited::list(&open)
    )))
}

/// What a plan waits for.
fn waits(plan: &Plan) -> Vec<Wait> {
    let nodes = plan.nodes();
    let waits = nodes.filter_map(|(_, node)| match &node.action {
        Action::Wait(wait) => Some(wait.clone()),
        _ => None,
    });
    waits.collect()
}

/// Seconds as Go prints them.
fn go_duration(seconds: u64) -> String {
    let nanos = i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000_000);
    hoist::model::Duration(nanos).to_string()
}

/// Reads `--wait-timeout`: 0 is no limit (behaviours.md B181).
pub(super) fn wait_limit(seconds: i64) -> Result<Option<Duration>, CommandError> {
    match u64::try_from(seconds) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Err(_) => Err(CommandError::user(
            "--wait-timeout must be a non-negative integer",
        )),
    }
}

/// The services whose output is followed (behaviours.md B212).
fn followed(session: &Session<'_>, args: &UpArgs) -> Vec<String> {
    let wants = |name: &str| {
        session
            .project
            .services
            .get(name)
            .is_some_and(|service| service.attach != Some(false))
    };
    let mut chosen: Vec<String> = if args.attach.is_empty() {
        let all = args.wishes.services.is_empty() || args.attach_dependencies;
        let names = session
            .graph
            .start_order()
            .filter(|name| all || args.wishes.services.iter().any(|named| named == name));
        names
            .filter(|name| wants(name))
            .map(str::to_owned)
            .collect()
    } else {
        args.attach.clone()
    };
    chosen.retain(|name| !args.no_attach.contains(name));
    chosen
}

/// Names of the containers that run already.
fn running<'a>(
    observed: &'a ObservedState,
    services: &[String],
) -> Vec<&'a hoist::engine::ObservedContainer> {
    observed
        .containers
        .iter()
        .filter(|container| container.is_running() && !container.is_one_off())
        .filter(|container| services.iter().any(|name| name == container.service()))
        .collect()
}
