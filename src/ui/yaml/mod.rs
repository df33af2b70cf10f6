//! YAML text, written so that every reader of Compose files reads it back: docker compose's quoting, its indentation,
//! and comments where they are wanted.
//!
//! A serializer of its own: the general one leaves texts such as `1_000` bare, which docker compose would read as a
//! number. It writes while it walks, so that a large project is not held a second time as a tree of values.

mod order;
mod text;

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
    ops::Range,
};

use serde::Serialize;
use serde::ser;
use serde_json::Error;

use self::text::{WIDTH, folded, inline, is_literal, is_simple};

/// Gives the comment of a line, by the path of its value.
pub(crate) type Comments<'c> = &'c dyn Fn(&[String]) -> Option<String>;

/// What a document is written with beside its values.
#[derive(Default)]
pub(crate) struct Notes<'c> {
    /// The comments of lines.
    pub(crate) comments: Option<Comments<'c>>,
    /// The paths of texts that are points in time, which are written as such: without quotes.
    pub(crate) times: HashSet<Vec<String>>,
}

/// What becomes of `$`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dollars {
    /// Written as it is.
    Kept,
    /// Written as `$$`, so that a reader substitutes nothing.
    Doubled,
}

/// Writes a document.
///
/// # Errors
/// Fails where a value does not serialize.
pub(crate) fn document(
    value: &impl Serialize,
    notes: Notes<'_>,
    dollars: Dollars,
) -> Result<String, Error> {
    let mut writer = Writer {
        text: String::new(),
        key: String::new(),
        path: Vec::new(),
        keeps_path: notes.comments.is_some() || !notes.times.is_empty(),
        notes,
        dollars,
    };
    value.serialize(At {
        writer: &mut writer,
        depth: 0,
        place: Place::Top,
    })?;
    Ok(writer.text)
}

struct Writer<'c> {
    text: String,
    /// The last key, kept for its memory.
    key: String,
    /// The path of the value that is written; kept only where a note asks for it.
    path: Vec<String>,
    keeps_path: bool,
    notes: Notes<'c>,
    dollars: Dollars,
}

impl Writer<'_> {
    fn indent(&mut self, depth: usize) {
        self.text.extend(std::iter::repeat_n(' ', depth));
    }

    fn push(&mut self, text: &str) {
        if self.dollars == Dollars::Kept || !text.contains('$') {
            self.text.push_str(text);
        } else {
            self.text.push_str(&text.replace('$', "$$"));
        }
    }

    fn enter(&mut self, part: impl FnOnce() -> String) {
        if self.keeps_path {
            self.path.push(part());
        }
    }

    fn leave(&mut self) {
        self.path.pop();
    }

    /// Ends a line with its comment; the lines of a literal take none.
    fn end_line(&mut self) {
        if self.text.ends_with('\n') {
            return;
        }
        if let Some(comment) = self
            .notes
            .comments
            .and_then(|comments| comments(&self.path))
        {
            self.text.push_str(" # ");
            self.push(&comment);
        }
        self.text.push('\n');
    }

    fn text_value(&mut self, text: &str, depth: usize) {
        if is_simple(text) || self.notes.times.contains(&self.path) {
            self.push(text);
        } else if is_literal(text) {
            self.literal(text, depth + 2);
        } else {
            let text = inline(text);
            let line = self.text.rfind('\n').map_or(0, |end| end + 1);
            let column = self.text[line..].chars().count();
            if self.notes.comments.is_none() && column + text.len() > WIDTH {
                self.push(&folded(&text, column, depth + 2));
            } else {
                self.push(&text);
            }
        }
    }

    fn literal(&mut self, text: &str, depth: usize) {
        let body = text.trim_end_matches('\n');
        self.text.push('|');
        // A reader takes the indentation from the first line that is not empty, unless it is told.
        if text.trim_start_matches('\n').starts_with(' ') {
            self.text.push('2');
        }
        self.text.push_str(match text.len() - body.len() {
            0 => "-",
            1 => "",
            _ => "+",
        });
        self.text.push('\n');
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            if !line.is_empty() {
                self.indent(depth);
                self.push(line);
            }
            self.text.push('\n');
        }
    }
}

/// What stands before a value on its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    AfterKey,
    AfterDash,
}

/// The place of one value: a serializer for it.
struct At<'w, 'c> {
    writer: &'w mut Writer<'c>,
    /// The indentation of the line.
    depth: usize,
    place: Place,
}

impl<'w, 'c> At<'w, 'c> {
    /// Writes a value that stands on its line.
    fn scalar(self, write: impl FnOnce(&mut Writer<'c>, usize)) -> Result<(), Error> {
        if self.place == Place::AfterKey {
            self.writer.text.push(' ');
        }
        write(self.writer, self.depth);
        self.writer.end_line();
        Ok(())
    }

    fn shown(self, value: impl std::fmt::Display) -> Result<(), Error> {
        self.scalar(|writer, _| {
            write!(writer.text, "{value}").expect("writing to a string never fails");
        })
    }

    fn section(self, empty: &'static str) -> Section<'w, 'c> {
        Section {
            inner: if self.place == Place::Top {
                0
            } else {
                self.depth + 2
            },
            outer: self,
            count: 0,
            empty,
            keys: None,
        }
    }

    /// A value with a name around it: a mapping with one key.
    fn variant(self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let mut section = self.section("{}");
        section.pair(name, value)?;
        section.finish()
    }
}

/// A list or mapping in the making.
struct Section<'w, 'c> {
    outer: At<'w, 'c>,
    /// The indentation of its lines.
    inner: usize,
    count: usize,
    /// How it is written without anything in it.
    empty: &'static str,
    /// Where the keys of a mapping stand whose order is ours to choose.
    keys: Option<Vec<Range<usize>>>,
}

impl<'c> Section<'_, 'c> {
    /// Starts a line for the next entry.
    fn line(&mut self) -> &mut Writer<'c> {
        let writer = &mut *self.outer.writer;
        match (self.count, self.outer.place) {
            (0, Place::AfterDash) => {}
            (0, Place::AfterKey) => {
                writer.end_line();
                writer.indent(self.inner);
            }
            _ => writer.indent(self.inner),
        }
        self.count += 1;
        writer
    }

    fn element(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let (number, depth) = (self.count, self.inner);
        let writer = self.line();
        writer.text.push_str("- ");
        writer.enter(|| number.to_string());
        value.serialize(At {
            writer,
            depth,
            place: Place::AfterDash,
        })?;
        self.outer.writer.leave();
        Ok(())
    }

    fn key(&mut self, key: &str) {
        let writer = self.line();
        let start = writer.text.len();
        if is_simple(key) {
            writer.push(key);
        } else {
            writer.push(&inline(key));
        }
        let key_at = start..writer.text.len();
        writer.text.push(':');
        writer.enter(|| key.to_owned());
        if let Some(keys) = &mut self.keys {
            keys.push(key_at);
        }
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        value.serialize(At {
            writer: self.outer.writer,
            depth: self.inner,
            place: Place::AfterKey,
        })?;
        self.outer.writer.leave();
        Ok(())
    }

    fn pair(&mut self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.key(key);
        self.value(value)
    }

    fn finish(self) -> Result<(), Error> {
        if self.count > 0 {
            if let Some(keys) = self.keys {
                order::sort(&mut self.outer.writer.text, &keys, self.inner);
            }
            return Ok(());
        }
        let empty = self.empty;
        self.outer.scalar(|writer, _| writer.text.push_str(empty))
    }
}

impl<'w, 'c> ser::Serializer for At<'w, 'c> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Section<'w, 'c>;
    type SerializeTuple = Section<'w, 'c>;
    type SerializeTupleStruct = Section<'w, 'c>;
    type SerializeTupleVariant = ser::Impossible<(), Error>;
    type SerializeMap = Section<'w, 'c>;
    type SerializeStruct = Section<'w, 'c>;
    type SerializeStructVariant = ser::Impossible<(), Error>;

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.shown(value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), Error> {
        self.shown(value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), Error> {
        self.shown(value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), Error> {
        self.shown(value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), Error> {
        self.shown(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.shown(value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.shown(value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.shown(value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        self.shown(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        self.shown(hoist::model::float_text(value))
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.scalar(|writer, depth| writer.text_value(value, depth))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.scalar(|writer, _| writer.text.push_str("null"))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<(), Error> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(name, value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        Ok(self.section("[]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        Ok(self.section("[]"))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Error> {
        Ok(self.section("[]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(no_form(name))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, Error> {
        Ok(Section {
            // serde gives no length for a struct that has extensions, whose fields are in their order.
            keys: length.map(Vec::with_capacity),
            ..self.section("{}")
        })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Error> {
        Ok(self.section("{}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(no_form(name))
    }
}

/// Nothing that is written has such a variant.
fn no_form(name: &str) -> Error {
    ser::Error::custom(format!("`{name}` has no form in YAML"))
}

impl ser::SerializeSeq for Section<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.element(value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl ser::SerializeTuple for Section<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.element(value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Section<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.element(value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl ser::SerializeMap for Section<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        // A formatter takes text and numbers, as keys are, and needs no value of its own.
        let mut text = std::mem::take(&mut self.outer.writer.key);
        text.clear();
        let written = write!(text, "{}", Shown(key));
        self.key(&text);
        self.outer.writer.key = text;
        written.map_err(ser::Error::custom)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.value(value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl ser::SerializeStruct for Section<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.pair(key, value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

/// A key as text.
struct Shown<'k, T: ?Sized>(&'k T);

impl<T: Serialize + ?Sized> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(value: &Value) -> Result<String, Error> {
        document(value, Notes::default(), Dollars::Kept)
    }

    #[test]
    fn quotes_what_readers_take_for_something_else() -> Result<(), Error> {
        let texts = [
            "0440",
            "1_000",
            "true",
            "",
            "yes",
            "a: b",
            "# x",
            "-",
            "plain text",
            "a#b",
            "*.foo",
            "it's",
        ];
        let text = written(&json!(texts))?;
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.trim_start_matches("- "))
            .collect();
        assert_eq!(
            lines,
            [
                "\"0440\"",
                "\"1_000\"",
                "\"true\"",
                "\"\"",
                "'yes'",
                "'a: b'",
                "'# x'",
                "'-'",
                "plain text",
                "a#b",
                "'*.foo'",
                "it's"
            ]
        );
        Ok(())
    }

    #[test]
    fn takes_nothing_for_simple_that_needs_quotes() {
        for text in [
            "true", "no", "false", "~", "null", "Off", "a:", "x y", "-", "1", "", "a\tb", "\u{e4}",
        ] {
            assert!(!is_simple(text), "{text}");
        }
        for text in ["/data", "service1", "registry:5000/a@b#c", "name-of-it"] {
            assert!(is_simple(text) && inline(text) == text, "{text}");
        }
    }

    #[test]
    fn long_texts_are_broken_as_docker_compose_breaks_them() -> Result<(), Error> {
        let words = "word ".repeat(20);
        let wide = words.replace(' ', "  ");
        let value = json!({"a": {
            "double": format!("{words}x\ty"),
            "list": [format!("{words}end")],
            "single": format!("{words}x: y"),
            "wide": format!("{wide}x\ty"),
            "wide_plain": format!("{wide}x"),
        }});
        let expected = [
            "a:",
            "  double: \"word word word word word word word word word word word word word word word",
            "    word word word word word x\\ty\"",
            "  list:",
            "    - word word word word word word word word word word word word word word word word",
            "      word word word word end",
            "  single: 'word word word word word word word word word word word word word word word",
            "    word word word word word x: y'",
            "  wide: \"word  word  word  word  word  word  word  word  word  word  word  word  word",
            "    \\ word  word  word  word  word  word  word  x\\ty\"",
        ];
        let text = written(&value)?;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..expected.len()], expected);
        assert_eq!(lines[expected.len()], format!("  wide_plain: {wide}x"));
        Ok(())
    }

    #[test]
    fn texts_of_several_lines_stay_lines() -> Result<(), Error> {
        for (text, wanted) in [
            ("\na\n", "a: |\n\n  a\n"),
            ("\n\na\nb", "a: |-\n\n\n  a\n  b\n"),
            ("  a\nb\n", "a: |2\n    a\n  b\n"),
            // docker compose writes it without the number, and reads it back without the blanks.
            ("\n  a\n", "a: |2\n\n    a\n"),
            ("\ta\nb\n", "a: |\n  \ta\n  b\n"),
            ("a\t\nb\n", "a: |\n  a\t\n  b\n"),
            ("\n", "a: \"\\n\"\n"),
            ("a \nb\n", "a: \"a \\nb\\n\"\n"),
            ("\na ", "a: \"\\na \"\n"),
        ] {
            assert_eq!(written(&json!({"a": text}))?, wanted);
        }
        Ok(())
    }

    #[test]
    fn writes_a_time_without_quotes_and_a_text_that_looks_like_one_with() -> Result<(), Error> {
        let value = json!({"time": "2001-01-01T00:00:00Z", "text": "2001-01-01T00:00:00Z", "no": "2001-01-01 x"});
        let notes = Notes {
            times: HashSet::from([vec!["time".to_owned()]]),
            ..Notes::default()
        };
        assert_eq!(
            document(&value, notes, Dollars::Kept)?,
            "'no': 2001-01-01 x\ntext: \"2001-01-01T00:00:00Z\"\ntime: 2001-01-01T00:00:00Z\n"
        );
        Ok(())
    }

    #[test]
    fn doubles_dollars_and_comments_lines() -> Result<(), Error> {
        let value = json!({"a": {"b": ["$x"], "c": {}}});
        let comment = |path: &[String]| Some(path.join("/"));
        let notes = Notes {
            comments: Some(&comment),
            ..Notes::default()
        };
        assert_eq!(
            document(&value, notes, Dollars::Doubled)?,
            "a: # a\n  b: # a/b\n    - $$x # a/b/0\n  c: {} # a/c\n"
        );
        Ok(())
    }

    #[test]
    fn reads_back_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let value = json!({
            "a": {"list": [{"x": 1, "y": [[1, 2], []]}, "z"], "empty": {}},
            "text": "one\ntwo\n", "open": "one\ntwo", "more": "one\n\n", "odd": " lead\nx", "tab": "a\tb",
            "none": null, "flag": true, "number": 1.5,
        });
        let read: Value = serde_yaml::from_str(&written(&value)?)?;
        assert_eq!(read, value);
        Ok(())
    }
}
