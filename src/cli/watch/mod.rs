//! `watch`: acts when the files that `develop.watch` names change (behaviours.md B298-B303).
//!
//! ```text
//! lock ──> up (unless --no-up) ──> initial copies ──> Watching::run ──(SIGINT)──> exit 130
//! ```

mod lock;
mod watching;

use std::sync::Arc;

use clap::Args;

use hoist::load::Dependencies;
use hoist::plan::{OrphanPolicy, PlanOptions, Recreate};
use hoist::watch::Rules;

use crate::cli::create::{load, now};
use crate::cli::reconcile::{Answers, Session};
use crate::cli::{CommandError, CommandResult, Context, interrupt, provider};
use crate::ui::Ui;
use lock::Lock;
pub(super) use watching::{Activity, Log, News, Watching};

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Bring nothing up first
    #[arg(long)]
    no_up: bool,
    /// Remove images that a rebuild left without a name
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    prune: bool,
    /// Build without output
    #[arg(long)]
    quiet: bool,
    /// Services to watch
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Watches until it is interrupted.
pub(super) async fn cmd_watch(ui: &Ui, context: &Context, args: &WatchArgs) -> CommandResult {
    let mut project = load(ui, context, &args.services, Dependencies::Include).await?;
    for service in project.services.values_mut() {
        if service.build.is_some() && service.develop.is_some() {
            "build".clone_into(&mut service.pull_policy);
        }
    }
    let mut rules = Rules::of(&project, true).map_err(CommandError::user)?;
    if !args.services.is_empty() {
        rules
            .rules
            .retain(|rule| args.services.contains(&rule.service));
    }
    let _lock = Lock::take(context, &project.name)?;
    let mut session = Session::open(ui, context, project).await?;
    session.build.quiet = args.quiet;
    let session = provider::provide(session, "up").await?;
    if !args.no_up {
        up(&session, &args.services).await?;
        session.release();
    }
    let shown = ui.clone();
    let log: Log = Arc::new(move |line: &str| {
        // A reader that is gone is noticed by whatever the command prints next.
        drop(shown.print(format_args!("{line}\n")));
    });
    let mut watching = Watching::new(session.fork(), rules, log)?;
    watching.prune = args.prune;
    let run = watching.run();
    tokio::select! {
        outcome = run => outcome?,
        () = interrupt::interrupted() => {}
    }
    Err(CommandError::cancelled())
}

/// Brings up what is to be watched: what differs is made anew, what it needs is left as it is.
async fn up(session: &Session<'_>, services: &[String]) -> Result<(), CommandError> {
    let images = hoist::plan::ImageOptions {
        now: now(),
        separator: session.separator,
        ..hoist::plan::ImageOptions::default()
    };
    let observed = session.prepare_images(&images).await?;
    let mut options = PlanOptions {
        named: services.to_vec(),
        recreate_dependencies: Recreate::Never,
        orphans: OrphanPolicy::Ignore,
        ..session.plan_options()
    };
    let plan = session.plan(&observed, &mut options, Answers::Ask).await?;
    session.run("watch", plan, None).await?;
    Ok(())
}
