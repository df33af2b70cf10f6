//! From when on the lines of a container belong to the run that the engine has just told of: for `logs -f` and the
//! attached `up`, which meet containers that something else starts.

use std::collections::{HashMap, HashSet};

use bollard_stubs::models::EventMessage;

/// What events told of containers so far.
#[derive(Debug, Default)]
pub(in crate::cli) struct Runs {
    /// Containers that were made while they were followed.
    made: HashSet<String>,
    /// When the last run of a container ended.
    ends: HashMap<String, Option<String>>,
}

impl Runs {
    /// Takes one of the engine's events.
    pub(in crate::cli) fn note(&mut self, id: &str, event: &EventMessage) {
        match event.action.as_deref() {
            Some("create") => {
                self.made.insert(id.to_owned());
            }
            Some("die") => {
                self.ends.insert(id.to_owned(), moment(event));
            }
            _ => {}
        }
    }

    /// The time to ask for lines from, at a container's start; none is from its first line on. The event itself is told
    /// after the first lines are written, so its time would lose them.
    pub(in crate::cli) fn since(&self, id: &str, started: &EventMessage) -> Option<String> {
        if let Some(end) = self.ends.get(id) {
            return end.clone();
        }
        let seconds = started.time.map(|time| time.to_string());
        seconds.filter(|_| !self.made.contains(id))
    }
}

/// When something happened, in seconds since the epoch with all that the engine knows of their fraction.
fn moment(event: &EventMessage) -> Option<String> {
    let Some(nanos) = event.time_nano else {
        return event.time.map(|time| time.to_string());
    };
    Some(format!(
        "{}.{:09}",
        nanos.div_euclid(1_000_000_000),
        nanos.rem_euclid(1_000_000_000)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str, nanos: i64) -> EventMessage {
        EventMessage {
            action: Some(action.to_owned()),
            time: Some(nanos / 1_000_000_000),
            time_nano: Some(nanos),
            ..EventMessage::default()
        }
    }

    #[test]
    fn a_restarted_container_is_read_from_its_last_end_on() {
        let mut runs = Runs::default();
        runs.note("a", &event("die", 7_000_000_001));
        let since = runs.since("a", &event("start", 8_500_000_000));
        assert_eq!(since.as_deref(), Some("7.000000001"));
    }

    #[test]
    fn a_new_container_is_read_from_its_first_line_on() {
        let mut runs = Runs::default();
        runs.note("a", &event("create", 7_000_000_000));
        assert_eq!(runs.since("a", &event("start", 8_500_000_000)), None);
    }

    #[test]
    fn of_an_older_container_the_second_of_its_start_is_read() {
        let since = Runs::default().since("a", &event("start", 8_500_000_000));
        assert_eq!(since.as_deref(), Some("8"));
    }
}
