//! `GET /containers/ID/attach/ws`: the streams of a container's own process over a WebSocket.
//!
//! A message carries output as it comes, both streams as one, and input as it is given: as text where it is text.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::streams::Streams;
use crate::api::call::Call;
use crate::api::reply::{RouteResult, full};
use crate::runtime::error::RuntimeError;
use crate::runtime::keeper::{Input, Output, Session};
use crate::runtime::supervise::status::Operation;
use crate::runtime::supervise::{Container, Supervisor};

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

type Socket = WebSocketStream<TokioIo<Upgraded>>;

pub(super) async fn attach(
    engine: &Arc<Supervisor>,
    container: Arc<Container>,
    call: Call,
) -> RouteResult {
    container.allows(Operation::Attach)?;
    let accept = call
        .headers()
        .get(&KEY)
        .map(|key| derive_accept_key(key.as_bytes()))
        .ok_or_else(|| RuntimeError::invalid("not a WebSocket handshake: no key was sent"))?;
    let accept = HeaderValue::try_from(accept)
        .map_err(|error| RuntimeError::internal("cannot answer a WebSocket handshake", error))?;
    let streams = Streams {
        framed: false,
        stdout: call.query.is_on("stdout"),
        stderr: call.query.is_on("stderr"),
    };
    let wants_input = call.query.is_on("stdin")
        && container.with(|record| record.config.open_stdin == Some(true));
    let session = engine.keeper().attach(container.id()).await?;
    engine.publish(&container, "attach", []);
    let upgrade = hyper::upgrade::on(call.into_request());
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let io = TokioIo::new(upgraded);
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
                talk(socket, session, streams, wants_input).await;
            }
            Err(error) => tracing::debug!(%error, "a client left before the upgrade"),
        }
    });
    let mut reply = Response::new(full(Vec::new()));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(ACCEPT, accept);
    Ok(reply)
}

/// Ends when the container's output does, or the client leaves.
async fn talk(socket: Socket, session: Session, streams: Streams, wants_input: bool) {
    let Session { input, output } = session;
    let (sender, receiver) = socket.split();
    let incoming = receive(receiver, Some(input).filter(|_| wants_input));
    let outgoing = send(sender, output, streams);
    tokio::select! {
        () = incoming => {}
        () = outgoing => {}
    }
}

async fn send(mut sender: SplitSink<Socket, Message>, mut output: Output, streams: Streams) {
    while let Ok(Some(item)) = output.next().await {
        let Some(bytes) = streams.frame(&item) else {
            continue;
        };
        // A client that has left is no error of anybody's.
        if sender.send(message(bytes)).await.is_err() {
            return;
        }
    }
    let _left = sender.close().await;
}

fn message(bytes: Bytes) -> Message {
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

async fn receive(mut receiver: SplitStream<Socket>, mut input: Option<Input>) {
    while let Some(Ok(message)) = receiver.next().await {
        if message.is_close() {
            break;
        }
        if !(message.is_text() || message.is_binary()) {
            continue;
        }
        let written = match &mut input {
            Some(input) => input.write_all(&message.into_data()).await,
            None => Ok(()),
        };
        if written.is_err() {
            // The process takes no more, but may still have something to say.
            input = None;
        }
    }
    if let Some(input) = input {
        // The container may have ended meanwhile; then there is nothing to close.
        let _ended = input.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_as_text_and_the_rest_as_bytes() {
        assert!(message(Bytes::from_static(b"hi\n")).is_text());
        assert!(message(Bytes::from_static(b"\xff\xfe")).is_binary());
    }
}
