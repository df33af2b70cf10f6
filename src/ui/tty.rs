//! A live table: a line for each resource, redrawn in place (behaviours.md B288).
//!
//! ```text
//! [+] up 2/3
//!  ✔ Network p_default   Created   0.1s
//!  ✔ Container p-db-1    Healthy   2.3s
//!  ⠙ Container p-web-1   Starting  0.2s
//! ```
//! Running steps of builds stand below it ([`BuildSteps`]).

use std::fmt::Write as _;
use std::time::Instant;

use hoist::apply::{ApplyEvent, ResourceEvent, Status};
use indexmap::IndexMap;

use super::build_steps::{BuildSteps, Outcome};
use super::renderer::{Effect, Renderer};
use super::{Colour, Ui};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Shows a live table.
#[derive(Debug)]
pub(crate) struct TtyRenderer {
    ui: Ui,
    title: String,
    effect: Effect,
    rows: IndexMap<String, Row>,
    steps: BuildSteps,
    drawn: usize,
    frame: usize,
}

#[derive(Debug)]
struct Row {
    news: ResourceEvent,
    since: Instant,
    seconds: Option<f64>,
}

impl TtyRenderer {
    pub(super) fn new(ui: Ui, title: &str, effect: Effect) -> Self {
        Self {
            ui,
            title: title.to_owned(),
            effect,
            rows: IndexMap::new(),
            steps: BuildSteps::default(),
            drawn: 0,
            frame: 0,
        }
    }

    fn redraw(&mut self) {
        if self.rows.is_empty() && self.steps.is_empty() {
            return;
        }
        let (width, height) = self.ui.terminal_size().unwrap_or((80, 24));
        let mut text = self.erase();
        let done = self
            .rows
            .values()
            .filter(|row| row.news.status != Status::Working)
            .count();
        let dry = match self.effect {
            Effect::Real => "",
            Effect::Simulated => "DRY-RUN MODE - ",
        };
        write!(text, "{dry}[+] {} {done}/{}", self.title, self.rows.len())
            .expect("writing to a string never fails");
        let room = usize::from(height).saturating_sub(2).max(1);
        let mut lines = self.lines(usize::from(width), room);
        let room = room.saturating_sub(lines.len());
        lines.extend(self.steps.live(usize::from(width), room));
        self.drawn = lines.len() + 1;
        for line in lines {
            text.push('\n');
            text.push_str(&line);
        }
        self.ui.status(text);
    }

    /// Moves back over what was drawn, so that it is drawn over.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }

    /// The newest rows that fit; those under way come before those that are done.
    fn lines(&self, width: usize, room: usize) -> Vec<String> {
        let hidden = self.rows.len().saturating_sub(room);
        let mut skipped = 0;
        let visible: Vec<_> = self
            .rows
            .values()
            .filter(|row| {
                let hide = skipped < hidden && row.news.status == Status::Done;
                skipped += usize::from(hide);
                !hide
            })
            .take(room)
            .collect();
        let column = visible
            .iter()
            .map(|row| row.news.id.chars().count())
            .max()
            .unwrap_or(0);
        visible
            .iter()
            .map(|row| self.line(row, column, width))
            .collect()
    }

    fn line(&self, row: &Row, column: usize, width: usize) -> String {
        let (mark, colour) = match row.news.status {
            Status::Working => (SPINNER[self.frame % SPINNER.len()], "36"),
            Status::Done => ("✔", "32"),
            Status::Warning => ("!", "33"),
            Status::Error => ("✘", "31"),
        };
        let seconds = row
            .seconds
            .unwrap_or_else(|| row.since.elapsed().as_secs_f64());
        let percent = row
            .news
            .progress
            .map(|progress| format!(" {}%", progress.percent()))
            .unwrap_or_default();
        let details = match row.news.details.lines().next() {
            Some(details) => format!(" {details}"),
            None => String::new(),
        };
        let left = format!(
            "{:<column$}  {}{percent}{details}",
            row.news.id, row.news.text
        );
        let room = width.saturating_sub(12);
        let left: String = left.chars().take(room).collect();
        let coloured = match self.ui.stderr_colour() {
            Colour::On => format!("\x1b[{colour}m{mark}\x1b[0m"),
            Colour::Off => mark.to_owned(),
        };
        format!(" {coloured} {left:<room$} {seconds:>6.1}s")
    }

    /// What stays of a build goes above the table; a running step is a part of it.
    fn build_line(&mut self, image: &str, line: &str) {
        let (width, _) = self.ui.terminal_size().unwrap_or((80, 24));
        let Some(told) = self.steps.take(image, line, usize::from(width)) else {
            return;
        };
        let colour = match (self.ui.stderr_colour(), told.outcome) {
            (Colour::Off, _) | (_, Outcome::Said) => None,
            (Colour::On, Outcome::Done) => Some("34"),
            (Colour::On, Outcome::Failed) => Some("31"),
        };
        let text = match colour {
            Some(colour) => format!("\x1b[{colour}m{}\x1b[0m", told.text),
            None => told.text,
        };
        let erased = self.erase();
        self.ui.status(format_args!("{erased}{text}"));
    }

    /// Prints a line above the table.
    fn above(&mut self, line: &str) {
        let erased = self.erase();
        self.ui.status(format_args!("{erased}{line}"));
        self.redraw();
    }
}

impl Renderer for TtyRenderer {
    fn event(&mut self, event: &ApplyEvent) {
        match event {
            ApplyEvent::Resource(news) if news.parent.is_some() => {
                let Some(row) = news
                    .parent
                    .as_ref()
                    .and_then(|parent| self.rows.get_mut(parent))
                else {
                    return;
                };
                row.news.progress = news.progress;
            }
            ApplyEvent::Resource(news) => {
                let row = self.rows.entry(news.id.clone()).or_insert_with(|| Row {
                    news: news.clone(),
                    since: Instant::now(),
                    seconds: None,
                });
                if row.news.status != Status::Working && news.status == Status::Working {
                    row.since = Instant::now();
                    row.seconds = None;
                }
                if news.status != Status::Working {
                    row.seconds = Some(row.since.elapsed().as_secs_f64());
                }
                row.news = news.clone();
            }
            ApplyEvent::Output { source, line } => return self.above(&format!("{source} {line}")),
            ApplyEvent::BuildOutput { image, line } => self.build_line(image, line),
            ApplyEvent::Warning(text) => return self.above(&format!("! {text}")),
        }
        self.redraw();
    }

    fn tick(&mut self) {
        self.frame += 1;
        if self
            .rows
            .values()
            .any(|row| row.news.status == Status::Working)
            || !self.steps.is_empty()
        {
            self.redraw();
        }
    }

    fn finish(&mut self) {
        self.redraw();
    }
}
