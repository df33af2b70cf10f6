//! `version`: says which hoist this is, and which docker compose it stands in for.

use clap::Args;

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::engine::label::COMPOSE_VERSION;

/// Arguments of `version`.
#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// Choose the format: pretty or json
    #[arg(short, long)]
    format: Option<String>,
    /// Show only the version number
    #[arg(long)]
    short: bool,
}

/// Prints the version.
pub(super) async fn cmd_version(ui: &Ui, _: &Context, args: &VersionArgs) -> CommandResult {
    match (args.short, args.format.as_deref()) {
        (true, _) => ui.print(format_args!("{COMPOSE_VERSION}\n"))?,
        (false, Some("json")) => ui.print(format_args!(
            "{}\n",
            serde_json::json!({ "version": format!("v{COMPOSE_VERSION}") })
        ))?,
        (false, None | Some("" | "pretty")) => print_text(ui)?,
        (false, Some(other)) => {
            return Err(CommandError::user(format!("unsupported format `{other}`"))
                .hinted("use pretty or json"));
        }
    }
    Ok(ExitStatus::SUCCESS)
}

/// Prints the version as a sentence.
pub(super) fn print_text(ui: &Ui) -> std::io::Result<()> {
    ui.print(format_args!(
        "hoist {} (Docker Compose version v{COMPOSE_VERSION})\n",
        env!("CARGO_PKG_VERSION")
    ))
}
