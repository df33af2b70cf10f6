//! `scale`: changes the number of a service's containers.

use clap::Args;

use hoist::load::Dependencies;
use hoist::plan::{AnonymousVolumes, BuildRule, ImageOptions, OrphanPolicy, PlanOptions};

use crate::cli::create::{load, now, scale};
use crate::cli::reconcile::{Answers, Session};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;

/// Arguments of `scale`.
#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    /// Leave services alone that the named ones need
    #[arg(long)]
    no_deps: bool,
    /// Wanted numbers, SERVICE=NUM
    #[arg(value_name = "SERVICE=NUM", required = true)]
    wishes: Vec<String>,
}

/// Scales services.
pub(super) async fn cmd_scale(ui: &Ui, context: &Context, args: &ScaleArgs) -> CommandResult {
    let mut services = Vec::new();
    for wish in &args.wishes {
        let Some((name, _)) = wish.split_once('=') else {
            return Err(CommandError::user(format!(
                "invalid scale specifier: {wish}"
            )));
        };
        services.push(name.to_owned());
    }
    let dependencies = if args.no_deps {
        Dependencies::Ignore
    } else {
        Dependencies::Include
    };
    let mut project = load(ui, context, &services, dependencies).await?;
    scale(&mut project, &args.wishes)?;
    let session = Session::open_for_containers(ui, context, project).await?;
    let images = ImageOptions {
        build: BuildRule::Missing,
        now: now(),
        separator: session.separator,
        ..ImageOptions::default()
    };
    let observed = session.prepare_images(&images).await?;
    let mut options = PlanOptions {
        scaled: services.clone(),
        named: services,
        anonymous_volumes: AnonymousVolumes::Renew,
        orphans: OrphanPolicy::Ignore,
        ..session.plan_options()
    };
    let plan = session.plan(&observed, &mut options, Answers::Ask).await?;
    session.run("scale", plan, None).await?;
    Ok(ExitStatus::SUCCESS)
}
