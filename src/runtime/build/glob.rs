//! Path patterns of Dockerfiles and `.dockerignore`: `*`, `?`, `[a-z]`, `\`, and `**` over any number of directories.
//!
//! A pattern is an automaton whose states are tried at once, so that no pattern takes more than its length times the
//! path's.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    tokens: Vec<Token>,
    /// What every path that fits begins with; nearly all paths are told apart by it.
    literal: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    One(char),
    /// `?`
    Any,
    /// `*`
    Star,
    /// `**` at the end or within a name.
    Deep,
    /// The start of `**/`, which may be skipped together with the next token.
    DeepStart,
    /// Within `**/`.
    DeepInside,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Compiles a pattern; an unfinished set stands for itself.
    #[must_use]
    pub(super) fn new(pattern: &str) -> Self {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some(c) = rest.chars().next() {
            let mut used = c.len_utf8();
            match c {
                '*' if rest.starts_with("**/") => {
                    tokens.extend([Token::DeepStart, Token::DeepInside]);
                    used = 3;
                }
                '*' if rest.starts_with("**") => {
                    tokens.push(Token::Deep);
                    used = 2;
                }
                '*' => tokens.push(Token::Star),
                '?' => tokens.push(Token::Any),
                '\\' => {
                    let next = rest[1..].chars().next();
                    used += next.map_or(0, char::len_utf8);
                    tokens.push(Token::One(next.unwrap_or('\\')));
                }
                '[' => match set(rest) {
                    Some((token, length)) => {
                        tokens.push(token);
                        used = length;
                    }
                    None => tokens.push(Token::One('[')),
                },
                _ => tokens.push(Token::One(c)),
            }
            rest = &rest[used..];
        }
        let literal = tokens
            .iter()
            .map_while(|token| match token {
                Token::One(c) => Some(*c),
                _ => None,
            })
            .collect();
        Self { tokens, literal }
    }

    /// What every path that fits begins with.
    #[must_use]
    pub(super) fn literal(&self) -> &str {
        &self.literal
    }

    /// Whether the whole path fits.
    #[must_use]
    pub(super) fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(self.literal.as_str()) else {
            return false;
        };
        let begin = self.literal.chars().count();
        if begin == self.tokens.len() {
            return rest.is_empty();
        }
        let mut states = vec![false; self.tokens.len() + 1];
        let mut next = states.clone();
        self.enter(begin, &mut states);
        for c in rest.chars() {
            next.fill(false);
            for (at, token) in self.tokens.iter().enumerate().skip(begin) {
                if states[at] {
                    self.step(token, at, c, &mut next);
                }
            }
            std::mem::swap(&mut states, &mut next);
        }
        states[self.tokens.len()]
    }

    /// Marks a state and those that are reached from it without a character.
    fn enter(&self, mut at: usize, states: &mut [bool]) {
        while !std::mem::replace(&mut states[at], true) {
            match self.tokens.get(at) {
                Some(Token::Star | Token::Deep) => at += 1,
                Some(Token::DeepStart) => {
                    states[at + 1] = true;
                    at += 2;
                }
                Some(Token::One(_) | Token::Any | Token::DeepInside | Token::Set { .. }) | None => {
                    return;
                }
            }
        }
    }

    fn step(&self, token: &Token, at: usize, c: char, next: &mut [bool]) {
        match token {
            Token::One(own) if *own == c => self.enter(at + 1, next),
            Token::Any if c != '/' => self.enter(at + 1, next),
            Token::Star if c != '/' => self.enter(at, next),
            Token::Deep => self.enter(at, next),
            Token::DeepInside => {
                self.enter(at, next);
                if c == '/' {
                    self.enter(at + 1, next);
                }
            }
            Token::Set { negated, ranges } if c != '/' => {
                let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                if within != *negated {
                    self.enter(at + 1, next);
                }
            }
            Token::One(_) | Token::Any | Token::Star | Token::DeepStart | Token::Set { .. } => {}
        }
    }

    /// Whether a pattern has anything special.
    #[must_use]
    pub(super) fn is_special(pattern: &str) -> bool {
        pattern.contains(['*', '?', '[', '\\'])
    }
}

/// `[a-z]` or `[^a-z]` at the start of a text, and its length.
fn set(text: &str) -> Option<(Token, usize)> {
    let mut characters = text.char_indices().skip(1).peekable();
    let negated = characters.next_if(|(_, c)| *c == '^').is_some();
    let mut ranges = Vec::new();
    while let Some((index, c)) = characters.next() {
        if c == ']' && !ranges.is_empty() {
            return Some((Token::Set { negated, ranges }, index + 1));
        }
        let low = if c == '\\' { characters.next()?.1 } else { c };
        let high = match characters.next_if(|(_, c)| *c == '-') {
            Some(_) => characters.next()?.1,
            None => low,
        };
        ranges.push((low, high));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn patterns_match_whole_paths() {
        let table = [
            ("a*c", "abbc", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("**/b", "b", true),
            ("**/b", "x/y/b", true),
            ("**/b", "xb", false),
            ("a/**", "a/b/c", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**/*.go", "a/b.go", true),
            ("**", "a/b", true),
            ("[a", "[a", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(
                Glob::new(pattern).matches(path),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn a_pattern_of_stars_takes_no_stack() {
        let stars = "**".repeat(200_000);
        assert!(Glob::new(&stars).matches("a/b"));
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_without_specials_is_itself(text in "[a-z/.é]{0,12}", other in "[a-z/.é]{0,3}") {
            let glob = Glob::new(&text);
            assert!(glob.matches(&text));
            assert_eq!(glob.matches(&other), text == other);
        }

        #[test]
        fn any_pattern_compiles(pattern in "(\\*|\\[|\\]|\\\\|-|\\^|[a-c/?]|é){0,12}", path in "[a-c/]{0,10}") {
            let _matched = Glob::new(&pattern).matches(&path);
        }
    }
}
