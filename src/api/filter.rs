//! The `filters` parameter: `{"key": ["value"]}`, or `{"key": {"value": true}}` as old clients send it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::runtime::error::{RuntimeError, RuntimeResult};

/// Filters by key. Values of one key are alternatives, keys must all match.
#[derive(Debug, Default, Clone)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads the parameter; keys outside `known` are refused.
    pub(crate) fn parse(text: Option<&str>, known: &[&str]) -> RuntimeResult<Self> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Self::default());
        };
        let filters = read(text).ok_or_else(|| RuntimeError::invalid("invalid filter"))?;
        match filters.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(RuntimeError::invalid(format!("invalid filter '{key}'"))),
            None => Ok(Self(filters)),
        }
    }

    /// Reads the parameter; who uses it checks the keys.
    pub(crate) fn parse_open(text: Option<&str>) -> RuntimeResult<Self> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Self::default());
        };
        read(text)
            .map(Self)
            .ok_or_else(|| RuntimeError::invalid("invalid filter"))
    }

    /// The filters as a plain map.
    pub(crate) fn into_map(self) -> std::collections::HashMap<String, Vec<String>> {
        self.0.into_iter().collect()
    }

    /// The values of a key.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether a key is given.
    pub(crate) fn has(&self, key: &str) -> bool {
        !self.values(key).is_empty()
    }

    /// Whether the key is not given or one of its values fits.
    pub(crate) fn any(&self, key: &str, fits: impl FnMut(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().map(String::as_str).any(fits)
    }

    /// Whether all `label` values (`key` or `key=value`) fit, and no `label!` value does.
    pub(crate) fn labels<'a>(&self, find: impl Fn(&str) -> Option<&'a str>) -> bool {
        let fits = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => find(key) == Some(value),
            None => find(wanted).is_some(),
        };
        self.values("label").iter().all(fits) && !self.values("label!").iter().any(fits)
    }

    /// A yes-or-no key.
    pub(crate) fn switch(&self, key: &str) -> RuntimeResult<Option<bool>> {
        match self.values(key) {
            [] => Ok(None),
            [value] => match value.to_ascii_lowercase().as_str() {
                "1" | "true" => Ok(Some(true)),
                "0" | "false" => Ok(Some(false)),
                _ => Err(RuntimeError::invalid(format!(
                    "invalid filter '{key}={value}'"
                ))),
            },
            values => Err(RuntimeError::invalid(format!(
                "invalid filter '{key}={values:?}'"
            ))),
        }
    }
}

fn read(text: &str) -> Option<BTreeMap<String, Vec<String>>> {
    let Value::Object(keys) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let mut filters = BTreeMap::new();
    for (key, value) in keys {
        let values = match value {
            Value::Array(values) => values
                .into_iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()?,
            Value::Object(values) => values.into_iter().map(|(value, _)| value).collect(),
            _ => return None,
        };
        filters.insert(key, values);
    }
    Some(filters)
}

/// A point in time of an `until` filter: seconds, RFC 3339, or an age (`10m`, `1h30m`). Nanoseconds since the epoch.
pub(crate) fn instant_or_age(text: &str) -> RuntimeResult<i128> {
    let instant = || {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_nanosecond)
    };
    let seconds = || {
        text.parse::<i128>()
            .ok()
            .map(|seconds| seconds * 1_000_000_000)
    };
    let age = || {
        let age = go_duration(text)?;
        Some(jiff::Timestamp::now().as_nanosecond() - age)
    };
    seconds()
        .or_else(instant)
        .or_else(age)
        .ok_or_else(|| RuntimeError::invalid(format!("invalid filter 'until={text}'")))
}

/// Nanoseconds of a duration as Go writes it: `1h30m`, `10s`, `250ms`.
fn go_duration(text: &str) -> Option<i128> {
    let mut rest = text;
    let mut total = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: i128 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units: [(&str, i128); 6] = [
            ("ms", 1_000_000),
            ("us", 1_000),
            ("ns", 1),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
        ];
        let (unit, scale) = units.iter().find(|(unit, _)| rest.starts_with(unit))?;
        total += number * scale;
        rest = &rest[unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() -> RuntimeResult<()> {
        for text in [r#"{"name":["a"]}"#, r#"{"name":{"a":true}}"#] {
            assert_eq!(Filters::parse(Some(text), &["name"])?.values("name"), ["a"]);
        }
        Ok(())
    }

    #[test]
    fn unknown_keys_and_bad_json_are_refused() {
        assert!(Filters::parse(Some(r#"{"x":["a"]}"#), &["name"]).is_err());
        assert!(Filters::parse(Some("{bad"), &["name"]).is_err());
    }
}
