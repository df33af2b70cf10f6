//! The command line: the argument root, and one file per command.
//!
//! Called by `main` with the arguments; answers the exit code. A command is a `clap` argument struct and a function
//! `cmd_x(&Ui, &Context, &XArgs) -> CommandResult`; to add one, add its `mod` line and its row in `commands!`.
//!
//! ```text
//! arguments --clap--> Root --> Ui, Context --dispatch--> cmd_x --> ExitStatus | CommandError --> exit code
//! ```

mod alpha;
mod archive;
mod attach;
mod build;
mod commit;
mod config;
mod content;
mod context;
mod cp;
mod create;
mod delivery;
mod down;
mod each;
mod engine;
mod error;
mod events;
mod exec;
mod export;
mod generate;
mod global;
mod image;
mod images;
mod interrupt;
mod keyring;
mod kill;
mod lock;
mod logs;
mod ls;
mod network;
mod pause;
mod pin;
mod plan;
mod plugin;
mod port;
mod provider;
mod ps;
mod publish;
mod pull;
mod push;
mod reconcile;
mod refusal;
mod restart;
mod rm;
mod run;
mod scale;
mod secret;
mod stack;
mod start;
mod stats;
mod stop;
mod target;
mod terminal;
mod top;
mod unit;
mod up;
mod version;
mod volumes;
mod wait;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use context::Context;
pub(crate) use error::{CommandError, CommandResult, ExitStatus};
pub(crate) use global::GlobalArgs;

use crate::ui::Ui;

/// Declares the subcommands: one row `Variant(arguments) => function` each.
macro_rules! commands {
    ($($(#[$meta:meta])* $variant:ident($args:ty) => $run:path,)*) => {
        /// The subcommands.
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$meta])* $variant($args),)*
        }

        impl Command {
            fn name(&self) -> &'static str {
                match self {
                    $(Command::$variant(_) => stringify!($variant),)*
                }
            }
        }

        /// Runs the chosen command.
        async fn dispatch(ui: &Ui, context: &Context, command: &Command) -> CommandResult {
            match command {
                $(Command::$variant(args) => $run(ui, context, args).await,)*
            }
        }
    };
}

commands! {
    /// Try out what docker compose calls experimental
    #[command(hide = true)]
    Alpha(alpha::AlphaArgs) => alpha::cmd_alpha,
    /// Attach to the main process of a container
    Attach(attach::AttachArgs) => attach::cmd_attach,
    /// Build images
    Build(build::BuildArgs) => build::cmd_build,
    /// Make an image of a container
    Commit(commit::CommitArgs) => commit::cmd_commit,
    /// Show what the files come to
    #[command(alias = "convert")]
    Config(config::ConfigArgs) => config::cmd_config,
    /// Copy files between a container and this machine
    Cp(cp::CpArgs) => cp::cmd_cp,
    /// Make containers without starting them
    Create(create::CreateArgs) => create::cmd_create,
    /// Remove a project's containers and networks
    Down(down::DownArgs) => down::cmd_down,
    /// Run, find or stop the built-in engine
    Engine(engine::EngineArgs) => engine::cmd_engine,
    /// Follow what happens to containers
    Events(events::EventsArgs) => events::cmd_events,
    /// Run a command in a running container
    Exec(exec::ExecArgs) => exec::cmd_exec,
    /// Write a container's file system as a tar
    Export(export::ExportArgs) => export::cmd_export,
    /// Load, import, list and remove images
    Image(image::ImageArgs) => image::cmd_image,
    /// List the images of containers
    Images(images::ImagesArgs) => images::cmd_images,
    /// Send a signal to containers
    Kill(kill::KillArgs) => kill::cmd_kill,
    /// Show what containers printed
    Logs(logs::LogsArgs) => logs::cmd_logs,
    /// List projects
    Ls(ls::LsArgs) => ls::cmd_ls,
    /// Look at networks, firewall rules and published ports
    Network(network::NetworkArgs) => network::cmd_network,
    /// Freeze containers
    Pause(pause::PauseArgs) => pause::cmd_pause,
    /// Show what `up` would do, and why
    Plan(plan::PlanArgs) => plan::cmd_plan,
    /// Show where a port is published
    Port(port::PortArgs) => port::cmd_port,
    /// List containers
    Ps(ps::PsArgs) => ps::cmd_ps,
    /// Publish the project as an artifact in a registry
    Publish(publish::PublishArgs) => publish::cmd_publish,
    /// Fetch images
    Pull(pull::PullArgs) => pull::cmd_pull,
    /// Push images
    Push(push::PushArgs) => push::cmd_push,
    /// Restart containers
    Restart(restart::RestartArgs) => restart::cmd_restart,
    /// Remove stopped containers
    Rm(rm::RmArgs) => rm::cmd_rm,
    /// Run a one-off command
    Run(run::RunArgs) => run::cmd_run,
    /// Change the number of containers
    Scale(scale::ScaleArgs) => scale::cmd_scale,
    /// Keep external secrets for the built-in engine
    Secret(secret::SecretArgs) => secret::cmd_secret,
    /// Start containers that exist
    Start(start::StartArgs) => start::cmd_start,
    /// Show what containers use
    Stats(stats::StatsArgs) => stats::cmd_stats,
    /// Stop containers
    Stop(stop::StopArgs) => stop::cmd_stop,
    /// List processes
    Top(top::TopArgs) => top::cmd_top,
    /// Thaw containers
    Unpause(pause::PauseArgs) => pause::cmd_unpause,
    /// Make and start containers
    Up(up::UpArgs) => up::cmd_up,
    /// Show the version
    Version(version::VersionArgs) => version::cmd_version,
    /// List volumes
    Volumes(volumes::VolumesArgs) => volumes::cmd_volumes,
    /// Wait until containers have stopped
    Wait(wait::WaitArgs) => wait::cmd_wait,
    /// Act when the files of services change
    Watch(watch::WatchArgs) => watch::cmd_watch,
}

/// Define and run multi-container applications
#[derive(Debug, Parser)]
#[command(
    name = "hoist",
    disable_version_flag = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Root {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Parses the arguments, runs the command and answers the exit code of the process.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    if let Some(metadata) = plugin::metadata(&arguments) {
        return match Ui::plain().print(metadata) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(&Ui::plain(), &CommandError::from(error)),
        };
    }
    let arguments = plugin::without_name(arguments);
    let context = Context::from_process(&arguments);
    let root = match parse(arguments) {
        Ok(root) => root,
        Err(failure) => return report_usage(&failure),
    };
    let context = context.with_global(root.global);
    let ui = match Ui::new(&context.ui_settings()) {
        Ok(ui) => ui,
        Err(error) => return report(&Ui::plain(), &CommandError::user(error)),
    };
    let Some(command) = root.command else {
        return no_command(&ui, &context);
    };
    let ui = match &command {
        Command::Config(args) if args.tells_json() => ui.with_diagnostics_as_json(),
        _ => ui,
    };
    match run(&ui, &context, &command) {
        Ok(status) => status.into(),
        Err(error) => report(&ui, &error),
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Root, clap::Error> {
    let matches = Root::command().try_get_matches_from(arguments)?;
    Root::from_arg_matches(&matches)
}

fn no_command(ui: &Ui, context: &Context) -> ExitCode {
    let shown = if context.global().version {
        version::print_text(ui)
    } else {
        ui.print(Root::command().render_help())
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(ui, &CommandError::from(error)),
    }
}

fn run(ui: &Ui, context: &Context, command: &Command) -> CommandResult {
    let runtime = match command.name() {
        "Engine" => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    }
    .enable_all()
    .build()?;
    let result = runtime.block_on(async {
        if interrupt::OWN_SIGNALS.contains(&command.name()) {
            return dispatch(ui, context, command).await;
        }
        tokio::select! {
            result = dispatch(ui, context, command) => result,
            () = interrupt::interrupted() => Err(CommandError::cancelled()),
        }
    });
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    result
}

/// Warns of flags that are taken for the sake of old scripts and have no effect any more.
fn warn_of_ignored(ui: &Ui, flags: &[(&str, bool)]) {
    for (flag, _) in flags.iter().filter(|(_, given)| *given) {
        ui.warn(format_args!(
            "option '{flag}' is DEPRECATED and will be ignored."
        ));
    }
}

/// Prints a failure with its causes and hints, and maps it to the exit code.
fn report(ui: &Ui, error: &CommandError) -> ExitCode {
    error.print(ui);
    error.exit_status().into()
}

/// What to do instead of a command that only docker compose has.
fn instead_of(command: &str) -> Option<String> {
    let text = match command {
        "bridge" => {
            "it hands the model to images of Docker's that write Kubernetes manifests or Helm charts, and hoist brings none: \
             `hoist config` prints the same model for a tool that makes them"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// The command that is most like an unknown one.
fn meant(failure: &clap::Error) -> Option<String> {
    let found = match failure.get(ContextKind::SuggestedSubcommand)? {
        ContextValue::String(found) => found,
        // The last is the one that is most like it.
        ContextValue::Strings(found) => found.last()?,
        _ => return None,
    };
    Some(format!("did you mean `{found}`?"))
}

/// Prints what clap found wrong. docker compose answers 1 for every usage error, and help is no error.
fn report_usage(failure: &clap::Error) -> ExitCode {
    let ui = Ui::plain();
    let invalid = failure
        .get(ContextKind::InvalidArg)
        .map(ToString::to_string);
    let unknown = failure
        .get(ContextKind::InvalidSubcommand)
        .map(ToString::to_string);
    match (failure.kind(), invalid, unknown) {
        (ErrorKind::UnknownArgument, Some(flag), _) if flag.starts_with('-') => {
            let usage = failure.get(ContextKind::Usage).map(ToString::to_string);
            let usage = usage.map(|usage| usage.replace("Usage: ", "usage: "));
            ui.error(&format!("unknown flag: {flag}"), &Vec::from_iter(usage));
        }
        (ErrorKind::InvalidSubcommand, _, Some(command)) => {
            // A reader that is gone misses the help, not the error.
            drop(ui.print(Root::command().render_help()));
            ui.error(
                &format!("unknown docker command: \"compose {command}\""),
                &Vec::from_iter(instead_of(&command).or_else(|| meant(failure))),
            );
        }
        _ => {
            let printed = failure.print();
            if !failure.use_stderr() && printed.is_ok() {
                return ExitCode::SUCCESS;
            }
        }
    }
    ExitCode::FAILURE
}
