//! `attach`: joins the terminal to the main process of a running container.

use std::sync::Arc;

use clap::{ArgAction, Args};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::terminal::{Input, Joined, Tty, join};
use crate::cli::{CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::engine::member::Stopped;
use hoist::engine::{AttachOptions, Engine};

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub(super) struct AttachArgs {
    /// Detach with these keys
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Choose this replica of the service
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Keep standard input here
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true")]
    sig_proxy: bool,
    /// Service to attach to
    service: String,
}

/// Attaches.
pub(super) async fn cmd_attach(ui: &Ui, context: &Context, args: &AttachArgs) -> CommandResult {
    let (engine, container) = context
        .container(ui, (&args.service, args.index), Stopped::Exclude)
        .await?;
    let id = container.id().to_owned();
    let config = engine
        .inspect_container(&id)
        .await?
        .config
        .unwrap_or_default();
    let tty = match config.tty {
        Some(true) => Tty::Yes,
        Some(false) | None => Tty::No,
    };
    let input = if args.no_stdin || config.open_stdin != Some(true) {
        Input::Keep
    } else {
        Input::Forward
    };
    let options = AttachOptions {
        stdin: input == Input::Forward,
        output: true,
        logs: false,
        tty: tty == Tty::Yes,
        detach_keys: args.detach_keys.clone().unwrap_or_default(),
    };
    let session = engine.attach(&id, &options).await?;
    let proxy = args
        .sig_proxy
        .then(|| tokio::spawn(pass_signals(engine.clone(), id.clone())));
    let joined = Joined::Container(id.clone());
    join(ui, engine.clone(), session, &joined, input, tty).await?;
    if let Some(proxy) = proxy {
        proxy.abort();
    }
    exit_status(engine.as_ref(), &id).await
}

/// A container that ended gives its exit code; one that we detached from runs on.
async fn exit_status(engine: &dyn Engine, id: &str) -> CommandResult {
    let container = match engine.inspect_container(id).await {
        Ok(container) => container,
        Err(error) if error.is_not_found() => return Ok(ExitStatus::SUCCESS),
        Err(error) => return Err(error.into()),
    };
    let state = container.state.unwrap_or_default();
    Ok(match state.running {
        Some(true) => ExitStatus::SUCCESS,
        Some(false) | None => ExitStatus::of_container(state.exit_code.unwrap_or_default()),
    })
}

/// Passes the signals that end or change a process on to the container.
pub(crate) async fn pass_signals(engine: Arc<dyn Engine>, id: String) {
    let kinds = [
        (SignalKind::interrupt(), "SIGINT"),
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::quit(), "SIGQUIT"),
        (SignalKind::user_defined1(), "SIGUSR1"),
        (SignalKind::user_defined2(), "SIGUSR2"),
    ];
    let passing = kinds.map(|(kind, name)| {
        let (engine, id) = (engine.clone(), id.clone());
        async move {
            let Ok(mut signals) = signal(kind) else {
                return;
            };
            while signals.recv().await.is_some() {
                // A container that ended meanwhile takes no signal, and needs none.
                drop(engine.kill_container(&id, name).await);
            }
        }
    });
    futures_util::future::join_all(passing).await;
}
