//! `/networks/…`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bollard_stubs::models::{EndpointSettings, NetworkCreateRequest, NetworkInspect};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::call::Call;
use super::container::plain_object;
use super::filter::{Filters, instant_or_age};
use super::reply::{RouteResult, created, empty, json_ok, no_content};
use super::router::page_not_found;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::supervise::Supervisor;

const FILTERS: &[&str] = &[
    "dangling", "driver", "id", "label", "label!", "name", "scope", "type",
];

/// Routes below `/networks`.
pub(crate) async fn route(
    engine: &Arc<Supervisor>,
    method: &str,
    path: &[&str],
    mut call: Call,
) -> RouteResult {
    match (method, path) {
        ("GET", []) => list(engine, &call),
        ("POST", ["create"]) => create(engine, &mut call).await,
        ("POST", ["prune"]) => prune(engine, &call),
        ("GET", [id]) => json_ok(&block_in_place(|| engine.networks().inspect(id))?),
        ("DELETE", [id]) => remove(engine, id),
        ("POST", [id, "connect"]) => connect(engine, id, &mut call).await,
        ("POST", [id, "disconnect"]) => disconnect(engine, id, &mut call).await,
        _ => page_not_found(),
    }
}

fn publish(engine: &Supervisor, action: &str, id: &str, name: &str, driver: &str) {
    let attributes = BTreeMap::from([
        ("name".to_owned(), name.to_owned()),
        ("type".to_owned(), driver.to_owned()),
    ]);
    engine.events().publish("network", action, id, attributes);
}

fn label<'a>(network: &'a NetworkInspect, key: &str) -> Option<&'a str> {
    network.labels.as_ref()?.get(key).map(String::as_str)
}

fn is_predefined(name: &str) -> bool {
    matches!(name, "bridge" | "host" | "none")
}

fn list(engine: &Supervisor, call: &Call) -> RouteResult {
    let filters = Filters::parse(call.query.find("filters"), FILTERS)?;
    let dangling = filters.switch("dangling")?;
    for kind in filters.values("type") {
        if !["builtin", "custom"].contains(&kind.as_str()) {
            return Err(RuntimeError::invalid(format!(
                "invalid filter: 'type'='{kind}'"
            )));
        }
    }
    let used = used_networks(engine);
    let wanted = |network: &NetworkInspect| {
        let name = network.name.as_deref().unwrap_or_default();
        let id = network.id.as_deref().unwrap_or_default();
        let idle = !used.contains(name) && !is_predefined(name);
        filters.any("name", |part| name.contains(part))
            && filters.any("id", |part| id.contains(part))
            && filters.any("driver", |driver| network.driver.as_deref() == Some(driver))
            && filters.any("scope", |scope| scope == "local")
            && filters.any("type", |kind| (kind == "builtin") == is_predefined(name))
            && filters.labels(|key| label(network, key))
            && dangling.is_none_or(|dangling| dangling == idle)
    };
    let mut networks = block_in_place(|| engine.networks().list());
    networks.retain(wanted);
    let shown: Vec<Value> = networks.iter().map(summary).collect();
    json_ok(&shown)
}

/// In a list, Docker leaves the containers out.
fn summary(network: &NetworkInspect) -> Value {
    let mut value = json!(network);
    value["Containers"] = json!({});
    value
}

/// Names of the networks that containers have, running or not.
fn used_networks(engine: &Supervisor) -> HashSet<String> {
    let mut used = HashSet::new();
    for container in engine.containers() {
        container.with(|record| used.extend(record.networks.keys().cloned()));
    }
    used
}

async fn create(engine: &Supervisor, call: &mut Call) -> RouteResult {
    let body = plain_object(call).await?;
    let request: NetworkCreateRequest = typed(Value::Object(body))?;
    let made = block_in_place(|| engine.networks().create(&request))?;
    let driver = request
        .driver
        .as_deref()
        .filter(|driver| !driver.is_empty())
        .unwrap_or("bridge");
    publish(engine, "create", &made.id, &request.name, driver);
    created(&json!({ "Id": made.id, "Warning": made.warning }))
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> RuntimeResult<T> {
    serde_json::from_value(value)
        .map_err(|source| RuntimeError::invalid("invalid JSON").caused_by(source))
}

fn remove(engine: &Supervisor, id: &str) -> RouteResult {
    let gone = block_in_place(|| engine.networks().remove(id))?;
    publish_gone(engine, &gone);
    no_content()
}

fn publish_gone(engine: &Supervisor, gone: &NetworkInspect) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    publish(
        engine,
        "destroy",
        &text(&gone.id),
        &text(&gone.name),
        &text(&gone.driver),
    );
}

fn prune(engine: &Supervisor, call: &Call) -> RouteResult {
    let filters = Filters::parse(call.query.find("filters"), &["label", "label!", "until"])?;
    let until = match filters.values("until") {
        [] => None,
        [until] => Some(instant_or_age(until)?),
        _ => {
            return Err(RuntimeError::invalid(
                "more than one until filter specified",
            ));
        }
    };
    let used = used_networks(engine);
    let old_enough = |network: &NetworkInspect| {
        let made: Option<jiff::Timestamp> = network.created.as_ref().and_then(|at| at.parse().ok());
        match (until, made) {
            (Some(until), Some(made)) => made.as_nanosecond() < until,
            _ => true,
        }
    };
    let wanted = |network: &NetworkInspect| {
        let name = network.name.as_deref().unwrap_or_default();
        !used.contains(name)
            && !is_predefined(name)
            && filters.labels(|key| label(network, key))
            && old_enough(network)
    };
    let before = block_in_place(|| engine.networks().list());
    let names = block_in_place(|| engine.networks().prune(wanted))?;
    for network in before.iter().filter(|network| {
        network
            .name
            .as_ref()
            .is_some_and(|name| names.contains(name))
    }) {
        publish_gone(engine, network);
    }
    json_ok(&json!({ "NetworksDeleted": names }))
}

async fn connect(engine: &Arc<Supervisor>, id: &str, call: &mut Call) -> RouteResult {
    let body = plain_object(call).await?;
    let wishes: EndpointSettings = match body.get("EndpointConfig") {
        Some(wishes) => typed(wishes.clone())?,
        None => EndpointSettings::default(),
    };
    let container = body
        .get("Container")
        .and_then(Value::as_str)
        .unwrap_or_default();
    engine.connect(id, container, wishes).await?;
    Ok(empty(StatusCode::OK))
}

async fn disconnect(engine: &Arc<Supervisor>, id: &str, call: &mut Call) -> RouteResult {
    let body = plain_object(call).await?;
    let container = body
        .get("Container")
        .and_then(Value::as_str)
        .unwrap_or_default();
    engine.disconnect(id, container).await?;
    Ok(empty(StatusCode::OK))
}
