//! The shape of a file: unknown keys, wrong types, missing keys, each with its place and a hint (behaviours.md B072).

mod compose;
mod describe;
mod publish;
mod shape;

pub use publish::json_schema;

use self::shape::{BOOL, INT, Kinds, LIST, MAP, NULL, NUM, Object, Others, Shape, TEXT, Unique};
use super::{
    Code,
    node::{Map, Node, Value},
    path::Path,
    report::{Failure, Failures},
};

/// Checks a merged tree.
///
/// # Errors
/// Fails with everything that does not fit.
pub(super) fn check(tree: &Map) -> Result<(), Failures> {
    let mut check = Check(Failures::default());
    if let Some(object) = compose::FILE.object {
        check.keys(tree, None, object, Path::ROOT);
    }
    check.0.into_result()
}

struct Check(Failures);

impl Check {
    fn fail(&mut self, failure: Failure) {
        self.0.0.push(failure);
    }

    fn node(&mut self, node: &Node, shape: &'static Shape, path: Path<'_>) {
        if kinds_of(&node.value) & shape.kinds == 0 {
            self.fail(wrong_kind(node, shape, path));
            return;
        }
        match &node.value {
            Value::Text(text) | Value::Time(text) => self.text(text, node, shape, path),
            Value::Int(number) => self.number(*number, node, shape, path),
            Value::List(list) => self.list(list, shape, path),
            Value::Map(map) => {
                if let Some(object) = shape.object {
                    self.keys(map, Some(node), object, path);
                }
            }
            Value::Null | Value::Bool(_) | Value::Big(_) | Value::Float(_) => {}
        }
    }

    fn text(&mut self, text: &str, node: &Node, shape: &'static Shape, path: Path<'_>) {
        if !shape.one_of.is_empty() && !shape.one_of.contains(&text) {
            let known: Vec<String> = shape
                .one_of
                .iter()
                .map(|word| format!("`{word}`"))
                .collect();
            self.fail(
                Failure::new(Code::InvalidValue, format!("`{path}` cannot be "))
                    .quoted(node.span, text)
                    .at(node.span, format!("use {}", known.join(", ")))
                    .hint_if(nearest(text, shape.one_of.iter().copied())),
            );
        }
        if let Some(rule) = shape.text
            && !(rule.fits)(text)
        {
            self.fail(
                Failure::new(Code::InvalidValue, format!("`{path}` must {}", rule.wanted))
                    .at(node.span, ""),
            );
        }
    }

    fn number(&mut self, number: i64, node: &Node, shape: &'static Shape, path: Path<'_>) {
        let Some((least, greatest)) = shape.range else {
            return;
        };
        if number < least {
            self.fail(
                Failure::new(
                    Code::InvalidValue,
                    format!("`{path}` must be {least} or more, not "),
                )
                .value(node.span, &number.to_string())
                .at(node.span, ""),
            );
        } else if number > greatest {
            self.fail(
                Failure::new(
                    Code::InvalidValue,
                    format!("`{path}` must be {greatest} or less, not "),
                )
                .value(node.span, &number.to_string())
                .at(node.span, ""),
            );
        }
    }

    fn list(&mut self, list: &[Node], shape: &'static Shape, path: Path<'_>) {
        if let Some(items) = shape.items {
            for (index, node) in list.iter().enumerate() {
                self.node(node, items, path.index(index));
            }
        }
        if shape.unique == Unique::Yes {
            self.unique(list, path);
        }
    }

    fn unique(&mut self, list: &[Node], path: Path<'_>) {
        let mut texts = std::collections::HashMap::new();
        for (index, node) in list.iter().enumerate() {
            let first = match node.as_text() {
                Some(text) => texts.insert(text, node),
                None => list[..index].iter().find(|other| same(other, node)),
            };
            if let Some(first) = first {
                self.fail(
                    Failure::new(
                        Code::DuplicateItem,
                        format!("`{}` is in the list twice", path.index(index)),
                    )
                    .at(node.span, "the second time")
                    .at(first.span, "the first time"),
                );
            }
        }
    }

    fn keys(&mut self, map: &Map, owner: Option<&Node>, object: &'static Object, path: Path<'_>) {
        for (key, node) in map {
            if let Some(shape) = object.find(key) {
                self.node(node, shape, path.key(key));
            } else {
                self.other(key, node, object, path);
            }
        }
        for key in object.required {
            if !map.contains_key(key) {
                let failure = Failure::new(Code::MissingKey, format!("`{path}` has no `{key}`"));
                self.fail(match owner {
                    Some(owner) => failure.at(owner.key, format!("add `{key}`")),
                    None => failure,
                });
            }
        }
    }

    fn other(&mut self, key: &str, node: &Node, object: &'static Object, path: Path<'_>) {
        let name = !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        let inner = match object.others {
            Others::Extensions if key.starts_with("x-") => return,
            Others::Refused | Others::Extensions => None,
            Others::Names(shape) => name.then_some(shape),
            Others::OpenNames(shape) if name => Some(shape),
            Others::Keys(shape) => (!key.is_empty()).then_some(shape),
            Others::Words(shape)
                if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase()) =>
            {
                Some(shape)
            }
            Others::Any | Others::OpenNames(_) | Others::Words(_) => return,
        };
        match inner {
            Some(shape) => self.node(node, shape, path.key(key)),
            None => self.fail(unknown_key(key, node, object, path)),
        }
    }
}

/// Compares two values without their places.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, node)| other.get(key).is_some_and(|found| same(node, found)))
        }
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::float_cmp,
            reason = "JSON numbers compare so"
        )]
        (Value::Int(int), Value::Float(float)) | (Value::Float(float), Value::Int(int)) => {
            *int as f64 == *float
        }
        (one, other) => one == other,
    }
}

fn kinds_of(value: &Value) -> Kinds {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOL,
        Value::Int(_) | Value::Big(_) => INT | NUM,
        Value::Float(number) if number.fract() == 0.0 => INT | NUM,
        Value::Float(_) => NUM,
        Value::Text(_) | Value::Time(_) => TEXT,
        Value::List(_) => LIST,
        Value::Map(_) => MAP,
    }
}

fn wrong_kind(node: &Node, shape: &Shape, path: Path<'_>) -> Failure {
    let failure = Failure::new(
        Code::WrongType,
        format!("`{path}` must be a {}", shape.wanted()),
    );
    if node.is_null() {
        return failure
            .at(node.key, "there is nothing here")
            .hint("give it a value, or remove the key");
    }
    let failure = failure.at(node.span, format!("this is a {}", node.kind()));
    // What an alias brings stands elsewhere than where it is wrong.
    let elsewhere = node.span.source != node.key.source || node.span.start < node.key.start;
    let failure = if elsewhere {
        failure.at(node.key, "used here")
    } else {
        failure
    };
    failure.hint_if(fitting(node, shape, path))
}

/// Says how to write what a place takes instead of a value of another kind.
fn fitting(node: &Node, shape: &Shape, path: Path<'_>) -> Option<String> {
    let takes = |kind: Kinds| shape.kinds & kind != 0;
    match &node.value {
        Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::Float(_) if takes(TEXT) => {
            Some("put it in quotes".to_owned())
        }
        // Only what no variable brought is such a value here, so that it may be shown.
        Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::Float(_) if takes(LIST) => {
            let (key, value) = (path.to_string(), node.scalar_text()?);
            let key = key.rsplit('.').next()?;
            Some(format!("write a list: `{key}: [\"{value}\"]`"))
        }
        Value::Map(map) => match map.iter().next() {
            Some((key, _)) if takes(TEXT) && node.key == node.span && map.len() == 1 => {
                Some(format!("write it as one text, `{key}=VALUE`"))
            }
            Some(_) if takes(LIST) => Some("start each element with `- `".to_owned()),
            Some(_) if takes(TEXT) => Some("write one value, without keys".to_owned()),
            _ => None,
        },
        Value::List(_) if takes(MAP) => {
            Some("write `NAME:` without a dash, and what belongs to it below".to_owned())
        }
        Value::List(_) => Some("write one value, without brackets or dashes".to_owned()),
        Value::Text(text) => match text.split_once(':') {
            Some((key, _)) if takes(MAP) && !takes(LIST) && is_word(key) => {
                Some(format!("a blank is missing behind the colon of `{key}:`"))
            }
            _ if takes(LIST) => Some("write a list: start each element with `- `".to_owned()),
            _ => None,
        },
        _ => None,
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn unknown_key(key: &str, node: &Node, object: &Object, path: Path<'_>) -> Failure {
    let place = path.to_string();
    let message = match (&object.others, place.is_empty()) {
        (Others::Names(_), _) => format!(
            "`{key}` in `{place}` is not a valid name: it may hold letters, digits, `.`, `_` and `-`"
        ),
        (_, true) => format!("unknown key `{key}` at the top level"),
        (_, false) => format!("unknown key `{key}` in `{place}`"),
    };
    let known = object.fields.iter().map(|(known, _)| *known);
    let hint = match object.others {
        Others::Names(_) => valid_name(key),
        _ => nearest(key, known).or_else(|| home_of(key, node, object, path)),
    };
    Failure::new(Code::UnknownKey, message)
        .at(node.key, "")
        .hint_if(hint)
}

/// Makes a name that may be used out of one that may not.
fn valid_name(key: &str) -> Option<String> {
    let made: String = key
        .chars()
        .map(|next| match next {
            '.' | '_' | '-' => next,
            next if next.is_ascii_alphanumeric() => next,
            _ => '-',
        })
        .collect();
    let made = made.trim_matches('-');
    (!made.is_empty()).then(|| format!("`{made}` would do"))
}

/// Says where a key belongs that is known somewhere else.
fn home_of(key: &str, node: &Node, object: &Object, path: Path<'_>) -> Option<String> {
    let service = compose::service();
    if path.to_string().is_empty() {
        let keys = node.as_map().into_iter().flat_map(Map::keys);
        let is_service = keys.into_iter().any(|key| service.find(key).is_some());
        return match service.find(key) {
            Some(_) => Some(format!(
                "`{key}` belongs into a service: `services: {{NAME: {{{key}: …}}}}`"
            )),
            None if is_service => Some("services stand below `services:`".to_owned()),
            None => None,
        };
    }
    let below = object
        .fields
        .iter()
        .find(|(_, shape)| shape.object.is_some_and(|inner| inner.find(key).is_some()));
    if let Some((field, _)) = below {
        return Some(format!("`{key}` belongs below `{field}`"));
    }
    let top = compose::FILE.object.and_then(|file| file.find(key));
    (top.is_some() || matches!(key, "version"))
        .then(|| format!("`{key}` belongs to the top level of the file"))
}

/// Suggests the word that is most like what was written, or that has it as a part.
pub(super) fn nearest<'w>(written: &str, known: impl Iterator<Item = &'w str>) -> Option<String> {
    let lower = written.to_lowercase().replace('-', "_");
    let is_part = |word: &str| {
        lower.len() > 2
            && word.split('_').any(|part| {
                part.len() > 2 && (part == lower || lower.strip_suffix('s') == Some(part))
            })
    };
    let best = known
        .map(|word| {
            let likeness = strsim::jaro_winkler(&lower, word);
            (
                if is_part(word) || is_slip(&lower, word) {
                    likeness.max(0.9)
                } else {
                    likeness
                },
                word,
            )
        })
        .max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(likeness, _)| *likeness > 0.83)
        .map(|(_, word)| format!("did you mean `{word}`?"))
}

/// Suggests the name of a file that is most like what was written.
pub(super) fn nearest_file<'w>(
    written: &str,
    known: impl Iterator<Item = &'w str>,
) -> Option<String> {
    nearest_name(written, known).map(|name| format!("did you mean `{name}`?"))
}

/// Says whether a word is another one with one slip of a finger, which is a large part of a short one.
fn is_slip(written: &str, word: &str) -> bool {
    written.len() > 1 && word.len() > 2 && strsim::damerau_levenshtein(written, word) == 1
}

/// Finds the name that is most like what was written, if one is.
pub(super) fn nearest_name<'w>(
    written: &str,
    known: impl Iterator<Item = &'w str>,
) -> Option<&'w str> {
    let likeness = |name: &str| {
        let likeness = strsim::jaro_winkler(written, name);
        if is_slip(written, name) {
            likeness.max(0.9)
        } else {
            likeness
        }
    };
    let best = known
        .map(|name| (likeness(name), name))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(likeness, _)| *likeness > 0.85)
        .map(|(_, name)| name)
}
