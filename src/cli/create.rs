//! `create`: makes containers without starting them; and the flags that it shares with `up` and `run`.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use hoist::load::Dependencies;
use hoist::model::Project;
use hoist::plan::{
    BuildRule, Goal, ImageOptions, OrphanPolicy, PlanOptions, Recreate, VolumeChange,
};

use crate::cli::context::is_true;
use crate::cli::reconcile::{Answers, Session};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;

/// Arguments of `create`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    images: ImageArgs,
    /// Recreate containers even if nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,
    /// Take the data of volumes whose configuration changed along, instead of asking whether it may go
    #[arg(long)]
    migrate_volumes: bool,
    /// Leave containers that exist as they are
    #[arg(long)]
    no_recreate: bool,
    /// Remove containers of services that are not in the files
    #[arg(long)]
    remove_orphans: bool,
    /// Wanted number of containers, SERVICE=NUM
    #[arg(long, value_name = "SERVICE=NUM")]
    scale: Vec<String>,
    /// Answer every question with yes
    #[arg(short, long, alias = "y")]
    yes: bool,
    /// Services to create
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Flags about images.
#[derive(Debug, Clone, Args)]
pub(super) struct ImageArgs {
    /// Build images first
    #[arg(long, conflicts_with = "no_build")]
    pub(super) build: bool,
    /// Build no images
    #[arg(long)]
    pub(super) no_build: bool,
    /// When to pull: always, missing, never or build
    #[arg(long, value_name = "POLICY")]
    pub(super) pull: Option<String>,
    /// Pull without progress
    #[arg(long)]
    pub(super) quiet_pull: bool,
}

impl ImageArgs {
    /// The options of the image phase.
    pub(super) fn options(&self, session: &Session<'_>) -> Result<ImageOptions, CommandError> {
        let build = match (self.build, self.no_build) {
            (true, _) => BuildRule::Always,
            (_, true) => BuildRule::Never,
            (false, false) => BuildRule::Missing,
        };
        Ok(ImageOptions {
            pull: pull_policy(self.pull.as_deref())?,
            build,
            now: now(),
            separator: session.separator,
        })
    }
}

/// Checks the value of `--pull` (behaviours.md B196).
pub(super) fn pull_policy(flag: Option<&str>) -> Result<Option<String>, CommandError> {
    match flag {
        None => Ok(None),
        Some(policy @ ("always" | "missing" | "if_not_present" | "never" | "build")) => {
            Ok(Some(policy.to_owned()))
        }
        Some(other) => Err(CommandError::user(format!(
            "invalid --pull option \"{other}\""
        ))),
    }
}

/// Seconds since the epoch.
pub(super) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Loads the project of a command that changes it.
pub(super) async fn load(
    ui: &Ui,
    context: &Context,
    services: &[String],
    dependencies: Dependencies,
) -> Result<Project, CommandError> {
    let mut request = context.load_request();
    request.services = services.to_vec();
    request.dependencies = dependencies;
    context.load(ui, request).await
}

/// Refuses a project of which nothing is to be made.
pub(super) fn check_selection(context: &Context, project: &Project) -> Result<(), CommandError> {
    if project.services.is_empty() && !context.global().all_resources {
        return Err(CommandError::user("no service selected"));
    }
    Ok(())
}

/// Reads `--migrate-volumes`.
pub(super) fn volume_change(migrate: bool) -> VolumeChange {
    if migrate {
        VolumeChange::Migrate
    } else {
        VolumeChange::Ask
    }
}

/// Puts `--scale` into the model (behaviours.md B223).
pub(super) fn scale(project: &mut Project, wishes: &[String]) -> Result<(), CommandError> {
    for wish in wishes {
        let parsed = wish
            .split_once('=')
            .and_then(|(name, number)| Some((name, number.parse::<i64>().ok()?)));
        let Some((name, number)) = parsed else {
            return Err(CommandError::user(format!(
                "invalid --scale option \"{wish}\". Should be SERVICE=NUM"
            )));
        };
        let Some(service) = project.services.get_mut(name) else {
            return Err(CommandError::user(format!("no such service: {name}")));
        };
        if number > 1 && !service.container_name.is_empty() {
            return Err(CommandError::user(format!(
                "can't set container_name and {name} as container name must be unique: invalid compose project"
            )));
        }
        service.scale = Some(number);
        if let Some(deploy) = &mut service.deploy {
            deploy.replicas = deploy.replicas.map(|_| number);
        }
    }
    Ok(())
}

/// The services that `--scale` speaks of.
pub(super) fn scaled(wishes: &[String]) -> Vec<String> {
    let names = wishes.iter().filter_map(|wish| wish.split_once('='));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// What becomes of orphans (behaviours.md B144).
pub(super) fn orphan_policy(
    session: &Session<'_>,
    remove: bool,
) -> Result<OrphanPolicy, CommandError> {
    let setting = |name: &str| {
        let value = session.project.environment.get(name);
        value.is_some_and(|value| is_true(value))
    };
    let ignore = setting("COMPOSE_IGNORE_ORPHANS");
    let remove = remove || setting("COMPOSE_REMOVE_ORPHANS");
    match (remove, ignore) {
        (true, true) => Err(CommandError::user(
            "cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans",
        )),
        (true, false) => Ok(OrphanPolicy::Remove),
        (false, true) => Ok(OrphanPolicy::Ignore),
        (false, false) => Ok(OrphanPolicy::Warn),
    }
}

/// Makes containers.
pub(super) async fn cmd_create(ui: &Ui, context: &Context, args: &CreateArgs) -> CommandResult {
    let mut project = load(ui, context, &args.services, Dependencies::Include).await?;
    scale(&mut project, &args.scale)?;
    let mut session = Session::open_for_containers(ui, context, project).await?;
    session.quiet_pulls = args.images.quiet_pull;
    let session = super::provider::provide(session, "up").await?;
    let observed = session
        .prepare_images_in_part(&args.images.options(&session)?)
        .await?;
    let recreate = match (args.force_recreate, args.no_recreate) {
        (true, _) => Recreate::Force,
        (_, true) => Recreate::Never,
        (false, false) => Recreate::Diverged,
    };
    let mut options = PlanOptions {
        named: args.services.clone(),
        scaled: scaled(&args.scale),
        recreate,
        recreate_dependencies: if args.no_recreate {
            Recreate::Never
        } else {
            Recreate::Diverged
        },
        recreate_option: "--force-recreate",
        orphans: orphan_policy(&session, args.remove_orphans)?,
        goal: Goal::Created,
        volume_change: volume_change(args.migrate_volumes),
        ..session.plan_options()
    };
    let plan = session
        .plan(&observed, &mut options, Answers::from_flag(args.yes))
        .await?;
    session.run("create", plan, None).await?;
    Ok(ExitStatus::SUCCESS)
}
