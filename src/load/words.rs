//! A command written as one text, split into words as docker compose does it (behaviours.md B097).
//!
//! Quotes and backslashes are honoured and nothing is expanded. An unquoted `;`, `&`, `|`, `<` or `>` ends the
//! command, and what follows is dropped: docker compose does so too, so a loader that kept it would start other
//! containers from the same file; [`split`] says where it happened, for a warning.

/// A split command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// The words.
    pub(super) words: Vec<String>,
    /// What was dropped, from the character that ended the command.
    pub(super) dropped: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
    Back,
    Parenthesis,
}

/// Splits a text; `None` where a quote is not closed or a parenthesis stands where none can.
pub(super) fn split(text: &str) -> Option<Words> {
    let mut split = Split {
        words: Vec::new(),
        word: String::new(),
        started: false,
        quote: Quote::None,
    };
    let mut escaped = false;
    let mut dropped = None;
    for (index, next) in text.char_indices() {
        if escaped {
            split.push(next);
            escaped = false;
        } else if next == '\\' && split.quote != Quote::Single {
            escaped = true;
        } else if split.quote == Quote::None && matches!(next, ';' | '&' | '|' | '<' | '>') {
            let descriptor =
                next == '>' && split.word.starts_with(|first: char| first.is_ascii_digit());
            if descriptor {
                split.started = false;
            }
            dropped = Some(text[index..].to_owned());
            break;
        } else {
            split.take(next)?;
        }
    }
    split.end_word();
    (!escaped && split.quote == Quote::None).then_some(Words {
        words: split.words,
        dropped,
    })
}

struct Split {
    words: Vec<String>,
    word: String,
    started: bool,
    quote: Quote,
}

impl Split {
    fn push(&mut self, next: char) {
        self.word.push(next);
        self.started = true;
    }

    fn end_word(&mut self) {
        if self.started {
            self.words.push(std::mem::take(&mut self.word));
        }
        self.word.clear();
        self.started = false;
    }

    fn take(&mut self, next: char) -> Option<()> {
        match (next, self.quote) {
            (' ' | '\t' | '\r' | '\n', Quote::None) => self.end_word(),
            (' ' | '\t' | '\r' | '\n', _) => self.word.push(next),
            ('"', Quote::None | Quote::Back) => self.quote = Quote::Double,
            ('"', Quote::Double) | ('\'', Quote::Single) => {
                self.quote = Quote::None;
                self.started = true;
            }
            ('\'', Quote::None | Quote::Back) => self.quote = Quote::Single,
            ('`', Quote::None) => self.toggle(next, Quote::Back),
            ('`', Quote::Back) | (')', Quote::Parenthesis) => self.toggle(next, Quote::None),
            (')', Quote::None) => self.toggle(next, Quote::Parenthesis),
            ('(', Quote::None) if self.word.ends_with('$') => {
                self.quote = Quote::Parenthesis;
                self.word.push('(');
            }
            ('(', Quote::None | Quote::Parenthesis) => return None,
            _ => self.push(next),
        }
        Some(())
    }

    fn toggle(&mut self, next: char, quote: Quote) {
        self.quote = quote;
        self.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        split(text).map(|split| split.words)
    }

    #[test]
    fn splits_as_docker_compose_does() {
        let list = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(
            words("a 'b c' \"d\\\"e\" f\\ g ''"),
            list(&["a", "b c", "d\"e", "f g", ""])
        );
        assert_eq!(words("echo a && b"), list(&["echo", "a"]));
        assert_eq!(words("run 2>err"), list(&["run"]));
        assert_eq!(words("echo $(date +%s)"), list(&["echo", "$(date +%s)"]));
        assert_eq!(words("a 'b"), None);
        assert_eq!(words("(a)"), None);
    }
}
