//! The two texts that a project is written as.
//!
//! docker compose's JSON, over which the config hash is taken, leaves nested `x-` attributes out and writes an unset
//! command as `null` and empty sections as `{}`; its YAML, which is meant to be loaded again, does the opposite. The
//! model's `Serialize` gives the JSON; inside [`as_yaml`] it gives the YAML.

use std::cell::Cell;

use serde::{Serialize, Serializer};

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
        Ok(number) if is_yaml() => serializer.serialize_str(&number.to_string()),
        Ok(number) => go_number(number, serializer),
        Err(_) => serializer.serialize_str(text),
    }
}

fn go_number<S: Serializer>(number: f64, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be whole and small"
    )]
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return serializer.serialize_i64(number as i64);
    }
    number.serialize(serializer)
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
