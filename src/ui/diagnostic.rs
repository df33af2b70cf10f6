//! Errors of the loader with an excerpt of the file, a marker and hints; and the same as JSON for editors.

use std::{collections::HashMap, fmt, sync::Arc};

use hoist::load::{Diagnostic, Label, Severity, Source, SourceKind};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode, SourceSpan, SpanContents,
    ThemeCharacters, ThemeStyles,
};
use serde_json::{Value, json};

use super::{Colour, cut::Cut, excerpt};

/// Lines that are shown before and behind a marked one.
const CONTEXT_LINES: usize = 1;

/// Draws diagnostics one below the other.
pub(crate) fn draw(diagnostics: &[Diagnostic], colour: Colour) -> String {
    let styles = match colour {
        Colour::On => ThemeStyles::ansi(),
        Colour::Off => ThemeStyles::none(),
    };
    let theme = GraphicalTheme {
        characters: ThemeCharacters::unicode(),
        styles,
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .with_wrap_lines(false)
        .with_context_lines(CONTEXT_LINES);
    let masks = masks(diagnostics);
    let mut text = String::new();
    for diagnostic in diagnostics {
        if handler
            .render_report(&mut text, &Drawn::new(diagnostic, &masks))
            .is_err()
        {
            text.push_str(&diagnostic.to_string());
            text.push('\n');
        }
    }
    text
}

/// Writes a diagnostic as one JSON object, the form that docs/diagnostics.md describes.
pub(crate) fn to_json(diagnostic: &Diagnostic) -> Value {
    let mut object = json!({
        "severity": match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "code": diagnostic.code.word(),
        "message": diagnostic.message,
    });
    if let Some(main) = diagnostic.labels.first() {
        add_place(&mut object, main);
        if !main.text.is_empty() {
            object["label"] = json!(main.text);
        }
    }
    let related: Vec<Value> = diagnostic.labels.iter().skip(1).map(place).collect();
    object["help"] = json!(diagnostic.hints);
    object["related"] = json!(related);
    object
}

fn place(label: &Label) -> Value {
    let mut object = json!({ "message": label.text });
    add_place(&mut object, label);
    object
}

/// Lines and columns count from 1, columns in characters; the end is behind the last character.
fn add_place(object: &mut Value, label: &Label) {
    let (line, column) = label.source.line_column(label.span.start);
    let (end_line, end_column) = label.source.line_column(label.span.end);
    object["file"] = json!(label.source.name);
    object["line"] = json!(line);
    object["column"] = json!(column);
    object["end_line"] = json!(end_line);
    object["end_column"] = json!(end_column);
}

/// Says whether an excerpt around a place may be shown: the lines of a file of variables may hold secrets.
fn may_be_shown(label: &Label) -> bool {
    label.source.kind == SourceKind::Compose
}

/// What is shown of each source.
type Masks = HashMap<*const Source, String>;

fn masks(diagnostics: &[Diagnostic]) -> Masks {
    let labels = || {
        let labels = diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels);
        labels.filter(|label| may_be_shown(label))
    };
    let mut ends: HashMap<*const Source, usize> = HashMap::new();
    for label in labels() {
        let end = ends.entry(Arc::as_ptr(&label.source)).or_default();
        *end = (*end).max(label.span.start);
    }
    let mut masks = Masks::new();
    for label in labels() {
        let source = Arc::as_ptr(&label.source);
        masks.entry(source).or_insert_with(|| {
            let text = &label.source.text;
            let last = ends.get(&source).copied().unwrap_or(text.len());
            excerpt::masked(&text[..behind_lines(text, last)])
        });
    }
    masks
}

/// Returns where the line behind the one of a place ends: nothing of a large file is needed beyond that.
fn behind_lines(text: &str, place: usize) -> usize {
    let mut newlines = text.as_bytes().get(place..).unwrap_or_default().iter();
    let mut lines = 0;
    let end = newlines.position(|byte| {
        lines += usize::from(*byte == b'\n');
        lines > CONTEXT_LINES
    });
    end.map_or(text.len(), |end| place + end + 1)
}

/// A diagnostic in the form that miette draws.
struct Drawn<'d> {
    diagnostic: &'d Diagnostic,
    main: Option<Excerpt<'d>>,
    others: Vec<Drawn<'d>>,
    /// Only the label of this index, for places in other files than the main one.
    only: Option<usize>,
}

/// A source under its name, as it may be shown.
struct Excerpt<'d> {
    source: &'d Source,
    shown: &'d str,
    /// Where lines are too long to be shown.
    cut: Option<Cut>,
}

impl<'d> Excerpt<'d> {
    /// Shows the source of one of the places of a diagnostic.
    fn of(label: &'d Label, diagnostic: &Diagnostic, masks: &'d Masks) -> Option<Self> {
        let shown = masks.get(&Arc::as_ptr(&label.source))?;
        let labels = diagnostic.labels.iter();
        let here = labels.filter(|other| Arc::ptr_eq(&other.source, &label.source));
        let places: Vec<_> = here.map(|label| label.span.clone()).collect();
        Some(Self {
            source: &label.source,
            shown,
            cut: Cut::new(shown, &places),
        })
    }

    /// Returns where a marker begins in what is shown, and how long it is.
    fn marker(&self, label: &Label) -> (usize, usize) {
        let (start, end) = (label.span.start, label.span.end);
        let end = start + first_line(&self.source.text, start, end);
        match &self.cut {
            Some(cut) => (cut.place(start), cut.place(end) - cut.place(start)),
            None => (start, end - start),
        }
    }
}

impl<'d> Drawn<'d> {
    fn new(diagnostic: &'d Diagnostic, masks: &'d Masks) -> Self {
        let main = diagnostic
            .labels
            .first()
            .and_then(|label| Excerpt::of(label, diagnostic, masks));
        let elsewhere = |index: &usize| {
            let label = &diagnostic.labels[*index];
            diagnostic
                .labels
                .first()
                .is_some_and(|first| !Arc::ptr_eq(&first.source, &label.source))
                && may_be_shown(label)
        };
        let others = (0..diagnostic.labels.len())
            .filter(elsewhere)
            .map(|index| Drawn {
                diagnostic,
                main: Excerpt::of(&diagnostic.labels[index], diagnostic, masks),
                others: Vec::new(),
                only: Some(index),
            })
            .collect();
        Self {
            diagnostic,
            main,
            others,
            only: None,
        }
    }
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.only {
            Some(_) => f.write_str("see also"),
            // Without an excerpt, the message itself says where.
            None if self.main.is_none() => {
                f.write_str(&excerpt::visible(&self.diagnostic.to_string()))
            }
            None => f.write_str(&excerpt::visible(&self.diagnostic.message)),
        }
    }
}

impl fmt::Debug for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.diagnostic, f)
    }
}

impl std::error::Error for Drawn<'_> {}

impl miette::Diagnostic for Drawn<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match (self.only, self.diagnostic.severity) {
            (Some(_), _) => miette::Severity::Advice,
            (None, Severity::Error) => miette::Severity::Error,
            (None, Severity::Warning) => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hidden = self.diagnostic.labels.iter().skip(1);
        let hidden = hidden.filter(|label| !may_be_shown(label)).map(|label| {
            let (line, column) = label.source.line_column(label.span.start);
            format!("{}:{line}:{column}: {}", label.source.name, label.text)
        });
        let hints: Vec<String> = self
            .diagnostic
            .hints
            .iter()
            .cloned()
            .chain(hidden)
            .collect();
        (self.only.is_none() && !hints.is_empty()).then(|| {
            Box::new(excerpt::visible(&hints.join("\n")).into_owned()) as Box<dyn fmt::Display>
        })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.main.as_ref().map(|main| main as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let main = self.main.as_ref()?;
        let labels = self
            .diagnostic
            .labels
            .iter()
            .enumerate()
            .filter(move |(index, label)| {
                self.only.is_none_or(|only| only == *index)
                    && std::ptr::eq(&raw const *label.source, main.source)
            });
        Some(Box::new(labels.map(|(_, label)| {
            let text = Some(excerpt::visible(&label.text).into_owned());
            let text = text.filter(|text| !text.is_empty());
            let (start, length) = main.marker(label);
            LabeledSpan::new(text.or_else(|| Some("here".to_owned())), start, length)
        })))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        (!self.others.is_empty()).then(|| {
            Box::new(
                self.others
                    .iter()
                    .map(|other| other as &dyn miette::Diagnostic),
            ) as Box<_>
        })
    }
}

/// Returns the length of the part of a span that is on its first line: a marker that fills the screen helps nobody.
fn first_line(text: &str, start: usize, end: usize) -> usize {
    let part = text.get(start..end).unwrap_or_default();
    part.find('\n').unwrap_or(part.len())
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, miette::MietteError> {
        let shown = self.cut.as_ref().map_or(self.shown, |cut| &cut.text);
        let contents = shown.read_span(span, before, after)?;
        let column = match &self.cut {
            // Without lines around it, its column is asked for.
            Some(cut) if before == 0 => self.source.line_column(cut.original(span.offset())).1 - 1,
            _ => contents.column(),
        };
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.source.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            column,
            contents.line_count(),
        )))
    }
}
