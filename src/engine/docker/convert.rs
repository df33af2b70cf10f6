//! Between bollard's words and ours: errors, filters, outputs.

use std::collections::HashMap;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard_stubs::models;
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::stream::Channel;
use crate::engine::{EngineError, EngineErrorKind, LogLine, LogStream, Stream};

/// Says what was tried on what when bollard fails: `.map_err(failed("start container", id))`.
pub(super) fn failed(
    operation: &'static str,
    resource: &str,
) -> impl FnOnce(Error) -> EngineError + use<> {
    let resource = resource.to_owned();
    move |error| to_engine_error(operation, resource, error)
}

fn to_engine_error(operation: &'static str, resource: String, error: Error) -> EngineError {
    let kind = kind_of(&error);
    if let Error::DockerResponseServerError { message, .. }
    | Error::DockerStreamError { error: message } = error
    {
        return EngineError::new(operation, resource, kind, message);
    }
    let known = if let Error::HyperLegacyError { err } = &error {
        Some(innermost(err))
    } else if matches!(error, Error::SocketNotFoundError(_)) {
        Some("there is no such socket".to_owned())
    } else if matches!(error, Error::RequestTimeoutError) {
        Some("the engine does not answer".to_owned())
    } else {
        None
    };
    match known {
        Some(message) => EngineError::new(operation, resource, kind, message),
        None => EngineError::new(operation, resource, kind, error),
    }
}

/// The last cause: what lies between says no more than that a connection failed.
fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => innermost(cause),
        None => error.to_string(),
    }
}

fn kind_of(error: &Error) -> EngineErrorKind {
    if let Error::DockerResponseServerError { status_code, .. } = error {
        return match status_code {
            400 => EngineErrorKind::Invalid,
            404 => EngineErrorKind::NotFound,
            409 => EngineErrorKind::Conflict,
            501 => EngineErrorKind::Unsupported,
            _ => EngineErrorKind::Failed,
        };
    }
    if is_connection(error) {
        EngineErrorKind::Unreachable
    } else {
        EngineErrorKind::Failed
    }
}

fn is_connection(error: &Error) -> bool {
    if let Error::HyperLegacyError { err } = error {
        return err.is_connect() || broke_off(err);
    }
    matches!(
        error,
        Error::RequestTimeoutError | Error::SocketNotFoundError(_)
    )
}

/// Whether the engine went while it was asked.
fn broke_off(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind;
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.into_iter().any(|error| {
        let io = error
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        let gone = [
            ErrorKind::ConnectionReset,
            ErrorKind::BrokenPipe,
            ErrorKind::UnexpectedEof,
        ];
        io.is_some_and(|kind| gone.contains(&kind))
            || error
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_incomplete_message)
    })
}

/// Calls with the status of "already so" are successes: 304 always, and what the caller names.
pub(super) fn already(result: Result<(), Error>, statuses: &[u16]) -> Result<(), Error> {
    match result {
        Err(Error::DockerResponseServerError { status_code, .. })
            if status_code == 304 || statuses.contains(&status_code) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// A filter by labels.
pub(super) fn label_filter(labels: &[String]) -> HashMap<String, Vec<String>> {
    if labels.is_empty() {
        return HashMap::new();
    }
    HashMap::from([("label".to_owned(), labels.to_vec())])
}

/// bollard's stream of output as ours.
pub(super) fn log_stream(
    operation: &'static str,
    resource: &str,
    stream: impl futures_util::Stream<Item = Result<LogOutput, Error>> + Send + 'static,
) -> LogStream {
    let resource = resource.to_owned();
    Box::pin(
        stream
            .map_ok(to_log_line)
            .map_err(move |error| to_engine_error(operation, resource.clone(), error)),
    )
}

fn to_log_line(output: LogOutput) -> LogLine {
    match output {
        LogOutput::StdErr { message } => LogLine {
            channel: Channel::Stderr,
            bytes: message,
        },
        LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => LogLine {
            channel: Channel::Stdout,
            bytes: message,
        },
    }
}

/// bollard's stream with our errors.
pub(super) fn stream<T: 'static>(
    operation: &'static str,
    resource: &str,
    stream: impl futures_util::Stream<Item = Result<T, Error>> + Send + 'static,
) -> Stream<T> {
    let resource = resource.to_owned();
    Box::pin(stream.map_err(move |error| to_engine_error(operation, resource.clone(), error)))
}

/// bollard's stream of progress as JSON messages.
pub(super) fn progress<T: Serialize + 'static>(
    operation: &'static str,
    resource: &str,
    stream: impl futures_util::Stream<Item = Result<T, Error>> + Send + 'static,
) -> Stream<Value> {
    let resource = resource.to_owned();
    Box::pin(stream.map(move |item| {
        let message = item.map_err(|error| to_engine_error(operation, resource.clone(), error))?;
        serde_json::to_value(message).map_err(|error| {
            EngineError::new(operation, resource.clone(), EngineErrorKind::Failed, error)
        })
    }))
}

/// bollard's stream of a build or a load as JSON messages, with the names that the API gives their parts.
pub(super) fn build_progress(
    operation: &'static str,
    resource: &str,
    stream: impl futures_util::Stream<Item = Result<models::BuildInfo, Error>> + Send + 'static,
) -> Stream<Value> {
    progress(operation, resource, stream.map_ok(build_message))
}

fn build_message(message: models::BuildInfo) -> Value {
    let mut object = serde_json::Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    put("id", message.id.map(Value::from));
    put("stream", message.stream.map(Value::from));
    put("status", message.status.map(Value::from));
    put("errorDetail", message.error_detail.map(|it| json!(it)));
    put(
        "progressDetail",
        message.progress_detail.map(|it| json!(it)),
    );
    put("aux", message.aux.map(|it| json!(it)));
    Value::Object(object)
}

/// Splits `name:tag` where the colon is not that of a registry's port; a digest is left with the name.
pub(super) fn split_reference(reference: &str) -> (String, Option<String>) {
    if reference.contains('@') {
        return (reference.to_owned(), None);
    }
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), Some(tag.to_owned())),
        _ => (reference.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_reference;

    #[test]
    fn the_port_of_a_registry_is_no_tag() {
        let split = |text| split_reference(text);
        assert_eq!(
            split("localhost:5000/web"),
            ("localhost:5000/web".to_owned(), None)
        );
        assert_eq!(split("web:1.2"), ("web".to_owned(), Some("1.2".to_owned())));
        assert_eq!(split("web@sha256:00"), ("web@sha256:00".to_owned(), None));
    }
}
