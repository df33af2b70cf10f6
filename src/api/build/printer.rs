//! Events of a build as the lines that the classic builder prints.
//!
//! Stages that are built at once are printed one after the other: the first unfinished stage is live, what the others
//! say waits for their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::runtime::build::{BuildError, BuildEvent};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verbosity {
    /// Everything.
    All,
    /// The image's id.
    IdOnly,
}

/// Turns events into lines of the answer.
pub(super) struct Printer {
    lines: mpsc::Sender<io::Result<Bytes>>,
    verbosity: Verbosity,
    /// What stages have said that is not printed yet.
    waiting: BTreeMap<usize, Vec<Value>>,
    ended: BTreeSet<usize>,
}

impl Printer {
    pub(super) fn new(lines: mpsc::Sender<io::Result<Bytes>>, verbosity: Verbosity) -> Self {
        Self {
            lines,
            verbosity,
            waiting: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    pub(super) fn take(&mut self, event: BuildEvent) {
        match event {
            BuildEvent::Step {
                stage,
                number,
                total,
                instruction,
                ..
            } => {
                self.stage(
                    stage,
                    said(&format!("Step {number}/{total} : {instruction}\n")),
                );
            }
            BuildEvent::Cached { stage } => self.stage(stage, said(" ---> Using cache\n")),
            BuildEvent::Running { stage, container } => {
                let id = container.get(..12).unwrap_or(&container);
                self.stage(stage, said(&format!(" ---> Running in {id}\n")));
            }
            BuildEvent::Output { stage, text, .. } => self.stage(stage, said(&text)),
            BuildEvent::Done { stage, state } => {
                self.stage(stage, said(&format!(" ---> {state}\n")));
            }
            BuildEvent::StageEnded { stage } => self.ended(stage),
            BuildEvent::Warning(text) => self.say(&said(&format!("{text}\n"))),
            BuildEvent::Note(text) => self.say(&said(&format!("{text}\n"))),
            BuildEvent::Pull(message) => self.say(&message),
            BuildEvent::Excerpt(text) => {
                self.flush();
                self.say(&said(&text));
            }
            BuildEvent::Built(id) => {
                self.flush();
                if self.verbosity == Verbosity::IdOnly {
                    self.send(&said(&format!("{id}\n")));
                }
                self.say(&json!({ "aux": { "ID": id.to_string() } }));
                self.say(&said(&format!("Successfully built {}\n", id.short())));
            }
            BuildEvent::Tagged(name) => self.say(&said(&format!("Successfully tagged {name}\n"))),
        }
    }

    /// Prints what the first unfinished stage says; keeps what others say.
    fn stage(&mut self, stage: usize, line: Value) {
        self.waiting.entry(stage).or_default().push(line);
        self.print_first();
    }

    /// Prints the first stage's lines; those of stages after it when it has ended.
    fn print_first(&mut self) {
        while let Some((stage, lines)) = self.waiting.pop_first() {
            for line in &lines {
                self.say(line);
            }
            if !self.ended.contains(&stage) {
                self.waiting.insert(stage, Vec::new());
                return;
            }
        }
    }

    fn ended(&mut self, stage: usize) {
        self.ended.insert(stage);
        self.print_first();
    }

    fn flush(&mut self) {
        for line in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.say(&line);
        }
    }

    pub(super) fn end(&mut self, error: Option<&BuildError>) {
        self.flush();
        let Some(error) = error else { return };
        let message = error.chain();
        let mut detail = json!({ "message": message });
        if let BuildError::Exit { code, .. } = error {
            detail["code"] = json!(code);
        }
        self.send(&json!({ "errorDetail": detail, "error": message }));
    }

    fn say(&self, line: &Value) {
        if self.verbosity == Verbosity::All {
            self.send(line);
        }
    }

    fn send(&self, line: &Value) {
        // A client that has left cancels the build by another way.
        let _left = self
            .lines
            .blocking_send(Ok(Bytes::from(format!("{line}\r\n"))));
    }
}

fn said(text: &str) -> Value {
    json!({ "stream": text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(events: Vec<BuildEvent>) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(100);
        let mut printer = Printer::new(sender, Verbosity::All);
        for event in events {
            printer.take(event);
        }
        printer.end(None);
        drop(printer);
        let mut lines = Vec::new();
        while let Ok(Ok(bytes)) = receiver.try_recv() {
            let line: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            lines.push(
                line["stream"]
                    .as_str()
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
            );
        }
        lines
    }

    #[test]
    fn stages_that_run_at_once_are_printed_one_after_the_other() {
        let output = |stage, text: &str| BuildEvent::Output {
            stage,
            stream: crate::runtime::build::OutputStream::Stdout,
            text: text.to_owned(),
        };
        let events = vec![
            output(0, "a1"),
            output(1, "b1"),
            output(0, "a2"),
            output(2, "c1"),
            BuildEvent::StageEnded { stage: 0 },
            output(1, "b2"),
            BuildEvent::StageEnded { stage: 2 },
            BuildEvent::StageEnded { stage: 1 },
        ];
        assert_eq!(printed(events), ["a1", "a2", "b1", "b2", "c1"]);
    }
}
