//! `plan`: shows what `up` would do, and why.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use hoist::plan::{Action, Cause, Decision, ImageOptions, Node, NodeId, Plan, PlanOptions, Shown};

use crate::cli::create::check_selection;
use crate::cli::reconcile::{Answers, Session};
use crate::cli::up::Wishes;
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::{Colour, Progress, Ui};

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
    wishes: Wishes,
}

/// Shows a plan.
pub(super) async fn cmd_plan(ui: &Ui, context: &Context, args: &PlanArgs) -> CommandResult {
    let wishes = &args.wishes;
    let mut project = wishes.load(ui, context).await?;
    wishes.scale(&mut project)?;
    check_selection(context, &project)?;
    let session = Session::open_for_containers(ui, context, project).await?;
    let images = wishes.images().options(&session)?;
    let mut options = wishes.plan_options(&session, None)?;
    let preview = session.preview(&images, &mut options, wishes.answers());
    let (images, main) = preview.await?;
    show(&session, args.format, &images, &main)?;
    let changes = images.has_changes() || main.has_changes() || !main.decisions.is_empty();
    if args.detailed_exitcode && changes {
        return Ok(ExitStatus::of_container(2));
    }
    Ok(ExitStatus::SUCCESS)
}

/// Shows what `up` would do instead of doing it (`up --dry-run`).
pub(super) async fn dry_run(
    session: &Session<'_>,
    images: &ImageOptions,
    options: &mut PlanOptions,
    answers: Answers,
) -> CommandResult {
    let (images, main) = session.preview(images, options, answers).await?;
    let format = match session.ui.progress() {
        Progress::Json => Format::Json,
        Progress::Tty | Progress::Plain | Progress::Quiet => Format::Text,
    };
    show(session, format, &images, &main)?;
    Ok(ExitStatus::SUCCESS)
}

/// Prints a plan, then fails as `up` would where something of it cannot be done.
fn show(
    session: &Session<'_>,
    format: Format,
    images: &Plan,
    main: &Plan,
) -> Result<(), CommandError> {
    match format {
        Format::Text => print_text(session.ui, images, main)?,
        Format::Json => session
            .ui
            .print(format_args!("{:#}\n", to_json(images, main)))?,
    }
    session.refuse(
        main.refusals()
            .map(|(_, refusal)| refusal.clone())
            .collect(),
    )
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
    let text = node.summary();
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
    // What cannot be begun is no part of what is going to be done.
    let held = main.held_back();
    let is_begun = |id: &NodeId| !held.contains(id) && main.refusals().all(|(it, _)| it != *id);
    let of_main = main.nodes().filter(|(id, _)| is_begun(id));
    let mut lines: Vec<String> = Vec::new();
    if images.has_changes() || main.has_changes() {
        let told = images
            .nodes()
            .chain(of_main)
            .filter(|(_, node)| is_shown(node));
        lines.extend(told.map(|(_, node)| line(node, colour)));
    }
    lines.extend(main.decisions.iter().map(question));
    for (id, _) in main.refusals() {
        lines.push(format!(
            "x {}  # cannot be done, see below",
            main.node(id).summary()
        ));
    }
    let skipped = held.iter().map(|id| main.node(*id));
    let is_told = |node: &&Node| is_shown(node) && !matches!(node.action, Action::Wait(_));
    for node in skipped.filter(is_told) {
        lines.push(format!("x {}  # skipped because of that", node.summary()));
    }
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

/// Says containers that an action makes by the number which that action has in the whole plan.
fn numbered(mut value: Value, offset: usize) -> Value {
    match &mut value {
        Value::Array(list) => list
            .iter_mut()
            .for_each(|entry| *entry = numbered(entry.take(), offset)),
        Value::Object(map) => {
            for (key, entry) in map.iter_mut() {
                let number = entry.as_u64().filter(|_| key == "made_by");
                *entry = match number.and_then(|number| usize::try_from(number).ok()) {
                    Some(number) => json!(number + offset),
                    None => numbered(entry.take(), offset),
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
                    "summary": node.summary(),
                    "cause": node.cause,
                    "reason": node.why(),
                    "place": node.place,
                    "after": after,
                    "step": numbered(without_values(json!(node.action)), offset),
                })
            })
            .collect()
    };
    let mut actions = nodes(images, 0);
    actions.extend(nodes(main, images.len()));
    let refused = main.refusals().map(|(id, refusal)| {
        json!({ "id": id.0 + images.len(), "reason": refusal.message, "help": refusal.hint })
    });
    let held = main.held_back();
    json!({
        "actions": actions,
        "refused": refused.collect::<Vec<_>>(),
        "skipped": held.iter().map(|id| id.0 + images.len()).collect::<Vec<_>>(),
        "unchanged": main.unchanged,
        "decisions": main.decisions,
        "notices": main.notices,
    })
}
