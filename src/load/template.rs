//! The `${VAR:-default}` grammar (behaviours.md B049-B054), used by Compose files and by dotenv files.
//!
//! A braced expression reaches to its own `}`, or to the last one of its line where none is its own; its operator
//! follows its name. Both are docker compose's, and both show in what people's files yield.

use std::collections::BTreeMap;

/// Deeper nests are mistakes or attacks.
const DEEPEST: usize = 100;

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
    /// Expressions in the defaults of expressions, and so on.
    #[error("variables are nested more than {DEEPEST} levels deep")]
    TooDeep,
}

fn reason(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

/// A variable that a file uses (`config --variables`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// `${…}`: from `$` to its brace, or to the last one of the line where none is its own.
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
    if is_too_deep(text) {
        return Err(TemplateError::TooDeep);
    }
    expand(text, lookup)
}

/// Says whether expressions are nested beyond the limit; every level of them is a call.
fn is_too_deep(text: &str) -> bool {
    let mut open = 0;
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        match (byte, rest.peek()) {
            (b'$', Some(b'$')) => {
                rest.next();
            }
            (b'$', Some(b'{')) => open += 1,
            // No expression reaches beyond its line.
            (b'\n', _) => open = 0,
            (b'}', _) => open = usize::saturating_sub(open, 1),
            _ => {}
        }
        if open > DEEPEST {
            return true;
        }
    }
    false
}

fn expand(text: &str, lookup: &mut dyn Lookup) -> Result<String, TemplateError> {
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
    if let Some(end) = closing_brace(&text[1..]) {
        return (Piece::Braced(&text[..end + 2]), end + 2);
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

/// Substitutes one `${…}`.
fn braced(whole: &str, lookup: &mut dyn Lookup) -> Result<String, TemplateError> {
    let inner = &whole[2..whole.len() - 1];
    let (name, operation) = inner.split_at(name_length(inner));
    let operator = OPERATORS.iter().find(|word| operation.starts_with(**word));
    match operator {
        Some(operator) => apply(operator, name, &operation[operator.len()..], lookup),
        None => Ok(plain(inner, lookup)),
    }
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
        "+" if usable => expand(argument, lookup),
        "-" if !usable => expand(argument, lookup),
        "?" if !usable => Err(TemplateError::Required {
            name: name.to_owned(),
            // As it is written: what it would substitute may be secret.
            message: argument.to_owned(),
        }),
        _ => Ok(value.unwrap_or_default()),
    }
}

/// Finds the brace that closes the first one, on its line.
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
            b'\n' => return None,
            _ => {}
        }
        index += 1;
    }
    None
}

/// Collects the variables of a text, also those in defaults. Of one that is there several times, docker compose takes
/// the last one, but of the expressions up to the last brace of a line the first.
pub(super) fn collect_variables(text: &str, found: &mut BTreeMap<String, Variable>) {
    if is_too_deep(text) {
        return;
    }
    let mut variables = Vec::new();
    collect(text, &mut variables);
    found.extend(
        variables
            .into_iter()
            .map(|variable| (variable.name.clone(), variable)),
    );
}

fn collect(text: &str, found: &mut Vec<Variable>) {
    let mut rest = text;
    // The expressions of a line, and where its last brace is, counted from the end of the text.
    let mut group: Vec<Vec<Variable>> = Vec::new();
    let mut last_brace = usize::MAX;
    while let Some(dollar) = rest.find('$') {
        rest = &rest[dollar..];
        let Some((piece, length)) = next_piece(rest) else {
            rest = &rest[1..];
            continue;
        };
        if rest.len() < last_brace {
            found.extend(group.drain(..).rev().flatten());
        }
        match piece {
            Piece::Named(name) => found.push(Variable {
                name: name.to_owned(),
                ..Variable::default()
            }),
            Piece::Braced(whole) => {
                if group.is_empty() {
                    let line = rest.lines().next().unwrap_or_default();
                    last_brace = rest.len() - line.rfind('}').unwrap_or_default();
                }
                group.push(of_expression(whole));
            }
            // docker compose lists an expression that is none as a variable without a name.
            Piece::Invalid => found.push(Variable::default()),
            Piece::Escaped => {}
        }
        rest = &rest[length..];
    }
    found.extend(group.into_iter().rev().flatten());
}

fn of_expression(whole: &str) -> Vec<Variable> {
    let inner = &whole[2..whole.len() - 1];
    let (name, operation) = inner.split_at(name_length(inner));
    let mut variable = Variable {
        name: name.to_owned(),
        ..Variable::default()
    };
    let argument = operation.trim_start_matches(':').get(1..).unwrap_or("");
    match operation.trim_start_matches(':').bytes().next() {
        Some(b'?') => variable.required = true,
        Some(b'-') => argument.clone_into(&mut variable.default_value),
        Some(b'+') => argument.clone_into(&mut variable.alternate_value),
        _ => {}
    }
    let mut variables = vec![variable];
    if !variables[0].required {
        collect(argument, &mut variables);
    }
    variables
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
    fn reads_many_expressions_of_a_line_and_refuses_nests() {
        assert_eq!(done(&"${NO:-x}".repeat(50_000)), Ok("x".repeat(50_000)));
        let nest = |depth: usize| "${NO:-".repeat(depth) + &"}".repeat(depth);
        assert_eq!(done(&nest(DEEPEST)), Ok(String::new()));
        assert_eq!(done(&nest(50_000)), Err(TemplateError::TooDeep));
        assert_eq!(done(&"$${".repeat(500)), Ok("${".repeat(500)));
    }

    fn collected(text: &str) -> BTreeMap<String, Variable> {
        let mut found = BTreeMap::new();
        collect_variables(text, &mut found);
        found
    }

    #[test]
    fn collects_nested_variables() {
        let found = collected("${A:-${B:?m}} $C");
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["A", "B", "C"]);
        assert!(collected("$1 ${1}").contains_key(""));
        assert!(collected(&"${A:-".repeat(5_000)).is_empty());
    }

    #[test]
    fn takes_one_of_several_defaults_as_docker_compose_does() {
        for (text, want) in [
            ("${A-1} ${A-2} ${A-3}", "1"),
            ("$A ${A-2}", "2"),
            ("${A-2} $A", ""),
            ("${A-2} x ${A-3}$A", ""),
            ("${A:-${A:-x}}", "x"),
            ("${F:-${A-1}} ${A-2}", "1"),
            ("${A-1}\n${A-2}", "2"),
        ] {
            assert_eq!(collected(text)["A"].default_value, want, "{text}");
        }
    }
}
