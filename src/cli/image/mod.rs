//! `image`: images without a registry, and a look at the ones that are there.

mod archive;
mod tree;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::{MinimumWidth, Table};
use crate::ui::unit::{decimal_size, rough_duration, short_id, shorten};

/// Longest instruction of `history` without `--no-trunc`.
const INSTRUCTION_MAX: usize = 60;

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
        /// The archive, or - for standard input; oci:DIRECTORY, oci-archive:FILE, docker-archive:FILE
        place: String,
    },
    /// Save images as an archive that is a docker-archive and an OCI layout
    Save {
        /// Write to a file instead of standard output; oci:DIRECTORY, oci-archive:FILE, docker-archive:FILE
        #[arg(short, long, value_name = "PLACE")]
        output: Option<String>,
        /// Names or ids
        #[arg(required = true)]
        images: Vec<String>,
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
    /// Show which layers images share
    Tree,
    /// Show the steps that made an image, each with its size
    History {
        /// Show whole instructions
        #[arg(long)]
        no_trunc: bool,
        /// Name or id
        image: String,
    },
    /// Give an image another name
    Tag {
        /// Name or id
        image: String,
        /// The name to give
        name: String,
    },
    /// Remove images
    Rm {
        /// Names or ids
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Remove images without a name that no container uses
    Prune {
        /// Those with names too
        #[arg(short, long)]
        all: bool,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
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
        ImageAction::Load { place } => archive::load(ui, context, place).await,
        ImageAction::Save { output, images } => {
            archive::save(ui, context, output.as_deref(), images).await
        }
        ImageAction::Import { change, file, name } => import(ui, context, file, name, change).await,
        ImageAction::Ls { quiet: true } => list_ids(ui, context).await,
        ImageAction::Ls { quiet: false } => list(ui, context).await,
        ImageAction::Tree => tree(ui, context).await,
        ImageAction::History { no_trunc, image } => history(ui, context, image, *no_trunc).await,
        ImageAction::Tag { image, name } => {
            context.engine().await?.tag_image(image, name).await?;
            Ok(ExitStatus::SUCCESS)
        }
        ImageAction::Rm { images } => remove(ui, context, images).await,
        ImageAction::Prune { all, force } => prune(ui, context, *all, *force).await,
        ImageAction::Inspect { images } => inspect(ui, context, images).await,
    }
}

async fn import(
    ui: &Ui,
    context: &Context,
    file: &std::path::Path,
    name: &str,
    changes: &[String],
) -> CommandResult {
    let tar = archive::open(file).await?;
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

async fn tree(ui: &Ui, context: &Context) -> CommandResult {
    let engine = context.engine().await?;
    let mut stacks = Vec::new();
    for listed in engine.list_images(&[]).await? {
        let Some(image) = engine.inspect_image(&listed.id).await? else {
            continue;
        };
        let diff_ids = image
            .root_fs
            .and_then(|files| files.layers)
            .unwrap_or_default();
        // The history is newest first, and has steps without files.
        let steps = engine.image_history(&listed.id).await?;
        let sizes: Vec<u64> = steps
            .iter()
            .rev()
            .filter(|step| step.size > 0 || steps.len() == diff_ids.len())
            .map(|step| u64::try_from(step.size).unwrap_or(0))
            .collect();
        stacks.push(tree::Stack {
            id: short_id(&listed.id).to_owned(),
            names: listed.repo_tags,
            layers: sized(diff_ids, &sizes, u64::try_from(listed.size).unwrap_or(0)),
        });
    }
    ui.print(tree::draw(&stacks))?;
    Ok(ExitStatus::SUCCESS)
}

/// The layers with their sizes: an engine tells sizes of steps, and a layer without files is a step of size 0. Where
/// they do not fit, the whole size stands at the top.
fn sized(diff_ids: Vec<String>, sizes: &[u64], whole: u64) -> Vec<(String, u64)> {
    let fit = sizes.len() == diff_ids.len();
    let last = diff_ids.len().saturating_sub(1);
    let layers = diff_ids.into_iter().enumerate();
    layers
        .map(|(index, diff_id)| match sizes.get(index) {
            Some(size) if fit => (diff_id, *size),
            _ if index == last => (diff_id, whole),
            _ => (diff_id, 0),
        })
        .collect()
}

async fn history(ui: &Ui, context: &Context, image: &str, whole: bool) -> CommandResult {
    let steps = context.engine().await?.image_history(image).await?;
    let now = jiff::Timestamp::now().as_second();
    let mut table = Table::new(
        MinimumWidth::Ten,
        ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"],
    );
    for step in steps {
        let by = step.created_by.replace(['\t', '\n'], " ");
        let by = if whole {
            by
        } else {
            shorten(&by, INSTRUCTION_MAX)
        };
        let id = if whole {
            step.id.as_str()
        } else {
            short_id(&step.id)
        };
        table.row([
            id,
            &format!("{} ago", rough_duration(now - step.created)),
            &by,
            &decimal_size(u64::try_from(step.size).unwrap_or(0)),
            &step.comment,
        ]);
    }
    ui.print(table)?;
    Ok(ExitStatus::SUCCESS)
}

async fn prune(ui: &Ui, context: &Context, all: bool, force: bool) -> CommandResult {
    let what = if all {
        "all images without a container"
    } else {
        "all images without a name"
    };
    let question = format!("This will remove {what}. Continue?");
    if !force && !crate::cli::reconcile::ask(ui, &question)? {
        return Ok(ExitStatus::SUCCESS);
    }
    let pruned = context.engine().await?.prune_images(all).await?;
    for item in pruned.images_deleted.unwrap_or_default() {
        if let Some(name) = item.untagged {
            ui.print(format_args!("untagged: {name}\n"))?;
        }
        if let Some(id) = item.deleted {
            ui.print(format_args!("deleted: {id}\n"))?;
        }
    }
    let freed = u64::try_from(pruned.space_reclaimed.unwrap_or(0)).unwrap_or(0);
    ui.print(format_args!(
        "Total reclaimed space: {}\n",
        decimal_size(freed)
    ))?;
    Ok(ExitStatus::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::sized;

    #[test]
    fn sizes_that_do_not_fit_are_not_guessed() {
        let ids = || vec!["a".to_owned(), "b".to_owned()];
        let named = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b)];
        assert_eq!(sized(ids(), &[1, 2], 3), named(1, 2));
        assert_eq!(sized(ids(), &[3], 3), named(0, 3));
    }
}
