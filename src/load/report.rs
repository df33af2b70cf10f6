//! How the phases report: failures that point into sources by number, and the sources behind the numbers.

use std::sync::Arc;

use super::{Diagnostic, Label, LoadError, Severity, Source, node::Span};

/// One error or warning of a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    message: String,
    places: Vec<(Span, String)>,
    hints: Vec<String>,
}

impl Failure {
    /// Makes a failure without a place.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            places: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Adds a place; places that no file holds are left out.
    pub(super) fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        let known = self.places.iter().any(|(place, _)| *place == span);
        if span.source != u32::MAX && !known {
            self.places.push((span, text.into()));
        }
        self
    }

    /// Says whether it points at one of these places.
    fn touches(&self, spans: &[Span]) -> bool {
        self.places.iter().any(|(place, _)| spans.contains(place))
    }

    /// Adds a hint.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
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
    /// Adds the failures of a later phase, without those about values that are wrong already.
    pub(super) fn absorb(&mut self, result: Result<(), Self>, wrong: &[Span]) {
        if let Err(later) = result {
            self.0.extend(
                later
                    .0
                    .into_iter()
                    .filter(|failure| !failure.touches(wrong)),
            );
        }
    }

    /// Returns every place that is pointed at.
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
    pub(super) fn add_source(&mut self, name: &str, text: String) -> (u32, Arc<Source>) {
        let source = Arc::new(Source {
            name: name.to_owned(),
            text,
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

    /// Makes the error of the run.
    pub(super) fn into_error(self, failures: Failures) -> LoadError {
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
                Some(Label {
                    source: Arc::clone(self.source(span)?),
                    span: span.start as usize..span.end as usize,
                    text,
                })
            })
            .collect();
        Diagnostic {
            severity,
            message: failure.message,
            labels,
            hints: failure.hints,
        }
    }
}
