//! `images`: the images that a project's containers were made from.

use std::collections::HashMap;

use bollard_stubs::models::ImageInspect;
use clap::Args;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::{MinimumWidth, Table, lines};
use crate::ui::unit::{decimal_size, rough_duration, short_id};
use hoist::engine::Engine;
use hoist::engine::member::{Member, OneOffs, Stopped, members};

/// Arguments of `images`.
#[derive(Debug, Args)]
pub(super) struct ImagesArgs {
    /// Choose the format: table or json
    #[arg(long, default_value = "table")]
    format: String,
    /// Show only ids
    #[arg(short, long)]
    quiet: bool,
    /// Services to list
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// What is shown of a container's image; fields of an image that is gone are empty.
#[derive(Debug, Default)]
struct Row {
    id: String,
    container: String,
    repository: String,
    tag: String,
    platform: String,
    size: u64,
    created: Option<jiff::Timestamp>,
    tagged: Option<String>,
}

/// Lists images.
pub(super) async fn cmd_images(ui: &Ui, context: &Context, args: &ImagesArgs) -> CommandResult {
    let project = context.project_name(ui).await?;
    let engine = context.engine().await?;
    let mut found = members(
        engine.as_ref(),
        &project,
        OneOffs::Exclude,
        Stopped::Include,
    )
    .await?;
    found.retain(|member| {
        args.services.is_empty() || args.services.iter().any(|name| name == member.service())
    });
    let images = inspect(engine.as_ref(), &found).await?;
    let rows: Vec<_> = found.iter().map(|member| row(member, &images)).collect();
    match (args.quiet, args.format.as_str()) {
        (true, _) => ui.print(ids(&rows))?,
        (false, "json") => {
            let rows: Vec<_> = rows.iter().map(to_json).collect();
            ui.print(format_args!("{}\n", Value::from(rows)))?;
        }
        (false, "table" | "pretty" | "") => ui.print(table(&rows))?,
        (false, other) => {
            return Err(CommandError::user(format!("unsupported format `{other}`")));
        }
    }
    Ok(ExitStatus::SUCCESS)
}

/// Inspects each image once.
async fn inspect(
    engine: &dyn Engine,
    members: &[Member],
) -> Result<HashMap<String, ImageInspect>, CommandError> {
    let mut ids: Vec<_> = members
        .iter()
        .filter_map(|it| it.summary.image_id.clone())
        .collect();
    ids.sort();
    ids.dedup();
    let calls = ids.into_iter().map(|id| async move {
        let image = engine.inspect_image(&id).await?;
        Ok::<_, CommandError>(image.map(|image| (id, image)))
    });
    Ok(try_join_all(calls).await?.into_iter().flatten().collect())
}

fn row(member: &Member, images: &HashMap<String, ImageInspect>) -> Row {
    let id = member.summary.image_id.clone().unwrap_or_default();
    let named = member.summary.image.clone().unwrap_or_default();
    let image = images.get(&id);
    let (repository, tag) = names(&named, image);
    Row {
        container: member.name().to_owned(),
        repository,
        tag,
        platform: image.map(platform).unwrap_or_default(),
        size: image
            .and_then(|image| image.size)
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
        created: image
            .and_then(|image| image.created.as_deref())
            .and_then(|time| time.parse().ok()),
        tagged: image.and_then(|image| image.metadata.clone()?.last_tag_time),
        id,
    }
}

/// The name that the container was made with where the image still has it, else one that it has.
fn names(named: &str, image: Option<&ImageInspect>) -> (String, String) {
    let tags = image
        .and_then(|image| image.repo_tags.as_deref())
        .unwrap_or_default();
    let wanted = with_tag(named);
    let name = tags
        .iter()
        .find(|tag| **tag == wanted)
        .or(tags.first())
        .map(String::as_str);
    match name.and_then(|name| name.rsplit_once(':')) {
        Some((repository, tag)) => (repository.to_owned(), tag.to_owned()),
        None if image.is_none() && !named.starts_with("sha256:") => {
            let (repository, tag) = wanted.rsplit_once(':').unwrap_or((&wanted, ""));
            (repository.to_owned(), tag.to_owned())
        }
        None => ("<none>".to_owned(), "<none>".to_owned()),
    }
}

fn with_tag(name: &str) -> String {
    match name.rsplit('/').next() {
        Some(last) if last.contains(':') => name.to_owned(),
        _ => format!("{name}:latest"),
    }
}

fn platform(image: &ImageInspect) -> String {
    let parts = [&image.os, &image.architecture, &image.variant];
    let parts: Vec<_> = parts
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .map(String::as_str)
        .collect();
    parts.join("/")
}

fn ids(rows: &[Row]) -> String {
    let mut seen = std::collections::HashSet::new();
    let ids = rows
        .iter()
        .map(|row| row.id.strip_prefix("sha256:").unwrap_or(&row.id));
    lines(ids.filter(|id| seen.insert(*id)))
}

fn to_json(row: &Row) -> Value {
    let mut object = json!({
        "ID": row.id,
        "ContainerName": row.container,
        "Repository": row.repository,
        "Tag": row.tag,
        "Platform": row.platform,
        "Size": row.size,
    });
    if let Some(created) = row.created {
        object["Created"] = json!(created.to_string());
    }
    if let Some(tagged) = &row.tagged {
        object["LastTagTime"] = json!(tagged);
    }
    object
}

fn table(rows: &[Row]) -> String {
    let titles = [
        "CONTAINER",
        "REPOSITORY",
        "TAG",
        "PLATFORM",
        "IMAGE ID",
        "SIZE",
        "CREATED",
    ];
    let mut table = Table::new(MinimumWidth::Twenty, titles);
    let now = jiff::Timestamp::now().as_second();
    for row in rows {
        let created = row.created.map_or_else(
            || "N/A".to_owned(),
            |created| format!("{} ago", rough_duration(now - created.as_second())),
        );
        table.row([
            row.container.clone(),
            row.repository.clone(),
            row.tag.clone(),
            row.platform.clone(),
            short_id(&row.id).to_owned(),
            decimal_size(row.size),
            created,
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::{ImageInspect, names};

    #[test]
    fn an_image_that_is_gone_keeps_the_name_of_its_container() {
        let name = |named| names(named, None);
        assert_eq!(name("app"), ("app".to_owned(), "latest".to_owned()));
        assert_eq!(
            name("r:5000/app"),
            ("r:5000/app".to_owned(), "latest".to_owned())
        );
        assert_eq!(name("sha256:00").0, "<none>");
    }

    #[test]
    fn an_image_without_names_has_none() {
        let image = ImageInspect::default();
        assert_eq!(names("app", Some(&image)).0, "<none>");
    }
}
