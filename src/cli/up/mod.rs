//! `up`: makes the project true, and follows its output unless told otherwise (behaviours.md section 16).

mod attached;
mod beside;
mod follow;

use std::time::Duration;

use clap::Args;

use hoist::engine::ObservedState;
use hoist::load::Dependencies;
use hoist::plan::{AnonymousVolumes, Goal, Plan, PlanOptions, Recreate};

use crate::cli::create::{ImageArgs, check_selection, load, orphan_policy, scale, volume_change};
use crate::cli::reconcile::{Answers, Session};
use crate::cli::{
    CommandError, CommandResult, Context, ExitStatus, plan as preview, provider, stack,
};
use crate::ui::Ui;

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
    /// Recreate what the named services need, even if nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,
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
    /// Recreate containers even if nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,
    #[command(flatten)]
    images: ImageArgs,
    /// Offer keys while attached
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    menu: Option<bool>,
    /// Follow all but these services
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Print logs without colour
    #[arg(long)]
    no_color: bool,
    /// Leave services alone that the named ones need
    #[arg(long)]
    no_deps: bool,
    /// Print logs without names
    #[arg(long)]
    no_log_prefix: bool,
    /// Take the data of volumes whose configuration changed along, instead of asking whether it may go
    #[arg(long)]
    migrate_volumes: bool,
    /// Leave containers that exist as they are
    #[arg(long, conflicts_with = "renew_anon_volumes")]
    no_recreate: bool,
    /// Make the containers without starting them
    #[arg(long)]
    no_start: bool,
    /// Build without output
    #[arg(long)]
    quiet_build: bool,
    /// Remove containers of services that are not in the files
    #[arg(long)]
    remove_orphans: bool,
    /// Give new containers new anonymous volumes
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Wanted number of containers, SERVICE=NUM
    #[arg(long, value_name = "SERVICE=NUM")]
    scale: Vec<String>,
    /// Seconds between the stop signal and SIGKILL
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Print logs with time stamps
    #[arg(long)]
    timestamps: bool,
    /// Wait until services run or are healthy; implies --detach
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
    /// Act when the files of services change
    #[arg(short, long, conflicts_with = "detach")]
    watch: bool,
    /// Answer every question with yes
    #[arg(short, long, alias = "y")]
    yes: bool,
    /// Services to bring up
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Brings a project up.
pub(crate) async fn cmd_up(ui: &Ui, context: &Context, args: &UpArgs) -> CommandResult {
    let limit = wait_limit(args.wait_timeout)?;
    let attached = args.abort_on_container_exit || args.abort_on_container_failure || args.watch;
    if args.wait && (attached || !args.attach.is_empty() || args.attach_dependencies) {
        return Err(CommandError::user(
            "--wait cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch",
        ));
    }
    if args.watch && args.images.no_build {
        return Err(CommandError::user(
            "--no-build and --watch are incompatible",
        ));
    }
    let mut session = open(ui, context, args).await?;
    if context.global().dry_run {
        let images = args.images.options(&session)?;
        let mut options = plan_options(&session, args, limit)?;
        let answers = Answers::from_flag(args.yes);
        return preview::dry_run(&session, &images, &mut options, answers).await;
    }
    let observed = session
        .prepare_images(&args.images.options(&session)?)
        .await?;
    let mut options = plan_options(&session, args, limit)?;
    let plan = session
        .plan(&observed, &mut options, Answers::from_flag(args.yes))
        .await?;
    if args.no_start {
        session.run("create", plan, None).await?;
        return Ok(ExitStatus::SUCCESS);
    }
    if args.detach || args.wait {
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
    let dependencies = if args.no_deps {
        Dependencies::Ignore
    } else {
        Dependencies::Include
    };
    let mut project = load(ui, context, &args.services, dependencies).await?;
    stack::confirm(ui, context, &project, Answers::from_flag(args.yes))?;
    scale(&mut project, &args.scale)?;
    if let Some(service) = &args.exit_code_from
        && !project.services.contains_key(service)
    {
        return Err(CommandError::user(format!("no such service: {service}")));
    }
    check_selection(context, &project)?;
    let mut session = Session::open_for_containers(ui, context, project).await?;
    session.build.quiet = args.quiet_build;
    session.quiet_pulls = args.images.quiet_pull;
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
    let running = session.run("up", plan, None);
    match limit.filter(|_| args.wait) {
        None => running.await?,
        Some(limit) => tokio::time::timeout(limit, running)
            .await
            .unwrap_or_else(|_| {
                let seconds = limit.as_secs();
                Err(CommandError::user(format!(
                    "application not healthy after {}",
                    go_duration(seconds)
                )))
            })?,
    };
    Ok(ExitStatus::SUCCESS)
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

fn plan_options(
    session: &Session<'_>,
    args: &UpArgs,
    limit: Option<Duration>,
) -> Result<PlanOptions, CommandError> {
    let (recreate, option) = match (
        args.force_recreate,
        args.renew_anon_volumes,
        args.no_recreate,
    ) {
        (true, _, _) => (Recreate::Force, "--force-recreate"),
        (_, true, _) => (Recreate::Force, "--renew-anon-volumes"),
        (_, _, true) => (Recreate::Never, ""),
        (false, false, false) => (Recreate::Diverged, "--always-recreate-deps"),
    };
    let recreate_dependencies = match (args.always_recreate_deps, args.no_recreate) {
        (true, _) => Recreate::Force,
        (_, true) => Recreate::Never,
        (false, false) => Recreate::Diverged,
    };
    let goal = match (args.no_start, args.wait) {
        (true, _) => Goal::Created,
        (_, true) => Goal::Healthy,
        (false, false) => Goal::Running,
    };
    Ok(PlanOptions {
        named: args.services.clone(),
        recreate,
        recreate_dependencies,
        recreate_option: option,
        anonymous_volumes: if args.renew_anon_volumes {
            AnonymousVolumes::Renew
        } else {
            AnonymousVolumes::Inherit
        },
        volume_change: volume_change(args.migrate_volumes),
        orphans: orphan_policy(session, args.remove_orphans)?,
        goal,
        timeout: args.timeout,
        wait_timeout_millis: limit
            .filter(|_| !args.wait)
            .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        ..session.plan_options()
    })
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
        let all = args.services.is_empty() || args.attach_dependencies;
        let names = session
            .graph
            .start_order()
            .filter(|name| all || args.services.iter().any(|named| named == name));
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
