//! Colours.

use super::Colour;

/// The colours of log prefixes, in the order in which they are given out (behaviours.md B215).
const LOG_COLOURS: [&str; 10] = [
    "36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1",
];

/// A text in the colour of the n-th source of a log.
pub(crate) fn log_colour(colour: Colour, source: usize, text: &str) -> String {
    match colour {
        Colour::On => format!(
            "\x1b[{}m{text}\x1b[0m",
            LOG_COLOURS[source % LOG_COLOURS.len()]
        ),
        Colour::Off => text.to_owned(),
    }
}

/// What stands before a line of the watch, in a colour that no source of a log has.
pub(crate) fn watch_colour(colour: Colour, text: &str) -> String {
    match colour {
        Colour::On => format!("\x1b[92m{text}\x1b[0m"),
        Colour::Off => text.to_owned(),
    }
}
