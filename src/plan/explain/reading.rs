//! Values as the engine's API has them, read into entries that can be compared, and the comparison.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::plan::ChangeKind;

/// Whether the values of an attribute may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// They may.
    Shown,
    /// They may be secrets: only the key is named.
    Hidden,
}

/// An attribute's value, taken apart: a scalar is one entry without a key, the entries of a list are their own keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entries {
    /// Entries by key.
    pub(super) of: BTreeMap<String, String>,
    /// What the keys are.
    pub(super) keys: Keys,
}

/// What the keys of entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Keys {
    /// There is one entry, without a key.
    #[default]
    None,
    /// They are part of the attribute's name: `labels.tier`.
    Names,
    /// They say only which entries of a list belong together: a target.
    Stems,
}

/// A difference without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// Key, empty where there is none.
    pub(super) key: String,
    /// How it differs.
    pub(super) kind: ChangeKind,
    /// Old value.
    pub(super) from: Option<String>,
    /// New value.
    pub(super) to: Option<String>,
}

impl Entries {
    /// A value without a key; an empty one is none.
    pub(super) fn scalar(text: impl Into<String>) -> Self {
        let text = text.into();
        let of = (!text.is_empty()).then(|| (String::new(), text));
        Self {
            of: of.into_iter().collect(),
            keys: Keys::None,
        }
    }

    /// Named values.
    pub(super) fn named(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            of: pairs.into_iter().collect(),
            keys: Keys::Names,
        }
    }

    /// Entries of a list, each with what it shares with its later self.
    pub(super) fn listed(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut of = BTreeMap::new();
        for (stem, text) in pairs {
            let mut key = stem.clone();
            // Two entries with one stem are told apart by what they say.
            if of.contains_key(&key) {
                key = format!("{stem} {text}");
            }
            of.insert(key, text);
        }
        Self {
            of,
            keys: Keys::Stems,
        }
    }

    /// Tells what differs; `expected` says which entries an engine adds without being asked.
    pub(super) fn differences(
        &self,
        wanted: &Self,
        expected: impl Fn(&str, &str) -> bool,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        for (key, from) in &self.of {
            match wanted.of.get(key) {
                Some(to) if to == from => {}
                None if expected(key, from) => {}
                to => found.push(Difference {
                    key: key.clone(),
                    kind: to.map_or(ChangeKind::Removed, |_| ChangeKind::Changed),
                    from: Some(from.clone()),
                    to: to.cloned(),
                }),
            }
        }
        let added = wanted
            .of
            .iter()
            .filter(|(key, _)| !self.of.contains_key(*key));
        found.extend(added.map(|(key, to)| Difference {
            key: key.clone(),
            kind: ChangeKind::Added,
            from: None,
            to: Some(to.clone()),
        }));
        if wanted.keys == Keys::Stems || self.keys == Keys::Stems {
            pair(&mut found);
        }
        found
    }
}

/// Where one entry of a list went and one came, the one became the other.
fn pair(found: &mut Vec<Difference>) {
    let at = |found: &[Difference], kind| {
        let mut places = (0..found.len()).filter(|index| found[*index].kind == kind);
        let first = places.next()?;
        places.next().is_none().then_some(first)
    };
    let (Some(gone), Some(new)) = (at(found, ChangeKind::Removed), at(found, ChangeKind::Added))
    else {
        return;
    };
    let added = found[new].clone();
    found[gone] = Difference {
        from: found[gone].from.clone(),
        kind: ChangeKind::Changed,
        ..added
    };
    found.remove(new);
}

/// A scalar as text; empty, zero and null are no value.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.as_f64() != Some(0.0) => number.to_string(),
        Value::Bool(true) => "true".to_owned(),
        Value::Null | Value::Bool(false) | Value::Number(_) => String::new(),
        Value::Array(list) if list.is_empty() => String::new(),
        Value::Object(map) if map.is_empty() => String::new(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A switch; where it is not set, it is as the engine has it then.
pub(super) fn switch(value: &Value, unset: bool) -> Entries {
    Entries::scalar(value.as_bool().unwrap_or(unset).to_string())
}

/// The texts of a list, or the keys of a map of empty objects.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().map(scalar).collect(),
        Value::Object(map) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The pairs of a map.
pub(super) fn pairs(value: &Value) -> Vec<(String, String)> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(key, value)| (key.clone(), scalar(value)))
        .collect()
}

/// Bytes as Compose files have them.
pub(super) fn bytes(value: &Value) -> String {
    let Some(bytes) = value.as_i64().filter(|bytes| *bytes != 0) else {
        return String::new();
    };
    let units = [(30, "g"), (20, "m"), (10, "k")];
    let unit = units.iter().find(|(shift, _)| bytes % (1 << shift) == 0);
    unit.map_or_else(
        || bytes.to_string(),
        |(shift, unit)| format!("{}{unit}", bytes >> shift),
    )
}

/// Nanoseconds as Compose files have them.
pub(super) fn span(value: &Value) -> String {
    let nanos = value.as_i64().filter(|nanos| *nanos != 0);
    nanos.map_or_else(String::new, |nanos| {
        crate::model::Duration(nanos).to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::{Entries, bytes};
    use crate::plan::ChangeKind;

    fn listed(entries: &[(&str, &str)]) -> Entries {
        let pairs = entries.iter();
        Entries::listed(pairs.map(|(stem, text)| ((*stem).to_owned(), (*text).to_owned())))
    }

    #[test]
    fn an_entry_that_takes_the_place_of_another_is_a_change() {
        let old = listed(&[("a", "a"), ("b", "b")]);
        let found = old.differences(&listed(&[("a", "a"), ("c", "c")]), |_, _| false);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, ChangeKind::Changed);
        assert_eq!(found[0].from.as_deref(), Some("b"));
        assert_eq!(found[0].to.as_deref(), Some("c"));
    }

    #[test]
    fn what_an_engine_adds_by_itself_is_no_change() {
        let old = listed(&[("a", "a")]);
        let none = old.differences(&Entries::default(), |key, _| key == "a");
        assert_eq!(none, []);
    }

    #[test]
    fn bytes_have_the_largest_unit_that_divides_them() {
        assert_eq!(bytes(&serde_json::json!(67_108_864)), "64m");
        assert_eq!(bytes(&serde_json::json!(1000)), "1000");
    }
}
