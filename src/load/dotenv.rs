//! The dotenv syntax (behaviours.md B036-B039): `.env`, `--env-file`, `env_file` and `label_file`; and the raw format.

use super::{
    env::EnvMap,
    template::{self, Lookup},
};

/// What is wrong with a dotenv text, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DotenvError {
    /// What is wrong.
    pub(super) message: String,
    /// Where.
    pub(super) offset: usize,
}

/// A parse in progress: variables are added to what is there, and later ones may use earlier ones.
pub(super) struct Dotenv<'a> {
    /// The variables so far.
    pub(super) variables: &'a mut EnvMap,
    /// What comes before them.
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Variables that were used without being set.
    pub(super) missing: Vec<String>,
}

impl Dotenv<'_> {
    /// Reads a text.
    ///
    /// # Errors
    /// Fails with the first line that is no assignment.
    pub(super) fn parse(&mut self, text: &str) -> Result<(), DotenvError> {
        let text_start = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rest = text_start;
        while let Some(statement) = statement_start(rest) {
            rest = self
                .statement(statement)
                .map_err(|(message, at)| DotenvError {
                    message,
                    offset: text.len() - at.len(),
                })?;
        }
        Ok(())
    }

    fn statement<'t>(&mut self, text: &'t str) -> Result<&'t str, (String, &'t str)> {
        let (key, rest, inherited) = key_name(text)?;
        if key.contains(' ') {
            // What looks like a name may be a line of a secret that lost its quotes: it is not repeated.
            return Err(("the name before `=` contains a space".to_owned(), text));
        }
        if inherited {
            if let Some(value) = (self.lookup)(key) {
                self.variables.insert(key.to_owned(), value);
            }
            return Ok(rest);
        }
        let (value, rest) = self.value(rest)?;
        self.variables.insert(key.to_owned(), value);
        Ok(rest)
    }

    fn value<'t>(&mut self, text: &'t str) -> Result<(String, &'t str), (String, &'t str)> {
        let Some(quote) = text
            .chars()
            .next()
            .filter(|first| matches!(first, '"' | '\''))
        else {
            let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
            let value = line.split_once(" #").map_or(line, |(value, _)| value);
            return Ok((self.expand(value.trim_end(), text)?, rest));
        };
        let Some((value, rest)) = quoted(&text[1..], quote) else {
            return Err(("a quote is not closed".to_owned(), text));
        };
        match quote {
            '"' => Ok((self.expand(&unescape(&value), text)?, rest)),
            _ => Ok((value, rest)),
        }
    }

    fn expand<'t>(&mut self, value: &str, at: &'t str) -> Result<String, (String, &'t str)> {
        if !value.contains('$') {
            return Ok(value.to_owned());
        }
        template::substitute(value, self).map_err(|error| (error.to_string(), at))
    }
}

impl Lookup for Dotenv<'_> {
    fn find(&self, name: &str) -> Option<String> {
        (self.lookup)(name).or_else(|| self.variables.get(name).cloned())
    }

    fn missing(&mut self, name: &str) {
        self.missing.push(name.to_owned());
    }
}

/// Skips blank lines and comments.
fn statement_start(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    while rest.starts_with('#') {
        rest = rest.split_once('\n')?.1.trim_start();
    }
    (!rest.is_empty()).then_some(rest)
}

fn is_space(character: char) -> bool {
    matches!(
        character,
        '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}'
    )
}

/// Reads the name before `=` or `:`; the last value says whether a line break came first.
fn key_name(text: &str) -> Result<(&str, &str, bool), (String, &str)> {
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start_matches(is_space),
        _ => text,
    };
    for (index, character) in text.char_indices() {
        match character {
            '=' | ':' | '\n' => {
                let key = text[..index].trim_end();
                let rest = text[index + 1..].trim_start_matches(is_space);
                return Ok((key, rest, character == '\n'));
            }
            '_' | '.' | '-' | '[' | ']' => {}
            _ if is_space(character) || character.is_alphanumeric() => {}
            _ => {
                let message = "this character cannot be part of a variable's name".to_owned();
                return Err((message, &text[index..]));
            }
        }
    }
    // A last line without `=` and without a line break: docker compose reads it as a value without a name.
    Ok(("", text, false))
}

/// Reads up to the closing quote.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        if character == quote && !escaped {
            return Some((value, &text[index + 1..]));
        }
        if character == '\\' && !escaped {
            escaped = true;
            continue;
        }
        if escaped && character != quote {
            value.push('\\');
        }
        escaped = false;
        value.push(character);
    }
    None
}

fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (replacement, used) = escape(after);
        match replacement {
            Some(replacement) => result.push_str(&replacement),
            None => result.push_str(&rest[at..=at + used]),
        }
        rest = &after[used..];
    }
    result.push_str(rest);
    result
}

/// Reads what follows a backslash: its replacement, and how many bytes it takes.
fn escape(after: &str) -> (Option<String>, usize) {
    let simple = |text: &str| (Some(text.to_owned()), 1);
    match after.bytes().next() {
        Some(b'n') => simple("\n"),
        Some(b'r') => simple("\r"),
        Some(b't') => simple("\t"),
        Some(b'a') => simple("\u{7}"),
        Some(b'b') => simple("\u{8}"),
        Some(b'f') => simple("\u{c}"),
        Some(b'v') => simple("\u{b}"),
        Some(b'"') => simple("\""),
        Some(b'\\') => simple("\\"),
        Some(b'$') => simple("$$"),
        Some(b'0') => octal(after),
        _ => (None, 0),
    }
}

fn octal(after: &str) -> (Option<String>, usize) {
    let digits = after[1..]
        .bytes()
        .take(3)
        .take_while(u8::is_ascii_digit)
        .count();
    let code = u32::from_str_radix(&after[1..=digits], 8).ok();
    let character = code.filter(|_| digits == 3).and_then(char::from_u32);
    (character.map(String::from), digits + 1)
}

/// Reads the raw format: `KEY=VALUE` lines without quotes, escapes and variables.
///
/// # Errors
/// Fails with the first line whose name is empty or holds a space.
pub(super) fn parse_raw(
    text: &str,
    variables: &mut EnvMap,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(), DotenvError> {
    let text_start = text.strip_prefix('\u{feff}').unwrap_or(text);
    for line in text_start.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, lookup(line)),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(DotenvError {
                message: "what stands before `=` is not the name of a variable".to_owned(),
                offset: line.as_ptr() as usize - text.as_ptr() as usize,
            });
        }
        if let Some(value) = value {
            variables.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<EnvMap, DotenvError> {
        let mut variables = EnvMap::new();
        let lookup = |name: &str| (name == "HOST").then(|| "me".to_owned());
        let mut dotenv = Dotenv {
            variables: &mut variables,
            lookup: &lookup,
            missing: Vec::new(),
        };
        dotenv.parse(text)?;
        Ok(variables)
    }

    #[test]
    fn reads_every_form() -> Result<(), DotenvError> {
        let text = "\u{feff}# comment\nexport A=1\nB: two words # note\nC='$A \\n'\nD=\"x\\ny $A\\$\"\nHOST\nE=a#b\nF=\"m\nn\"\n";
        let read = parse(text)?;
        let value = |name: &str| read.get(name).map(String::as_str);
        assert_eq!(value("A"), Some("1"));
        assert_eq!(value("B"), Some("two words"));
        assert_eq!(value("C"), Some("$A \\n"));
        assert_eq!(value("D"), Some("x\ny 1$"));
        assert_eq!(value("HOST"), Some("me"));
        assert_eq!(value("E"), Some("a#b"));
        assert_eq!(value("F"), Some("m\nn"));
        Ok(())
    }

    #[test]
    fn points_at_what_is_wrong() {
        assert_eq!(parse("A=1\nB!=2").map_err(|error| error.offset), Err(5));
        assert_eq!(parse("A=\"1").map_err(|error| error.offset), Err(2));
    }
}
