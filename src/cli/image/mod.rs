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
        // The history is newest first.
        let steps = engine.image_history(&listed.id).await?;
        let steps = steps.iter().rev().map(|step| {
            let size = u64::try_from(step.size).unwrap_or(0);
            (step.created_by.as_str(), size)
        });
        stacks.push(tree::Stack {
            id: short_id(&listed.id).to_owned(),
            names: listed.repo_tags,
            layers: sized(diff_ids, &steps.collect::<Vec<_>>(), listed.size),
        });
    }
    ui.print(tree::draw(&stacks))?;
    Ok(ExitStatus::SUCCESS)
}

/// The layers with their sizes, from the lowest. An engine tells the sizes of steps, and not which of them made a
/// layer: those with files did, and of the others those that are likeliest to, as many as there are layers. Where the
/// steps do not fit, the whole size stands at the top.
fn sized(diff_ids: Vec<String>, steps: &[(&str, u64)], whole: i64) -> Vec<(String, u64)> {
    let mut likeliest: Vec<usize> = (0..steps.len()).collect();
    likeliest.sort_by_key(|index| steps.get(*index).map(|(by, size)| doubt(by, *size)));
    likeliest.truncate(diff_ids.len());
    likeliest.sort_unstable();
    let sizes: Vec<u64> = likeliest
        .iter()
        .filter_map(|index| steps.get(*index).map(|(_, size)| *size))
        .collect();
    let known: u64 = steps.iter().map(|(_, size)| size).sum();
    let fit = sizes.len() == diff_ids.len() && sizes.iter().sum::<u64>() == known;
    if fit {
        return diff_ids.into_iter().zip(sizes).collect();
    }
    let mut layers: Vec<_> = diff_ids.into_iter().map(|diff_id| (diff_id, 0)).collect();
    if let Some(top) = layers.last_mut() {
        top.1 = u64::try_from(whole).unwrap_or(0);
    }
    layers
}

/// How doubtful it is that a step made a layer.
fn doubt(created_by: &str, size: u64) -> u8 {
    let by = created_by.replace("/bin/sh -c #(nop) ", "");
    let keyword = by.split_whitespace().next().unwrap_or_default();
    match keyword {
        _ if size > 0 => 0,
        "RUN" | "COPY" | "ADD" => 1,
        "WORKDIR" => 3,
        "CMD" | "ENTRYPOINT" | "ENV" | "LABEL" | "USER" | "EXPOSE" | "VOLUME" | "ARG" | "SHELL"
        | "STOPSIGNAL" | "HEALTHCHECK" | "ONBUILD" | "MAINTAINER" => 4,
        _ => 2,
    }
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
    fn a_step_without_files_may_have_made_a_layer_too() {
        let ids = |names: &[&str]| names.iter().map(|id| (*id).to_owned()).collect();
        let steps = [
            ("", 50),
            ("RUN /bin/sh -c true", 0),
            ("WORKDIR /there", 0),
            ("/bin/sh -c #(nop)  CMD [\"a\"]", 0),
            ("COPY a b", 7),
            ("USER 1", 0),
        ];
        let sizes = |names: &[&str]| -> Vec<u64> {
            let layers = sized(ids(names), &steps, 57);
            layers.into_iter().map(|(_, size)| size).collect()
        };
        assert_eq!(sizes(&["a", "b"]), [50, 7]);
        assert_eq!(sizes(&["a", "b", "c"]), [50, 0, 7]);
        assert_eq!(sizes(&["a", "b", "c", "d"]), [50, 0, 0, 7]);
        assert_eq!(sizes(&["a"]), [57]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_not_guessed() {
        let ids = || vec!["a".to_owned(), "b".to_owned()];
        let named = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b)];
        assert_eq!(sized(ids(), &[("", 1), ("", 2)], 3), named(1, 2));
        assert_eq!(sized(ids(), &[("", 3)], 3), named(0, 3));
    }
}
