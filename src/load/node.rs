//! The tree that every phase works on: YAML values that know where they came from.

use compact_str::CompactString;

use super::timestamp;

pub use super::map::Map;

/// A text of the tree; short ones take no memory of their own.
pub type Text = CompactString;

/// Bytes of one of the sources of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Index of the source; [`Span::NOWHERE`] for values that no file holds.
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

impl Span {
    /// The place of values that the loader itself made up.
    pub const NOWHERE: Self = Self {
        source: u32::MAX,
        start: 0,
        end: 0,
    };
}

/// A merge instruction on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// `!reset`: what earlier files say at this path is removed, and nothing is put there.
    Reset,
    /// `!override`: what earlier files say at this path is removed before this is merged.
    Override,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer beyond the range of the signed ones.
    Big(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Text),
    /// A date or a point in time, in the form of RFC 3339.
    Time(Text),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping with text keys.
    Map(Map),
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub span: Span,
    /// Where its key stands; the value's own place for elements of sequences.
    pub key: Span,
    /// A merge instruction, until the `reset` phase takes it.
    pub instruction: Option<Instruction>,
    /// The places of what it replaced, the first one first; boxed, because hardly any node has some.
    #[expect(
        clippy::box_collection,
        reason = "every node pays for the size of this field"
    )]
    earlier: Option<Box<Vec<Span>>>,
}

impl Node {
    /// Makes a node at a place.
    #[must_use]
    pub fn new(value: Value, span: Span) -> Self {
        Self {
            value,
            span,
            key: span,
            instruction: None,
            earlier: None,
        }
    }

    /// Notes that it takes the place of another one.
    #[must_use]
    pub(super) fn replacing(mut self, other: &Self) -> Self {
        let mut earlier = other.earlier().to_vec();
        earlier.push(other.span);
        earlier.extend_from_slice(self.earlier());
        self.earlier = Some(Box::new(earlier));
        self
    }

    /// Returns the places of what it replaced, the first one first.
    #[must_use]
    pub fn earlier(&self) -> &[Span] {
        self.earlier.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Makes a text node at a place.
    #[must_use]
    pub fn text(text: impl Into<Text>, span: Span) -> Self {
        Self::new(Value::Text(text.into()), span)
    }

    /// Sets the place of the key.
    #[must_use]
    pub fn keyed(mut self, key: Span) -> Self {
        self.key = key;
        self
    }

    /// Returns the text, where it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the mapping, where it is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the mapping, where it is one.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the mapping, where it is one.
    #[must_use]
    pub fn into_map(self) -> Option<Map> {
        match self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the sequence, where it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// Returns a child of a mapping.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<&Self> {
        self.as_map().and_then(|map| map.get(key))
    }

    /// Says whether it is nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// Names its kind as people do.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::Big(_) | Value::Float(_) => "number",
            Value::Text(_) => "string",
            Value::Time(_) => "date",
            Value::List(_) => "list",
            Value::Map(_) => "mapping",
        }
    }

    /// Writes a scalar as text, as Go's `fmt.Sprint` does; `None` for lists and mappings.
    #[must_use]
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Null => Some(String::new()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Int(number) => Some(number.to_string()),
            Value::Big(number) => Some(number.to_string()),
            Value::Float(number) => Some(crate::model::float_text(*number)),
            Value::Text(text) => Some(text.to_string()),
            Value::Time(time) => Some(timestamp::as_text(time)),
            Value::List(_) | Value::Map(_) => None,
        }
    }
}
