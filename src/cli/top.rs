//! `top`: the processes of a project's containers.

use clap::Args;
use futures_util::future::try_join_all;

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::Table;
use bollard_stubs::models::ContainerTopResponse;
use hoist::engine::member::{Member, OneOffs, Stopped, members};

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Services to list
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Lists processes.
pub(super) async fn cmd_top(ui: &Ui, context: &Context, args: &TopArgs) -> CommandResult {
    let project = context.project_name(ui).await?;
    let engine = context.engine().await?;
    let mut found = members(
        engine.as_ref(),
        &project,
        OneOffs::Include,
        Stopped::Exclude,
    )
    .await?;
    found.retain(|member| {
        args.services.is_empty() || args.services.iter().any(|name| name == member.service())
    });
    let calls = found.iter().map(|member| engine.top_container(member.id()));
    let processes = try_join_all(calls).await.map_err(CommandError::from)?;
    if !processes.is_empty() {
        ui.print(table(&found, &processes))?;
    }
    Ok(ExitStatus::SUCCESS)
}

/// Engines differ in the columns they have: all are shown, the command last, `-` where one is missing.
fn table(members: &[Member], processes: &[ContainerTopResponse]) -> Table {
    let mut titles: Vec<String> = Vec::new();
    for title in processes.iter().flat_map(|it| it.titles.iter().flatten()) {
        if !titles.contains(title) {
            titles.push(title.clone());
        }
    }
    // A stable sort: only the command changes its place.
    titles.sort_by_key(|title| title == "CMD" || title == "COMMAND");
    let mut all = vec!["SERVICE".to_owned(), "#".to_owned()];
    all.extend(titles.iter().cloned());
    let mut table = Table::narrow(all);
    for (member, processes) in members.iter().zip(processes) {
        let known = processes.titles.as_deref().unwrap_or_default();
        for process in processes.processes.iter().flatten() {
            let mut cells = vec![
                member.service().to_owned(),
                member
                    .label(hoist::engine::label::CONTAINER_NUMBER)
                    .to_owned(),
            ];
            cells.extend(titles.iter().map(|title| {
                let column = known.iter().position(|known| known == title);
                let cell = column.and_then(|column| process.get(column));
                cell.map_or_else(|| "-".to_owned(), Clone::clone)
            }));
            table.row(cells);
        }
    }
    table
}
