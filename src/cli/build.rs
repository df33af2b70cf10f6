//! `build`: builds the images of services.

use clap::Args;
use indexmap::{IndexMap, IndexSet};

use hoist::apply::{BuildSettings, bake_definition};
use hoist::load::Resources;
use hoist::model::{ByteSize, Project};
use hoist::plan::{self, Action, Cause, NodeId, Plan};

use crate::cli::reconcile::{Session, separator};
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
    /// Build with this one of buildx's builders
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    /// Look the build over, and build nothing
    #[arg(long)]
    check: bool,
    /// Limit the memory of each step, on an engine's classic builder
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// Print what buildx would be told, and build nothing
    #[arg(long)]
    print: bool,
    /// Use the global --progress instead
    #[arg(long, value_name = "STYLE", hide = true)]
    progress: Option<String>,
    /// Have the image say how it was made
    #[arg(long, value_name = "WISH")]
    provenance: Option<String>,
    /// Have the image list what is in it
    #[arg(long, value_name = "WISH")]
    sbom: Option<String>,
    /// Lend keys to the build: default, or ID=PATH
    #[arg(long, value_name = "KEY")]
    ssh: Vec<String>,
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
    let ignored = [
        ("--compress", args.compress),
        ("--force-rm", args.force_rm),
        ("--no-rm", args.no_rm),
        ("--parallel", args.parallel),
    ];
    super::warn_of_ignored(ui, &ignored);
    // The secrets and images of services that are enabled by their names only belong to the build too.
    let mut request = context.load_request();
    request.services.clone_from(&args.services);
    request.resources = Resources::All;
    let mut project = context.load(ui, request).await?;
    let chosen = choose(&mut project, args)?;
    ask_more(&mut project, args);
    if args.progress.is_some() {
        ui.warn("--progress is a global flag: `hoist --progress STYLE build …`");
    }
    let settings = settings(args)?;
    if args.print {
        return print(ui, context, &project, &settings, &chosen);
    }
    let mut session = Session::open(ui, context, project).await?;
    session.build = settings;
    let plan = plan_builds(&session, &chosen);
    if plan.is_empty() {
        ui.warn("No services to build");
        return Ok(ExitStatus::SUCCESS);
    }
    session.run("build", plan, None).await?;
    if args.push && !args.check {
        super::push::push(&session, &chosen, super::push::OnFailure::Stop).await?;
    }
    Ok(ExitStatus::SUCCESS)
}

/// What the flags set for every build.
fn settings(args: &BuildArgs) -> Result<BuildSettings, CommandError> {
    let memory = args.memory.as_deref().map(|text| {
        let size = ByteSize::parse(text).map(|size| size.0);
        size.ok_or_else(|| CommandError::user(format!("invalid --memory option \"{text}\"")))
    });
    Ok(BuildSettings {
        args: arguments(&args.build_arg),
        no_cache: args.no_cache,
        pull: args.pull,
        quiet: args.quiet || args.progress.as_deref() == Some("quiet"),
        check: args.check,
        builder: args.builder.clone(),
        memory: memory.transpose()?.filter(|bytes| *bytes > 0),
    })
}

/// What the flags ask for beside what the files do.
fn ask_more(project: &mut Project, args: &BuildArgs) {
    let builds = project
        .services
        .values_mut()
        .filter_map(|service| service.build.as_mut());
    for build in builds {
        if let Some(wish) = &args.provenance {
            build.provenance.clone_from(wish);
        }
        if let Some(wish) = &args.sbom {
            build.sbom.clone_from(wish);
        }
        for key in &args.ssh {
            let key = if key.is_empty() { "default" } else { key };
            let id = key.split('=').next().unwrap_or(key);
            build
                .ssh
                .retain(|known| known.split('=').next() != Some(id));
            build.ssh.push(key.to_owned());
        }
    }
}

/// Prints what buildx would be told.
fn print(
    ui: &Ui,
    context: &Context,
    project: &Project,
    settings: &BuildSettings,
    chosen: &[String],
) -> CommandResult {
    let separator = separator(context);
    let services = chosen.iter().filter_map(|name| project.services.get(name));
    let actions: Vec<_> = services
        .filter_map(|service| plan::build_action(project, service, separator))
        .collect();
    let builds: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::BuildImage(build) => Some(build.as_ref()),
            _ => None,
        })
        .collect();
    let definition = bake_definition(project, settings, &builds);
    let text = serde_json::to_string_pretty(&definition).map_err(CommandError::system)?;
    ui.print(format_args!("{text}\n"))?;
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
