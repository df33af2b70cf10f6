//! The `${VAR:-default}` grammar (behaviours.md B049-B054), used by Compose files and by dotenv files.
//!
//! A braced expression reaches to the last `}` of its line, and its operator is the one that occurs first in that
//! text: both are docker compose's, and both show in what people's files yield.

use std::collections::BTreeSet;

/// Looks variables up, and hears of those that are missing.
pub(super) trait Lookup {
    /// Returns the value of a variable.
    fn find(&self, name: &str) -> Option<String>;
    /// Hears that a variable without an alternative is not set.
    fn missing(&mut self, name: &str);
}

/// Why a text could not be substituted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    /// The grammar is not met.
    #[error("invalid interpolation format")]
    Invalid,
    /// `${VAR:?message}` without a value.
    #[error("required variable `{name}` is missing a value{}", reason(.message))]
    Required {
        /// The variable.
        name: String,
        /// What the author wrote.
        message: String,
    },
}

fn reason(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

/// A variable that a file uses (`config --variables`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Whether it must have a value.
    pub required: bool,
    /// What stands in for a missing value.
    pub default_value: String,
    /// What is taken where it has a value.
    pub alternate_value: String,
}

/// What follows a `$`.
enum Piece<'a> {
    /// `$$`
    Escaped,
    /// `$NAME`
    Named(&'a str),
    /// `${…}`: the whole matched text, from `$` to the last brace.
    Braced(&'a str),
    /// `${` that leads nowhere.
    Invalid,
}

/// The operators in the order in which docker compose looks for them.
const OPERATORS: [&str; 6] = [":?", "?", ":-", "-", ":+", "+"];

/// Substitutes every variable of a text.
///
/// # Errors
/// Fails where the grammar is not met or a required variable has no value.
pub(super) fn substitute(text: &str, lookup: &mut dyn Lookup) -> Result<String, TemplateError> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        result.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        let Some((piece, length)) = next_piece(rest) else {
            result.push('$');
            rest = &rest[1..];
            continue;
        };
        match piece {
            Piece::Escaped => result.push('$'),
            Piece::Named(name) => result.push_str(&plain(name, lookup)),
            Piece::Braced(whole) => result.push_str(&braced(whole, lookup)?),
            Piece::Invalid => return Err(TemplateError::Invalid),
        }
        rest = &rest[length..];
    }
    result.push_str(rest);
    Ok(result)
}

/// Returns the first expression of a text that is none, up to its brace or the end of its line; may be empty.
pub(super) fn invalid_part(text: &str) -> &str {
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        rest = &rest[dollar..];
        match next_piece(rest) {
            Some((Piece::Invalid, _)) => {
                let line = rest.lines().next().unwrap_or_default();
                let end = line.find('}').map_or(line.len(), |at| at + 1);
                return line[..end].trim_end();
            }
            Some((_, length)) => rest = &rest[length..],
            None => rest = &rest[1..],
        }
    }
    ""
}

/// Recognises what starts at a `$`; returns it with its length in bytes.
fn next_piece(text: &str) -> Option<(Piece<'_>, usize)> {
    let after = &text[1..];
    match after.bytes().next()? {
        b'$' => Some((Piece::Escaped, 2)),
        b'{' => Some(braced_piece(text)),
        _ => {
            let length = name_length(after);
            (length > 0).then(|| (Piece::Named(&after[..length]), length + 1))
        }
    }
}

fn braced_piece(text: &str) -> (Piece<'_>, usize) {
    let name = name_length(&text[2..]);
    let after = &text[2 + name..];
    if name == 0 {
        return (Piece::Invalid, 2);
    }
    if after.starts_with('}') {
        return (Piece::Braced(&text[..=2 + name]), 3 + name);
    }
    let operator = after.strip_prefix(':').unwrap_or(after);
    if !operator.starts_with(['-', '+', '?']) {
        return (Piece::Invalid, 2);
    }
    let line_end = after.find('\n').unwrap_or(after.len());
    match after[..line_end].rfind('}') {
        Some(end) => {
            let length = 2 + name + end + 1;
            (Piece::Braced(&text[..length]), length)
        }
        None => (Piece::Invalid, 2),
    }
}

fn name_length(text: &str) -> usize {
    if !text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        return 0;
    }
    text.find(|next: char| !next.is_ascii_alphanumeric() && next != '_')
        .unwrap_or(text.len())
}

fn plain(name: &str, lookup: &mut dyn Lookup) -> String {
    lookup.find(name).unwrap_or_else(|| {
        lookup.missing(name);
        String::new()
    })
}

/// Substitutes the longest `${…}` of a line: up to the matching brace it is one expression, behind it is plain text.
fn braced(whole: &str, lookup: &mut dyn Lookup) -> Result<String, TemplateError> {
    let operator = first_operator(whole);
    let (expression, rest) = match closing_brace(whole) {
        Some(end) => (&whole[..=end], &whole[end + 1..]),
        None => (whole, ""),
    };
    let Some((Piece::Braced(matched), _)) = next_piece(expression) else {
        return Err(TemplateError::Invalid);
    };
    let inner = &matched[2..matched.len() - 1];
    let Some((name, argument)) = operator.and_then(|operator| inner.split_once(operator)) else {
        let value = plain(inner, lookup);
        // Without an operator docker compose drops what follows on this match only where the match reached further.
        return Ok(value + &substitute(rest, lookup)?);
    };
    let value = apply(operator.unwrap_or_default(), name, argument, lookup)?;
    Ok(value + &substitute(rest, lookup)?)
}

fn apply(
    operator: &str,
    name: &str,
    argument: &str,
    lookup: &mut dyn Lookup,
) -> Result<String, TemplateError> {
    let value = lookup.find(name);
    let usable = value
        .as_ref()
        .is_some_and(|value| !operator.starts_with(':') || !value.is_empty());
    match operator.trim_start_matches(':') {
        "+" if usable => substitute(argument, lookup),
        "-" if !usable => substitute(argument, lookup),
        "?" if !usable => Err(TemplateError::Required {
            name: name.to_owned(),
            // As it is written: what it would substitute may be secret.
            message: argument.to_owned(),
        }),
        _ => Ok(value.unwrap_or_default()),
    }
}

fn first_operator(text: &str) -> Option<&'static str> {
    OPERATORS
        .iter()
        .filter_map(|operator| text.find(operator).map(|at| (at, *operator)))
        .min_by_key(|(at, _)| *at)
        .map(|(_, operator)| operator)
}

/// Finds the brace that closes the first one.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 0;
    let mut index = 0;
    while index < bytes.len() {
        match bytes[index] {
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(index);
                }
            }
            b'{' => {
                open += 1;
                index += 1;
            }
            _ => {}
        }
        index += 1;
    }
    None
}

/// Collects the variables of a text, also those in defaults.
pub(super) fn collect_variables(text: &str, found: &mut BTreeSet<Variable>) {
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        rest = &rest[dollar..];
        let Some((piece, length)) = next_piece(rest) else {
            rest = &rest[1..];
            continue;
        };
        match piece {
            Piece::Named(name) => {
                found.insert(Variable {
                    name: name.to_owned(),
                    ..Variable::default()
                });
            }
            Piece::Braced(whole) => collect_braced(whole, found),
            // docker compose lists an expression that is none as a variable without a name.
            Piece::Invalid => {
                found.insert(Variable::default());
            }
            Piece::Escaped => {}
        }
        rest = &rest[length..];
    }
}

fn collect_braced(whole: &str, found: &mut BTreeSet<Variable>) {
    let end = closing_brace(whole).unwrap_or(whole.len() - 1);
    let inner = &whole[2..end];
    let name = name_length(inner);
    let mut variable = Variable {
        name: inner[..name].to_owned(),
        ..Variable::default()
    };
    let operation = &inner[name..];
    let argument = operation.trim_start_matches(':').get(1..).unwrap_or("");
    match operation.trim_start_matches(':').bytes().next() {
        Some(b'?') => variable.required = true,
        Some(b'-') => argument.clone_into(&mut variable.default_value),
        Some(b'+') => argument.clone_into(&mut variable.alternate_value),
        _ => {}
    }
    if !variable.required {
        collect_variables(argument, found);
    }
    found.insert(variable);
    collect_variables(whole.get(end + 1..).unwrap_or(""), found);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<String>);

    impl Lookup for Fixed {
        fn find(&self, name: &str) -> Option<String> {
            match name {
                "SET" => Some("value".to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            }
        }
        fn missing(&mut self, name: &str) {
            self.0.push(name.to_owned());
        }
    }

    fn done(text: &str) -> Result<String, TemplateError> {
        substitute(text, &mut Fixed(Vec::new()))
    }

    #[test]
    fn substitutes_every_form() {
        for (text, want) in [
            ("$SET-x", "value-x"),
            ("${SET}", "value"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${NO:-${SET}}", "value"),
            ("${SET:+yes}", "yes"),
            ("${NO+yes}", ""),
            ("$$SET", "$SET"),
            ("$1 $", "$1 $"),
            ("${NO:-a}b${SET}", "abvalue"),
        ] {
            assert_eq!(done(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_an_expression() {
        assert_eq!(done("${}"), Err(TemplateError::Invalid));
        assert_eq!(done("${1}"), Err(TemplateError::Invalid));
        assert_eq!(
            done("${NO:?say $SET}").map_err(|error| error.to_string()),
            Err("required variable `NO` is missing a value: say $SET".to_owned())
        );
    }

    #[test]
    fn collects_nested_variables() {
        let mut found = BTreeSet::new();
        collect_variables("${A:-${B:?m}} $C", &mut found);
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["A", "B", "C"]);
        collect_variables("$1 ${1}", &mut found);
        assert!(found.contains(&Variable::default()));
    }
}
