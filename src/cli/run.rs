//! `run`: runs a one-off command in a container of its own (behaviours.md B245-B251).

use std::collections::BTreeSet;
use std::io::IsTerminal;

use clap::Args;
use indexmap::IndexMap;

use hoist::apply::ApplyError;
use hoist::engine::{AttachOptions, ContainerSpec, EngineErrorKind, ObservedState};
use hoist::load::{Dependencies, dotenv_text};
use hoist::model::{Mount, MountKind, Port, Project, Service};
use hoist::plan::resolve::Aliases;
use hoist::plan::{self, AnonymousVolumes, Goal, OneOff, Plan, PlanOptions, preflight};

use crate::cli::create::{ImageArgs, load, orphan_policy};
use crate::cli::reconcile::{Answers, Session};
use crate::cli::terminal::{Input, Joined, Tty, join};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus, provider, stack};
use crate::ui::Ui;

/// Arguments of `run`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct RunArgs {
    #[command(flatten)]
    images: ImageArgs,
    /// Add a capability
    #[arg(long, value_name = "CAP")]
    cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "CAP")]
    cap_drop: Vec<String>,
    /// Leave the container running and print its id
    #[arg(short, long)]
    detach: bool,
    /// Replace the entry point
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Set a variable: KEY=VALUE, or KEY from our own environment
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    env_from_file: Vec<String>,
    /// Keep standard input open
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    interactive: Option<bool>,
    /// Add a label
    #[arg(short, long, value_name = "KEY=VALUE", alias = "labels")]
    label: Vec<String>,
    /// Name the container
    #[arg(long)]
    name: Option<String>,
    /// Start nothing that the service depends on
    #[arg(long)]
    no_deps: bool,
    /// Make no terminal
    #[arg(short = 'T', long, alias = "no-TTY")]
    no_tty: bool,
    /// Publish a port
    #[arg(short, long, value_name = "PORT", conflicts_with = "service_ports")]
    publish: Vec<String>,
    /// Tell nothing about what is done
    #[arg(short, long)]
    quiet: bool,
    /// Build without output
    #[arg(long)]
    quiet_build: bool,
    /// Remove containers of services that are not in the files
    #[arg(long)]
    remove_orphans: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Publish the service's ports
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Make a terminal
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tty: Option<bool>,
    /// Answer to the service's names on its networks
    #[arg(long)]
    use_aliases: bool,
    /// Run as this user
    #[arg(short, long)]
    user: Option<String>,
    /// Mount a volume
    #[arg(short, long, value_name = "VOLUME", alias = "volumes")]
    volume: Vec<String>,
    /// Run in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Service, command and its arguments
    #[arg(value_names = ["SERVICE", "COMMAND"], required = true, num_args = 1..,
        trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Runs a one-off command.
pub(super) async fn cmd_run(ui: &Ui, context: &Context, args: &RunArgs) -> CommandResult {
    let (name, command) = args.words.split_first().expect("clap asks for one");
    let tty = terminal(ui, args)?;
    let dependencies = if args.no_deps {
        Dependencies::Ignore
    } else {
        Dependencies::Include
    };
    let project = load(ui, context, std::slice::from_ref(name), dependencies).await?;
    let quiet = ui.quieted();
    let ui = if args.quiet { &quiet } else { ui };
    stack::confirm(ui, context, &project, Answers::Ask)?;
    let mut session = Session::open_for_containers(ui, context, project).await?;
    session.build.quiet = args.quiet_build || args.quiet;
    session.quiet_pulls = args.images.quiet_pull;
    let session = provider::provide(session, "up").await?;
    let observed = session
        .prepare_images(&args.images.options(&session)?)
        .await?;
    let files = session.project.services.get(name);
    let files = files.map(|service| preflight::file_needs(&session.project, service));
    session
        .refuse_unmet(&files.unwrap_or_default(), &BTreeSet::new())
        .await?;
    let observed = dependencies_up(&session, name, observed, args).await?;
    let service = session
        .project
        .services
        .get(name)
        .cloned()
        .ok_or_else(|| CommandError::user(format!("no such service: {name}")))?;
    let mut service = customise(&session.project, service, command, args, tty)?;
    for (key, value) in environment(session.ui, &session.project, args)? {
        service.environment.insert(key, Some(value));
    }
    let hooked = Service {
        name: service.name.clone(),
        post_start: service.post_start.clone(),
        ..Service::default()
    };
    let mut spec = specify(&session, &observed, service, args)?;
    spec.body.tty = Some(tty == Tty::Yes);
    let needs = session.project.services.get(name);
    let needs = needs.map(|service| preflight::spec_needs(service, &spec));
    session
        .refuse_unmet(&needs.unwrap_or_default(), &BTreeSet::new())
        .await?;
    let id = create(&session, &spec).await?;
    session.release();
    if args.detach {
        session.engine.start_container(&id).await?;
        let hooks = plan::post_start(&hooked, &id, &spec.name);
        run_hooks(&session, hooks).await?;
        ui.print(format_args!("{id}\n"))?;
        return Ok(ExitStatus::SUCCESS);
    }
    let hooks = plan::post_start(&hooked, &id, &spec.name);
    attached(&session, &id, args, (tty, hooks)).await
}

/// Whether the container gets a terminal (behaviours.md B248).
fn terminal(ui: &Ui, args: &RunArgs) -> Result<Tty, CommandError> {
    let stdin = std::io::stdin().is_terminal();
    let wanted = match args.tty {
        Some(wanted) => wanted,
        None => {
            !args.no_tty
                && !args.detach
                && ui.stdout_is_terminal()
                && (stdin || args.interactive.is_some())
        }
    };
    if wanted && args.tty.is_some() && !stdin && !args.detach && args.interactive != Some(false) {
        return Err(CommandError::user(
            "cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
        ));
    }
    Ok(if wanted { Tty::Yes } else { Tty::No })
}

/// Makes true what the service depends on, and the networks and volumes it uses.
async fn dependencies_up(
    session: &Session<'_>,
    name: &str,
    observed: ObservedState,
    args: &RunArgs,
) -> Result<ObservedState, CommandError> {
    let mut options = PlanOptions {
        named: session
            .project
            .services
            .keys()
            .filter(|other| *other != name)
            .cloned()
            .collect(),
        orphans: orphan_policy(session, args.remove_orphans)?,
        anonymous_volumes: AnonymousVolumes::Renew,
        goal: Goal::Running,
        run_for: Some(name.to_owned()),
        ..session.plan_options()
    };
    let plan = session.plan(&observed, &mut options, Answers::Ask).await?;
    if plan.is_empty() && plan.notices.is_empty() {
        return Ok(observed);
    }
    session.run("run", plan, None).await?;
    session.observe().await
}

/// The service as the flags change it.
fn customise(
    project: &Project,
    mut service: Service,
    command: &[String],
    args: &RunArgs,
    tty: Tty,
) -> Result<Service, CommandError> {
    if let Some(entrypoint) = &args.entrypoint {
        service.entrypoint = Some(shell_words::split(entrypoint).map_err(CommandError::user)?);
        if command.is_empty() {
            service.command = None;
        }
    }
    if !command.is_empty() {
        service.command = Some(command.to_vec());
    }
    for label in &args.label {
        let Some((key, value)) = label.split_once('=') else {
            return Err(CommandError::user(format!(
                "label must be set as KEY=VALUE: {label}"
            )));
        };
        service.labels.insert(key.to_owned(), value.to_owned());
    }
    if !args.service_ports {
        service.ports = publish(&args.publish)?;
    }
    for volume in &args.volume {
        service.volumes.push(mount(project, volume));
    }
    for capability in &args.cap_add {
        service.cap_drop.retain(|dropped| dropped != capability);
        service.cap_add.push(capability.clone());
    }
    for capability in &args.cap_drop {
        service.cap_add.retain(|added| added != capability);
        service.cap_drop.push(capability.clone());
    }
    if let Some(user) = &args.user {
        service.user.clone_from(user);
    }
    if let Some(directory) = &args.workdir {
        service.working_dir.clone_from(directory);
    }
    service.tty = tty == Tty::Yes;
    service.stdin_open = args.interactive.unwrap_or(true);
    Ok(service)
}

/// What `--env` and `--env-from-file` say. The first to name a variable decides, and `--env` comes before all files;
/// values in files may use what is decided already, and nothing else.
fn environment(
    ui: &Ui,
    project: &Project,
    args: &RunArgs,
) -> Result<IndexMap<String, String>, CommandError> {
    let mut decided = IndexMap::new();
    for entry in &args.env {
        if let Some((key, value)) = entry.split_once('=') {
            decided.insert(key.to_owned(), value.to_owned());
        } else if let Some(value) = project.environment.get(entry) {
            decided.insert(entry.clone(), value.clone());
        }
    }
    for path in &args.env_from_file {
        let text = hoist::load::read_text(path.as_ref()).map_err(|error| {
            CommandError::user(format!("couldn't read env file: {path}: {error}"))
        })?;
        let read = dotenv_text(&text, &|name| decided.get(name).cloned())
            .map_err(|error| CommandError::user(format!("env file {path}: {error}")))?;
        for name in read.missing {
            ui.warn(format_args!(
                "The \"{name}\" variable is not set. Defaulting to a blank string."
            ));
        }
        // A last name without a line break comes as a value without a name, which no engine takes.
        let named = read
            .variables
            .into_iter()
            .filter(|(key, _)| !key.is_empty());
        for (key, value) in named {
            decided.entry(key).or_insert(value);
        }
    }
    Ok(decided)
}

/// Reads `[ip:][published:]target[/protocol]`.
fn publish(texts: &[String]) -> Result<Vec<Port>, CommandError> {
    texts
        .iter()
        .map(|text| port(text).ok_or_else(|| CommandError::user(format!("invalid port {text}"))))
        .collect()
}

fn port(text: &str) -> Option<Port> {
    let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let mut parts = text.rsplitn(3, ':');
    let target = parts.next()?.parse().ok()?;
    Some(Port {
        mode: "ingress".to_owned(),
        target,
        published: parts.next().unwrap_or_default().to_owned(),
        host_ip: parts
            .next()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned(),
        protocol: protocol.to_owned(),
        ..Port::default()
    })
}

/// Reads `[source:]target[:options]`.
fn mount(project: &Project, text: &str) -> Mount {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options, ..] => (*source, *target, *options),
        [] => ("", "", ""),
    };
    let is_path = source.starts_with(['/', '.', '~']);
    let source = match source {
        path if path.starts_with('.') => project
            .working_dir
            .join(path)
            .to_string_lossy()
            .into_owned(),
        path if path.starts_with('~') => shellexpand::tilde(path).into_owned(),
        other => other.to_owned(),
    };
    let bind = hoist::model::BindOptions {
        create_host_path: Some(true),
        ..Default::default()
    };
    Mount {
        kind: if is_path {
            MountKind::Bind
        } else {
            MountKind::Volume
        },
        source,
        target: target.to_owned(),
        read_only: options.split(',').any(|option| option == "ro"),
        bind: is_path.then_some(bind),
        ..Mount::default()
    }
}

fn specify(
    session: &Session<'_>,
    observed: &ObservedState,
    service: Service,
    args: &RunArgs,
) -> Result<ContainerSpec, CommandError> {
    let interactive = service.stdin_open && !args.detach;
    let one_off = OneOff {
        service,
        name: args.name.clone().unwrap_or_default(),
        slug: slug()?,
        aliases: if args.use_aliases {
            Aliases::Service
        } else {
            Aliases::Container
        },
        interactive,
        auto_remove: args.rm,
    };
    plan::one_off(
        &session.project,
        observed,
        &one_off,
        &session.plan_options(),
    )
    .map_err(CommandError::user)
}

/// Sixty-four random hexadecimal digits.
fn slug() -> Result<String, CommandError> {
    let mut bytes = [0_u8; 32];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(CommandError::system)?;
    Ok(hex::encode(bytes))
}

async fn create(session: &Session<'_>, spec: &ContainerSpec) -> Result<String, CommandError> {
    session
        .ui
        .status(format_args!(" Container {} Creating ", spec.name));
    let (id, warnings) = session.engine.create_container(spec).await?;
    session
        .ui
        .status(format_args!(" Container {} Created ", spec.name));
    for warning in warnings {
        session.ui.warn(warning);
    }
    if !spec.files.is_empty() {
        session.engine.put_files(&id, &spec.files).await?;
    }
    Ok(id)
}

/// Attaches, starts, and ends with the container's exit code.
async fn attached(
    session: &Session<'_>,
    id: &str,
    args: &RunArgs,
    (tty, hooks): (Tty, Plan),
) -> CommandResult {
    let input = if args.interactive == Some(false) {
        Input::Keep
    } else {
        Input::Forward
    };
    let options = AttachOptions {
        stdin: input == Input::Forward,
        output: true,
        tty: tty == Tty::Yes,
        ..AttachOptions::default()
    };
    let joined = session.engine.attach(id, &options).await?;
    // With --rm the container is gone at its end, so its exit code is asked for before it starts.
    let engine = std::sync::Arc::clone(&session.engine);
    let waited = id.to_owned();
    session.engine.start_container(id).await?;
    let code = tokio::spawn(async move { engine.wait_container(&waited).await });
    let target = Joined::Container(id.to_owned());
    let joining = join(
        session.ui,
        std::sync::Arc::clone(&session.engine),
        joined,
        &target,
        input,
        tty,
    );
    let mut joining = std::pin::pin!(joining);
    // A command that ends before its hooks takes them with it.
    tokio::select! {
        biased;
        ended = &mut joining => ended?,
        hooked = run_hooks(session, hooks) => {
            hooked?;
            joining.await?;
        }
    }
    let code = code.await.map_err(CommandError::system)??;
    Ok(ExitStatus::of_container(code))
}

/// Runs hooks in a container that has started. One that is over already is no failure of its hooks.
async fn run_hooks(session: &Session<'_>, hooks: Plan) -> Result<(), CommandError> {
    if hooks.is_empty() {
        return Ok(());
    }
    let report = session.run_to_report("run", hooks, None).await;
    let over = report.failures.iter().all(|failure| {
        matches!(&failure.error, ApplyError::Engine(error)
            if error.is_not_found() || error.kind == EngineErrorKind::Conflict)
    });
    if over {
        for failure in &report.failures {
            session.ui.warn(format_args!(
                "{}: {}",
                failure.action,
                failure.error.chain()
            ));
        }
        return Ok(());
    }
    session.conclude(report).map(drop)
}
