//! What happens in the engine, as news: a bounded memory of the past, and a live stream.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use tokio::sync::broadcast;

/// How many events are remembered for `since`.
const MEMORY: usize = 4096;

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// `container`, `image`, `network`, `volume`, `daemon`.
    pub kind: String,
    /// `create`, `die`, `health_status: healthy`, …
    pub action: String,
    /// The object's id, or name where it has no id.
    pub id: String,
    /// Name, image, labels and what belongs to the action.
    pub attributes: BTreeMap<String, String>,
    /// When, in nanoseconds since the epoch.
    pub at: i128,
}

/// A part of time, in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventWindow {
    /// From here; without it from now.
    pub since: Option<i128>,
    /// Up to here; without it for ever.
    pub until: Option<i128>,
}

/// Events as they come.
pub type EventStream = Pin<Box<dyn Stream<Item = Arc<Event>> + Send>>;

/// The memory and the stream.
#[derive(Debug)]
pub struct EventLog {
    past: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Event {
    /// An attribute's value.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = i64::try_from(self.at / 1_000_000_000).unwrap_or_default();
        let nanoseconds = i64::try_from(self.at).unwrap_or_default();
        let mut map = serializer.serialize_map(None)?;
        if self.kind == "container" || self.kind == "image" {
            map.serialize_entry("status", &self.action)?;
            map.serialize_entry("id", &self.id)?;
        }
        if let Some(image) = self.attributes.get("image") {
            map.serialize_entry("from", image)?;
        }
        map.serialize_entry("Type", &self.kind)?;
        map.serialize_entry("Action", &self.action)?;
        let actor = json!({ "ID": self.id, "Attributes": self.attributes });
        map.serialize_entry("Actor", &actor)?;
        map.serialize_entry("scope", "local")?;
        map.serialize_entry("time", &seconds)?;
        map.serialize_entry("timeNano", &nanoseconds)?;
        map.end()
    }
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            past: Mutex::default(),
            live: broadcast::channel(MEMORY).0,
        }
    }
}

impl EventLog {
    /// Tells everybody.
    pub fn publish(
        &self,
        kind: &str,
        action: impl Into<String>,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let event = Arc::new(Event {
            kind: kind.to_owned(),
            action: action.into(),
            id: id.to_owned(),
            attributes,
            at: Timestamp::now().as_nanosecond(),
        });
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == MEMORY {
            past.pop_front();
        }
        past.push_back(Arc::clone(&event));
        // Sending under the lock keeps memory and stream in the same order; nobody listening is fine.
        let _listeners = self.live.send(event);
    }

    /// The events of a window: those remembered, then those to come until its end.
    pub fn read(&self, window: EventWindow) -> EventStream {
        let (past, live) = {
            let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
            (past.clone(), self.live.subscribe())
        };
        let since = window.since;
        let until = window.until;
        let fits = move |event: &Arc<Event>| {
            since.is_some_and(|since| event.at >= since)
                && until.is_none_or(|until| event.at <= until)
        };
        let old: Vec<_> = past.into_iter().filter(fits).collect();
        let old = stream::iter(old);
        let Some(remaining) = remaining(until) else {
            return Box::pin(old.chain(follow(live)));
        };
        if remaining.is_zero() {
            return Box::pin(old);
        }
        let end = tokio::time::sleep(remaining);
        Box::pin(old.chain(follow(live).take_until(end)))
    }
}

fn remaining(until: Option<i128>) -> Option<Duration> {
    let left = until? - Timestamp::now().as_nanosecond();
    Some(Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
}

fn follow(live: broadcast::Receiver<Arc<Event>>) -> impl Stream<Item = Arc<Event>> + Send {
    stream::unfold(live, |mut live| async move {
        loop {
            match live.recv().await {
                Ok(event) => return Some((event, live)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}
