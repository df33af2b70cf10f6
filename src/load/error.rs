//! What went wrong while loading, with the place in the source.
//!
//! Owns: [`Diagnostic`], which carries everything that is needed to draw it (`ui::diagnostic` does), and [`LoadError`],
//! which carries all independent errors of one run.

use std::{fmt, ops::Range, sync::Arc};

use super::Code;

/// A text that was read, with the name that people know it by.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Source {
    /// Path of the file, or `-` for standard input.
    pub name: String,
    /// Its whole text.
    pub text: String,
    /// What it is a text of.
    pub kind: SourceKind,
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceKind {
    /// A Compose file.
    #[default]
    Compose,
    /// A file of variables, whose values may be secret: nothing of it is shown, its lines are only numbered.
    Variables,
}

impl Source {
    /// Returns the line and the column, both from 1 and in characters, of a byte offset.
    #[must_use]
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[start..].chars().count() + 1)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Loading fails.
    Error,
    /// Loading goes on.
    Warning,
}

/// A place in a source that a diagnostic points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The text that was read.
    pub source: Arc<Source>,
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What is said beside the marker; may be empty.
    pub text: String,
}

/// An error or a warning about the files that were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What kind of mistake it is.
    pub code: Code,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Places: the first is the main one. Empty where there is no file to point at.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// Makes an error without a place.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a place.
    #[must_use]
    pub fn label(mut self, label: Label) -> Self {
        self.labels.push(label);
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = self.labels.first() {
            let (line, column) = label.source.line_column(label.span.start);
            write!(f, "{}:{line}:{column}: ", label.source.name)?;
        }
        f.write_str(&self.message)
    }
}

/// Loading failed; every independent error that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadError {
    /// The errors, in the order in which they were found; never empty.
    pub diagnostics: Vec<Diagnostic>,
    /// The warnings that were found before.
    pub warnings: Vec<Diagnostic>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

impl From<Diagnostic> for LoadError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            diagnostics: vec![diagnostic],
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_columns_in_characters() {
        let source = Source {
            name: "a.yaml".to_owned(),
            text: "ä: 1\nöb: 2\n".to_owned(),
            kind: SourceKind::Compose,
        };
        assert_eq!(source.line_column(0), (1, 1));
        assert_eq!(source.line_column(source.text.len() - 2), (2, 5));
    }
}
