//! One difference between what exists and what the file says, in words that hold no secret.

use std::fmt;

use serde::Serialize;

/// Characters of a value that the text form shows.
const SHOWN: usize = 60;

/// How a field differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It has another value.
    Changed,
    /// The file has it, what exists has it not.
    Added,
    /// What exists has it, the file has it not.
    Removed,
    /// No engine keeps the field, so it may be what changed.
    Possible,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Attribute of the file: `ports`, `environment.TOKEN`.
    pub field: String,
    /// How it differs.
    pub change: ChangeKind,
    /// What exists; absent where the value may be a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What the file says; absent where the value may be a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `file:line`, where a file says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl Change {
    /// Makes it one of several that may be the one.
    pub(super) fn doubt(&mut self) {
        self.change = ChangeKind::Possible;
        (self.from, self.to) = (None, None);
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match (self.change, &self.from, &self.to) {
            (ChangeKind::Changed, Some(from), Some(to)) => {
                write!(f, "{field}: {} -> {}", short(from), short(to))?;
            }
            (ChangeKind::Changed, _, _) => write!(f, "{field} changed")?,
            (ChangeKind::Added, _, Some(to)) => write!(f, "{field}: added {}", short(to))?,
            (ChangeKind::Added, _, None) => write!(f, "{field} added")?,
            (ChangeKind::Removed, Some(from), _) => write!(f, "{field}: removed {}", short(from))?,
            (ChangeKind::Removed, None, _) => write!(f, "{field} removed")?,
            (ChangeKind::Possible, _, _) => write!(f, "{field} may have changed")?,
        }
        match &self.place {
            Some(place) => write!(f, ", {place}"),
            None => Ok(()),
        }
    }
}

/// A value on one line, without what a terminal would act on.
fn short(value: &str) -> String {
    let mut text: String = value.chars().take(SHOWN).flat_map(printable).collect();
    if value.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}

fn printable(character: char) -> Vec<char> {
    if character.is_control() {
        character.escape_default().collect()
    } else {
        vec![character]
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, ChangeKind};

    fn change(kind: ChangeKind, from: Option<&str>, to: Option<&str>) -> String {
        let change = Change {
            field: "field".to_owned(),
            change: kind,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            place: Some("compose.yaml:3".to_owned()),
        };
        change.to_string()
    }

    #[test]
    fn says_what_changed_and_where() {
        let from_to = change(ChangeKind::Changed, Some("a"), Some("b"));
        assert_eq!(from_to, "field: a -> b, compose.yaml:3");
        let secret = change(ChangeKind::Changed, None, None);
        assert_eq!(secret, "field changed, compose.yaml:3");
        let gone = change(ChangeKind::Removed, Some("a"), None);
        assert_eq!(gone, "field: removed a, compose.yaml:3");
    }

    #[test]
    fn a_value_stays_on_its_line() {
        let text = change(ChangeKind::Added, None, Some("a\n\u{1b}[31mb"));
        assert_eq!(text, "field: added a\\n\\u{1b}[31mb, compose.yaml:3");
        let long = change(ChangeKind::Added, None, Some(&"x".repeat(100)));
        assert_eq!(long.matches('x').count(), 60);
    }
}
