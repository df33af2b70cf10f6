//! No progress at all.

use hoist::apply::ApplyEvent;

use super::renderer::Renderer;

/// Shows nothing.
#[derive(Debug)]
pub(crate) struct QuietRenderer;

impl Renderer for QuietRenderer {
    fn event(&mut self, _: &ApplyEvent) {}
}
