//! What an excerpt shows of a file: its lines as they are, but stars for the values of keys that name a secret.
//!
//! Used by `diagnostic`. The marked value is of no use to whoever reads a password over a shoulder or in the log of a
//! build, and neither are those on the lines around it. Stars take as many bytes as what they hide, so that every place
//! stays where it is. A file is not trusted: what it would tell the terminal to do is shown, not done.

use std::borrow::Cow;

/// Parts of the names of what must not be seen, in lower case.
const SECRET_WORDS: [&str; 6] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "api_key",
];

/// Shows what would act on a terminal, or on the order of what is read there, as a sign of as many bytes.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return text.into();
    }
    let shown = |next: char| match (acts(next), next.len_utf8()) {
        (false, _) => next,
        (true, 1) => '?',
        (true, 2) => '\u{b7}',
        (true, _) => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(shown).collect::<String>().into()
}

fn acts(next: char) -> bool {
    let turns =
        matches!(next, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || next.is_control() && !matches!(next, '\n' | '\r' | '\t')
}

/// Hides the values of secrets in a Compose file, or in the start of one.
pub(super) fn masked(text: &str) -> String {
    let mut mask = Mask {
        shown: String::with_capacity(text.len()),
        hidden: Hidden::Nothing,
    };
    for line in text.split_inclusive('\n') {
        mask.line(line);
    }
    match visible(&mask.shown) {
        Cow::Owned(shown) => shown,
        Cow::Borrowed(_) => mask.shown,
    }
}

/// What of the next line belongs to a secret that began on an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Nothing,
    /// Lines that stand further right than this column: a text over several lines.
    Deeper(usize),
    /// The key in this column had nothing behind it: its value is on the next line, if it has one.
    Value(usize),
    /// The elements of a list whose key is in this column.
    List(usize),
    /// Up to a quote.
    Quote(char),
    /// Up to the end of this many brackets.
    Brackets(usize),
}

struct Mask {
    shown: String,
    hidden: Hidden,
}

impl Mask {
    fn line(&mut self, line: &str) {
        let text = line.trim();
        let column = line.len() - line.trim_start().len();
        if text.is_empty() {
            self.shown.push_str(line);
            return;
        }
        if let Hidden::Value(key) = self.hidden {
            let dash = text == "-" || text.starts_with("- ");
            self.hidden = match () {
                () if dash && column >= key => Hidden::List(key),
                () if column > key && split_pair(text).is_none() => Hidden::Deeper(key),
                () => Hidden::Nothing,
            };
        }
        let whole = match self.hidden {
            Hidden::Deeper(key) => column > key,
            Hidden::List(key) => column > key || column == key && text.starts_with('-'),
            _ => false,
        };
        match self.hidden {
            Hidden::Quote(quote) => {
                let (length, closed) = quoted_length(line, quote);
                self.stars(&line[..length]);
                if closed {
                    self.hidden = Hidden::Nothing;
                    self.pairs(line, length);
                }
            }
            Hidden::Brackets(depth) => {
                let length = self.brackets(line, depth);
                self.pairs(line, length);
            }
            _ if whole => self.stars(line),
            _ => {
                self.hidden = Hidden::Nothing;
                self.pairs(line, 0);
            }
        }
    }

    /// Shows a line from a place on, without the values of the secrets in it.
    fn pairs(&mut self, line: &str, from: usize) {
        let mut at = from;
        while let Some((name, value)) = split_pair(&line[at..]) {
            let (name, value) = (at + name, at + value);
            self.shown.push_str(&line[at..value]);
            at = value;
            let before = &line[..name];
            let bare = before.trim_end_matches([' ', '"', '\'']);
            let other =
                |next: char| !next.is_ascii_alphanumeric() && !matches!(next, '_' | '-' | '.');
            let ends = bare.char_indices().rev().find(|(_, next)| other(*next));
            let start = ends.map_or(0, |(at, next)| at + next.len_utf8());
            if is_secret(&bare[start..]) {
                at = self.value(line, start, name, value);
            }
        }
        self.shown.push_str(&line[at..]);
    }

    /// Hides the value of a secret; returns where the line goes on behind it.
    fn value(&mut self, line: &str, name: usize, sign: usize, start: usize) -> usize {
        let start = self.decoration(line, start);
        let value = &line[start..];
        let first = line.len() - line.trim_start().len();
        let assigned = line[sign..].starts_with('=');
        let key = if assigned { first } else { name };
        let around = line[..name].chars().next_back();
        let length = match (around, value.chars().next()) {
            (Some(quote @ ('"' | '\'')), _) if assigned => self.quoted(value, 0, quote),
            (_, Some(quote @ ('"' | '\''))) => self.quoted(value, 1, quote),
            (_, Some('[')) => self.brackets(value, 0),
            // A mapping is looked into, and an alias holds no secret.
            (_, Some('{' | '*')) => 0,
            (_, None | Some('\n' | '\r' | '#' | '|' | '>')) => {
                let block = value.starts_with(['|', '>']);
                self.hidden = if block {
                    Hidden::Deeper(key)
                } else {
                    Hidden::Value(key)
                };
                0
            }
            _ => self.plain(value, key),
        };
        start + length
    }

    /// Shows anchors and tags.
    fn decoration(&mut self, line: &str, start: usize) -> usize {
        let mut at = start;
        while line[at..].starts_with(['&', '!']) {
            let word = line[at..]
                .find(char::is_whitespace)
                .unwrap_or(line.len() - at);
            let rest = &line[at + word..];
            let blanks = rest.len() - rest.trim_start_matches(' ').len();
            self.shown.push_str(&line[at..at + word + blanks]);
            at += word + blanks;
        }
        at
    }

    /// Hides up to a quote; the value begins with so many quotes.
    fn quoted(&mut self, value: &str, first: usize, quote: char) -> usize {
        let (length, closed) = quoted_length(&value[first..], quote);
        if !closed {
            self.hidden = Hidden::Quote(quote);
        }
        self.hide(&value[..first + length]);
        first + length
    }

    /// Hides up to where brackets end; returns where that is.
    fn brackets(&mut self, text: &str, open: usize) -> usize {
        let mut depth = open;
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                self.hidden = Hidden::Nothing;
                self.stars(&text[..at]);
                return at;
            }
        }
        self.hidden = Hidden::Brackets(depth);
        self.stars(text);
        text.len()
    }

    /// Hides a text without quotes: to what ends it in brackets, or to the end of its line and on the next ones.
    fn plain(&mut self, value: &str, key: usize) -> usize {
        let braces = value.starts_with("${").then(|| value.find('}')).flatten();
        let inner = braces.map_or(0, |end| end + 1);
        let end = value[inner..].find([',', '}', ']', '"', '\'', '\n', '\r']);
        let length = end.map_or(value.len(), |end| inner + end);
        if value[length..].trim().is_empty() {
            self.hidden = Hidden::Deeper(key);
        }
        self.hide(&value[..length]);
        length
    }

    /// Writes stars for a value; variables are shown, because nobody can tell their values from them.
    fn hide(&mut self, value: &str) {
        let bare = value.trim_matches(['"', '\'', ' ', '\n', '\r']);
        if is_variable(bare) {
            self.shown.push_str(value);
        } else {
            self.stars(value);
        }
    }

    /// Writes stars that take as many bytes as a text.
    fn stars(&mut self, text: &str) {
        let kept = |byte| matches!(byte, b'"' | b'\'' | b' ' | b'\n' | b'\r');
        let stars = text.bytes();
        self.shown
            .extend(stars.map(|byte| if kept(byte) { char::from(byte) } else { '*' }));
    }
}

/// Finds the next `KEY: ` or `KEY=`: where its sign is, and where its value begins.
fn split_pair(line: &str) -> Option<(usize, usize)> {
    let mut signs = line.match_indices([':', '=']);
    signs.find_map(|(at, sign)| {
        let after = &line[at + 1..];
        (sign == "=" || after.is_empty() || after.starts_with([' ', '\n', '\r'])).then(|| {
            let blanks = after.len() - after.trim_start_matches(' ').len();
            (at, at + 1 + blanks)
        })
    })
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_key = name.ends_with("_KEY") || name == "KEY";
    let holds = || SECRET_WORDS.iter().any(|word| lower.contains(word));
    // The content of a config or a secret that stands in the file.
    lower != "secrets" && (name == "content" || is_key || holds())
}

/// Whether a value is `$NAME` or `${NAME}`; a default would be a value.
fn is_variable(value: &str) -> bool {
    let name = value.strip_prefix('$').map(|name| {
        let inner = name.strip_prefix('{');
        inner
            .and_then(|inner| inner.strip_suffix('}'))
            .unwrap_or(name)
    });
    let word = |next: u8| next.is_ascii_alphanumeric() || next == b'_';
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(word))
}

/// Returns how long a quoted text is behind its first quote, with its last one, and whether that is there.
fn quoted_length(text: &str, quote: char) -> (usize, bool) {
    let mut rest = text.char_indices();
    while let Some((at, next)) = rest.next() {
        let doubled = quote == '\'' && text[at..].starts_with("''");
        if doubled || (quote == '"' && next == '\\') {
            rest.next();
        } else if next == quote {
            return (at + 1, true);
        }
    }
    (text.len(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_that_acts_on_a_terminal() {
        let text = "a\x1b[31m\u{9b}2J\u{202e}b\tc\r\n\u{e9}";
        let want = "a?[31m\u{b7}2J\u{fffd}b\tc\r\n\u{e9}";
        assert_eq!(visible(text), want);
        assert_eq!(masked(text), want);
        assert_eq!(want.len(), text.len());
    }

    #[test]
    fn hides_the_values_of_secrets_and_nothing_else() {
        for (text, want) in [
            (
                "DB_PASSWORD: hunter2\nA: b\n",
                "DB_PASSWORD: *******\nA: b\n",
            ),
            ("- API_TOKEN=hunter2", "- API_TOKEN=*******"),
            (
                "{A: 1, MY_KEY: 'h\u{e9}', B: 2}",
                "{A: 1, MY_KEY: '***', B: 2}",
            ),
            ("['PASSWORD=x y', b]", "['PASSWORD=* *', b]"),
            ("\"secret_word\": \"a\"", "\"secret_word\": \"*\""),
            ("PASSWORD: ${PASSWORD}", "PASSWORD: ${PASSWORD}"),
            ("secrets: [key]", "secrets: [key]"),
            ("PASSWORD: ${A:-b}", "PASSWORD: *******"),
            ("PASSWORD: $$a", "PASSWORD: ***"),
            ("PASSWORD: &p !!str ab # c", "PASSWORD: &p !!str ** * *"),
            ("PASSWORD: \"a\\\"b\" # c", "PASSWORD: \"**\"*\" # c"),
            ("- 'PASSWORD='\n- A=b", "- 'PASSWORD='\n- A=b"),
            ("\u{e9}: x", "\u{e9}: x"),
            ("- 'PASSWORD=a,b' # c", "- 'PASSWORD=***' # c"),
            ("{TOKENS: [a, b], c: d}", "{TOKENS: *** *], c: d}"),
            ("image: a:b", "image: a:b"),
            ("url: http://x/?token=abc&d", "url: http://x/?token=*****"),
            ("", ""),
            (
                "content: |\n  a: b\n\n  c\nd: e\n",
                "content: |\n  ** *\n\n  *\nd: e\n",
            ),
            ("- KEY: >-\n   a\n  B: c\n", "- KEY: >-\n   *\n  B: c\n"),
            ("KEY: a\n  b\nC: d\n", "KEY: *\n  *\nC: d\n"),
            ("KEY: \"a\n  b\nc\"\nC: d\n", "KEY: \"*\n  *\n*\"\nC: d\n"),
            ("- \"KEY=a\n  b\"\n- C=d\n", "- \"KEY=*\n  *\"\n- C=d\n"),
            ("KEY:\n  a\nC: d\n", "KEY:\n  *\nC: d\n"),
            (
                "tokens:\n- a\n- b: c\nd: e\n",
                "tokens:\n* *\n* ** *\nd: e\n",
            ),
            ("tokens: [a,\n  b]\nd: e\n", "tokens: ***\n  *]\nd: e\n"),
            ("token-api:\n  image: a\n", "token-api:\n  image: a\n"),
        ] {
            assert_eq!(masked(text), want);
            assert_eq!(masked(text).len(), text.len());
        }
    }
}
