//! Events.

use bollard::Docker;
use bollard::query_parameters as query;
use bollard_stubs::models;

use super::convert::{label_filter, stream};
use crate::engine::{EventRequest, Stream};

pub(super) fn follow(client: &Docker, request: &EventRequest) -> Stream<models::EventMessage> {
    let options = query::EventsOptions {
        since: request.since.clone(),
        until: request.until.clone(),
        filters: Some(label_filter(&request.labels)),
    };
    stream("follow events", "engine", client.events(Some(options)))
}
