//! Events of a build as JSON lines, a vertex for each step that makes files.
//!
//! ```text
//! {"vertex": 2, "title": "[builder 2/4] RUN make"}      begins
//! {"vertex": 2, "cached": true}                         its result is known
//! {"vertex": 2, "output": "…"}                          it prints
//! {"vertex": 2, "done": true} | {"vertex": 2, "failed": true}
//! {"pull": {…}}  {"warning": "…"}  {"note": "…"}  {"built": "sha256:…"}  {"tagged": "…"}
//! {"error": "…", "excerpt": "…", "code": 1}             the last line of a failed build
//! ```

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::runtime::build::{BuildError, BuildEvent};

/// Turns events into lines.
pub(super) struct Narrator {
    lines: mpsc::Sender<io::Result<Bytes>>,
    /// The vertex under way, by stage.
    open: BTreeMap<usize, usize>,
    last: usize,
    excerpt: Option<String>,
}

impl Narrator {
    pub(super) fn new(lines: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self {
            lines,
            open: BTreeMap::new(),
            last: 0,
            excerpt: None,
        }
    }

    /// Tells one event.
    pub(super) fn take(&mut self, event: BuildEvent) {
        match event {
            BuildEvent::Step { stage, title, .. } => {
                if title.is_empty() {
                    return;
                }
                self.last += 1;
                self.open.insert(stage, self.last);
                self.say(&json!({ "vertex": self.last, "title": title }));
            }
            BuildEvent::Cached { stage } => self.of(stage, "cached", json!(true)),
            BuildEvent::Output { stage, text, .. } => self.of(stage, "output", json!(text)),
            // The step's container is nobody's concern here.
            BuildEvent::Running { .. } => {}
            BuildEvent::Done { stage, .. } => {
                self.of(stage, "done", json!(true));
                self.open.remove(&stage);
            }
            BuildEvent::StageEnded { stage } => {
                self.of(stage, "failed", json!(true));
                self.open.remove(&stage);
            }
            BuildEvent::Warning(text) => self.say(&json!({ "warning": text })),
            BuildEvent::Note(text) => self.say(&json!({ "note": text })),
            BuildEvent::Pull(message) => self.say(&json!({ "pull": message })),
            BuildEvent::Excerpt(text) => self.excerpt = Some(text),
            BuildEvent::Built(id) => self.say(&json!({ "built": id.to_string() })),
            BuildEvent::Tagged(name) => self.say(&json!({ "tagged": name })),
        }
    }

    /// Says something of a stage's vertex, if one is under way.
    fn of(&self, stage: usize, what: &str, value: Value) {
        if let Some(vertex) = self.open.get(&stage) {
            self.say(&json!({ "vertex": vertex, what: value }));
        }
    }

    /// Ends, with what went wrong.
    pub(super) fn end(self, error: Option<&BuildError>) {
        let Some(error) = error else { return };
        let mut line = json!({ "error": error.chain() });
        if let BuildError::Exit { code, .. } = error {
            line["code"] = json!(code);
        }
        if let Some(excerpt) = &self.excerpt {
            line["excerpt"] = json!(excerpt);
        }
        self.say(&line);
    }

    fn say(&self, line: &Value) {
        // A client that has left cancels the build by another way.
        let _left = self
            .lines
            .blocking_send(Ok(Bytes::from(format!("{line}\n"))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_from_its_beginning_to_its_end() {
        let (sender, mut receiver) = mpsc::channel(100);
        let mut narrator = Narrator::new(sender);
        let step = |title: &str| BuildEvent::Step {
            stage: 0,
            number: 1,
            total: 1,
            instruction: String::new(),
            title: title.to_owned(),
        };
        let done = || BuildEvent::Done {
            stage: 0,
            state: String::new(),
        };
        for event in [
            step("[1/2] FROM a"),
            done(),
            step(""),
            done(),
            step("[2/2] RUN b"),
            BuildEvent::Output {
                stage: 0,
                stream: crate::runtime::build::OutputStream::Stdout,
                text: "x\n".to_owned(),
            },
            BuildEvent::StageEnded { stage: 0 },
        ] {
            narrator.take(event);
        }
        narrator.end(Some(&BuildError::Cancelled));
        let mut lines = Vec::new();
        while let Ok(Ok(line)) = receiver.try_recv() {
            lines.push(String::from_utf8_lossy(&line).trim().to_owned());
        }
        assert_eq!(
            lines,
            [
                r#"{"vertex":1,"title":"[1/2] FROM a"}"#,
                r#"{"vertex":1,"done":true}"#,
                r#"{"vertex":2,"title":"[2/2] RUN b"}"#,
                r#"{"vertex":2,"output":"x\n"}"#,
                r#"{"vertex":2,"failed":true}"#,
                r#"{"error":"the build was cancelled"}"#,
            ]
        );
    }
}
