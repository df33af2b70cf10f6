//! A JSON object on each line (behaviours.md B287).

use hoist::apply::ApplyEvent;
use serde_json::{Map, Value, json};

use super::Ui;
use super::renderer::{Effect, Renderer};

/// Shows a JSON object for each piece of news.
#[derive(Debug)]
pub(crate) struct JsonRenderer {
    ui: Ui,
    effect: Effect,
}

impl JsonRenderer {
    pub(super) fn new(ui: Ui, effect: Effect) -> Self {
        Self { ui, effect }
    }
}

impl Renderer for JsonRenderer {
    fn event(&mut self, event: &ApplyEvent) {
        let mut line = object(event);
        if self.effect == Effect::Simulated {
            line.insert("dry-run".to_owned(), json!(true));
        }
        self.ui.status(Value::Object(line));
    }
}

/// Empty members are left out.
fn object(event: &ApplyEvent) -> Map<String, Value> {
    let mut line = Map::new();
    let mut set = |key: &str, value: Value| {
        if value != json!("") && !value.is_null() {
            line.insert(key.to_owned(), value);
        }
    };
    match event {
        ApplyEvent::Resource(news) => {
            set("id", json!(news.id));
            set("parent_id", json!(news.parent));
            set("status", json!(news.status));
            set("text", json!(news.text));
            set("details", json!(news.details));
            if let Some(progress) = news.progress {
                set("current", json!(progress.current));
                set("total", json!(progress.total));
                set("percent", json!(progress.percent()));
            }
        }
        ApplyEvent::Output { source, line } => {
            set("id", json!(source));
            set("text", json!(line));
        }
        ApplyEvent::BuildOutput { line, .. } => {
            set("id", json!("build"));
            set("text", json!(line));
        }
        ApplyEvent::Warning(text) => {
            set("status", json!("Warning"));
            set("text", json!(text));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::object;
    use hoist::apply::{ApplyEvent, ResourceEvent, Status};

    #[test]
    fn leaves_empty_members_out() {
        let news = ResourceEvent::new("Container p-web-1", Status::Done, "Created");
        let line = serde_json::Value::Object(object(&ApplyEvent::Resource(news))).to_string();
        assert_eq!(
            line,
            r#"{"id":"Container p-web-1","status":"Done","text":"Created"}"#
        );
    }
}
