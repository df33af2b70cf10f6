//! The shape of a file: unknown keys, wrong types, missing keys, each with its place and a hint (behaviours.md B072).

mod compose;
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
            Value::Text(text) => self.text(text, node, shape, path),
            Value::Int(number) => self.number(*number, node, shape, path),
            Value::List(list) => self.list(list, shape, path),
            Value::Map(map) => {
                if let Some(object) = shape.object {
                    self.keys(map, Some(node), object, path);
                }
            }
            Value::Null | Value::Bool(_) | Value::Float(_) => {}
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
        Value::Int(_) => INT | NUM,
        Value::Float(number) if number.fract() == 0.0 => INT | NUM,
        Value::Float(_) => NUM,
        Value::Text(_) => TEXT,
        Value::List(_) => LIST,
        Value::Map(_) => MAP,
    }
}

fn wrong_kind(node: &Node, shape: &Shape, path: Path<'_>) -> Failure {
    let failure = Failure::new(
        Code::WrongType,
        format!("`{path}` must be a {}", shape.wanted()),
    );
    match &node.value {
        Value::Null => failure
            .at(node.key, "there is nothing here")
            .hint("give it a value, or remove the key"),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) if shape.kinds & TEXT != 0 => failure
            .at(node.span, format!("this is a {}", node.kind()))
            .hint("put it in quotes"),
        Value::Map(_) | Value::List(_) => {
            failure.at(node.key, format!("this is a {}", node.kind()))
        }
        _ => failure.at(node.span, format!("this is a {}", node.kind())),
    }
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
    Failure::new(Code::UnknownKey, message)
        .at(node.key, "")
        .hint_if(nearest(key, known))
}

/// Suggests the word that is most like what was written.
pub(super) fn nearest<'w>(written: &str, known: impl Iterator<Item = &'w str>) -> Option<String> {
    let lower = written.to_lowercase().replace('-', "_");
    let best = known
        .map(|word| (strsim::jaro_winkler(&lower, word), word))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(likeness, _)| *likeness > 0.83)
        .map(|(_, word)| format!("did you mean `{word}`?"))
}
