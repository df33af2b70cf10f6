//! Lines inside of brackets and quotes that stand further left than the parser takes, moved to the right.
//!
//! ```yaml
//! command: [
//!   "a"
//! ]            # as far left as its key: YAML refuses it, docker compose reads it
//! ```
//!
//! Called by `document` for a text that is no YAML as it stands. Inside of brackets and quotes the spaces at the start
//! of a line mean nothing, so that some more change no value; where they were put is kept, so that places stay those of
//! the file.

/// A text with spaces put into it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Indented {
    pub(super) text: String,
    pub(super) spaces: Vec<Spaces>,
}

/// Spaces that were put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spaces {
    /// Where they begin in the new text.
    at: usize,
    count: usize,
    /// All spaces up to the end of these.
    sum: usize,
}

/// Finds the place in the old text of a place in the new one.
pub(super) fn original(spaces: &[Spaces], at: usize) -> usize {
    let before = spaces.partition_point(|spaces| spaces.at <= at);
    let Some(last) = before.checked_sub(1).map(|last| spaces[last]) else {
        return at;
    };
    let within = (last.at + last.count).saturating_sub(at);
    at + within - last.sum
}

/// Moves lines; `None` where there is nothing to move, or a bracket or a quote stays open.
pub(super) fn indent(text: &str) -> Option<Indented> {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        at: 0,
        line: 0,
        moved: Vec::new(),
    };
    while scan.at < scan.bytes.len() {
        scan.line()?;
    }
    if scan.moved.is_empty() {
        return None;
    }
    let mut new = String::with_capacity(text.len() + scan.moved.len() * 8);
    let (mut from, mut sum) = (0, 0);
    let mut spaces = Vec::with_capacity(scan.moved.len());
    for (line, count) in scan.moved {
        new.push_str(text.get(from..line)?);
        sum += count;
        spaces.push(Spaces {
            at: new.len(),
            count,
            sum,
        });
        new.extend(std::iter::repeat_n(' ', count));
        from = line;
    }
    new.push_str(text.get(from..)?);
    Some(Indented { text: new, spaces })
}

struct Scan<'t> {
    bytes: &'t [u8],
    at: usize,
    /// Where the line begins.
    line: usize,
    /// Lines to move, and how far.
    moved: Vec<(usize, usize)>,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn column(&self) -> usize {
        self.at - self.line
    }

    /// Whether a blank, the end of the line or the end of the text follows the next byte.
    fn ends_word(&self) -> bool {
        matches!(
            self.bytes.get(self.at + 1),
            None | Some(b' ' | b'\t' | b'\r' | b'\n')
        )
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    /// Goes to the end of the line.
    fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }

    /// Goes past the end of the line.
    fn new_line(&mut self) {
        self.at = (self.at + 1).min(self.bytes.len());
        self.line = self.at;
    }

    /// Spaces at the start of the line; `None` where nothing else is on it.
    fn indentation(&self) -> Option<usize> {
        let rest = &self.bytes[self.line..];
        let count = rest.iter().take_while(|byte| **byte == b' ').count();
        match rest.get(count) {
            None | Some(b'\r' | b'\n') => None,
            Some(_) => Some(count),
        }
    }

    /// Reads a line outside of brackets and quotes, and what is opened on it.
    fn line(&mut self) -> Option<()> {
        self.skip_blanks();
        // The column of what a text over several lines belongs to.
        let mut parent = self.column();
        while self.peek() == Some(b'-') && self.ends_word() {
            parent = self.column();
            self.at += 1;
            self.skip_blanks();
        }
        let first = self.column();
        loop {
            self.skip_blanks();
            match self.peek() {
                None => return Some(()),
                Some(b'\n') => {
                    self.new_line();
                    return Some(());
                }
                Some(b'#') => self.skip_line(),
                Some(b'!' | b'&') => self.word(),
                Some(b'[' | b'{') => self.brackets()?,
                Some(quote @ (b'"' | b'\'')) => self.quotes(quote, self.column())?,
                Some(b'|' | b'>') => return self.block(parent),
                Some(b':') if self.ends_word() => {
                    self.at += 1;
                    parent = first;
                }
                Some(_) => self.plain(),
            }
        }
    }

    fn word(&mut self) {
        while self.peek().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Reads a text without quotes to its end, or to the `:` behind a key.
    fn plain(&mut self) {
        while let Some(byte) = self.peek() {
            let comment = byte == b'#' && matches!(self.bytes[self.at - 1], b' ' | b'\t');
            if byte == b'\n' || comment || byte == b':' && self.ends_word() {
                return;
            }
            self.at += 1;
        }
    }

    /// Skips a text of `|` or `>`.
    fn block(&mut self, parent: usize) -> Option<()> {
        self.skip_line();
        self.new_line();
        while self.at < self.bytes.len() && self.indentation().is_none_or(|column| column > parent)
        {
            self.skip_line();
            self.new_line();
        }
        Some(())
    }

    /// Moves the line that begins here, if it stands left of a column.
    fn move_to(&mut self, column: usize) {
        let short = self
            .indentation()
            .and_then(|own| column.checked_sub(own))
            .filter(|short| *short > 0);
        self.moved.extend(short.map(|short| (self.line, short)));
    }

    fn brackets(&mut self) -> Option<()> {
        let column = self.column();
        let mut depth = 0_usize;
        // Whether a text may begin here.
        let mut fresh = true;
        loop {
            let byte = self.peek()?;
            match byte {
                b'"' | b'\'' if fresh => {
                    self.quotes(byte, column)?;
                    fresh = false;
                    continue;
                }
                b'#' if self.at > 0 && self.bytes[self.at - 1].is_ascii_whitespace() => {
                    self.skip_line();
                    continue;
                }
                b'\n' => {
                    self.new_line();
                    self.move_to(column);
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
            let blank = matches!(byte, b' ' | b'\t' | b'\r');
            fresh = matches!(byte, b'[' | b'{' | b',' | b':') || fresh && blank;
        }
    }

    fn quotes(&mut self, quote: u8, column: usize) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'\n' => {
                    self.new_line();
                    self.move_to(column);
                    continue;
                }
                b'\\' if quote == b'"' && self.bytes.get(self.at + 1) != Some(&b'\n') => {
                    self.at += 1;
                }
                byte if byte == quote => {
                    self.at += 1;
                    // Of two single quotes the second one belongs to the text.
                    if quote == b'"' || self.peek() != Some(quote) {
                        return Some(());
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{indent, original};

    fn moved(text: &str) -> String {
        indent(text).map(|new| new.text).unwrap_or_default()
    }

    #[test]
    fn lines_in_brackets_and_quotes_are_moved() {
        assert_eq!(
            moved("a: [\n\"b\"\n]\nc: 1\n"),
            "a: [\n   \"b\"\n   ]\nc: 1\n"
        );
        assert_eq!(
            moved("- a: {\n  b: 'x\n  y'}\n"),
            "- a: {\n     b: 'x\n     y'}\n"
        );
        assert_eq!(
            moved("a: \"b \\\"\nc\" # [\nd: e"),
            "a: \"b \\\"\n   c\" # [\nd: e"
        );
    }

    #[test]
    fn other_lines_stay() {
        for text in [
            "a: |\n  [\n  x\nb: 1\n",
            "- |\n [\n - x\n- b\n",
            "- a: |\n    [\n  b: c\n",
            "# [\na: b [\nc: it's\nd: e # {\n",
            "a: [b,\n     c]\n",
            "a: [\nb\n",
            "a: 'x\ny\n",
        ] {
            assert_eq!(moved(text), "", "{text}");
        }
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "a: [\n\"b\"\n]\nc: 1\n";
        let Some(new) = indent(text) else {
            panic!("nothing is moved")
        };
        for word in ["a", "\"b\"", "]", "c", "1"] {
            let at = new.text.find(word).unwrap_or(0);
            assert_eq!(Some(original(&new.spaces, at)), text.find(word), "{word}");
        }
        assert_eq!(original(&new.spaces, new.text.len()), text.len());
    }
}
