//! How the phases report: failures that point into sources by number, and the sources behind the numbers.

use std::sync::Arc;

use super::{
    Code, Diagnostic, Label, LoadError, Severity, Source,
    error::SourceKind,
    message::{Message, Problem},
    node::Span,
};

/// One error or warning of a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    code: Code,
    message: Message,
    places: Vec<(Span, String)>,
    hints: Vec<String>,
}

impl Failure {
    /// Makes a failure without a place.
    pub(super) fn new(code: Code, message: impl Into<Message>) -> Self {
        Self {
            code,
            message: message.into(),
            places: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Goes on with words.
    pub(super) fn say(mut self, words: impl Into<String>) -> Self {
        self.message = self.message.say(words);
        self
    }

    /// Goes on with the value of a place, in quotes.
    pub(super) fn quoted(mut self, span: Span, text: &str) -> Self {
        self.message = self.message.quoted(span, text);
        self
    }

    /// Goes on with the value of a place.
    pub(super) fn value(mut self, span: Span, text: &str) -> Self {
        self.message = self.message.value(span, text);
        self
    }

    /// Goes on with what was made of the value of a place, such as a path.
    pub(super) fn made(mut self, span: Span, text: &str) -> Self {
        self.message = self.message.made(span, text);
        self
    }

    /// Goes on with words of others that may repeat the value of a place.
    pub(super) fn detail(mut self, span: Span, text: &str) -> Self {
        self.message = self.message.detail(span, text);
        self
    }

    /// Goes on with what is wrong with the value of a place.
    pub(super) fn problem(mut self, span: Span, problem: &Problem) -> Self {
        self.message = self.message.problem(span, problem);
        self.hint_if(problem.hint().map(str::to_owned))
    }

    /// Adds a place; places that no file holds are left out.
    pub(super) fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        let known = self.places.iter().any(|(place, _)| *place == span);
        if span.source != u32::MAX && !known {
            self.places.push((span, text.into()));
        }
        self
    }

    /// Adds a place before all others, as the one that it is about.
    pub(super) fn first_at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.places.insert(0, (span, text.into()));
        self
    }

    /// Says whether it points at one of these places.
    pub(super) fn touches(&self, spans: &[Span]) -> bool {
        self.places.iter().any(|(place, _)| spans.contains(place))
    }

    /// Returns the place that it is about.
    pub(super) fn main_place(&self) -> Option<Span> {
        self.places.first().map(|(place, _)| *place)
    }

    /// Returns how many places it points at.
    pub(super) fn count_places(&self) -> usize {
        self.places.len()
    }

    /// Returns what is said at the place that it is about.
    pub(super) fn main_label(&self) -> Option<&str> {
        self.places.first().map(|(_, text)| text.as_str())
    }

    /// Returns its kind.
    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// Adds a hint.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a hint where there is none yet.
    pub(super) fn or_hint(self, hint: &str) -> Self {
        if self.hints.is_empty() {
            self.hint(hint)
        } else {
            self
        }
    }

    /// Adds a hint, where there is one.
    pub(super) fn hint_if(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}

/// All failures of a phase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Failures(pub(super) Vec<Failure>);

impl Failures {
    /// Returns every place that is pointed at.
    #[cfg(test)]
    pub(super) fn places(&self) -> Vec<Span> {
        let places = self.0.iter().flat_map(|failure| &failure.places);
        places.map(|(place, _)| *place).collect()
    }

    /// Fails where anything was collected.
    pub(super) fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<Failure> for Failures {
    fn from(failure: Failure) -> Self {
        Self(vec![failure])
    }
}

/// The texts that were read so far, and the warnings about them.
#[derive(Debug, Default)]
pub(super) struct Report {
    sources: Vec<Arc<Source>>,
    warnings: Vec<Diagnostic>,
}

impl Report {
    /// Adds a text and returns its number.
    pub(super) fn add_source(
        &mut self,
        name: &str,
        text: String,
        kind: SourceKind,
    ) -> (u32, Arc<Source>) {
        let source = Arc::new(Source {
            name: name.to_owned(),
            text,
            kind,
        });
        self.sources.push(Arc::clone(&source));
        let number = u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX);
        (number, source)
    }

    /// Returns the source of a place.
    pub(super) fn source(&self, span: Span) -> Option<&Arc<Source>> {
        self.sources.get(span.source as usize)
    }

    /// Keeps a warning, once.
    pub(super) fn warn(&mut self, failure: Failure) {
        let diagnostic = self.diagnostic(failure, Severity::Warning);
        if !self.warnings.contains(&diagnostic) {
            self.warnings.push(diagnostic);
        }
    }

    /// Returns the sources and the warnings.
    pub(super) fn into_parts(self) -> (Vec<Arc<Source>>, Vec<Diagnostic>) {
        (self.sources, self.warnings)
    }

    /// Makes the error of the run, in the order of the files and of the lines in them.
    pub(super) fn into_error(self, mut failures: Failures) -> LoadError {
        failures.0.sort_by_key(|failure| {
            let place = failure.main_place();
            place.map(|place| (place.source, place.start))
        });
        let diagnostics = failures
            .0
            .into_iter()
            .map(|failure| self.diagnostic(failure, Severity::Error))
            .collect();
        LoadError {
            diagnostics,
            warnings: self.warnings,
        }
    }

    fn diagnostic(&self, failure: Failure, severity: Severity) -> Diagnostic {
        let labels = failure
            .places
            .into_iter()
            .filter_map(|(span, text)| {
                let source = Arc::clone(self.source(span)?);
                let (start, end) = (span.start as usize, span.end as usize);
                // A block ends where the next one starts; its last line is what people see as its end.
                let written = source.text.get(start..end).unwrap_or_default();
                let end = start + written.trim_end().len();
                Some(Label {
                    source,
                    span: start..end,
                    text,
                })
            })
            .collect();
        Diagnostic {
            severity,
            code: failure.code,
            message: failure.message.write(|span| self.source(span).cloned()),
            labels,
            hints: failure.hints,
        }
    }
}
