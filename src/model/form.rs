//! The two texts that a project is written as.
//!
//! docker compose's JSON, over which the config hash is taken, leaves nested `x-` attributes out and writes an unset
//! command as `null` and empty sections as `{}`; its YAML, which is meant to be loaded again, does the opposite. The
//! model's `Serialize` gives the JSON; inside [`as_yaml`] it gives the YAML.

use std::{cell::Cell, io};

use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter};

/// Which text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Yaml,
}

thread_local! {
    // serde passes no context to `skip_serializing_if`, so the form travels beside it.
    static FORM: Cell<Form> = const { Cell::new(Form::Json) };
}

/// Serializes inside of `write` as the YAML form.
pub fn as_yaml<T>(write: impl FnOnce() -> T) -> T {
    let before = FORM.replace(Form::Yaml);
    let result = write();
    FORM.set(before);
    result
}

pub(super) fn is_yaml() -> bool {
    FORM.get() == Form::Yaml
}

/// Says whether nested `x-` attributes are left out.
pub(super) fn no_extensions<K, V>(extensions: &indexmap::IndexMap<K, V>) -> bool {
    extensions.is_empty() || !is_yaml()
}

/// Says whether an unset command is left out.
#[expect(clippy::ref_option, reason = "serde passes a reference")]
pub(super) fn no_command(command: &Option<Vec<String>>) -> bool {
    command.is_none() && is_yaml()
}

/// Says whether a section without any value is left out.
pub(super) fn no_section<T: Default + PartialEq>(section: &T) -> bool {
    is_yaml() && *section == T::default()
}

/// Writes a number as Go does: whole ones without a fraction.
#[expect(clippy::ref_option, reason = "serde passes a reference")]
pub(super) fn number<S: Serializer>(
    number: &Option<f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    go_number(number.unwrap_or_default(), serializer)
}

/// Writes a text that holds a number as that number.
pub(super) fn number_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match text.parse::<f64>() {
        Ok(number) => go_number(number, serializer),
        Err(_) => serializer.serialize_str(text),
    }
}

fn go_number<S: Serializer>(number: f64, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be whole and small"
    )]
    if !is_yaml() && number.fract() == 0.0 && number.abs() < 1e15 {
        return serializer.serialize_i64(number as i64);
    }
    number.serialize(serializer)
}

/// Writes a float as Go's `%v` does: with an exponent below -4 and from 6 on.
#[must_use]
pub fn float_text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if number.is_nan() {
        return "NaN".to_owned();
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    if (-4..6).contains(&exponent.parse().unwrap_or(0)) {
        return number.to_string();
    }
    let (sign, exponent) = exponent
        .strip_prefix('-')
        .map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Writes a float as Go's JSON does: with an exponent below -6 and from 21 on.
fn float_json(number: f64) -> String {
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    if number == 0.0 || (-6..21).contains(&exponent.parse().unwrap_or(0)) {
        return number.to_string();
    }
    if exponent.starts_with('-') {
        text
    } else {
        format!("{digits}e+{exponent}")
    }
}

/// Writes SSH keys as docker compose does, which has `id: path` in its YAML.
pub(super) fn ssh<S: Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    if is_yaml() {
        return serializer.collect_seq(keys.iter().map(|key| key.replacen('=', ": ", 1)));
    }
    keys.serialize(serializer)
}

/// Writes host names as docker compose does: a sorted list of `host=address`.
pub(super) fn hosts<S: Serializer>(
    hosts: &indexmap::IndexMap<String, Vec<String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut list: Vec<String> = hosts
        .iter()
        .flat_map(|(host, addresses)| {
            addresses
                .iter()
                .map(move |address| format!("{host}={address}"))
        })
        .collect();
    list.sort();
    list.serialize(serializer)
}

/// Writes compact JSON as Go's encoder does.
pub(super) fn compact_json(value: &impl Serialize) -> Vec<u8> {
    go_json(value, CompactFormatter)
}

/// Writes indented JSON as Go's encoder does.
///
/// # Panics
/// Panics where a value does not serialize; those of the model do.
#[must_use]
pub fn to_json(value: &impl Serialize) -> String {
    let text = go_json(value, PrettyFormatter::new());
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn go_json(value: &impl Serialize, formatter: impl Formatter) -> Vec<u8> {
    let mut text = Vec::with_capacity(4096);
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, GoFormatter(formatter));
    value
        .serialize(&mut serializer)
        .expect("the model serializes, and memory takes every byte");
    text
}

/// A formatter whose strings are escaped as Go's encoder does.
#[derive(Debug)]
struct GoFormatter<F>(F);

impl<F: Formatter> Formatter for GoFormatter<F> {
    fn write_f64<W>(&mut self, writer: &mut W, value: f64) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(float_json(value).as_bytes())
    }

    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let Some(special) = rest[at..].chars().next() else {
                break;
            };
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.write_char_escape(writer, escape)
    }

    fn begin_array<W>(&mut self, writer: &mut W) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.begin_array(writer)
    }

    fn end_array<W>(&mut self, writer: &mut W) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.end_array(writer)
    }

    fn end_array_value<W>(&mut self, writer: &mut W) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.end_array_value(writer)
    }

    fn begin_object<W>(&mut self, writer: &mut W) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.begin_object(writer)
    }

    fn end_object<W>(&mut self, writer: &mut W) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.end_object(writer)
    }

    fn end_object_value<W>(&mut self, writer: &mut W) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.end_object_value(writer)
    }

    fn begin_object_value<W>(&mut self, writer: &mut W) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.begin_object_value(writer)
    }

    fn begin_array_value<W>(&mut self, writer: &mut W, first: bool) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.begin_array_value(writer, first)
    }

    fn begin_object_key<W>(&mut self, writer: &mut W, first: bool) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.begin_object_key(writer, first)
    }
}

#[cfg(test)]
mod tests {
    use super::{float_json, float_text};

    #[test]
    fn writes_floats_as_go_does() {
        for (number, text, json) in [
            (1.5, "1.5", "1.5"),
            (2.0, "2", "2"),
            (-0.0, "-0", "-0"),
            (100_000.0, "100000", "100000"),
            (1_234_567.0, "1.234567e+06", "1234567"),
            (1e20, "1e+20", "100000000000000000000"),
            (1e21, "1e+21", "1e+21"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_01, "1e-05", "0.00001"),
            (1e-7, "1e-07", "1e-7"),
        ] {
            assert_eq!(float_text(number), text);
            assert_eq!(float_json(number), json);
        }
    }
}
