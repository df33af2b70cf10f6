//! `volumes`: the volumes of a project.

use std::collections::BTreeMap;

use bollard_stubs::models::Volume;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::{MinimumWidth, Table, lines};
use crate::ui::template::Template;
use hoist::engine::label;
use hoist::engine::member::{Member, OneOffs, Stopped, members};

/// Arguments of `volumes`.
#[derive(Debug, Args)]
pub(super) struct VolumesArgs {
    /// Choose the format: table, json or a Go template
    #[arg(long, default_value = "table")]
    format: String,
    /// Show only names
    #[arg(short, long)]
    quiet: bool,
    /// Services whose containers mount them
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Lists volumes.
pub(super) async fn cmd_volumes(ui: &Ui, context: &Context, args: &VolumesArgs) -> CommandResult {
    let target = context.target(ui).await?;
    target.check_services(&args.services)?;
    let engine = context.engine().await?;
    let of_project = [format!("{}={}", label::PROJECT, target.name)];
    let mut volumes = engine.list_volumes(&of_project).await?;
    if !args.services.is_empty() {
        let found = members(
            engine.as_ref(),
            &target.name,
            OneOffs::Exclude,
            Stopped::Exclude,
        )
        .await?;
        volumes.retain(|volume| {
            found
                .iter()
                .any(|member| target.selects(&args.services, member) && mounts(member, volume))
        });
    }
    volumes.sort_by(|left, right| left.name.cmp(&right.name));
    ui.print(render(args, &volumes)?)?;
    Ok(ExitStatus::SUCCESS)
}

fn mounts(member: &Member, volume: &Volume) -> bool {
    let mounts = member.summary.mounts.as_deref().unwrap_or_default();
    mounts.iter().any(|mount| {
        mount.typ.as_deref() == Some("volume") && mount.name.as_ref() == Some(&volume.name)
    })
}

fn render(args: &VolumesArgs, volumes: &[Volume]) -> Result<String, CommandError> {
    if args.quiet {
        return Ok(lines(volumes.iter().map(|it| &it.name)));
    }
    match args.format.as_str() {
        "table" | "pretty" | "" => {
            let mut table = Table::new(MinimumWidth::Ten, ["DRIVER", "VOLUME NAME"]);
            for volume in volumes {
                table.row([&volume.driver, &volume.name]);
            }
            Ok(table.to_string())
        }
        "json" => Ok(lines(volumes.iter().map(|it| row(it).to_string()))),
        template => by_template(template, volumes),
    }
}

fn by_template(text: &str, volumes: &[Volume]) -> Result<String, CommandError> {
    let rows = volumes.iter().map(|it| (row(it), json!(it.labels)));
    let template = Template::parse(text).map_err(CommandError::user)?;
    template.render_all(rows).map_err(CommandError::user)
}

fn row(volume: &Volume) -> Value {
    let labels: BTreeMap<_, _> = volume.labels.iter().collect();
    let labels: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    json!({
        "Availability": "N/A",
        "Driver": volume.driver,
        "Group": "N/A",
        "Labels": labels.join(","),
        "Links": "N/A",
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Scope": volume.scope.map(|scope| scope.to_string()).unwrap_or_default(),
        "Size": "N/A",
        "Status": "N/A",
    })
}
