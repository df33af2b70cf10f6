//! `/containers/…` and `/commit`: the table of routes; each answers in a file of its own.

mod attach;
mod body;
pub(crate) mod inspect;
mod list;
mod run;
mod stats;
mod streams;
mod top;
mod websocket;

use std::sync::Arc;

pub(crate) use body::plain_object;
pub(crate) use list::sized_summaries;
pub(crate) use run::{commit, terminal_size};
pub(crate) use streams::{
    Connection, DetachKeys, InputEnd, Streams, hijack, pump_input, pump_output,
};

use super::call::Call;
use super::reply::{RouteResult, json_ok};
use super::router::page_not_found;
use crate::runtime::supervise::Supervisor;

/// Routes below `/containers`.
pub(crate) async fn route(
    engine: &Arc<Supervisor>,
    method: &str,
    path: &[&str],
    call: Call,
) -> RouteResult {
    match (method, path) {
        ("GET", ["json"]) => list::list(engine, &call),
        ("POST", ["create"]) => run::create(engine, call).await,
        ("POST", ["prune"]) => run::prune(engine, &call).await,
        ("DELETE", [id]) => run::remove(engine, id, &call).await,
        (_, [id, action]) => of_one(engine, method, id, action, call).await,
        ("GET", [id, "attach", "ws"]) => {
            let container = engine.container(id)?;
            websocket::attach(engine, container, call).await
        }
        _ => page_not_found(),
    }
}

async fn of_one(
    engine: &Arc<Supervisor>,
    method: &str,
    id: &str,
    action: &str,
    mut call: Call,
) -> RouteResult {
    let routed = matches!(
        (method, action),
        (
            "GET",
            "json" | "top" | "logs" | "stats" | "changes" | "export" | "archive"
        ) | ("HEAD" | "PUT", "archive")
            | (
                "POST",
                "start"
                    | "stop"
                    | "restart"
                    | "kill"
                    | "pause"
                    | "unpause"
                    | "rename"
                    | "update"
                    | "wait"
                    | "attach"
                    | "resize"
                    | "exec"
            )
    );
    if !routed {
        return page_not_found();
    }
    let container = engine.container(id)?;
    match (method, action) {
        ("GET", "json") => json_ok(&inspect::inspect(
            engine,
            &container,
            call.query.is_on("size"),
        )),
        ("GET", "top") => top::top(engine, &container, &call),
        ("GET", "logs") => streams::logs(&container, &call),
        ("GET", "stats") => stats::stats(engine, container, &call).await,
        ("POST", "start") => run::start(engine, &container, &mut call).await,
        ("POST", "stop") => run::stop(engine, &container, &call).await,
        ("POST", "restart") => run::restart(engine, &container, &call).await,
        ("POST", "kill") => run::kill(engine, &container, &call).await,
        ("POST", "pause") => run::pause(engine, &container).await,
        ("POST", "unpause") => run::unpause(engine, &container).await,
        ("POST", "rename") => run::rename(engine, &container, &call).await,
        ("POST", "update") => run::update(engine, &container, call).await,
        ("POST", "wait") => run::wait(container, &call),
        ("POST", "attach") => attach::attach(engine, container, call).await,
        ("POST", "resize") => run::resize(engine, &container, &call).await,
        ("POST", "exec") => super::exec::create(engine, &container, call).await,
        _ => super::archive::route(engine, method, action, container, call).await,
    }
}
