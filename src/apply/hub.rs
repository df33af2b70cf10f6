//! One subscription to the engine's events for all waits of a run.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::broadcast;

use crate::engine::{Engine, EventRequest, label};

/// What a wait can hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Something happened to this container.
    Container(String),
    /// The engine's stream ended: whoever waits must look by itself from now on.
    Closed,
}

/// The engine's events, passed on to every wait.
#[derive(Debug)]
pub(super) struct Hub {
    sender: broadcast::Sender<Heard>,
    task: tokio::task::JoinHandle<()>,
}

impl Hub {
    /// Subscribes. Everything that happens after this returns is heard.
    pub(super) async fn open(engine: &Arc<dyn Engine>, project: &str) -> Self {
        let (sender, _) = broadcast::channel(256);
        let request = EventRequest {
            labels: vec![format!("{}={project}", label::PROJECT)],
            ..EventRequest::default()
        };
        let stream = engine.events(&request).await;
        let out = sender.clone();
        let task = tokio::spawn(async move {
            if let Ok(mut stream) = stream {
                while let Some(Ok(event)) = stream.next().await {
                    if let Some(id) = event.actor.and_then(|actor| actor.id) {
                        // No wait is listening: nothing is lost, each looks before it listens.
                        drop(out.send(Heard::Container(id)));
                    }
                }
            }
            loop {
                drop(out.send(Heard::Closed));
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        });
        Self { sender, task }
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Heard> {
        self.sender.subscribe()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.task.abort();
    }
}
