//! `/exec/…`, and the creation of a command below `/containers/ID/exec`.

use std::sync::Arc;

use bollard_stubs::models::ExecConfig;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::container::{DetachKeys, Streams, hijack, plain_object};
use super::reply::{self, RouteResult, created, empty, json_ok};
use super::router::page_not_found;
use crate::api::container::{Connection, InputEnd, pump_input, pump_output};
use crate::runtime::container::request::TerminalSize;
use crate::runtime::error::{ErrorKind, RuntimeError};
use crate::runtime::keeper::{FailureKind, OutputItem};
use crate::runtime::supervise::{Container, Exec, ExecState, ExecStreams, Supervisor};

/// Routes below `/exec`.
pub(crate) async fn route(
    engine: &Arc<Supervisor>,
    method: &str,
    path: &[&str],
    call: Call,
) -> RouteResult {
    match (method, path) {
        ("GET", [id, "json"]) => json_ok(&inspect(&*engine.exec(id)?)),
        ("POST", [id, "start"]) => start(engine, id, call).await,
        ("POST", [id, "resize"]) => {
            let exec = engine.exec(id)?;
            let size = super::container::terminal_size(&call)?;
            engine.resize_exec(&exec, size).await?;
            Ok(empty(StatusCode::OK))
        }
        _ => page_not_found(),
    }
}

/// `POST /containers/ID/exec`.
pub(crate) async fn create(
    engine: &Arc<Supervisor>,
    container: &Container,
    mut call: Call,
) -> RouteResult {
    let body = plain_object(&mut call).await?;
    let config: ExecConfig = serde_json::from_value(Value::Object(body))
        .map_err(|source| RuntimeError::invalid("invalid JSON").caused_by(source))?;
    DetachKeys::parse(config.detach_keys.as_deref().unwrap_or_default())?;
    let exec = engine.create_exec(container, config)?;
    created(&json!({ "Id": exec.id }))
}

fn inspect(exec: &Exec) -> Value {
    let config = &exec.config;
    let command = config.cmd.clone().unwrap_or_default();
    let (running, code, pid) = match exec.state() {
        ExecState::Created => (false, Value::Null, 0),
        ExecState::Running { pid } => (true, Value::Null, pid),
        ExecState::Ended { code, pid } => (false, json!(code), pid),
    };
    let on = |value: Option<bool>| value == Some(true);
    let mut process = json!({
        "tty": on(config.tty),
        "entrypoint": command.first().cloned().unwrap_or_default(),
        "arguments": command.get(1..).unwrap_or_default(),
        "privileged": on(config.privileged),
    });
    if let Some(user) = config.user.as_ref().filter(|user| !user.is_empty()) {
        process["user"] = json!(user);
    }
    json!({
        "ID": exec.id,
        "Running": running,
        "ExitCode": code,
        "ProcessConfig": process,
        "OpenStdin": on(config.attach_stdin),
        "OpenStderr": on(config.attach_stderr),
        "OpenStdout": on(config.attach_stdout),
        "CanRemove": false,
        "ContainerID": exec.container,
        "DetachKeys": config.detach_keys.clone().unwrap_or_default(),
        "Pid": pid,
    })
}

fn console_size(body: &Value) -> Option<TerminalSize> {
    let side = |index: usize| u16::try_from(body["ConsoleSize"].get(index)?.as_u64()?).ok();
    Some(TerminalSize {
        rows: side(0)?,
        columns: side(1)?,
    })
}

async fn start(engine: &Arc<Supervisor>, id: &str, mut call: Call) -> RouteResult {
    let exec = engine.exec(id)?;
    let body: Value = call.json_or_none().await?.unwrap_or_default();
    let size = console_size(&body);
    if body["Detach"] == true {
        let streams = engine.start_exec(&exec, size).await?;
        leave_alone(streams);
        return Ok(empty(StatusCode::OK));
    }
    let terminal = exec.config.tty == Some(true);
    let streams = Streams {
        framed: !terminal,
        stdout: exec.config.attach_stdout == Some(true) || terminal,
        stderr: exec.config.attach_stderr == Some(true),
    };
    let content_type = streams.content_type(call.version);
    let keys = DetachKeys::parse(exec.config.detach_keys.as_deref().unwrap_or_default())?;
    let wants_input = exec.config.attach_stdin == Some(true);
    let started = engine.start_exec(&exec, size).await;
    let running = match started {
        Ok(running) => running,
        Err(error) if could_not_run(&exec, &error) => {
            return Ok(tell(call, streams, content_type, &error));
        }
        Err(error) => return Err(error),
    };
    let talk = Talk {
        running,
        streams,
        wants_input,
        keys: terminal.then_some(keys),
    };
    if call.wants_upgrade() {
        return Ok(hijack(call, content_type, |connection| {
            talk.run(connection)
        }));
    }
    Ok(talk.answer(content_type))
}

/// A program that cannot be run is no failure of the call: the client hears of it on the stream, and the exit code
/// says the rest.
fn could_not_run(exec: &Exec, error: &RuntimeError) -> bool {
    let codes = [
        FailureKind::NotFound.exit_code(),
        FailureKind::NotExecutable.exit_code(),
    ]
    .map(i64::from);
    error.kind() == ErrorKind::Invalid
        && matches!(exec.state(), ExecState::Ended { code, .. } if codes.contains(&code))
}

fn tell(
    call: Call,
    streams: Streams,
    content_type: &'static str,
    error: &RuntimeError,
) -> reply::Reply {
    let said = OutputItem::Stdout(Bytes::from(error.chain() + "\r\n"));
    let loud = Streams {
        stdout: true,
        ..streams
    };
    let pieces = stream::iter(loud.frame(&said));
    if call.wants_upgrade() {
        return hijack(call, content_type, |(_reader, writer)| {
            pump_output(pieces, writer)
        });
    }
    reply::stream(content_type, pieces.map(Ok))
}

fn leave_alone(streams: ExecStreams) {
    let ExecStreams { input, mut output } = streams;
    tokio::spawn(async move {
        while output.recv().await.is_some() {}
        drop(input);
    });
}

/// One conversation with a command.
struct Talk {
    running: ExecStreams,
    streams: Streams,
    wants_input: bool,
    keys: Option<DetachKeys>,
}

impl Talk {
    fn answer(self, content_type: &'static str) -> reply::Reply {
        let ExecStreams { input, output } = self.running;
        let pieces = framed(output, self.streams)
            .map(Ok)
            .chain(stream::once(async move {
                drop(input);
                Ok(Bytes::new())
            }));
        reply::stream(content_type, pieces)
    }

    async fn run(self, (mut reader, writer): Connection) {
        let ExecStreams { input, output } = self.running;
        let pieces = Box::pin(framed(output, self.streams));
        let output = pump_output(pieces, writer);
        tokio::pin!(output);
        if !self.wants_input {
            output.await;
            drop(input);
            return;
        }
        let input = Arc::new(tokio::sync::Mutex::new(Some(input)));
        let incoming = pump_input(&mut reader, self.keys, |bytes| {
            let input = Arc::clone(&input);
            async move {
                match input.lock().await.as_mut() {
                    Some(input) => input.write_all(&bytes).await,
                    None => Ok(()),
                }
            }
        });
        tokio::pin!(incoming);
        let ended = tokio::select! {
            () = &mut output => return,
            ended = &mut incoming => ended,
        };
        if ended == InputEnd::Detached {
            return;
        }
        if let Some(input) = input.lock().await.take() {
            // The command may have ended meanwhile; then there is nothing to close.
            let _ended = input.close().await;
        }
        output.await;
    }
}

fn framed(
    output: tokio::sync::mpsc::Receiver<OutputItem>,
    streams: Streams,
) -> impl futures_util::Stream<Item = Bytes> + Send {
    stream::unfold(output, move |mut output| async move {
        loop {
            let item = output.recv().await?;
            if let Some(frame) = streams.frame(&item) {
                return Some((frame, output));
            }
        }
    })
}
