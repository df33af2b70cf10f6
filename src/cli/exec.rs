//! `exec`: runs a command in a running container of a service.

use clap::Args;

use crate::cli::terminal::{Input, Joined, Tty, join};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::engine::ExecSpec;
use hoist::engine::member::Stopped;

/// Arguments of `exec`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct ExecArgs {
    /// Leave the command running and return
    #[arg(short, long)]
    detach: bool,
    /// Set a variable: KEY=VALUE, or KEY from our own environment
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// Choose this replica of the service
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Make no terminal
    #[arg(short = 'T', long, alias = "no-TTY")]
    no_tty: bool,
    /// Keep standard input open
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// Make a terminal
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Give the command every capability
    #[arg(long)]
    privileged: bool,
    /// Run the command as this user
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Run the command in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Service, command and its arguments
    #[arg(
        value_names = ["SERVICE", "COMMAND"],
        required = true,
        num_args = 2..,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

/// Runs the command.
pub(super) async fn cmd_exec(ui: &Ui, context: &Context, args: &ExecArgs) -> CommandResult {
    let (service, command) = args.words.split_first().expect("clap asks for two");
    let (engine, container) = context
        .container(ui, (service, args.index), Stopped::Exclude)
        .await?;
    let tty = wants_tty(ui, args);
    if tty == Tty::Yes && !ui.stdin_is_terminal() {
        return Err(CommandError::user(
            "cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
        ));
    }
    let spec = to_spec(context, args, command, tty);
    let exec = engine.create_exec(container.id(), &spec).await?;
    if args.detach {
        engine.start_exec_detached(&exec).await?;
        return Ok(ExitStatus::SUCCESS);
    }
    let session = engine.start_exec(&exec, &spec).await?;
    let joined = Joined::Exec(exec.clone());
    join(ui, engine.clone(), session, &joined, Input::Forward, tty).await?;
    let (_, code) = engine.inspect_exec(&exec).await?;
    Ok(ExitStatus::of_container(code))
}

fn wants_tty(ui: &Ui, args: &ExecArgs) -> Tty {
    if args.tty || (!args.no_tty && !args.detach && ui.stdout_is_terminal()) {
        Tty::Yes
    } else {
        Tty::No
    }
}

fn to_spec(context: &Context, args: &ExecArgs, command: &[String], tty: Tty) -> ExecSpec {
    ExecSpec {
        command: command.to_vec(),
        env: args
            .env
            .iter()
            .filter_map(|pair| resolve_variable(context, pair))
            .collect(),
        user: args.user.clone().unwrap_or_default(),
        working_dir: args.workdir.clone().unwrap_or_default(),
        tty: tty == Tty::Yes,
        stdin: !args.detach,
        output: !args.detach,
        privileged: args.privileged,
    }
}

/// `KEY=VALUE` as it is, `KEY` with our own value, nothing where we have none (behaviours.md B047).
fn resolve_variable(context: &Context, pair: &str) -> Option<String> {
    if pair.contains('=') {
        return Some(pair.to_owned());
    }
    let value = context.environment().get(pair)?;
    Some(format!("{pair}={value}"))
}
