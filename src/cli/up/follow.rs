//! The containers that an attached `up` follows: their output, and whether they still run.
//!
//! ```text
//! before_start ──> attach ──> pieces ──┐
//! engine event `start` ──> logs since ─┴──> channel ──> LogMux (one task writes)
//! engine event `die` ──> after the last piece: `exited with code N`
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use hoist::apply::StartWatcher;
use hoist::engine::stream::{Channel, LogStream};
use hoist::engine::{AttachOptions, Engine, LogOptions};

/// What is to be written.
#[derive(Debug)]
pub(super) enum Written {
    /// A source appears.
    Source(String),
    /// A piece of its output.
    Piece(String, Channel, Bytes),
    /// A line about it.
    Status(String, String),
    /// A line of the watch.
    Watch(String),
    /// The line of keys below the logs; empty is none.
    Menu(String),
}

/// A container that is followed.
#[derive(Debug)]
struct Followed {
    name: String,
    service: String,
    reading: Option<JoinHandle<()>>,
}

/// Follows containers.
#[derive(Debug)]
pub(super) struct Follower {
    engine: Arc<dyn Engine>,
    prefix: String,
    shown: Vec<String>,
    watched: Vec<String>,
    out: UnboundedSender<Written>,
    state: Mutex<HashMap<String, Followed>>,
}

impl Follower {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        prefix: String,
        (shown, watched): (Vec<String>, Vec<String>),
        out: UnboundedSender<Written>,
    ) -> Self {
        Self {
            engine,
            prefix,
            shown,
            watched,
            out,
            state: Mutex::default(),
        }
    }

    /// The name of a container in logs: without the project.
    pub(super) fn log_name<'n>(&self, name: &'n str) -> &'n str {
        name.strip_prefix(&self.prefix).unwrap_or(name)
    }

    /// Whether the output of a service is shown.
    fn shows(&self, service: &str) -> bool {
        self.shown.iter().any(|name| name == service)
    }

    /// Whether the end of a service counts.
    pub(super) fn watches(&self, service: &str) -> bool {
        self.watched.iter().any(|name| name == service)
    }

    /// Whether a service is followed for either reason.
    pub(super) fn follows(&self, service: &str) -> bool {
        self.shows(service) || self.watches(service)
    }

    /// Whether a container is followed.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Number of containers whose end counts and that have not ended.
    pub(super) fn running(&self) -> usize {
        self.lock()
            .values()
            .filter(|followed| self.watches(&followed.service))
            .count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Followed>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches to what the container prints from now on.
    pub(super) async fn attach(&self, service: &str, id: &str, name: &str) {
        if !self.shows(service) {
            return self.follow(service, id, name, None);
        }
        let tty = self
            .engine
            .inspect_container(id)
            .await
            .ok()
            .and_then(|container| container.config?.tty);
        let options = AttachOptions {
            output: true,
            tty: tty.unwrap_or(false),
            ..AttachOptions::default()
        };
        let stream = match self.engine.attach(id, &options).await {
            Ok(session) => Some(session.output),
            Err(_) => None,
        };
        self.follow(service, id, name, stream);
    }

    /// Goes on with a container that another command started, from this time on.
    pub(super) async fn resume(&self, service: &str, id: &str, name: &str, since: Option<String>) {
        if !self.shows(service) {
            return self.follow(service, id, name, None);
        }
        let options = LogOptions {
            follow: true,
            since,
            ..LogOptions::default()
        };
        let stream = self.engine.logs(id, &options).await.ok();
        self.follow(service, id, name, stream);
    }

    fn follow(&self, service: &str, id: &str, name: &str, stream: Option<LogStream>) {
        let shown = self.log_name(name).to_owned();
        if self.shows(service) {
            drop(self.out.send(Written::Source(shown.clone())));
        }
        let out = self.out.clone();
        let reading = stream.map(|mut stream| {
            tokio::spawn(async move {
                while let Some(Ok(piece)) = stream.next().await {
                    if out
                        .send(Written::Piece(shown.clone(), piece.channel, piece.bytes))
                        .is_err()
                    {
                        return;
                    }
                }
            })
        });
        let followed = Followed {
            name: name.to_owned(),
            service: service.to_owned(),
            reading,
        };
        self.lock().insert(id.to_owned(), followed);
    }

    /// Waits for the last of a container's output and answers its service and name; it is not followed any more.
    pub(super) async fn end(&self, id: &str) -> Option<(String, String)> {
        let followed = self.lock().remove(id)?;
        if let Some(mut reading) = followed.reading
            && tokio::time::timeout(Duration::from_secs(2), &mut reading)
                .await
                .is_err()
        {
            reading.abort();
        }
        Some((followed.service, followed.name))
    }

    /// Writes a line about a container whose output is shown.
    pub(super) fn say(&self, (service, name): (&str, &str), text: String) {
        if !self.shows(service) {
            return;
        }
        drop(
            self.out
                .send(Written::Status(self.log_name(name).to_owned(), text)),
        );
    }
}

#[async_trait]
impl StartWatcher for Follower {
    async fn before_start(&self, service: &str, id: &str, name: &str) {
        if self.follows(service) {
            self.attach(service, id, name).await;
        }
    }
}
