//! The messages of a described build as lines, as `BuildKit`'s plain progress has them.
//!
//! ```text
//! #2 [builder 2/4] RUN make
//! #2 0.214 cc -o x x.c
//! #2 DONE 0.9s
//! ```

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

/// Longest piece of output that waits for its line end.
const PARTIAL_MAX: usize = 8192;

/// Turns messages into lines.
#[derive(Debug)]
pub(super) struct BuildLines {
    vertices: BTreeMap<u64, Vertex>,
    /// Whose line came last: between the lines of two vertices stands a blank one.
    last: Option<u64>,
    failed: Option<u64>,
    failure: Option<Failure>,
    dockerfile: String,
}

#[derive(Debug)]
struct Vertex {
    since: Instant,
    cached: bool,
    partial: String,
}

#[derive(Debug)]
struct Failure {
    message: String,
    excerpt: String,
}

impl BuildLines {
    /// Of a Dockerfile of this name.
    pub(super) fn new(dockerfile: &str) -> Self {
        Self {
            vertices: BTreeMap::new(),
            last: None,
            failed: None,
            failure: None,
            dockerfile: dockerfile.to_owned(),
        }
    }

    /// The lines of one message.
    pub(super) fn take(&mut self, message: &Value) -> Vec<String> {
        let text = |name: &str| message.get(name).and_then(Value::as_str);
        if let Some(vertex) = message.get("vertex").and_then(Value::as_u64) {
            return self.vertex(vertex, message);
        }
        if let Some(error) = text("error") {
            let excerpt = text("excerpt").unwrap_or_default();
            return self.fail(error, excerpt);
        }
        if let Some(warning) = text("warning").or_else(|| text("note")) {
            return vec![warning.to_owned()];
        }
        if let Some(pull) = message.get("pull") {
            return pull_line(pull).into_iter().collect();
        }
        if let Some(id) = text("built") {
            return vec![format!("writing image {id}")];
        }
        text("tagged")
            .map(|name| vec![format!("naming to {name}")])
            .unwrap_or_default()
    }

    fn vertex(&mut self, number: u64, message: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        if self.last.is_some_and(|last| last != number) {
            lines.push(String::new());
        }
        self.last = Some(number);
        if let Some(title) = message.get("title").and_then(Value::as_str) {
            self.vertices.insert(
                number,
                Vertex {
                    since: Instant::now(),
                    cached: false,
                    partial: String::new(),
                },
            );
            lines.push(format!("#{number} {title}"));
            return lines;
        }
        let Some(vertex) = self.vertices.get_mut(&number) else {
            return lines;
        };
        let seconds = vertex.since.elapsed().as_secs_f64();
        if let Some(text) = message.get("output").and_then(Value::as_str) {
            vertex.partial.push_str(text);
            lines.extend(
                vertex
                    .whole_lines()
                    .map(|line| format!("#{number} {seconds:.3} {line}")),
            );
        } else if message.get("cached").is_some() {
            vertex.cached = true;
        } else {
            lines.extend(
                vertex
                    .rest()
                    .map(|line| format!("#{number} {seconds:.3} {line}")),
            );
            if message.get("failed").is_some() {
                self.failed = Some(number);
            } else if vertex.cached {
                lines.push(format!("#{number} CACHED"));
            } else {
                lines.push(format!("#{number} DONE {seconds:.1}s"));
            }
        }
        lines
    }

    fn fail(&mut self, error: &str, excerpt: &str) -> Vec<String> {
        // The engine knows the Dockerfile by its text only, where it is not in the context.
        let excerpt = match self.dockerfile.as_str() {
            "" | "Dockerfile" => excerpt.to_owned(),
            name => excerpt.replacen("\nDockerfile:", &format!("\n{name}:"), 1),
        };
        let mut lines = Vec::new();
        if let Some(number) = self.failed {
            lines.push(format!("#{number} ERROR: {error}"));
        }
        lines.extend(excerpt.lines().map(str::to_owned));
        self.failure = Some(Failure {
            message: error.to_owned(),
            excerpt,
        });
        lines
    }

    /// What went wrong; with the excerpt where its lines were not shown.
    pub(super) fn into_failure(self, quiet: bool) -> Option<String> {
        let failure = self.failure?;
        if quiet && !failure.excerpt.is_empty() {
            return Some(format!(
                "{}\n{}",
                failure.message,
                failure.excerpt.trim_end()
            ));
        }
        Some(failure.message)
    }
}

impl Vertex {
    /// The lines that are whole; the rest waits.
    fn whole_lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let end = match self.partial.rfind('\n') {
            Some(end) => end + 1,
            None if self.partial.len() > PARTIAL_MAX => self.partial.len(),
            None => 0,
        };
        let rest = self.partial.split_off(end);
        let whole = std::mem::replace(&mut self.partial, rest);
        let lines: Vec<String> = whole.lines().map(last_state).collect();
        lines.into_iter()
    }

    fn rest(&mut self) -> impl Iterator<Item = String> + use<> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.trim().is_empty())
            .then(|| last_state(&rest))
            .into_iter()
    }
}

/// What a terminal would show of a line that was drawn over.
fn last_state(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    line.rsplit('\r').next().unwrap_or(line).to_owned()
}

/// Pulls say where they are many times; of a layer only its end is told.
fn pull_line(message: &Value) -> Option<String> {
    let status = message.get("status")?.as_str()?;
    match message.get("id").and_then(Value::as_str) {
        Some(id) if matches!(status, "Pull complete" | "Already exists") => {
            Some(format!("{id}: {status}"))
        }
        Some(_) => None,
        None => Some(status.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Lines without their times.
    fn lines(messages: &[Value]) -> Vec<String> {
        let mut lines = BuildLines::new("");
        let each = messages.iter().flat_map(|message| lines.take(message));
        let without_time = |line: String| {
            let words = line.split(' ').map(|word| {
                let digits = word.trim_end_matches('s');
                if digits.contains('.') && digits.parse::<f64>().is_ok() {
                    "T"
                } else {
                    word
                }
            });
            words.collect::<Vec<_>>().join(" ")
        };
        each.map(without_time).collect()
    }

    #[test]
    fn steps_are_told_as_buildkit_does() {
        let told = lines(&[
            json!({ "vertex": 1, "title": "[1/2] FROM base" }),
            json!({ "vertex": 1, "cached": true }),
            json!({ "vertex": 1, "done": true }),
            json!({ "vertex": 2, "title": "[2/2] RUN make" }),
            json!({ "vertex": 2, "output": "10%\r20%\nhal" }),
            json!({ "vertex": 2, "output": "f" }),
            json!({ "vertex": 2, "done": true }),
        ]);
        assert_eq!(
            told,
            [
                "#1 [1/2] FROM base",
                "#1 CACHED",
                "",
                "#2 [2/2] RUN make",
                "#2 T 20%",
                "#2 T half",
                "#2 DONE T",
            ]
        );
    }

    #[test]
    fn a_failed_step_shows_the_excerpt() {
        let told = lines(&[
            json!({ "vertex": 1, "title": "[1/1] RUN false" }),
            json!({ "vertex": 1, "failed": true }),
            json!({ "error": "code 1", "excerpt": "Dockerfile:1\n" }),
        ]);
        assert_eq!(
            told,
            ["#1 [1/1] RUN false", "#1 ERROR: code 1", "Dockerfile:1"]
        );
    }

    #[test]
    fn a_quiet_failure_brings_its_excerpt_along() {
        let mut lines = BuildLines::new("x.Dockerfile");
        let failure = json!({ "error": "code 1", "excerpt": "------\nDockerfile:1\n" });
        let _shown = lines.take(&failure);
        assert_eq!(
            lines.into_failure(true).as_deref(),
            Some("code 1\n------\nx.Dockerfile:1")
        );
    }
}
