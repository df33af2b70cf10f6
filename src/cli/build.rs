//! `build`: builds the images of services.

use clap::Args;
use indexmap::{IndexMap, IndexSet};

use hoist::load::Resources;
use hoist::model::Project;
use hoist::plan::{self, Cause, NodeId, Plan};

use crate::cli::reconcile::Session;
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;

/// Arguments of `build`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct BuildArgs {
    /// Set a build argument, over those of the files
    #[arg(long, value_name = "KEY[=VALUE]")]
    build_arg: Vec<String>,
    /// Build without cache
    #[arg(long)]
    no_cache: bool,
    /// Fetch base images afresh
    #[arg(long)]
    pull: bool,
    /// Push the images when they are built
    #[arg(long)]
    push: bool,
    /// Build without output
    #[arg(short, long)]
    quiet: bool,
    /// Build what the named services depend on too
    #[arg(long)]
    with_dependencies: bool,
    /// Has no effect any more
    #[arg(long, hide = true)]
    compress: bool,
    /// Has no effect any more
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Has no effect any more
    #[arg(long, hide = true)]
    no_rm: bool,
    /// Has no effect any more
    #[arg(long, hide = true)]
    parallel: bool,
    /// Services to build
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Builds images.
pub(super) async fn cmd_build(ui: &Ui, context: &Context, args: &BuildArgs) -> CommandResult {
    // The secrets and images of services that are enabled by their names only belong to the build too.
    let mut request = context.load_request();
    request.services.clone_from(&args.services);
    request.resources = Resources::All;
    let mut project = context.load(ui, request).await?;
    let chosen = choose(&mut project, args)?;
    let mut session = Session::open(ui, context, project).await?;
    session.build.args = arguments(&args.build_arg);
    session.build.no_cache = args.no_cache;
    session.build.pull = args.pull;
    session.build.quiet = args.quiet;
    let plan = plan_builds(&session, &chosen);
    if plan.is_empty() {
        ui.warn("No services to build");
        return Ok(ExitStatus::SUCCESS);
    }
    session.run("build", plan, None).await?;
    if args.push {
        super::push::push(&session, &chosen, super::push::OnFailure::Stop).await?;
    }
    Ok(ExitStatus::SUCCESS)
}

/// The services to build: the named ones with what their builds refer to, and on demand with what they depend on
/// (behaviours.md B205). Services of inactive profiles that are named or referred to become active.
fn choose(project: &mut Project, args: &BuildArgs) -> Result<Vec<String>, CommandError> {
    if args.services.is_empty() {
        return Ok(project.services.keys().cloned().collect());
    }
    let mut chosen: IndexSet<String> = IndexSet::new();
    let mut open = args.services.clone();
    while let Some(name) = open.pop() {
        if !chosen.insert(name.clone()) {
            continue;
        }
        if let Some(disabled) = project.disabled_services.shift_remove(&name) {
            project.services.insert(name.clone(), disabled);
        }
        let Some(service) = project.services.get(&name) else {
            return Err(CommandError::user(format!("no such service: {name}")));
        };
        let contexts = service
            .build
            .iter()
            .flat_map(|build| build.additional_contexts.values());
        open.extend(
            contexts
                .filter_map(|context| context.strip_prefix("service:"))
                .map(str::to_owned),
        );
        if args.with_dependencies {
            open.extend(service.depends_on.keys().cloned());
        }
    }
    Ok(chosen.into_iter().collect())
}

/// Reads `KEY=VALUE` and `KEY`.
fn arguments(texts: &[String]) -> IndexMap<String, Option<String>> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.clone(), None),
        })
        .collect()
}

/// The builds of some services, in the order that their contexts ask for.
pub(super) fn plan_builds(session: &Session<'_>, chosen: &[String]) -> Plan {
    let mut plan = Plan::default();
    let mut nodes: IndexMap<String, NodeId> = IndexMap::new();
    for name in chosen {
        let Some(service) = session.project.services.get(name) else {
            continue;
        };
        if let Some(action) = plan::build_action(&session.project, service, session.separator) {
            let node = plan.add(action, Cause::Requested { option: "build" }, &[]);
            nodes.insert(name.clone(), node);
        }
    }
    for (name, node) in &nodes {
        let contexts = session.project.services[name]
            .build
            .iter()
            .flat_map(|build| build.additional_contexts.values());
        for other in contexts.filter_map(|context| context.strip_prefix("service:")) {
            if let Some(before) = nodes.get(other).filter(|before| *before != node) {
                plan.order(*before, *node);
            }
        }
    }
    plan
}
