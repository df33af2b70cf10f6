//! `alpha generate`: prints a Compose file made of containers that exist.

use clap::{Args, ValueEnum};

use hoist::plan::generate::{GenerateOptions, Seen, generate};

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::yaml::{self, Dollars, Notes};

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As people write them.
    Yaml,
    /// For programs.
    Json,
}

/// Arguments of `alpha generate`.
#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// Choose the format
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
    /// Name the project in the file
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Write binds below this directory as seen from it
    #[arg(long, value_name = "DIR")]
    project_dir: Option<String>,
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Prints the file.
pub(super) async fn cmd_generate(ui: &Ui, context: &Context, args: &GenerateArgs) -> CommandResult {
    if args.containers.is_empty() {
        return Err(CommandError::user(
            "at least one container must be specified",
        ));
    }
    let engine = context.engine().await?;
    let (mut seen, mut unknown) = (Vec::new(), Vec::new());
    for name in &args.containers {
        let container = match engine.inspect_container(name).await {
            Ok(container) => container,
            Err(error) if error.is_not_found() => {
                unknown.push(name.as_str());
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // An image may be gone that a container still runs on.
        let image = match &container.image {
            Some(image) => engine.inspect_image(image).await?,
            None => None,
        };
        seen.push(Seen { container, image });
    }
    if !unknown.is_empty() {
        return Err(CommandError::user(format!(
            "no container(s) found with the following name(s): {}",
            unknown.join(",")
        )));
    }
    let directory = match &args.project_dir {
        None => String::new(),
        Some(directory) => {
            let directory = context.current_dir().join(directory);
            let directory = directory.canonicalize().unwrap_or(directory);
            directory.display().to_string()
        }
    };
    let options = GenerateOptions {
        name: args.name.clone().unwrap_or_default(),
        directory,
        logging_driver: engine
            .system_info()
            .await?
            .logging_driver
            .unwrap_or_default(),
    };
    let made = generate(&seen, &options);
    for missing in &made.left_out {
        ui.warn(format_args!("not written to the file: {missing}"));
    }
    let file = made.document;
    match args.format {
        Format::Json => ui.print(format_args!("{file:#}\n"))?,
        Format::Yaml => {
            let text = yaml::document(&file, Notes::default(), Dollars::Kept);
            ui.print(text.map_err(CommandError::system)?)?;
        }
    }
    Ok(ExitStatus::SUCCESS)
}
