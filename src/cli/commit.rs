//! `commit`: makes an image of a service's container.

use clap::{ArgAction, Args};

use crate::cli::{CommandResult, Context, ExitStatus};
use crate::ui::{StepState, Ui};
use hoist::engine::CommitOptions;
use hoist::engine::member::Stopped;

/// Arguments of `commit`.
#[derive(Debug, Args)]
pub(super) struct CommitArgs {
    /// Author of the image
    #[arg(short, long)]
    author: Option<String>,
    /// Apply a Dockerfile instruction to the image
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Choose this replica of the service
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Message of the image
    #[arg(short, long)]
    message: Option<String>,
    /// Freeze the container meanwhile
    #[arg(short, long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true")]
    pause: bool,
    /// Service
    service: String,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]", default_value = "")]
    reference: String,
}

/// Makes the image.
pub(super) async fn cmd_commit(ui: &Ui, context: &Context, args: &CommitArgs) -> CommandResult {
    let (engine, container) = context
        .container(ui, (&args.service, args.index), Stopped::Include)
        .await?;
    let options = CommitOptions {
        reference: args.reference.clone(),
        message: args.message.clone().unwrap_or_default(),
        author: args.author.clone().unwrap_or_default(),
        changes: args.change.clone(),
        pause: args.pause,
    };
    ui.step(StepState::Working, container.name(), "Committing");
    let image = engine.commit_container(container.id(), &options).await?;
    let done = format!("Committed as {image}");
    ui.step(StepState::Done, container.name(), &done);
    Ok(ExitStatus::SUCCESS)
}
