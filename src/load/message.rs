//! What a failure says: words, and values of the files.
//!
//! A value may have come from a variable, an env file or a secret, so it is never shown for itself: what is shown is
//! the text that stands in the file at its place, such as `${DB_PASSWORD}`. The two are compared when the message is
//! written, because only the report has the texts.

use std::borrow::Cow;

use super::{
    error::{Source, SourceKind},
    node::Span,
};

/// What stands for a part of a value that must not be seen.
const HIDDEN: &str = "…";
/// Longer texts are cut: the excerpt below the message shows the rest.
const LONGEST: usize = 80;

/// A sentence with values in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Message(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Words(String),
    Value {
        text: String,
        span: Span,
        form: Form,
    },
}

/// What a value in a message is of the value that stands at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// All of it.
    Whole,
    /// A part of it, such as the port in a volume.
    Part,
    /// Made of it, such as the absolute form of a path.
    Made,
    /// Words in which it may stand again.
    Detail,
}

impl Message {
    /// Adds words.
    pub(super) fn say(mut self, words: impl Into<String>) -> Self {
        self.0.push(Piece::Words(words.into()));
        self
    }

    fn push(mut self, span: Span, text: &str, form: Form) -> Self {
        let text = text.to_owned();
        self.0.push(Piece::Value { text, span, form });
        self
    }

    /// Adds the value of a place.
    pub(super) fn value(self, span: Span, text: &str) -> Self {
        self.push(span, text, Form::Whole)
    }

    /// Adds the value of a place in quotes.
    pub(super) fn quoted(self, span: Span, text: &str) -> Self {
        self.say("`").value(span, text).say("`")
    }

    /// Adds what was made of the value of a place, such as a path.
    pub(super) fn made(self, span: Span, text: &str) -> Self {
        self.push(span, text, Form::Made)
    }

    /// Adds words of others that may repeat the value of a place.
    pub(super) fn detail(self, span: Span, text: &str) -> Self {
        self.push(span, text, Form::Detail)
    }

    /// Adds what is wrong with the value of a place.
    pub(super) fn problem(mut self, span: Span, problem: &Problem) -> Self {
        for (index, words) in problem.words.split("{}").enumerate() {
            if let Some(part) = index.checked_sub(1).and_then(|at| problem.parts.get(at)) {
                self = self.push(span, part, Form::Part);
            }
            self = self.say(words);
        }
        self
    }

    /// Writes it, with the texts that its places point into.
    pub(super) fn write(&self, source: impl Fn(Span) -> Option<std::sync::Arc<Source>>) -> String {
        let mut written = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Words(words) => written.push_str(words),
                Piece::Value { text, span, form } => {
                    written.push_str(&shown(text, *span, *form, source(*span).as_deref()));
                }
            }
        }
        written
    }
}

impl<T: Into<String>> From<T> for Message {
    fn from(words: T) -> Self {
        Self::default().say(words)
    }
}

/// What is wrong with a text, in words that name parts of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    words: Cow<'static, str>,
    parts: Vec<String>,
    /// What to write instead.
    hint: Option<&'static str>,
}

impl Problem {
    /// Makes a problem; each `{}` in the words is a part of the text.
    pub(super) fn new(words: &'static str, parts: &[&str]) -> Self {
        let parts = parts.iter().map(|part| (*part).to_owned()).collect();
        Self {
            words: words.into(),
            parts,
            hint: None,
        }
    }

    /// Adds what to write instead.
    pub(super) fn hinted(self, hint: &'static str) -> Self {
        let hint = Some(hint);
        Self { hint, ..self }
    }

    /// Returns what to write instead.
    pub(super) fn hint(&self) -> Option<&'static str> {
        self.hint
    }

    /// Makes a problem that ends with the name of a kind of values.
    pub(super) fn kind(words: &str, kind: &str) -> Self {
        Self {
            words: format!("{words}{kind}").into(),
            parts: Vec::new(),
            hint: None,
        }
    }
}

impl From<&'static str> for Problem {
    fn from(words: &'static str) -> Self {
        Self::new(words, &[])
    }
}

/// Chooses between a value and the text that stands in the file.
fn shown(value: &str, span: Span, form: Form, source: Option<&Source>) -> String {
    // What no file holds was made by the loader itself, out of the specification.
    let Some(source) = source else {
        return value.to_owned();
    };
    let range = span.start as usize..span.end as usize;
    let written = source.text.get(range).unwrap_or_default();
    let substituted = written.contains('$') || source.kind == SourceKind::Variables;
    let literal = match form {
        Form::Made | Form::Detail => !substituted,
        Form::Whole | Form::Part => {
            !substituted && written.contains(value.lines().next().unwrap_or_default())
        }
    };
    match form {
        // Of a path its end counts.
        Form::Detail | Form::Made if literal => value.to_owned(),
        _ if literal => shortened(value),
        Form::Part | Form::Detail => HIDDEN.to_owned(),
        Form::Whole | Form::Made if source.kind == SourceKind::Variables => HIDDEN.to_owned(),
        Form::Whole | Form::Made => shortened(unquoted(written)),
    }
}

fn unquoted(written: &str) -> &str {
    let written = written.trim();
    ['"', '\'']
        .into_iter()
        .find_map(|quote| written.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(written)
}

fn shortened(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    if first.len() == text.trim_end_matches(['\r', '\n']).len() && text.chars().count() <= LONGEST {
        return first.to_owned();
    }
    let kept: String = first.chars().take(LONGEST).collect();
    kept + HIDDEN
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn written(message: &Message, text: &str, kind: SourceKind) -> String {
        let source = Arc::new(Source {
            name: "c.yaml".to_owned(),
            text: text.to_owned(),
            kind,
        });
        message.write(|_| Some(Arc::clone(&source)))
    }

    fn whole(text: &str) -> Span {
        Span {
            source: 0,
            start: 0,
            end: u32::try_from(text.len()).unwrap_or(u32::MAX),
        }
    }

    #[test]
    fn shows_what_is_written_and_never_what_was_substituted() {
        let problem = Problem::new("`{}` is not a port", &["hunter2"]);
        for (text, value, want) in [
            ("'80:http'", "80:http", "not `80:http`: `…` is not a port"),
            (
                "80:hunter2",
                "80:hunter2",
                "not `80:hunter2`: `hunter2` is not a port",
            ),
            (
                "\"80:${P}\"",
                "80:hunter2",
                "not `80:${P}`: `…` is not a port",
            ),
            ("80:$P", "80:hunter2", "not `80:$P`: `…` is not a port"),
            // `environment: [PASSWORD]`, filled in from the environment.
            (
                "PASSWORD",
                "PASSWORD=hunter2",
                "not `PASSWORD`: `…` is not a port",
            ),
        ] {
            let span = whole(text);
            let message = Message::from("not ")
                .quoted(span, value)
                .say(": ")
                .problem(span, &problem);
            assert_eq!(written(&message, text, SourceKind::Compose), want, "{text}");
        }
    }

    #[test]
    fn shows_nothing_of_a_file_of_variables() {
        let text = "A=hunter2";
        let message = Message::from("not ").value(whole(text), text);
        assert_eq!(written(&message, text, SourceKind::Variables), "not …");
    }

    #[test]
    fn cuts_long_texts() {
        let text = "x".repeat(200);
        let message = Message::default().value(whole(&text), &text);
        assert_eq!(
            written(&message, &text, SourceKind::Compose)
                .chars()
                .count(),
            LONGEST + 1
        );
    }
}
