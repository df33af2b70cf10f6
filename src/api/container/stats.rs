//! `GET /containers/ID/stats`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::call::{Call, Default as SwitchDefault};
use crate::api::reply::{self, RouteResult, json_ok};
use crate::runtime::container::cgroup::BlockFigure;
use crate::runtime::supervise::record::NO_TIME;
use crate::runtime::supervise::usage::Usage;
use crate::runtime::supervise::{Container, Supervisor, host};

const PACE: Duration = Duration::from_secs(1);

pub(super) async fn stats(
    engine: &Arc<Supervisor>,
    container: Arc<Container>,
    call: &Call,
) -> RouteResult {
    let streams = call.query.is_on_or("stream", SwitchDefault::On);
    let first = engine.usage(&container);
    if !streams {
        if first.is_none() || call.query.is_on("one-shot") {
            return json_ok(&reading(&container, first.as_ref(), None));
        }
        tokio::time::sleep(PACE).await;
        let second = engine.usage(&container);
        let before = first.as_ref().map(|usage| (usage, now_less(PACE)));
        return json_ok(&reading(&container, second.as_ref(), before));
    }
    let engine = Arc::clone(engine);
    let state = (
        engine,
        container,
        None::<(Usage, Timestamp)>,
        Duration::ZERO,
    );
    let lines = stream::unfold(state, |(engine, container, last, pause)| async move {
        tokio::time::sleep(pause).await;
        engine.find(container.id())?;
        let usage = engine.usage(&container);
        let before = last.as_ref().map(|(usage, at)| (usage, *at));
        let line = format!("{}\n", reading(&container, usage.as_ref(), before));
        let last = usage.map(|usage| (usage, Timestamp::now()));
        Some((Ok(Bytes::from(line)), (engine, container, last, PACE)))
    });
    Ok(reply::stream("application/json", lines))
}

fn now_less(age: Duration) -> Timestamp {
    Timestamp::now().checked_sub(age).unwrap_or_default()
}

fn reading(
    container: &Container,
    usage: Option<&Usage>,
    before: Option<(&Usage, Timestamp)>,
) -> Value {
    let name = container.with(|record| format!("/{}", record.name));
    let read = match usage {
        Some(_) => Timestamp::now().to_string(),
        None => NO_TIME.to_owned(),
    };
    let empty = Usage::default();
    let current = usage.unwrap_or(&empty);
    let mut value = json!({
        "name": name,
        "id": container.id(),
        "read": read,
        "preread": before.map_or_else(|| NO_TIME.to_owned(), |(_, at)| at.to_string()),
        "pids_stats": pids(current),
        "blkio_stats": block_io(current),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(current, usage.is_some()),
        "precpu_stats": cpu(before.map_or(&empty, |(usage, _)| usage), before.is_some()),
        "memory_stats": memory(current, usage.is_some()),
    });
    if usage.is_some() && !current.interfaces.is_empty() {
        value["networks"] = json!(current.interfaces);
    }
    value
}

fn pids(usage: &Usage) -> Value {
    let mut value = json!({ "current": usage.cgroup.pids });
    if let Some(limit) = usage.cgroup.pids_limit {
        value["limit"] = json!(limit);
    }
    value
}

fn cpu(usage: &Usage, known: bool) -> Value {
    let group = &usage.cgroup;
    let mut value = json!({
        "cpu_usage": {
            "total_usage": group.cpu_total,
            "usage_in_kernelmode": group.cpu_system,
            "usage_in_usermode": group.cpu_user,
        },
        "throttling_data": {
            "periods": group.periods,
            "throttled_periods": group.throttled_periods,
            "throttled_time": group.throttled_time,
        },
    });
    if known {
        value["system_cpu_usage"] = json!(usage.machine_cpu);
        value["online_cpus"] = json!(host::processors());
        if !group.cpu_each.is_empty() {
            value["cpu_usage"]["percpu_usage"] = json!(group.cpu_each);
        }
    }
    value
}

fn memory(usage: &Usage, known: bool) -> Value {
    if !known {
        return json!({});
    }
    let group = &usage.cgroup;
    let machine = u64::try_from(host::memory_total()).unwrap_or(0);
    let details: Map<String, Value> = group
        .memory_details
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    json!({
        "usage": group.memory_usage,
        "max_usage": group.memory_peak,
        "failcnt": group.memory_failures,
        "limit": group.memory_limit.unwrap_or(machine).min(machine),
        "stats": details,
    })
}

fn block_io(usage: &Usage) -> Value {
    let list = |figures: &[BlockFigure]| -> Vec<Value> {
        figures
            .iter()
            .map(|figure| json!({ "major": figure.major, "minor": figure.minor, "op": figure.operation, "value": figure.value }))
            .collect()
    };
    json!({
        "io_service_bytes_recursive": list(&usage.cgroup.block_bytes),
        "io_serviced_recursive": list(&usage.cgroup.block_operations),
        "io_queue_recursive": [],
        "io_service_time_recursive": [],
        "io_wait_time_recursive": [],
        "io_merged_recursive": [],
        "io_time_recursive": [],
        "sectors_recursive": [],
    })
}
