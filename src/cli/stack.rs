//! A project whose first file is on a network: where it is kept here, and what it would see of this machine.
//!
//! Called by `up` and `run`, as in docker compose, before anything is made: who wrote such a file is somebody else, and
//! its variables may carry values of this environment into a container.

use std::collections::BTreeMap;

use hoist::load::{self, LoadRequest, Phase, Variable};
use hoist::model::Project;

use crate::cli::reconcile::{Answer, Answers, ask_for};
use crate::cli::{CommandError, Context};
use crate::ui::table::{MinimumWidth, Table};
use crate::ui::{Progress, Ui};

/// Says where the project's files are kept, and asks whether the variables may be used that they name.
pub(crate) fn confirm(
    ui: &Ui,
    context: &Context,
    project: &Project,
    answers: Answers,
) -> Result<(), CommandError> {
    let first = context.global().file.first();
    let Some(first) = first.filter(|file| load::is_remote(file)) else {
        return Ok(());
    };
    if !matches!(ui.progress(), Progress::Quiet | Progress::Json) {
        let folder = project.working_dir.display().to_string();
        ui.print(format_args!(
            "Your compose stack {first:?} is stored in {folder:?}\n"
        ))?;
    }
    if answers == Answers::Yes {
        return Ok(());
    }
    let variables = variables(context)?;
    if variables.is_empty() {
        return Ok(());
    }
    ui.print(format_args!(
        "\nFound the following variables in configuration:\n{}",
        table(context, &variables)
    ))?;
    let question = "\nDo you want to proceed with these variables?";
    if ask_for(ui, question, Answer::Yes)? {
        Ok(())
    } else {
        Err(CommandError::user("operation cancelled by user"))
    }
}

/// The variables that the files name, each once.
fn variables(context: &Context) -> Result<BTreeMap<String, Variable>, CommandError> {
    let request = context.load_request();
    let tree = load::load_tree(&LoadRequest {
        // Standard input was read when the project was loaded, and it is no file of somebody else.
        files: request
            .files
            .iter()
            .filter(|file| *file != "-")
            .cloned()
            .collect(),
        skip: vec![
            Phase::Interpolation,
            Phase::Shape,
            Phase::EnvironmentResolution,
        ],
        ..request
    })?;
    let named = tree
        .variables
        .into_iter()
        .map(|found| (found.name.clone(), found));
    Ok(named.collect())
}

fn table(context: &Context, variables: &BTreeMap<String, Variable>) -> Table {
    let mut table = Table::new(
        MinimumWidth::None,
        ["VARIABLE", "VALUE", "SOURCE", "REQUIRED", "DEFAULT"],
    );
    for (name, variable) in variables {
        let default = variable.default_value.as_str();
        let (value, source) = match context.environment().get(name) {
            Some(value) => (value.as_str(), "environment"),
            None if !default.is_empty() => (default, "compose file"),
            None => ("<unset>", "none"),
        };
        let required = if variable.required { "yes" } else { "no" };
        table.row([name, value, source, required, default]);
    }
    table
}
