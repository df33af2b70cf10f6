//! Long lines of an excerpt, cut to what is around the marked places: a minified file is one line of many kilobytes.
//!
//! Used by `diagnostic`. The text that is drawn is another one than the file then, so that places are moved with it.

use std::ops::Range;

/// Lines of more bytes are cut.
const LONGEST: usize = 160;
/// What is shown before a marked place.
const BEFORE: usize = 40;
/// What is shown from the start of a marked place on.
const BEHIND: usize = 80;
/// Stands for what is left out.
const GAP: &str = "…";

/// A text whose long lines are cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// What is shown.
    pub(super) text: String,
    /// The parts of the whole text that were kept, each with its place in the cut one.
    kept: Vec<(Range<usize>, usize)>,
}

impl Cut {
    /// Cuts the long lines of a text around places; `None` where it has none.
    pub(super) fn new(whole: &str, places: &[Range<usize>]) -> Option<Self> {
        if !whole.lines().any(|line| line.len() > LONGEST) {
            return None;
        }
        let mut cut = Self {
            text: String::new(),
            kept: Vec::new(),
        };
        let mut start = 0;
        for line in whole.split_inclusive('\n') {
            let end = start + line.len();
            if line.len() > LONGEST {
                cut.long_line(whole, start..end, places);
            } else {
                cut.keep(whole, start..end);
            }
            start = end;
        }
        Some(cut)
    }

    fn long_line(&mut self, whole: &str, line: Range<usize>, places: &[Range<usize>]) {
        let on_it = places.iter().filter(|place| line.contains(&place.start));
        let mut windows: Vec<Range<usize>> = on_it
            .map(|place| {
                let from = place.start.saturating_sub(BEFORE).max(line.start);
                let to = (place.start + BEHIND).min(line.end);
                whole.floor_char_boundary(from)..whole.ceil_char_boundary(to)
            })
            .collect();
        if windows.is_empty() {
            windows.push(line.start..whole.floor_char_boundary(line.start + BEHIND));
        }
        windows.sort_by_key(|window| window.start);
        let mut at = line.start;
        for window in windows {
            // Gaps of a few bytes are not worth their mark.
            let from = if window.start <= at + GAP.len() {
                at
            } else {
                window.start
            };
            if from > at {
                self.text.push_str(GAP);
            }
            if window.end > from {
                self.keep(whole, from..window.end);
                at = window.end;
            }
        }
        if at < line.end {
            self.text.push_str(GAP);
            let newline = whole[..line.end].trim_end_matches(['\r', '\n']).len();
            if newline < line.end {
                self.keep(whole, newline.max(at)..line.end);
            }
        }
    }

    fn keep(&mut self, whole: &str, part: Range<usize>) {
        let at = self.text.len();
        self.text.push_str(&whole[part.clone()]);
        match self.kept.last_mut() {
            Some((last, place)) if last.end == part.start && *place + last.len() == at => {
                last.end = part.end;
            }
            _ => self.kept.push((part, at)),
        }
    }

    /// Finds the place in the cut text of a place in the whole one; what is left out is where it was.
    pub(super) fn place(&self, whole: usize) -> usize {
        let before = self.kept.partition_point(|(part, _)| part.start <= whole);
        let last = before.checked_sub(1).map(|last| &self.kept[last]);
        last.map_or(0, |(part, at)| at + whole.min(part.end) - part.start)
    }

    /// Finds the place in the whole text of a place in the cut one.
    pub(super) fn original(&self, cut: usize) -> usize {
        let before = self.kept.partition_point(|(_, at)| *at <= cut);
        let last = before.checked_sub(1).map(|last| &self.kept[last]);
        last.map_or(0, |(part, at)| (part.start + cut - at).min(part.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lines_stay_as_they_are() {
        assert_eq!(
            Cut::new("a: b\nc: d\n", std::slice::from_ref(&(0..1))),
            None
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_marked_places() {
        let line = |filler: &str| format!("{}HERE{}\n", filler.repeat(500), filler.repeat(500));
        for filler in ["x", "\u{e9}"] {
            let whole = format!("a: b\n{}c: d\n", line(filler));
            let at = whole.find("HERE").unwrap_or_default();
            let Some(cut) = Cut::new(&whole, std::slice::from_ref(&(at..at + 4))) else {
                panic!("it has a long line");
            };
            let place = cut.place(at);
            assert_eq!(&cut.text[place..cut.place(at + 4)], "HERE");
            assert_eq!(cut.original(place), at);
            assert!(cut.text.len() < 200, "{}", cut.text);
            assert!(cut.text.starts_with("a: b\n…"), "{}", cut.text);
            assert!(cut.text.ends_with("…\nc: d\n"), "{}", cut.text);
        }
    }

    #[test]
    fn two_places_of_a_line_are_both_shown() {
        let whole = format!("ONE{}TWO{}", " ".repeat(1000), " ".repeat(1000));
        let two = whole.find("TWO").unwrap_or_default();
        let shown = |places: &[Range<usize>]| Cut::new(&whole, places).map(|cut| cut.text);
        let text = shown(&[two..two + 3, 0..3]).unwrap_or_default();
        assert!(text.starts_with("ONE") && text.contains("TWO"), "{text}");
        assert!(text.len() < 240, "{text}");
        // What goes on for long is marked as far as it is shown.
        let cut = Cut::new(&whole, std::slice::from_ref(&(0..whole.len())));
        assert_eq!(cut.map(|cut| cut.place(whole.len())), Some(BEHIND));
    }
}
