//! A line for each piece of news: ` Container p-web-1 Created ` (behaviours.md B286).

use hoist::apply::ApplyEvent;

use super::Ui;
use super::renderer::{Effect, Renderer};

/// Shows a line for each piece of news.
#[derive(Debug)]
pub(crate) struct PlainRenderer {
    ui: Ui,
    effect: Effect,
}

impl PlainRenderer {
    pub(super) fn new(ui: Ui, effect: Effect) -> Self {
        Self { ui, effect }
    }
}

impl Renderer for PlainRenderer {
    fn event(&mut self, event: &ApplyEvent) {
        let prefix = match self.effect {
            Effect::Real => "",
            Effect::Simulated => " DRY-RUN MODE - ",
        };
        match event {
            ApplyEvent::Resource(news) => {
                self.ui.status(format_args!(
                    "{prefix} {} {} {}",
                    news.id, news.text, news.details
                ));
            }
            ApplyEvent::Output { source, line } => {
                self.ui.status(format_args!("{prefix}{source} {line}"));
            }
            ApplyEvent::BuildOutput { line, .. } => drop(self.ui.print(format_args!("{line}\n"))),
            ApplyEvent::Warning(text) => self.ui.warn(text),
        }
    }
}
