//! `ls`: the projects on an engine.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::{MinimumWidth, Table, lines};
use hoist::engine::label;
use hoist::engine::member::{Member, Stopped, all_members};

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// Show stopped projects too
    #[arg(short, long)]
    all: bool,
    /// Show only projects of this name: name=TEXT
    #[arg(long, value_name = "name=TEXT")]
    filter: Vec<String>,
    /// Choose the format: table or json
    #[arg(long, default_value = "table")]
    format: String,
    /// Show only names
    #[arg(short, long)]
    quiet: bool,
}

/// A project as its containers show it.
#[derive(Debug, Default)]
struct Stack {
    states: BTreeMap<String, usize>,
    files: Vec<String>,
}

/// Lists projects.
pub(super) async fn cmd_ls(ui: &Ui, context: &Context, args: &LsArgs) -> CommandResult {
    let filters = names(&args.filter)?;
    let engine = context.engine().await?;
    let stopped = if args.all {
        Stopped::Include
    } else {
        Stopped::Exclude
    };
    let found = all_members(engine.as_ref(), stopped).await?;
    let mut stacks = collect(&found);
    stacks.retain(|name, _| filters.iter().all(|filter| matches(filter, name)));
    match (args.quiet, args.format.as_str()) {
        (true, _) => {
            ui.print(lines(stacks.keys()))?;
        }
        (false, "json") => {
            let rows: Vec<_> = stacks.iter().map(to_json).collect();
            ui.print(format_args!("{}\n", Value::from(rows)))?;
        }
        (false, "table" | "pretty" | "") => {
            let mut table = Table::new(MinimumWidth::Twenty, ["NAME", "STATUS", "CONFIG FILES"]);
            for (name, stack) in &stacks {
                table.row([name.clone(), stack.status(), stack.config_files()]);
            }
            ui.print(table)?;
        }
        (false, other) => {
            return Err(CommandError::user(format!("unsupported format `{other}`")));
        }
    }
    Ok(ExitStatus::SUCCESS)
}

fn names(filters: &[String]) -> Result<Vec<String>, CommandError> {
    filters
        .iter()
        .map(|filter| match filter.split_once('=') {
            Some(("name", text)) => Ok(text.to_owned()),
            Some((key, _)) => Err(CommandError::user(format!("invalid filter '{key}'"))),
            None => Err(CommandError::user(format!(
                "invalid argument \"{filter}\" for \"--filter\" flag: bad format of filter (expected name=value)"
            ))),
        })
        .collect()
}

/// A part of the name, or all of it with `^` and `$`: as much of a pattern as names of projects need.
fn matches(filter: &str, name: &str) -> bool {
    let (start, rest) = match filter.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, filter),
    };
    let (end, text) = match rest.strip_suffix('$') {
        Some(text) => (true, text),
        None => (false, rest),
    };
    match (start, end) {
        (true, true) => name == text,
        (true, false) => name.starts_with(text),
        (false, true) => name.ends_with(text),
        (false, false) => name.contains(text),
    }
}

fn collect(members: &[Member]) -> BTreeMap<String, Stack> {
    let mut stacks: BTreeMap<String, Stack> = BTreeMap::new();
    for member in members {
        let stack = stacks.entry(member.project().to_owned()).or_default();
        *stack.states.entry(member.state()).or_default() += 1;
        for file in member.label(label::CONFIG_FILES).split(',') {
            if !file.is_empty() && !stack.files.iter().any(|known| known == file) {
                stack.files.push(file.to_owned());
            }
        }
    }
    stacks
}

impl Stack {
    fn status(&self) -> String {
        let states: Vec<_> = self
            .states
            .iter()
            .map(|(state, count)| format!("{state}({count})"))
            .collect();
        states.join(", ")
    }

    fn config_files(&self) -> String {
        if self.files.is_empty() {
            "N/A".to_owned()
        } else {
            self.files.join(",")
        }
    }
}

fn to_json((name, stack): (&String, &Stack)) -> Value {
    json!({
        "Name": name,
        "Status": stack.status(),
        "ConfigFiles": stack.config_files(),
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_filter_is_a_part_of_the_name_unless_anchored() {
        assert!(matches("web", "my-web-1"));
        assert!(matches("^my", "my-web-1"));
        assert!(!matches("^web$", "my-web-1"));
        assert!(matches("^web$", "web"));
    }
}
