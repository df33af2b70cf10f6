//! `down`: removes a project's containers and networks.

use clap::Args;

use hoist::engine::connect::Choice;
use hoist::engine::{ObserveRequest, ObservedState};
use hoist::graph::{Graph, Reach};
use hoist::plan::{self, DownOptions, OrphanPolicy, RemoveImages, RemoveVolumes};

use crate::cli::context::is_true;
use crate::cli::reconcile::Session;
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::model::Project;
use hoist::runtime::launch;
use hoist::runtime::layout::Layout;

/// Arguments of `down`.
#[derive(Debug, Args)]
pub(super) struct DownArgs {
    /// Remove containers of services that are not in the files
    #[arg(long)]
    remove_orphans: bool,
    /// Remove images: `local` removes those without a name of your own, `all` every service's
    #[arg(long, value_name = "local|all")]
    rmi: Option<String>,
    /// Seconds between the stop signal and SIGKILL
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Remove named and anonymous volumes
    #[arg(short, long, alias = "volume")]
    volumes: bool,
    /// Services to remove
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Removes a project.
pub(super) async fn cmd_down(ui: &Ui, context: &Context, args: &DownArgs) -> CommandResult {
    let images = match args.rmi.as_deref() {
        None | Some("") => RemoveImages::Keep,
        Some("local") => RemoveImages::Local,
        Some("all") => RemoveImages::All,
        Some(other) => {
            return Err(CommandError::user(format!(
                "invalid value for --rmi: \"{other}\""
            )));
        }
    };
    let existing = Existing::open(ui, context, &args.services).await?;
    let (session, observed) = (existing.session, existing.observed);
    let remove_orphans = args.remove_orphans
        || context
            .variable("COMPOSE_REMOVE_ORPHANS")
            .is_some_and(is_true);
    let options = DownOptions {
        services: select(&session, existing.origin, &args.services)?,
        orphans: if remove_orphans {
            OrphanPolicy::Remove
        } else {
            OrphanPolicy::Ignore
        },
        volumes: if args.volumes {
            RemoveVolumes::Remove
        } else {
            RemoveVolumes::Keep
        },
        images,
        timeout: args.timeout,
        separator: session.separator,
    };
    let plan = plan::down(&session.project, &session.graph, &observed, &options);
    if plan.is_empty() {
        ui.warn(format_args!(
            "Warning: No resource found to remove for project \"{}\".",
            session.project.name
        ));
    }
    let removes = !plan.is_empty();
    session.run("down", plan, None).await?;
    if removes {
        release_engine(context)?;
    }
    Ok(ExitStatus::SUCCESS)
}

/// The built-in engine is not needed for what has gone: it goes, too, unless other containers are there.
fn release_engine(context: &Context) -> Result<(), CommandError> {
    if context.engine_choice()? == Choice::BuiltIn && !context.global().dry_run {
        launch::tell(&Layout::of_process(), "/hoist/release")?;
    }
    Ok(())
}

/// Removes the whole project with its orphans, for `wait --down-project`.
pub(super) async fn down_project(ui: &Ui, context: &Context) -> CommandResult {
    let args = DownArgs {
        remove_orphans: true,
        rmi: None,
        timeout: None,
        volumes: false,
        services: Vec::new(),
    };
    cmd_down(ui, context, &args).await
}

/// Names that do not exist are an error where a file was read; a project known by its labels takes dependants along
/// (behaviours.md B234).
fn select(
    session: &Session<'_>,
    origin: Origin,
    services: &[String],
) -> Result<Vec<String>, CommandError> {
    if services.is_empty() {
        return Ok(Vec::new());
    }
    if origin == Origin::File {
        check_services(&session.project, services)?;
        return Ok(services.to_vec());
    }
    let reached = session.graph.select(services, Reach::Dependents);
    if reached.is_empty() {
        return Err(CommandError::user(format!(
            "Any of the services {services:?} not found in project \"{}\"",
            session.project.name
        )));
    }
    Ok(reached.into_iter().map(str::to_owned).collect())
}

/// Where the model of a project came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Its files.
    File,
    /// The labels of its containers.
    Labels,
}

/// A project that may be known by its labels only, with a snapshot of it.
#[derive(Debug)]
pub(super) struct Existing<'a> {
    pub(super) session: Session<'a>,
    pub(super) observed: ObservedState,
    pub(super) origin: Origin,
}

impl<'a> Existing<'a> {
    /// Opens the project that a command without need of files acts on (behaviours.md B024).
    pub(super) async fn open(
        ui: &'a Ui,
        context: &'a Context,
        services: &[String],
    ) -> Result<Existing<'a>, CommandError> {
        let target = context.target(ui).await?;
        if let Some(mut project) = target.project {
            enable(&mut project, services);
            let session = Session::open(ui, context, project).await?;
            session.claim().await?;
            let observed = session.observe().await?;
            return Ok(Self {
                session,
                observed,
                origin: Origin::File,
            });
        }
        // What is there is looked at when nobody else changes it any more.
        let named = Project {
            name: target.name.clone(),
            ..Project::default()
        };
        let mut session = Session::open(ui, context, named).await?;
        session.claim().await?;
        let request = ObserveRequest {
            project: target.name.clone(),
            ..ObserveRequest::default()
        };
        let observed = session.engine.observe(&request).await?;
        session.project = plan::derive_project(&target.name, &observed);
        session.graph = Graph::new(&session.project).map_err(CommandError::user)?;
        Ok(Self {
            session,
            observed,
            origin: Origin::Labels,
        })
    }

    /// The order of the services.
    pub(super) fn graph(&self) -> &Graph {
        &self.session.graph
    }
}

/// To name a service is to enable it (behaviours.md B109).
fn enable(project: &mut Project, services: &[String]) {
    for name in services {
        if let Some(service) = project.disabled_services.shift_remove(name) {
            project.services.insert(name.clone(), service);
        }
    }
}

/// Refuses services that the project does not have.
pub(super) fn check_services(project: &Project, services: &[String]) -> Result<(), CommandError> {
    match services
        .iter()
        .find(|name| project.find_service(name).is_none())
    {
        Some(unknown) => Err(CommandError::user(format!("no such service: {unknown}"))),
        None => Ok(()),
    }
}
