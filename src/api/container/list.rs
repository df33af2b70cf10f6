//! `/containers/json`: summaries, and all the ways to choose among containers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::inspect;
use crate::api::call::Call;
use crate::api::filter::Filters;
use crate::api::reply::{RouteResult, json_ok};
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::image::ImageRecord;
use crate::runtime::supervise::record::Record;
use crate::runtime::supervise::status::Status;
use crate::runtime::supervise::{Container, Supervisor};

const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

pub(super) fn list(engine: &Arc<Supervisor>, call: &Call) -> RouteResult {
    let filters = Filters::parse(call.query.find("filters"), FILTERS)?;
    check(engine, &filters)?;
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
    let shows_all = call.query.is_on("all")
        || limit.is_some()
        || filters.has("status")
        || filters.has("exited")
        || filters.has("before")
        || filters.has("since");
    let selection = Selection::new(engine, &filters);
    let with_size = call.query.is_on("size");
    let mut shown = Vec::new();
    for container in engine.containers() {
        if limit.is_some_and(|limit| shown.len() >= usize::try_from(limit).unwrap_or(0)) {
            break;
        }
        let record = container.record();
        let status = record.state.status;
        if (shows_all || status.is_running())
            && status != Status::Removing
            && selection.takes(&record)
        {
            shown.push(summary(engine, &container, &record, with_size));
        }
    }
    json_ok(&shown)
}

/// All containers with their sizes, for `/system/df`.
pub(crate) fn sized_summaries(engine: &Arc<Supervisor>) -> Vec<Value> {
    let containers = engine.containers();
    containers
        .iter()
        .map(|container| summary(engine, container, &container.record(), true))
        .collect()
}

fn check(engine: &Supervisor, filters: &Filters) -> RuntimeResult<()> {
    for status in filters.values("status") {
        if Status::ALL.iter().all(|known| known.name() != status) {
            return Err(RuntimeError::invalid(format!(
                "invalid filter 'status={status}'"
            )));
        }
    }
    for code in filters.values("exited") {
        if code.parse::<i64>().is_err() {
            return Err(RuntimeError::invalid(format!(
                "invalid filter 'exited={code}'"
            )));
        }
    }
    for health in filters.values("health") {
        if !["none", "starting", "healthy", "unhealthy"].contains(&health.as_str()) {
            return Err(RuntimeError::invalid(format!(
                "invalid filter 'health={health}'"
            )));
        }
    }
    filters.switch("is-task")?;
    for key in ["before", "since"] {
        for reference in filters.values(key) {
            engine.container(reference)?;
        }
    }
    Ok(())
}

/// What the filters take, with what they refer to looked up once.
struct Selection<'a> {
    filters: &'a Filters,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    networks: Vec<String>,
    descendants: HashMap<String, bool>,
}

impl<'a> Selection<'a> {
    fn new(engine: &Arc<Supervisor>, filters: &'a Filters) -> Self {
        let made = |key: &str| {
            let reference = filters.values(key).first()?;
            Some(engine.find(reference)?.with(|record| record.created))
        };
        let networks = filters.values("network").iter().map(|reference| {
            let found = engine.networks().inspect(reference).ok();
            found
                .and_then(|network| network.name)
                .unwrap_or_else(|| reference.clone())
        });
        Self {
            before: made("before"),
            since: made("since"),
            networks: networks.collect(),
            descendants: descendants(engine, filters.values("ancestor")),
            filters,
        }
    }

    fn takes(&self, record: &Record) -> bool {
        let filters = self.filters;
        filters.labels(|key| record.label(key))
            && filters.any("id", |id| record.id.starts_with(id))
            && filters.any("name", |pattern| name_fits(&record.name, pattern))
            && filters.any("status", |status| record.state.status.name() == status)
            && filters.any("exited", |code| has_ended_with(record, code))
            && filters.any("health", |health| health_name(record) == health)
            && filters.any("volume", |volume| has_volume(record, volume))
            && filters.any("publish", |port| publishes(record, port))
            && filters.any("expose", |port| exposes(record, port))
            && filters.any("is-task", |value| value == "false" || value == "0")
            && (self.networks.is_empty()
                || self
                    .networks
                    .iter()
                    .any(|name| record.networks.contains_key(name)))
            && self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
            && (!filters.has("ancestor")
                || self
                    .descendants
                    .get(&record.image)
                    .copied()
                    .unwrap_or(false))
    }
}

/// Which of the images of containers are one of the named ones, or built on one.
fn descendants(engine: &Arc<Supervisor>, ancestors: &[String]) -> HashMap<String, bool> {
    if ancestors.is_empty() {
        return HashMap::new();
    }
    let wanted: Vec<String> = tokio::task::block_in_place(|| {
        let found = ancestors
            .iter()
            .filter_map(|reference| engine.images().resolve(reference).ok());
        found.map(|image| image.id).collect()
    });
    let parents = crate::api::image::parents(engine);
    let mut known = HashMap::new();
    for container in engine.containers() {
        let image = container.with(|record| record.image.clone());
        let fits = descends(&parents, &image, &wanted);
        known.insert(image, fits);
    }
    known
}

fn descends(parents: &BTreeMap<String, String>, image: &str, wanted: &[String]) -> bool {
    let mut current = image;
    while !wanted.iter().any(|id| id == current) {
        match parents.get(current) {
            Some(parent) if !parent.is_empty() => current = parent,
            _ => return false,
        }
    }
    true
}

/// A name against the simple patterns that clients send: parts, `^`, `$`, and an optional slash.
fn name_fits(name: &str, pattern: &str) -> bool {
    let bare = pattern.replace('\\', "");
    let (bare, from_start) = bare
        .strip_prefix('^')
        .map_or((bare.as_str(), false), |rest| (rest, true));
    let (bare, to_end) = bare
        .strip_suffix('$')
        .map_or((bare, false), |rest| (rest, true));
    let bare = bare.strip_prefix("/?").unwrap_or(bare);
    let slashed = bare.starts_with('/');
    let bare = bare.strip_prefix('/').unwrap_or(bare);
    match (from_start || slashed, to_end) {
        (true, true) => name == bare,
        (true, false) => name.starts_with(bare),
        (false, true) => name.ends_with(bare),
        (false, false) => name.contains(bare),
    }
}

fn has_ended_with(record: &Record, code: &str) -> bool {
    record.state.status == Status::Exited && code.parse() == Ok(record.state.exit_code)
}

fn health_name(record: &Record) -> &'static str {
    record
        .health
        .as_ref()
        .map_or("none", |health| health.status.name())
}

fn has_volume(record: &Record, volume: &str) -> bool {
    record.mounts.iter().any(|mount| {
        mount.name == volume || mount.destination == volume || mount.source.as_os_str() == volume
    })
}

/// Whether a port text (`80`, `80-90/tcp`) holds a port.
fn holds(text: &str, port: u16, protocol: &str) -> bool {
    let (range, wanted) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let bounds = (first.parse::<u16>(), last.parse::<u16>());
    wanted == protocol && matches!(bounds, (Ok(first), Ok(last)) if (first..=last).contains(&port))
}

fn split_port(port: &str) -> Option<(u16, &str)> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    Some((number.parse().ok()?, protocol))
}

fn publishes(record: &Record, wanted: &str) -> bool {
    record.ports.iter().any(|(port, bindings)| {
        let protocol = split_port(port).map_or("tcp", |(_, protocol)| protocol);
        bindings.iter().flatten().any(|binding| {
            let host = binding
                .host_port
                .as_deref()
                .and_then(|port| port.parse().ok());
            host.is_some_and(|host| holds(wanted, host, protocol))
        })
    })
}

fn exposes(record: &Record, wanted: &str) -> bool {
    let exposed = record.config.exposed_ports.iter().flatten();
    exposed
        .chain(record.ports.keys())
        .filter_map(|port| split_port(port))
        .any(|(port, protocol)| holds(wanted, port, protocol))
}

fn summary(
    engine: &Arc<Supervisor>,
    container: &Container,
    record: &Record,
    with_size: bool,
) -> Value {
    let endpoints = inspect::networks(engine, record);
    let mut value = json!({
        "Id": record.id,
        "Names": [format!("/{}", record.name)],
        "Image": record.config.image,
        "ImageID": ImageRecord::public_id(&record.image),
        "Command": command(record),
        "Created": record.created.as_second(),
        "Ports": ports(record),
        "Labels": record.config.labels.clone().unwrap_or_default(),
        "State": record.state.status.name(),
        "Status": status_text(record),
        "HostConfig": { "NetworkMode": record.network_mode() },
        "NetworkSettings": { "Networks": endpoints },
        "Mounts": record.mounts.iter().map(inspect::mount).collect::<Vec<_>>(),
    });
    if with_size {
        let own = engine.layer_size(container);
        value["SizeRw"] = json!(own);
        value["SizeRootFs"] = json!(own + engine.image_size(container));
    }
    value
}

fn command(record: &Record) -> String {
    let quote = |word: &String| {
        let plain = word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./=:,+@%".contains(&byte));
        if plain && !word.is_empty() {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let words: Vec<_> = record.command().iter().map(quote).collect();
    words.join(" ")
}

fn ports(record: &Record) -> Vec<Value> {
    let Value::Object(ports) = inspect::ports(record) else {
        return Vec::new();
    };
    let mut list = Vec::new();
    for (port, bindings) in ports {
        let Some((private, protocol)) = split_port(&port) else {
            continue;
        };
        let Value::Array(bindings) = bindings else {
            list.push(json!({ "PrivatePort": private, "Type": protocol }));
            continue;
        };
        for binding in bindings {
            let mut entry = Map::new();
            entry.insert("IP".to_owned(), binding["HostIp"].clone());
            entry.insert("PrivatePort".to_owned(), json!(private));
            let public: u16 = binding["HostPort"]
                .as_str()
                .and_then(|port| port.parse().ok())
                .unwrap_or(0);
            entry.insert("PublicPort".to_owned(), json!(public));
            entry.insert("Type".to_owned(), json!(protocol));
            list.push(Value::Object(entry));
        }
    }
    list
}

fn status_text(record: &Record) -> String {
    let since = |at: Option<Timestamp>| {
        let at = at.unwrap_or_else(Timestamp::now);
        let age = Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default();
        human_duration(age)
    };
    let state = &record.state;
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let health = match &record.health {
                Some(health) if health.status.name() == "starting" => {
                    " (health: starting)".to_owned()
                }
                Some(health) => format!(" ({})", health.status.name()),
                None => String::new(),
            };
            format!("Up {}{health}", since(state.started_at))
        }
        Status::Paused => format!("Up {} (Paused)", since(state.started_at)),
        Status::Restarting => format!(
            "Restarting ({}) {} ago",
            state.exit_code,
            since(state.finished_at)
        ),
        Status::Exited => format!(
            "Exited ({}) {} ago",
            state.exit_code,
            since(state.finished_at)
        ),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
    }
}

/// An age as people say it.
fn human_duration(age: Duration) -> String {
    let seconds = age.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_as_people_do() {
        let text = |seconds| human_duration(Duration::from_secs(seconds));
        assert_eq!(text(0), "Less than a second");
        assert_eq!(text(1), "1 second");
        assert_eq!(text(61), "About a minute");
        assert_eq!(text(3600 * 3), "3 hours");
    }

    #[test]
    fn names_fit_parts_and_anchors() {
        assert!(
            name_fits("web-1", "web")
                && name_fits("web-1", "^/?web-1$")
                && name_fits("web-1", "/web-1")
        );
        assert!(!name_fits("web-10", "^web-1$"));
    }

    #[test]
    fn ports_fit_ranges() {
        assert!(holds("80-90/tcp", 85, "tcp") && holds("80", 80, "tcp"));
        assert!(!holds("80/udp", 80, "tcp"));
    }
}
