//! The vocabulary in which the shape of a Compose file is described.

/// Kinds of values that a place takes, as bits.
pub(super) type Kinds = u8;
/// Nothing.
pub(super) const NULL: Kinds = 1;
/// `true` or `false`.
pub(super) const BOOL: Kinds = 2;
/// A whole number.
pub(super) const INT: Kinds = 4;
/// Any number.
pub(super) const NUM: Kinds = 8;
/// Text.
pub(super) const TEXT: Kinds = 16;
/// A sequence.
pub(super) const LIST: Kinds = 32;
/// A mapping.
pub(super) const MAP: Kinds = 64;

/// What a place takes.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kinds: Kinds,
    /// The only texts that are taken; empty is any.
    pub(super) one_of: &'static [&'static str],
    /// A rule for texts.
    pub(super) text: Option<TextRule>,
    /// The least and the greatest whole number.
    pub(super) range: Option<(i64, i64)>,
    /// The elements of a list; none is anything.
    pub(super) items: Option<&'static Shape>,
    /// Whether an element may be there twice.
    pub(super) unique: Unique,
    /// The keys of a mapping; none is anything.
    pub(super) object: Option<&'static Object>,
}

/// A rule that a text has to meet.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextRule {
    /// Decides.
    pub(super) fits: fn(&str) -> bool,
    /// Says what is expected: "must …".
    pub(super) wanted: &'static str,
    /// The same as a regular expression, for the published schema.
    pub(super) pattern: &'static str,
}

/// Whether an element of a list may be there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unique {
    Yes,
    No,
}

/// The keys of a mapping.
#[derive(Debug)]
pub(super) struct Object {
    /// Known keys, sorted.
    pub(super) fields: &'static [(&'static str, &'static Shape)],
    /// Keys that must be there.
    pub(super) required: &'static [&'static str],
    /// What other keys are.
    pub(super) others: Others,
}

/// Keys of a mapping that are not known by name.
#[derive(Debug)]
pub(super) enum Others {
    /// Not taken.
    Refused,
    /// Taken where they start with `x-`.
    Extensions,
    /// Anything is taken.
    Any,
    /// Names of the user's choice; others are refused.
    Names(&'static Shape),
    /// Names of the user's choice; others may hold anything.
    OpenNames(&'static Shape),
    /// Any key that is not empty.
    Keys(&'static Shape),
    /// Lower-case words; others may hold anything.
    Words(&'static Shape),
}

impl Shape {
    pub(super) const fn of(kinds: Kinds) -> Self {
        Self {
            kinds,
            one_of: &[],
            text: None,
            range: None,
            items: None,
            unique: Unique::No,
            object: None,
        }
    }

    pub(super) const fn one_of(mut self, texts: &'static [&'static str]) -> Self {
        self.one_of = texts;
        self
    }

    pub(super) const fn text(mut self, rule: TextRule) -> Self {
        self.text = Some(rule);
        self
    }

    pub(super) const fn range(mut self, least: i64, greatest: i64) -> Self {
        self.range = Some((least, greatest));
        self
    }

    pub(super) const fn items(mut self, items: &'static Self) -> Self {
        self.kinds |= LIST;
        self.items = Some(items);
        self
    }

    pub(super) const fn unique(mut self) -> Self {
        self.unique = Unique::Yes;
        self
    }

    pub(super) const fn object(mut self, object: &'static Object) -> Self {
        self.kinds |= MAP;
        self.object = Some(object);
        self
    }

    /// Names the kinds as people do.
    pub(super) fn wanted(&self) -> String {
        let names: Vec<&str> = [
            (MAP, "mapping"),
            (LIST, "list"),
            (TEXT, "string"),
            (NUM, "number"),
            (INT, "integer"),
            (BOOL, "boolean"),
            (NULL, "null"),
        ]
        .into_iter()
        .filter(|(kind, _)| self.kinds & kind != 0)
        .map(|(_, name)| name)
        .collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        }
    }
}

impl Object {
    pub(super) const fn new(fields: &'static [(&'static str, &'static Shape)]) -> Self {
        Self {
            fields,
            required: &[],
            others: Others::Extensions,
        }
    }

    pub(super) const fn closed(fields: &'static [(&'static str, &'static Shape)]) -> Self {
        Self {
            fields,
            required: &[],
            others: Others::Refused,
        }
    }

    pub(super) const fn required(mut self, keys: &'static [&'static str]) -> Self {
        self.required = keys;
        self
    }

    pub(super) const fn map_of(others: Others) -> Self {
        Self {
            fields: &[],
            required: &[],
            others,
        }
    }

    /// Finds a known key.
    pub(super) fn find(&self, key: &str) -> Option<&'static Shape> {
        let found = self.fields.binary_search_by(|(known, _)| (*known).cmp(key));
        found.ok().map(|index| self.fields[index].1)
    }
}
