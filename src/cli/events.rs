//! `events`: what happens to a project's containers.

use std::collections::BTreeMap;

use bollard_stubs::models::{EventMessage, EventMessageTypeEnum};
use clap::Args;
use futures_util::StreamExt;
use serde_json::json;

use crate::cli::{CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::engine::{EventRequest, label};

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Print JSON objects
    #[arg(long)]
    json: bool,
    /// Start at this time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End at this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Services to follow; none is all
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Follows events until interrupted or until the time given.
pub(super) async fn cmd_events(ui: &Ui, context: &Context, args: &EventsArgs) -> CommandResult {
    let target = context.target(ui).await?;
    target.check_services(&args.services)?;
    let engine = context.engine().await?;
    let request = EventRequest {
        labels: vec![format!("{}={}", label::PROJECT, target.name)],
        since: args.since.clone(),
        until: args.until.clone(),
    };
    let mut events = engine.events(&request).await?;
    while let Some(event) = events.next().await {
        if let Some(event) = Shown::of(&event?, &args.services) {
            if args.json {
                ui.print(format_args!("{}\n", event.json()))?;
            } else {
                ui.print(format_args!("{}\n\n", event.text()))?;
            }
        }
    }
    Ok(ExitStatus::SUCCESS)
}

/// An event as it is shown: of a container of a service, without docker compose's own labels.
struct Shown {
    time: jiff::ZonedDateTime,
    action: String,
    id: String,
    service: String,
    attributes: BTreeMap<String, String>,
}

impl Shown {
    fn of(event: &EventMessage, services: &[String]) -> Option<Self> {
        if event.typ != Some(EventMessageTypeEnum::CONTAINER) {
            return None;
        }
        let actor = event.actor.as_ref()?;
        let all = actor.attributes.as_ref()?;
        let service = all.get(label::SERVICE)?;
        let is_one_off = all.get(label::ONE_OFF).is_some_and(|value| value == "True");
        if is_one_off || !(services.is_empty() || services.contains(service)) {
            return None;
        }
        let nanoseconds = event
            .time_nano
            .or_else(|| event.time?.checked_mul(1_000_000_000))?;
        let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()?;
        Some(Self {
            time: time.to_zoned_datetime(jiff::tz::TimeZone::system()),
            action: event.action.clone()?,
            id: actor.id.clone()?,
            service: service.clone(),
            attributes: all
                .iter()
                .filter(|(key, _)| !key.starts_with("com.docker.compose."))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        })
    }

    fn text(&self) -> String {
        let attributes: Vec<_> = self
            .attributes
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!(
            "{} container {} {} ({})",
            self.time.strftime("%Y-%m-%d %H:%M:%S.%6f"),
            self.action,
            self.id,
            attributes.join(", ")
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "action": self.action,
            "attributes": self.attributes,
            "id": self.id,
            "service": self.service,
            "time": self.time.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string(),
            "type": "container",
        })
    }
}
