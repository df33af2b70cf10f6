//! `image`: images without a registry, and a look at the ones that are there.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::{MinimumWidth, Table};
use crate::ui::unit::{decimal_size, rough_duration, short_id};
use hoist::engine::{EngineError, EngineErrorKind, RawStream};

/// Arguments of `image`.
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    #[command(subcommand)]
    action: ImageAction,
}

#[derive(Debug, Subcommand)]
enum ImageAction {
    /// Load images from an archive of `docker save` or an OCI layout
    Load {
        /// The archive, or - for standard input
        file: PathBuf,
    },
    /// Make an image of a root file system in a tar
    Import {
        /// Apply a Dockerfile instruction to the image
        #[arg(short, long = "change", value_name = "INSTRUCTION")]
        change: Vec<String>,
        /// The tar, or - for standard input
        file: PathBuf,
        /// Name of the image
        name: String,
    },
    /// List images
    Ls {
        /// Show only ids
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove images
    Rm {
        /// Names or ids
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Show everything about images as JSON
    Inspect {
        /// Names or ids
        #[arg(required = true)]
        images: Vec<String>,
    },
}

/// Works on images.
pub(super) async fn cmd_image(ui: &Ui, context: &Context, args: &ImageArgs) -> CommandResult {
    match &args.action {
        ImageAction::Load { file } => load(ui, context, file).await,
        ImageAction::Import { change, file, name } => import(ui, context, file, name, change).await,
        ImageAction::Ls { quiet: true } => list_ids(ui, context).await,
        ImageAction::Ls { quiet: false } => list(ui, context).await,
        ImageAction::Rm { images } => remove(ui, context, images).await,
        ImageAction::Inspect { images } => inspect(ui, context, images).await,
    }
}

/// A file, or standard input, as a stream.
async fn open(file: &Path) -> Result<RawStream, CommandError> {
    if file == Path::new("-") {
        return Ok(pieces(tokio::io::stdin(), "standard input".to_owned()));
    }
    let name = file.display().to_string();
    let opened = tokio::fs::File::open(file).await;
    let opened =
        opened.map_err(|error| CommandError::user(format!("cannot open `{name}`: {error}")))?;
    Ok(pieces(opened, name))
}

fn pieces(reader: impl AsyncRead + Send + 'static, name: String) -> RawStream {
    let pieces = ReaderStream::with_capacity(reader, 256 << 10);
    Box::pin(
        pieces
            .map_err(move |error| EngineError::new("read", &name, EngineErrorKind::Failed, error)),
    )
}

async fn load(ui: &Ui, context: &Context, file: &Path) -> CommandResult {
    let tar = open(file).await?;
    let mut messages = context.engine().await?.load_image(tar).await?;
    while let Some(message) = messages.next().await {
        if let Some(text) = message?["stream"].as_str() {
            ui.print(text)?;
        }
    }
    Ok(ExitStatus::SUCCESS)
}

async fn import(
    ui: &Ui,
    context: &Context,
    file: &Path,
    name: &str,
    changes: &[String],
) -> CommandResult {
    let tar = open(file).await?;
    let id = context
        .engine()
        .await?
        .import_image(tar, name, changes)
        .await?;
    ui.print(format_args!("{id}\n"))?;
    Ok(ExitStatus::SUCCESS)
}

async fn list_ids(ui: &Ui, context: &Context) -> CommandResult {
    for image in context.engine().await?.list_images(&[]).await? {
        ui.print(format_args!("{}\n", short_id(&image.id)))?;
    }
    Ok(ExitStatus::SUCCESS)
}

async fn list(ui: &Ui, context: &Context) -> CommandResult {
    let images = context.engine().await?.list_images(&[]).await?;
    let mut table = Table::new(
        MinimumWidth::Ten,
        ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"],
    );
    let now = jiff::Timestamp::now().as_second();
    for image in images {
        let unnamed = vec!["<none>:<none>".to_owned()];
        let names = if image.repo_tags.is_empty() {
            unnamed
        } else {
            image.repo_tags
        };
        for name in names {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((&name, "<none>"));
            table.row([
                repository,
                tag,
                short_id(&image.id),
                &format!("{} ago", rough_duration(now - image.created)),
                &decimal_size(u64::try_from(image.size).unwrap_or(0)),
            ]);
        }
    }
    ui.print(table)?;
    Ok(ExitStatus::SUCCESS)
}

async fn remove(ui: &Ui, context: &Context, images: &[String]) -> CommandResult {
    let engine = context.engine().await?;
    for image in images {
        engine.remove_image(image).await?;
        ui.print(format_args!("Removed: {image}\n"))?;
    }
    Ok(ExitStatus::SUCCESS)
}

async fn inspect(ui: &Ui, context: &Context, images: &[String]) -> CommandResult {
    let engine = context.engine().await?;
    let mut found = Vec::new();
    for image in images {
        let inspected = engine.inspect_image(image).await?;
        let unknown = || CommandError::user(format!("No such image: {image}"));
        found.push(inspected.ok_or_else(unknown)?);
    }
    let text = serde_json::to_string_pretty(&found).map_err(CommandError::system)?;
    ui.print(format_args!("{text}\n"))?;
    Ok(ExitStatus::SUCCESS)
}
