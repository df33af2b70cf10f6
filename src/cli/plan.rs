//! `plan`: shows what `up` would do, and why.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use hoist::load::Dependencies;
use hoist::plan::{self, Action, Cause, Decision, ImageOptions, Node, Plan, PlanOptions, Shown};

use crate::cli::create::{ImageArgs, load, orphan_policy, scale, volume_change};
use crate::cli::reconcile::Session;
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::{Colour, Ui};

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines like those of a diff.
    Text,
    /// The whole plan, for programs.
    Json,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// End with 2 where there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
    /// Choose the format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    images: ImageArgs,
    /// Take the data of volumes whose configuration changed along, instead of asking whether it may go
    #[arg(long)]
    migrate_volumes: bool,
    /// Count containers of services that are not in the files as to be removed
    #[arg(long)]
    remove_orphans: bool,
    /// Wanted number of containers, SERVICE=NUM
    #[arg(long, value_name = "SERVICE=NUM")]
    scale: Vec<String>,
    /// Services to plan for
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Shows a plan.
pub(super) async fn cmd_plan(ui: &Ui, context: &Context, args: &PlanArgs) -> CommandResult {
    let mut project = load(ui, context, &args.services, Dependencies::Include).await?;
    scale(&mut project, &args.scale)?;
    let session = Session::open_for_containers(ui, context, project).await?;
    let observed = session.observe().await?;
    let image_options: ImageOptions = args.images.options(&session)?;
    let mut images = plan::plan_images(&session.project, &observed, &image_options);
    let options = PlanOptions {
        named: args.services.clone(),
        volume_change: volume_change(args.migrate_volumes),
        orphans: orphan_policy(&session, args.remove_orphans)?,
        ..session.plan_options()
    };
    let mut main = plan::plan(&session.project, &session.graph, &observed, &options)
        .map_err(CommandError::user)?;
    session.explain(&mut images).await;
    session.explain(&mut main).await;
    match args.format {
        Format::Text => print_text(ui, &images, &main)?,
        Format::Json => ui.print(format_args!("{:#}\n", to_json(&images, &main)))?,
    }
    let changes = !images.is_empty() || !main.is_empty() || !main.decisions.is_empty();
    if args.detailed_exitcode && changes {
        return Ok(ExitStatus::of_container(2));
    }
    Ok(ExitStatus::SUCCESS)
}

/// The sign of an action: `+` makes, `-` removes, `~` changes, `>` runs.
fn sign(action: &Action) -> char {
    match action {
        Action::CreateContainer(create) if create.replaces.is_some() => '~',
        Action::PullImage { .. }
        | Action::BuildImage(_)
        | Action::CreateNetwork(_)
        | Action::CreateVolume(_)
        | Action::CreateContainer(_) => '+',
        Action::RemoveImage { .. }
        | Action::RemoveNetwork { .. }
        | Action::RemoveVolume { .. }
        | Action::RemoveContainer { .. } => '-',
        Action::ConnectNetwork { .. }
        | Action::DisconnectNetwork { .. }
        | Action::RenameContainer { .. }
        | Action::RollingUpdate(_)
        | Action::CopyVolume(_)
        | Action::SignalContainer { .. }
        | Action::RestartContainer { .. } => '~',
        Action::PreStart(_)
        | Action::StartContainer { .. }
        | Action::StopContainer { .. }
        | Action::RunHook { .. }
        | Action::Wait(_)
        | Action::Provide { .. } => '>',
    }
}

/// Steps of a replacement are told by the replacement itself.
fn is_shown(node: &Node) -> bool {
    if let Action::StopContainer { shown, .. } | Action::RemoveContainer { shown, .. } =
        &node.action
    {
        return *shown == Shown::Yes;
    }
    node.cause != Cause::Replacement
}

fn line(node: &Node, colour: Colour) -> String {
    let sign = sign(&node.action);
    let mut text = node.action.to_string();
    if let Action::CreateContainer(create) = &node.action
        && create.replaces.is_some()
    {
        text = format!("recreate container {}", create.display);
    }
    let code = match sign {
        '+' => "32",
        '-' => "31",
        '~' => "33",
        _ => "36",
    };
    let cause = node.why();
    match colour {
        Colour::On => format!("\x1b[{code}m{sign} {text}\x1b[0m  # {cause}"),
        Colour::Off => format!("{sign} {text}  # {cause}"),
    }
}

fn question(decision: &Decision) -> String {
    let Decision::RecreateVolume { volume, changes } = decision;
    let cause = Cause::ConfigChanged {
        changes: changes.clone(),
    };
    format!(
        "? recreate volume {volume}  # {cause}; its data would be lost, so `up` asks first (or takes it along with `--migrate-volumes`)"
    )
}

fn print_text(ui: &Ui, images: &Plan, main: &Plan) -> Result<(), CommandError> {
    let colour = ui.stdout_colour();
    let mut lines: Vec<String> = images
        .nodes()
        .chain(main.nodes())
        .filter(|(_, node)| is_shown(node))
        .map(|(_, node)| line(node, colour))
        .collect();
    lines.extend(main.decisions.iter().map(question));
    if lines.is_empty() {
        lines.push("nothing to do".to_owned());
    }
    lines.extend(
        main.notices
            .iter()
            .map(|notice| format!("! {}", notice.text)),
    );
    ui.print(format_args!("{}\n", lines.join("\n")))?;
    Ok(())
}

/// Leaves out what may be secret: values of the environment, of build arguments and of driver options.
fn without_values(mut value: Value) -> Value {
    match &mut value {
        Value::Array(list) => list
            .iter_mut()
            .for_each(|entry| *entry = without_values(entry.take())),
        Value::Object(map) => {
            for (key, entry) in map.iter_mut() {
                let secret = matches!(
                    key.as_str(),
                    "Env" | "args" | "environment" | "DriverOpts" | "Options"
                );
                let taken = entry.take();
                *entry = if secret {
                    keys_only(taken)
                } else {
                    without_values(taken)
                };
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// The keys of a map, or of a list of `KEY=VALUE`.
fn keys_only(value: Value) -> Value {
    let key = |entry: &Value| {
        let text = entry.as_str().unwrap_or_default();
        text.split('=').next().unwrap_or_default().to_owned()
    };
    match value {
        Value::Object(map) => json!(map.keys().collect::<Vec<_>>()),
        Value::Array(list) => json!(list.iter().map(key).collect::<Vec<_>>()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::Null,
    }
}

fn to_json(images: &Plan, main: &Plan) -> Value {
    let nodes = |plan: &Plan, offset: usize| -> Vec<Value> {
        plan.nodes()
            .map(|(id, node)| {
                let after: Vec<_> = plan
                    .before(id)
                    .into_iter()
                    .map(|id| id.0 + offset)
                    .collect();
                json!({
                    "id": id.0 + offset,
                    "summary": node.action.to_string(),
                    "cause": node.cause,
                    "reason": node.why(),
                    "place": node.place,
                    "after": after,
                    "step": without_values(json!(node.action)),
                })
            })
            .collect()
    };
    let mut actions = nodes(images, 0);
    actions.extend(nodes(main, images.len()));
    json!({
        "actions": actions,
        "unchanged": main.unchanged,
        "decisions": main.decisions,
        "notices": main.notices,
    })
}
