//! News of a run for people and for programs: one renderer for each style of `--progress` (behaviours.md B284-B290).

use hoist::apply::ApplyEvent;

use super::json::JsonRenderer;
use super::plain::PlainRenderer;
use super::quiet::QuietRenderer;
use super::tty::TtyRenderer;
use super::{Progress, Ui};

/// Shows the news of a run.
pub(crate) trait Renderer: Send {
    /// Shows one piece of news.
    fn event(&mut self, event: &ApplyEvent);
    /// Some time has passed.
    fn tick(&mut self) {}
    /// Nothing more will come.
    fn finish(&mut self) {}
}

/// Whether the run has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It has.
    Real,
    /// `--dry-run`: it has none.
    Simulated,
}

/// The renderer that the user asked for.
pub(crate) fn renderer(ui: &Ui, title: &str, effect: Effect) -> Box<dyn Renderer> {
    match ui.progress() {
        Progress::Tty => Box::new(TtyRenderer::new(ui.clone(), title, effect)),
        Progress::Plain => Box::new(PlainRenderer::new(ui.clone(), effect)),
        Progress::Json => Box::new(JsonRenderer::new(ui.clone(), effect)),
        Progress::Quiet => Box::new(QuietRenderer),
    }
}
