//! Streams of containers: logs, attached terminals, commands.

use bollard::Docker;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters as query;
use bollard_stubs::models::ExecConfig;

use super::convert::{already, failed, log_stream};
use super::time;
use crate::engine::{
    AttachOptions, EngineError, EngineErrorKind, EngineResult, ExecSession, ExecSpec, LogOptions,
    LogStream,
};

pub(super) fn logs(client: &Docker, id: &str, options: &LogOptions) -> EngineResult<LogStream> {
    let since = exact(id, options.since.as_deref())?;
    let until = exact(id, options.until.as_deref())?;
    let request = query::LogsOptions {
        follow: options.follow,
        stdout: true,
        stderr: true,
        timestamps: options.timestamps,
        tail: time::tail(options.tail, since.as_deref(), until.as_deref()),
        ..query::LogsOptions::default()
    };
    Ok(log_stream(
        "read log of container",
        id,
        client.logs(id, Some(request)),
    ))
}

fn exact(id: &str, text: Option<&str>) -> EngineResult<Option<String>> {
    let parsed = text.map(time::parse).transpose();
    let invalid =
        |error| EngineError::new("read log of container", id, EngineErrorKind::Invalid, error);
    parsed.map_err(invalid)
}

pub(super) async fn attach(
    client: &Docker,
    id: &str,
    options: &AttachOptions,
) -> EngineResult<ExecSession> {
    let request = query::AttachContainerOptions {
        detach_keys: Some(options.detach_keys.clone()).filter(|keys| !keys.is_empty()),
        logs: options.logs,
        stream: true,
        stdin: options.stdin,
        stdout: options.output,
        stderr: options.output,
    };
    let attached = client
        .attach_container(id, Some(request))
        .await
        .map_err(failed("attach to container", id))?;
    Ok(ExecSession {
        output: log_stream("attach to container", id, attached.output),
        input: attached.input,
    })
}

pub(super) async fn create(client: &Docker, id: &str, spec: &ExecSpec) -> EngineResult<String> {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let config = ExecConfig {
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(spec.output),
        attach_stderr: Some(spec.output),
        tty: Some(spec.tty),
        env: Some(spec.env.clone()),
        cmd: Some(spec.command.clone()),
        privileged: Some(spec.privileged),
        user: some(&spec.user),
        working_dir: some(&spec.working_dir),
        ..ExecConfig::default()
    };
    let created = client
        .create_exec(id, config)
        .await
        .map_err(failed("prepare command in container", id))?;
    Ok(created.id)
}

pub(super) async fn start(
    client: &Docker,
    exec: &str,
    spec: &ExecSpec,
) -> EngineResult<ExecSession> {
    let options = StartExecOptions {
        detach: false,
        tty: spec.tty,
        output_capacity: None,
    };
    let started = client
        .start_exec(exec, Some(options))
        .await
        .map_err(failed("start command", exec))?;
    match started {
        StartExecResults::Attached { output, input } => Ok(ExecSession {
            output: log_stream("read output of command", exec, output),
            input,
        }),
        StartExecResults::Detached => Err(EngineError::new(
            "start command",
            exec,
            EngineErrorKind::Failed,
            "the engine did not attach its streams",
        )),
    }
}

pub(super) async fn start_detached(client: &Docker, exec: &str) -> EngineResult<()> {
    let options = StartExecOptions {
        detach: true,
        tty: false,
        output_capacity: None,
    };
    let started = client.start_exec(exec, Some(options)).await;
    started.map(drop).map_err(failed("start command", exec))
}

pub(super) async fn inspect(client: &Docker, exec: &str) -> EngineResult<(bool, i64)> {
    let state = client
        .inspect_exec(exec)
        .await
        .map_err(failed("inspect command", exec))?;
    Ok((
        state.running.unwrap_or_default(),
        state.exit_code.unwrap_or_default(),
    ))
}

pub(super) async fn resize(
    client: &Docker,
    exec: &str,
    columns: u16,
    rows: u16,
) -> EngineResult<()> {
    let options = ResizeExecOptions {
        height: rows,
        width: columns,
    };
    let result = client.resize_exec(exec, options).await;
    already(result, &[]).map_err(failed("resize terminal of command", exec))
}
