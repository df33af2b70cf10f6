//! `push`: pushes the images of services.

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;

use hoist::load::Dependencies;

use crate::cli::create::load;
use crate::cli::reconcile::Session;
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::apply::{ApplyEvent, ResourceEvent, Status};

/// Arguments of `push`.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// Go on with the others where a push fails
    #[arg(long)]
    ignore_push_failures: bool,
    /// Push the images of what the named services depend on too
    #[arg(long)]
    include_deps: bool,
    /// Push without progress
    #[arg(short, long)]
    quiet: bool,
    /// Services whose images are pushed
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// What a failed push means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// The command fails.
    Stop,
    /// They go on.
    GoOn,
}

/// Pushes images.
pub(super) async fn cmd_push(ui: &Ui, context: &Context, args: &PushArgs) -> CommandResult {
    let dependencies = if args.include_deps {
        Dependencies::Include
    } else {
        Dependencies::Ignore
    };
    let project = load(ui, context, &args.services, dependencies).await?;
    let quiet = ui.quieted();
    let ui = if args.quiet { &quiet } else { ui };
    let session = Session::open(ui, context, project).await?;
    let services: Vec<String> = session.project.services.keys().cloned().collect();
    let on_failure = if args.ignore_push_failures {
        OnFailure::GoOn
    } else {
        OnFailure::Stop
    };
    push(&session, &services, on_failure).await?;
    Ok(ExitStatus::SUCCESS)
}

/// Pushes the images of services that have both an image and a build (behaviours.md B203).
pub(super) async fn push(
    session: &Session<'_>,
    services: &[String],
    on_failure: OnFailure,
) -> Result<(), CommandError> {
    let mut shown = crate::ui::renderer::renderer(session.ui, "push", session.effect());
    let mut tell = |id: &str, status, text: &str, details: &str| {
        shown.event(&ApplyEvent::Resource(
            ResourceEvent::new(id, status, text).detailed(details),
        ));
    };
    let mut failed = None;
    for service in services
        .iter()
        .filter_map(|name| session.project.services.get(name))
    {
        let Some(build) = service.build.as_ref().filter(|_| !service.image.is_empty()) else {
            let id = if service.image.is_empty() {
                &service.name
            } else {
                &service.image
            };
            tell(&format!("Image {id}"), Status::Done, "Skipped", "");
            continue;
        };
        for image in std::iter::once(&service.image).chain(&build.tags) {
            let id = format!("Image {image}");
            tell(&id, Status::Working, "Pushing", "");
            match push_image(session, image).await {
                Ok(()) => tell(&id, Status::Done, "Pushed", ""),
                Err(message) => {
                    tell(&id, Status::Error, "Error", &message);
                    failed.get_or_insert(message);
                }
            }
        }
    }
    shown.finish();
    match failed {
        Some(message) if on_failure == OnFailure::Stop => Err(CommandError::user(message)),
        Some(_) | None => Ok(()),
    }
}

async fn push_image(session: &Session<'_>, image: &str) -> Result<(), String> {
    let text = |error: hoist::engine::EngineError| CommandError::from(error).message();
    let mut stream = session.engine.push_image(image).await.map_err(text)?;
    while let Some(item) = stream.next().await {
        let item: Value = item.map_err(text)?;
        if let Some(error) = item.get("error").and_then(Value::as_str) {
            return Err(error.to_owned());
        }
    }
    Ok(())
}
