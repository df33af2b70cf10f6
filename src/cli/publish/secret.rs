//! Values that nobody should publish: keys, tokens and passwords, known by their shape or by their name.
//!
//! Pure; called by `check`. A list of shapes is never complete: what it finds is asked about, what it does not find is
//! no promise.

use regex::Regex;

use crate::cli::CommandError;

/// A value that looks secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Detected {
    /// What it looks like.
    pub(super) kind: &'static str,
    /// The name that it has where it was found; empty for the text of a file.
    pub(super) key: String,
    /// The value.
    pub(super) value: String,
}

/// What a value may look like, the most telling first. A group is the secret part, else it is the whole match.
const SHAPES: &[(&str, &str)] = &[
    (
        "Private Key",
        r"(?s)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?-----END [A-Z0-9 ]+-----",
    ),
    (
        "AWS Client ID",
        r"\b(?:A3T[A-Z0-9]|AKIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ASIA)[A-Z0-9]{16}\b",
    ),
    (
        "AWS Secret Key",
        r#"(?i)\baws.{0,20}?['"][0-9a-z/+]{40}['"]"#,
    ),
    ("Github authentication", r"\bgh[pousr]_[A-Za-z0-9_]{36,}"),
    (
        "JSON Web Token",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+",
    ),
    ("Slack Token", r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
    ("Stripe API Key", r"\b[rs]k_live_[A-Za-z0-9]{20,}"),
    (
        "SendGrid API Key",
        r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    ),
    ("NPM Token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    (
        "Password in URL",
        r"\b[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@$]+:[^/\s:@${}]+@",
    ),
];

/// Names whose values are secret.
const NAMES: &str = r"(?i)(pass(word|wd|phrase)?$|passw(or)?d|passphrase|pwd|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|encryption[_-]?key|auth[_-]?key)";
/// A literal: no variable, no template, and long enough to mean something.
const LITERAL: &str = r"(?s)^[^${\s].+[^}\s]$";
/// A value shorter than this says nothing in a text that is searched as a whole.
const NAMED_VALUE_MIN: usize = 4;

/// The shapes, ready to be looked for.
#[derive(Debug)]
pub(super) struct Detector {
    shapes: Vec<(&'static str, Regex)>,
    names: Regex,
    literal: Regex,
}

impl Detector {
    /// Makes the shapes ready.
    pub(super) fn new() -> Result<Self, CommandError> {
        let shapes = SHAPES
            .iter()
            .map(|(kind, shape)| Ok((*kind, Regex::new(shape)?)))
            .collect::<Result<_, regex::Error>>()
            .map_err(CommandError::system)?;
        Ok(Self {
            shapes,
            names: Regex::new(NAMES).map_err(CommandError::system)?,
            literal: Regex::new(LITERAL).map_err(CommandError::system)?,
        })
    }

    /// Whether a text is no mere place for a variable.
    pub(super) fn is_literal(&self, text: &str) -> bool {
        // `$$` is a dollar sign that stays one.
        self.literal.is_match(&text.replace("$$", "."))
    }

    /// Whether a name says that its literal value is secret.
    pub(super) fn is_suspicious(&self, name: &str, value: &str) -> bool {
        self.names.is_match(name) && self.is_literal(value)
    }

    /// Looks at a value and its name.
    pub(super) fn value(&self, key: &str, value: &str) -> Option<Detected> {
        let found = |kind, value: &str| Detected {
            kind,
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let shape = self
            .shapes
            .iter()
            .find_map(|(kind, shape)| Some(found(*kind, shape.find(value)?.as_str())));
        let name = key.rsplit('.').next().unwrap_or(key);
        shape.or_else(|| {
            (value.len() >= NAMED_VALUE_MIN && self.is_suspicious(name, value))
                .then(|| found("Keyword", value))
        })
    }

    /// Looks at the text of a file: at each `NAME=value`, and at what has no name.
    pub(super) fn text(&self, text: &str) -> Vec<Detected> {
        let mut found: Vec<Detected> = Vec::new();
        for line in text.lines() {
            let named = line.split_once('=').filter(|(key, _)| is_name(key));
            let hit = match named {
                Some((key, value)) => {
                    let key = key.trim().trim_start_matches("export ").trim();
                    self.value(key, value.trim().trim_matches(['"', '\'']))
                }
                None => self.value("", line),
            };
            found.extend(hit);
        }
        // A key of many lines is found in the whole only.
        let several_lines = self.shapes.iter().flat_map(|(kind, shape)| {
            let hits = shape.find_iter(text).map(|hit| hit.as_str());
            hits.filter(|hit| hit.contains('\n'))
                .map(|hit| (*kind, hit))
        });
        found.extend(several_lines.map(|(kind, hit)| Detected {
            kind,
            key: String::new(),
            value: hit.to_owned(),
        }));
        found
    }
}

fn is_name(text: &str) -> bool {
    let text = text.trim().trim_start_matches("export ").trim();
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::{CommandError, Detector};

    fn kinds(text: &str) -> Result<Vec<(&'static str, String)>, CommandError> {
        let found = Detector::new()?.text(text);
        Ok(found.into_iter().map(|hit| (hit.kind, hit.key)).collect())
    }

    #[test]
    fn tokens_are_known_by_their_shape() -> Result<(), CommandError> {
        let token = format!("A=ghp_{}", "a1".repeat(18));
        assert_eq!(kinds(&token)?, [("Github authentication", "A".to_owned())]);
        let key = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        assert_eq!(kinds(key)?, [("Private Key", String::new())]);
        assert_eq!(
            kinds("DSN=postgres://u:hunter2@db/x")?,
            [("Password in URL", "DSN".to_owned())]
        );
        Ok(())
    }

    #[test]
    fn variables_and_plain_settings_are_no_secrets() -> Result<(), CommandError> {
        let harmless = "DSN=postgres://u:${PASSWORD}@db/x\nDB_PASSWORD=${DB_PASSWORD}\nLEVEL=debug\nA_TOKEN=\n";
        assert_eq!(kinds(harmless)?, []);
        Ok(())
    }

    #[test]
    fn literal_values_of_telling_names_are_secrets() -> Result<(), CommandError> {
        let detector = Detector::new()?;
        for name in [
            "MYSQL_ROOT_PASSWORD",
            "API_KEY",
            "apikey",
            "GITHUB_TOKEN",
            "db-pwd",
        ] {
            assert!(detector.is_suspicious(name, "bar"), "{name}");
            assert!(!detector.is_suspicious(name, "${X}"), "{name}");
        }
        assert!(!detector.is_suspicious("LOG_LEVEL", "debug"));
        assert!(detector.is_literal("pa$$word"));
        assert!(!detector.is_literal("${A}-b-${C}"));
        Ok(())
    }
}
