//! `POST /containers/ID/attach`: the streams of a container's own process.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use super::streams::{
    Connection, DetachKeys, InputEnd, Streams, check_readable, hijack, log_query, pump_input,
    pump_output, until_error,
};
use crate::api::call::Call;
use crate::api::reply::{self, RouteResult};
use crate::runtime::keeper::{Input, Output, Session};
use crate::runtime::supervise::log::{self, Switch};
use crate::runtime::supervise::status::Operation;
use crate::runtime::supervise::{Container, Supervisor};

type Pieces = std::pin::Pin<Box<dyn Stream<Item = Bytes> + Send>>;

pub(super) async fn attach(
    engine: &Arc<Supervisor>,
    container: Arc<Container>,
    call: Call,
) -> RouteResult {
    let keys = DetachKeys::parse(call.query.find("detachKeys").unwrap_or_default())?;
    container.allows(Operation::Attach)?;
    let terminal = container.with(crate::runtime::supervise::record::Record::has_terminal);
    let streams = Streams {
        framed: !terminal,
        stdout: call.query.is_on("stdout"),
        stderr: call.query.is_on("stderr"),
    };
    let live = call.query.is_on("stream");
    let old = call.query.is_on("logs");
    let session = if live {
        Some(engine.keeper().attach(container.id()).await?)
    } else {
        None
    };
    engine.publish(&container, "attach", []);
    let (input, output) = match session {
        Some(Session { input, output }) => (Some(input), Some(output)),
        None => (None, None),
    };
    let pieces = pieces(&container, &call, streams, old, output)?;
    let content_type = streams.content_type(call.version);
    let wants_input = call.query.is_on("stdin")
        && container.with(|record| record.config.open_stdin == Some(true));
    let talk = Talk {
        input,
        wants_input,
        keys: terminal.then_some(keys),
        pieces,
    };
    if call.wants_upgrade() {
        return Ok(hijack(call, content_type, |connection| {
            talk.run(connection)
        }));
    }
    // Clients of old send no `Upgrade`: the output is the answer's body, and what they send is its input.
    let held = talk.input;
    let body = talk.pieces.map(Ok).chain(stream::once(async move {
        drop(held);
        Ok(Bytes::new())
    }));
    Ok(reply::stream(content_type, body))
}

/// What was written, what is being written, or the one after the other.
fn pieces(
    container: &Arc<Container>,
    call: &Call,
    streams: Streams,
    old: bool,
    output: Option<Output>,
) -> crate::runtime::error::RuntimeResult<Pieces> {
    let mut query = log_query(call)?;
    query.follow = Switch::Off;
    Ok(match (old, output) {
        (false, None) => Box::pin(stream::empty()),
        (false, Some(output)) => Box::pin(live(output, streams)),
        (true, None) => {
            check_readable(container)?;
            Box::pin(until_error(log::read(Arc::clone(container), query)))
        }
        (true, Some(_output)) => {
            // Following the log joins old and new without a gap and without doubles.
            check_readable(container)?;
            query.follow = Switch::On;
            Box::pin(until_error(log::read(Arc::clone(container), query)))
        }
    })
}

/// The output of a session as frames, up to its end.
fn live(output: Output, streams: Streams) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(output, move |mut output| async move {
        loop {
            match output.next().await {
                Ok(Some(item)) => {
                    if let Some(frame) = streams.frame(&item) {
                        return Some((frame, output));
                    }
                }
                Ok(None) | Err(_) => return None,
            }
        }
    })
}

/// One conversation on a hijacked connection.
struct Talk {
    input: Option<Input>,
    wants_input: bool,
    keys: Option<DetachKeys>,
    pieces: Pieces,
}

impl Talk {
    async fn run(self, (mut reader, writer): Connection) {
        let Self {
            input,
            wants_input,
            keys,
            pieces,
        } = self;
        let output = pump_output(pieces, writer);
        tokio::pin!(output);
        let Some(input) = input.filter(|_| wants_input) else {
            output.await;
            return;
        };
        let input = Arc::new(tokio::sync::Mutex::new(Some(input)));
        let incoming = pump_input(&mut reader, keys, |bytes| {
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
            // The container may have ended meanwhile; then there is nothing to close.
            let _ended = input.close().await;
        }
        output.await;
    }
}
