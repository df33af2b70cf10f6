//! The small shell of Dockerfiles: words, quotes, variables.

use super::ImageError;

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Splits into words at spaces outside of quotes; quotes and escapes stay in the words.
#[must_use]
pub fn split_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c.is_whitespace() && quote.is_none() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        word.push(c);
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape && quote != Some('\'') => word.extend(characters.next()),
            _ => {}
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Removes quotes and escapes of a word and replaces its variables.
///
/// # Errors
/// When a quote or brace is not closed, or `${NAME:?message}` asks for it.
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> Result<String, ImageError> {
    let mut lexer = Lexer {
        rest: word.chars().peekable(),
        escape,
        lookup,
    };
    lexer.until(None)
}

struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    lookup: Lookup<'a>,
}

impl Lexer<'_> {
    /// Up to an unquoted `end`, which is consumed, or the end of the text.
    fn until(&mut self, end: Option<char>) -> Result<String, ImageError> {
        let mut out = String::new();
        while let Some(c) = self.rest.next() {
            match c {
                _ if Some(c) == end => return Ok(out),
                '\'' => self.single_quoted(&mut out)?,
                '"' => self.double_quoted(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                _ if c == self.escape => match self.rest.next() {
                    Some(next) => out.push(next),
                    None => out.push(c),
                },
                _ => out.push(c),
            }
        }
        match end {
            None => Ok(out),
            Some(_) => Err(refused("syntax error: missing '}'".to_owned())),
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), ImageError> {
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
                None => {
                    return Err(refused(
                        "unexpected end of statement while looking for matching single-quote"
                            .to_owned(),
                    ));
                }
            }
        }
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), ImageError> {
        loop {
            match self.rest.next() {
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => match self.rest.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        out.push(next);
                    }
                    Some(next) => out.extend([c, next]),
                    None => out.push(c),
                },
                Some(c) => out.push(c),
                None => {
                    return Err(refused(
                        "unexpected end of statement while looking for matching double-quote"
                            .to_owned(),
                    ));
                }
            }
        }
    }

    fn variable(&mut self) -> Result<String, ImageError> {
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() {
                "$".to_owned()
            } else {
                (self.lookup)(&name).unwrap_or_default()
            });
        }
        let name = self.name();
        if name.is_empty() {
            return Err(refused("syntax error: bad substitution".to_owned()));
        }
        let value = (self.lookup)(&name);
        match self.rest.next() {
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let operator = self.rest.next();
                self.operator(&name, operator, value.filter(|v| !v.is_empty()))
            }
            Some(c @ ('#' | '%')) => self.strip(c, &value.unwrap_or_default()),
            Some('/') => self.replace(&value.unwrap_or_default()),
            operator => self.operator(&name, operator, value),
        }
    }

    fn operator(
        &mut self,
        name: &str,
        operator: Option<char>,
        value: Option<String>,
    ) -> Result<String, ImageError> {
        let word = self.until(Some('}'))?;
        match (operator, value) {
            (Some('-'), value) => Ok(value.unwrap_or(word)),
            (Some('+'), value) => Ok(value.map(|_| word).unwrap_or_default()),
            (Some('?'), Some(value)) => Ok(value),
            (Some('?'), None) => Err(refused(format!(
                "{name}: {}",
                if word.is_empty() {
                    "is not allowed to be unset"
                } else {
                    &word
                }
            ))),
            _ => Err(refused(format!(
                "unsupported modifier in substitution of `{name}`"
            ))),
        }
    }

    /// `${NAME#pattern}`, `##`, `%`, `%%`.
    fn strip(&mut self, kind: char, value: &str) -> Result<String, ImageError> {
        let longest = self.rest.next_if_eq(&kind).is_some();
        let pattern = self.until(Some('}'))?;
        let cuts = value.char_indices().map(|(i, _)| i).chain([value.len()]);
        let fits = |cut: &usize| {
            let part = if kind == '#' {
                &value[..*cut]
            } else {
                &value[*cut..]
            };
            super::pattern::matches(&pattern, part)
        };
        let mut fitting: Vec<usize> = cuts.filter(fits).collect();
        if (kind == '#') == longest {
            fitting.reverse();
        }
        Ok(match fitting.first() {
            Some(cut) if kind == '#' => value[*cut..].to_owned(),
            Some(cut) => value[..*cut].to_owned(),
            None => value.to_owned(),
        })
    }

    /// `${NAME/from/to}` and `${NAME//from/to}` with a literal text.
    fn replace(&mut self, value: &str) -> Result<String, ImageError> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let from = self.until(Some('/'))?;
        let to = self.until(Some('}'))?;
        Ok(if all {
            value.replace(&from, &to)
        } else {
            value.replacen(&from, &to, 1)
        })
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self
            .rest
            .next_if(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
        }
        name
    }
}

fn refused(message: String) -> ImageError {
    ImageError::InvalidChange { message }
}

#[cfg(test)]
mod tests {
    use super::{expand, split_words};

    #[test]
    fn words_end_at_spaces_outside_of_quotes() {
        assert_eq!(
            split_words(r#"A=1 B="two words" C=a\ b  'd e'"#, '\\'),
            ["A=1", r#"B="two words""#, r"C=a\ b", "'d e'"]
        );
    }

    #[test]
    fn variables_are_replaced_as_in_dockerfiles() -> Result<(), Box<dyn std::error::Error>> {
        let lookup = |name: &str| match name {
            "A" => Some("x.tar.gz".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        };
        let table = [
            ("${A}y", "x.tar.gzy"),
            ("$A$N", "x.tar.gz"),
            ("${N:-def}", "def"),
            ("${E:-def}${E-def}", "def"),
            ("${A:+alt}", "alt"),
            ("${N:-${A}}", "x.tar.gz"),
            (r"\$A", "$A"),
            ("'$A'\"$A\"", "$Ax.tar.gz"),
            ("$", "$"),
            ("${A%.*}", "x.tar"),
            ("${A%%.*}", "x"),
            ("${A#*.}", "tar.gz"),
            ("${A##*.}", "gz"),
            ("${A//./-}", "x-tar-gz"),
        ];
        for (word, expected) in table {
            assert_eq!(expand(word, '\\', &lookup)?, expected, "{word}");
        }
        for bad in ["${A", "'x", "\"x", "${N:?gone}", "${}"] {
            assert!(expand(bad, '\\', &lookup).is_err(), "{bad}");
        }
        Ok(())
    }
}
