//! `pull`: fetches the images of services (behaviours.md B200, B201).

use clap::Args;
use indexmap::IndexMap;

use hoist::apply::{ApplyEvent, ResourceEvent, Status};
use hoist::engine::ObservedState;
use hoist::load::Dependencies;
use hoist::model::Service;
use hoist::plan::{Action, Cause, Plan, PullPolicy};

use crate::cli::create::{load, pull_policy};
use crate::cli::reconcile::{Pulls, Session};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::renderer::renderer;

/// Arguments of `pull`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct PullArgs {
    /// Leave out images that can be built
    #[arg(long)]
    ignore_buildable: bool,
    /// Go on with the others where a pull fails
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Pull the images of what the named services depend on too
    #[arg(long)]
    include_deps: bool,
    /// Has no effect any more
    #[arg(long, hide = true)]
    no_parallel: bool,
    /// Has no effect any more
    #[arg(long, hide = true)]
    parallel: bool,
    /// When to pull: missing or always
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// Pull without progress
    #[arg(short, long)]
    quiet: bool,
    /// Services whose images are pulled
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Fetches images.
pub(super) async fn cmd_pull(ui: &Ui, context: &Context, args: &PullArgs) -> CommandResult {
    let ignored = [
        ("--no-parallel", args.no_parallel),
        ("--parallel", args.parallel),
    ];
    super::warn_of_ignored(ui, &ignored);
    let dependencies = if args.include_deps {
        Dependencies::Include
    } else {
        Dependencies::Ignore
    };
    let project = load(ui, context, &args.services, dependencies).await?;
    let quiet = ui.quieted();
    let ui = if args.quiet { &quiet } else { ui };
    let mut session = Session::open(ui, context, project).await?;
    session.pulls = Pulls::Required;
    let observed = session.observe().await?;
    let policy = pull_policy(args.policy.as_deref())?;
    let plan = plan_pulls(&session, &observed, args, policy.as_deref());
    let report = session.run_to_report("pull", plan, None).await;
    if report.cancelled {
        return Err(CommandError::cancelled());
    }
    let failed: Vec<&str> = report
        .failures
        .iter()
        .filter_map(|failure| failure.service.as_deref())
        .collect();
    let (buildable, others): (Vec<&str>, Vec<&str>) = failed.into_iter().partition(|name| {
        session
            .project
            .services
            .get(*name)
            .is_some_and(|service| service.build.is_some())
    });
    if !buildable.is_empty() {
        ui.warn(format_args!(
            "Some service image(s) must be built from source by running:\n    docker compose build {}",
            buildable.join(" ")
        ));
    }
    if args.ignore_pull_failures || (others.is_empty() && buildable.is_empty()) {
        return Ok(ExitStatus::SUCCESS);
    }
    let messages: Vec<_> = report
        .failures
        .iter()
        .map(|failure| failure.error.chain())
        .collect();
    Err(CommandError::user(messages.join("\n")))
}

fn plan_pulls(
    session: &Session<'_>,
    observed: &ObservedState,
    args: &PullArgs,
    policy: Option<&str>,
) -> Plan {
    let mut plan = Plan::default();
    let mut shown = renderer(session.ui, "pull", session.effect());
    let mut skip = |id: &str, why: &str| {
        let news = ResourceEvent::new(id, Status::Done, "Skipped").detailed(why);
        shown.event(&ApplyEvent::Resource(news));
    };
    let mut pulls: IndexMap<&str, ()> = IndexMap::new();
    for service in session
        .project
        .services
        .values()
        .filter(|service| service.provider.is_none())
    {
        match skip_reason(service, observed, args, policy) {
            Some((id, why)) => skip(&id, why),
            None if pulls.insert(&service.image, ()).is_none() => {
                let action = Action::PullImage {
                    service: service.name.clone(),
                    image: service.image.clone(),
                    platform: service.platform.clone(),
                };
                plan.add(action, Cause::Requested { option: "pull" }, &[]);
            }
            None => {}
        }
    }
    plan
}

fn skip_reason(
    service: &Service,
    observed: &ObservedState,
    args: &PullArgs,
    policy: Option<&str>,
) -> Option<(String, &'static str)> {
    if service.image.is_empty() {
        return Some((service.name.clone(), "No image to be pulled"));
    }
    let id = format!("Image {}", service.image);
    if args.ignore_buildable && service.build.is_some() {
        return Some((id, "Image can be built"));
    }
    let text = policy.unwrap_or(&service.pull_policy);
    match PullPolicy::parse(text) {
        PullPolicy::Never | PullPolicy::Build => Some((id, "Skipped by its pull policy")),
        PullPolicy::Missing if !text.is_empty() && !is_latest(&service.image) => observed
            .images
            .contains_key(&service.image)
            .then_some((id, "Image is already present locally")),
        PullPolicy::Missing | PullPolicy::Always | PullPolicy::Refresh(_) => None,
    }
}

/// Whether a reference has no tag, or the tag `latest`.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest") && !name.contains('@')
}
