//! Events.

use bollard::Docker;
use bollard::query_parameters as query;
use bollard_stubs::models;

use super::convert::{label_filter, stream};
use super::time;
use crate::engine::{EventRequest, Stream};

pub(super) fn follow(client: &Docker, request: &EventRequest) -> Stream<models::EventMessage> {
    let options = query::EventsOptions {
        since: request.since.as_deref().map(absolute),
        until: request.until.as_deref().map(absolute),
        filters: Some(label_filter(&request.labels)),
    };
    stream("follow events", "engine", client.events(Some(options)))
}

/// Engines want times in seconds; what is none they refuse themselves, in their own words.
fn absolute(text: &str) -> String {
    time::parse(text).unwrap_or_else(|_| text.to_owned())
}
