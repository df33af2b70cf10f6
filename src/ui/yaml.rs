//! YAML text, written so that every reader of Compose files reads it back: docker compose's quoting, its indentation,
//! and comments where they are wanted.
//!
//! The general serializer leaves texts such as `1_000` bare, which docker compose would read as a number.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "JSON values that are not named are scalars, and treated alike"
)]

use std::fmt::Write as _;

use hoist::load;
use serde_json::Value;

/// Gives the comment of a line, by the path of its value.
pub(crate) type Comments<'c> = &'c dyn Fn(&[String]) -> Option<String>;

/// Writes a document.
pub(crate) fn document(value: &Value, comments: Comments<'_>) -> String {
    let mut writer = Writer {
        text: String::new(),
        path: Vec::new(),
        comments,
    };
    match value {
        Value::Object(map) if !map.is_empty() => writer.map(map, 0),
        Value::Array(list) if !list.is_empty() => writer.list(list, 0),
        other => {
            writer.scalar(other, 0);
            writer.text.push('\n');
        }
    }
    writer.text
}

struct Writer<'c> {
    text: String,
    path: Vec<String>,
    comments: Comments<'c>,
}

impl Writer<'_> {
    fn indent(&mut self, depth: usize) {
        self.text.extend(std::iter::repeat_n(' ', depth));
    }

    fn map(&mut self, map: &serde_json::Map<String, Value>, depth: usize) {
        for (index, (key, value)) in map.iter().enumerate() {
            if index > 0 || !self.text.ends_with("- ") {
                self.indent(depth);
            }
            self.text.push_str(&inline(key));
            self.text.push(':');
            self.path.push(key.clone());
            self.value(value, depth);
            self.path.pop();
        }
    }

    fn list(&mut self, list: &[Value], depth: usize) {
        for (index, value) in list.iter().enumerate() {
            if index > 0 || !self.text.ends_with("- ") {
                self.indent(depth);
            }
            self.text.push_str("- ");
            self.path.push(index.to_string());
            match value {
                Value::Object(map) if !map.is_empty() => self.map(map, depth + 2),
                Value::Array(inner) if !inner.is_empty() => self.list(inner, depth + 2),
                scalar => {
                    self.scalar(scalar, depth);
                    self.end_line();
                }
            }
            self.path.pop();
        }
    }

    /// Writes what follows a key.
    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                self.end_line();
                self.map(map, depth + 2);
            }
            Value::Array(list) if !list.is_empty() => {
                self.end_line();
                self.list(list, depth + 2);
            }
            scalar => {
                self.text.push(' ');
                self.scalar(scalar, depth);
                self.end_line();
            }
        }
    }

    fn scalar(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Object(_) => self.text.push_str("{}"),
            Value::Array(_) => self.text.push_str("[]"),
            Value::String(text) if is_literal(text) => self.literal(text, depth + 2),
            Value::String(text) => self.text.push_str(&inline(text)),
            Value::Bool(_) | Value::Number(_) => {
                write!(self.text, "{value}").expect("writing to a string never fails");
            }
        }
    }

    /// Ends a line with its comment; the lines of a literal take none.
    fn end_line(&mut self) {
        if self.text.ends_with('\n') {
            return;
        }
        if let Some(comment) = (self.comments)(&self.path) {
            self.text.push_str(" # ");
            self.text.push_str(&comment);
        }
        self.text.push('\n');
    }

    fn literal(&mut self, text: &str, depth: usize) {
        let body = text.trim_end_matches('\n');
        self.text.push_str(match text.len() - body.len() {
            0 => "|-",
            1 => "|",
            _ => "|+",
        });
        self.text.push('\n');
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            if !line.is_empty() {
                self.indent(depth);
                self.text.push_str(line);
            }
            self.text.push('\n');
        }
    }
}

/// Says whether a text is best written line by line.
fn is_literal(text: &str) -> bool {
    let printable = |next: char| next == '\n' || next == '\t' || !next.is_control();
    let inner = text.trim_end_matches('\n');
    inner.contains('\n') | (text.ends_with('\n') && !inner.is_empty())
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(printable)
        && !text.split('\n').any(|line| line.ends_with([' ', '\t']))
}

/// Writes a text on one line, in quotes where it needs them.
fn inline(text: &str) -> String {
    if text
        .chars()
        .any(|next| next.is_control() || next == '\u{feff}')
    {
        return double_quoted(text);
    }
    if !load::is_plain_text(text) {
        return double_quoted(text);
    }
    if is_old_boolean(text) || !is_plain(text) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    text.to_owned()
}

fn is_old_boolean(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "on"
            | "On"
            | "ON"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "off"
            | "Off"
            | "OFF"
    )
}

fn is_plain(text: &str) -> bool {
    let first = text.chars().next();
    let indicator = |first: char| ",[]{}#&*!|>'\"%@`".contains(first);
    let dash = |first: char| {
        matches!(first, '-' | '?' | ':') && text[1..].chars().next().is_none_or(|next| next == ' ')
    };
    first.is_some_and(|first| !indicator(first) && !dash(first))
        && text.trim() == text
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with(':')
        && !text.starts_with("---")
        && !text.starts_with("...")
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for next in text.chars() {
        match next {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            next if next.is_control() || next == '\u{feff}' => {
                write!(quoted, "\\u{:04x}", u32::from(next))
                    .expect("writing to a string never fails");
            }
            next => quoted.push(next),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(value: &Value) -> String {
        document(value, &|_| None)
    }

    #[test]
    fn quotes_what_readers_take_for_something_else() {
        let texts = [
            "0440",
            "1_000",
            "true",
            "",
            "yes",
            "a: b",
            "# x",
            "-",
            "plain text",
            "a#b",
            "*.foo",
            "it's",
        ];
        let text = written(&json!(texts));
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.trim_start_matches("- "))
            .collect();
        assert_eq!(
            lines,
            [
                "\"0440\"",
                "\"1_000\"",
                "\"true\"",
                "\"\"",
                "'yes'",
                "'a: b'",
                "'# x'",
                "'-'",
                "plain text",
                "a#b",
                "'*.foo'",
                "it's"
            ]
        );
    }

    #[test]
    fn reads_back_as_written() -> Result<(), serde_yaml::Error> {
        let value = json!({
            "a": {"list": [{"x": 1, "y": [[1, 2], []]}, "z"], "empty": {}},
            "text": "one\ntwo\n", "open": "one\ntwo", "more": "one\n\n", "odd": " lead\nx", "tab": "a\tb",
            "none": null, "flag": true, "number": 1.5,
        });
        let read: Value = serde_yaml::from_str(&written(&value))?;
        assert_eq!(read, value);
        Ok(())
    }
}
