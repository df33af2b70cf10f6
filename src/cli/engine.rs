//! `engine`: runs the built-in engine, says where it listens, ends it.
//!
//! ```text
//! engine             foreground, until Ctrl-C or `engine stop`
//! engine --detached  started by a client: own session, names its socket on stdout, goes when nothing is left to run
//! ```

use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use tokio::net::UnixListener;
use tokio::task::block_in_place;

use crate::cli::unit::{self, InstallArgs, UnitArgs};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus, interrupt};
use crate::ui::Ui;
use hoist::api;
use hoist::runtime::error::RuntimeError;
use hoist::runtime::keeper::Revival;
use hoist::runtime::launch;
use hoist::runtime::layout::{Layout, LayoutError, Privilege, RootLock};
use hoist::runtime::rootless;
use hoist::runtime::supervise::{Left, Shutdown, Supervisor};

/// Arguments of `engine`.
#[derive(Debug, Args)]
pub(super) struct EngineArgs {
    #[command(subcommand)]
    action: Option<EngineAction>,
    /// Run for the client that started it
    #[arg(long, hide = true)]
    detached: bool,
}

#[derive(Debug, Subcommand)]
enum EngineAction {
    /// Start the engine where needed and print its address
    Socket {
        /// Only see to it that it runs
        #[arg(long, hide = true)]
        revive: bool,
    },
    /// End the engine; containers run on
    Stop,
    /// Start the engine with the machine, by a systemd unit
    Install(InstallArgs),
    /// Remove the systemd unit; containers run on
    Uninstall(UnitArgs),
}

/// Why the engine ends.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Foreground,
    Detached,
}

/// How serving came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Somebody wants it.
    Asked,
    /// Nothing runs and nobody has asked for a while.
    Idle,
}

/// Whether clients can come in when the engine is idle.
#[derive(Debug)]
enum Door {
    /// No more; the lock keeps them from starting another engine until this one has left.
    Closed(fs::File),
    /// One came in the last moment.
    Reopened(UnixListener),
}

/// Runs, finds or ends the engine.
pub(super) async fn cmd_engine(ui: &Ui, _: &Context, args: &EngineArgs) -> CommandResult {
    match (&args.action, args.detached) {
        (Some(EngineAction::Socket { revive }), _) => print_socket(ui, *revive),
        (Some(EngineAction::Stop), _) => stop(ui),
        (Some(EngineAction::Install(args)), _) => {
            if !args.print {
                // One engine at a time has the root: the unit's takes the containers over.
                launch::tell(&Layout::of_process(), "/hoist/shutdown")?;
            }
            unit::install(ui, args)
        }
        (Some(EngineAction::Uninstall(args)), _) => unit::uninstall(ui, args),
        (None, true) => serve(ui, Mode::Detached).await,
        (None, false) => serve(ui, Mode::Foreground).await,
    }
}

/// Whoever asks for the address uses it with other tools, some time later: the engine stays longer for them.
fn print_socket(ui: &Ui, revive: bool) -> CommandResult {
    let program = std::env::current_exe()?;
    let layout = Layout::of_process();
    let found = if revive {
        launch::find_or_spawn(&layout, &program)
    } else {
        launch::find_or_spawn_to_stay(&layout, &program)
    };
    let _socket = found.map_err(CommandError::system)?;
    say_socket(ui, &layout)
}

/// Asks the engine to go, and waits until it has let its root go.
fn stop(ui: &Ui) -> CommandResult {
    let layout = Layout::of_process();
    if !launch::tell(&layout, "/hoist/shutdown")? {
        ui.print("No engine is running\n")?;
        if !layout.root().exists() {
            return Ok(ExitStatus::SUCCESS);
        }
        // One that was on its way out before has no socket any more, and is waited for all the same.
    }
    layout.wait_until_free().map_err(CommandError::system)?;
    Ok(ExitStatus::SUCCESS)
}

async fn serve(ui: &Ui, mode: Mode) -> CommandResult {
    let layout = Layout::of_process();
    if layout.privilege() == Privilege::Rootless && rootless::user_outside().is_none() {
        layout.prepare().map_err(CommandError::system)?;
        match rootless::enter()? {}
    }
    if matches!(mode, Mode::Detached) {
        // Away from the client's terminal: its Ctrl-C is not ours.
        rustix::process::setsid().map_err(std::io::Error::from)?;
    }
    start_logging();
    layout.prepare().map_err(CommandError::system)?;
    let Some(lock) = take_root(&layout, mode)? else {
        return say_socket(ui, &layout);
    };
    let supervisor =
        Supervisor::open(layout.clone(), revival(&layout, mode)).map_err(CommandError::system)?;
    let mut listener = api::bind(&layout.engine_socket()).map_err(CommandError::system)?;
    fs::write(layout.engine_pid(), std::process::id().to_string())?;
    supervisor.adopt().await.map_err(CommandError::system)?;
    say_socket(ui, &layout)?;
    if matches!(mode, Mode::Detached) {
        leave_stdout()?;
    }
    let (served, launching) = loop {
        match serve_until_end(&listener, &supervisor, mode).await {
            Ok(End::Idle) => match close_door(&layout, &listener, &supervisor)? {
                Door::Closed(launching) => break (Ok(()), Some(launching)),
                Door::Reopened(new) => listener = new,
            },
            Ok(End::Asked) => break (Ok(()), None),
            Err(error) => break (Err(error), None),
        }
    };
    supervisor.request_shutdown();
    drop(listener);
    let left = leave(&layout, &supervisor).await;
    drop(lock);
    drop(launching);
    served?;
    left.map_err(CommandError::system)?;
    Ok(ExitStatus::SUCCESS)
}

/// The state root, once an engine that is ending has let it go. None where a client has started this one and another has
/// been faster: that is as good.
fn take_root(layout: &Layout, mode: Mode) -> Result<Option<RootLock>, CommandError> {
    let answers = || launch::find(layout).is_some();
    match layout.lock_after_leaving(answers) {
        Err(LayoutError::Taken { .. }) if matches!(mode, Mode::Detached) && answers() => Ok(None),
        locked => locked.map(Some).map_err(CommandError::system),
    }
}

/// The address that clients and people wait for.
fn say_socket(ui: &Ui, layout: &Layout) -> CommandResult {
    let socket = layout.engine_socket();
    ui.print(format_args!("unix://{}\n", socket.display()))?;
    Ok(ExitStatus::SUCCESS)
}

/// How the keeper brings this engine back. One in the foreground has someone who watches it: a person or systemd.
fn revival(layout: &Layout, mode: Mode) -> Option<Revival> {
    matches!(mode, Mode::Detached).then_some(())?;
    Some(Revival {
        program: std::env::current_exe().ok()?,
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        log: layout.engine_log(),
    })
}

async fn serve_until_end(
    listener: &UnixListener,
    supervisor: &Arc<Supervisor>,
    mode: Mode,
) -> Result<End, CommandError> {
    let idle = async {
        match mode {
            Mode::Detached => supervisor.idle().await,
            Mode::Foreground => std::future::pending().await,
        }
    };
    let served = tokio::select! {
        served = api::serve(listener, supervisor) => served.map(|()| End::Asked),
        () = interrupt::interrupted() => Ok(End::Asked),
        () = idle => Ok(End::Idle),
    };
    served.map_err(CommandError::system)
}

/// Takes the socket away while no client can start another engine. When one came before, the engine stays for it.
fn close_door(
    layout: &Layout,
    listener: &UnixListener,
    supervisor: &Arc<Supervisor>,
) -> Result<Door, CommandError> {
    let launching = block_in_place(|| layout.lock_launch()).map_err(CommandError::system)?;
    remove_file(&layout.engine_socket());
    let waiting = api::serve_waiting(listener, supervisor).map_err(CommandError::system)?;
    if waiting == 0 {
        return Ok(Door::Closed(launching));
    }
    let listener = api::bind(&layout.engine_socket()).map_err(CommandError::system)?;
    Ok(Door::Reopened(listener))
}

/// Takes away what only a living engine needs.
async fn leave(layout: &Layout, supervisor: &Supervisor) -> Result<(), RuntimeError> {
    // Answers that are under way get their end: clients see the connection close only with the process.
    let mut shutdown = supervisor.shutdown();
    Shutdown::requested(&mut shutdown).await;
    for path in [layout.engine_socket(), layout.engine_pid()] {
        remove_file(&path);
    }
    let left = supervisor.leave().await;
    if matches!(left, Ok(Left::Nothing)) {
        remove_file(&layout.run().join("keeper.lock"));
    }
    for folder in ["containers", "network", "netns", ""] {
        remove_empty(&layout.run().join(folder));
    }
    left.map(drop)
}

fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a file of the engine");
    }
}

/// Removes a folder that nothing is in; one that is in use stays.
fn remove_empty(path: &Path) {
    let _in_use = fs::remove_dir(path);
}

fn leave_stdout() -> std::io::Result<()> {
    let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HOIST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // Whoever set up logging before us keeps it.
    let _kept = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
