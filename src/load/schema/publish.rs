//! The shape of a Compose file as a JSON Schema, for editors: `schema/compose.schema.json` is this.

use serde_json::{Map, Value, json};

use super::{
    compose,
    shape::{BOOL, INT, Kinds, LIST, MAP, NULL, NUM, Object, Others, Shape, TEXT, Unique},
};

const NAME: &str = "^[a-zA-Z0-9._-]+$";

/// Returns the JSON Schema of a Compose file.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("title".to_owned(), json!("Compose file, as hoist reads it"));
    schema.extend(shape_schema(&compose::FILE));
    Value::Object(schema)
}

fn shape_schema(shape: &Shape) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), types(shape.kinds));
    if let Some(rule) = &shape.text {
        schema.insert("pattern".to_owned(), json!(rule.pattern));
    }
    if let Some((least, greatest)) = shape.range {
        if least != i64::MIN {
            schema.insert("minimum".to_owned(), json!(least));
        }
        if greatest != i64::MAX {
            schema.insert("maximum".to_owned(), json!(greatest));
        }
    }
    if let Some(items) = shape.items {
        schema.insert("items".to_owned(), Value::Object(shape_schema(items)));
    }
    if shape.unique == Unique::Yes {
        schema.insert("uniqueItems".to_owned(), json!(true));
    }
    if let Some(object) = shape.object {
        schema.extend(object_schema(object));
    }
    words(shape, schema)
}

/// Adds the only texts that are taken; they say nothing about values of other kinds.
fn words(shape: &Shape, mut schema: Map<String, Value>) -> Map<String, Value> {
    if shape.one_of.is_empty() {
        return schema;
    }
    if shape.kinds == TEXT {
        schema.insert("enum".to_owned(), json!(shape.one_of));
        return schema;
    }
    schema.insert("type".to_owned(), types(shape.kinds & !TEXT));
    let mut either = Map::new();
    either.insert(
        "anyOf".to_owned(),
        json!([{ "enum": shape.one_of }, schema]),
    );
    either
}

fn types(kinds: Kinds) -> Value {
    let names: Vec<&str> = [
        (NULL, "null"),
        (BOOL, "boolean"),
        (NUM, "number"),
        (TEXT, "string"),
        (LIST, "array"),
        (MAP, "object"),
    ]
    .into_iter()
    .filter(|(kind, _)| kinds & kind != 0)
    .map(|(_, name)| name)
    .chain((kinds & (INT | NUM) == INT).then_some("integer"))
    .collect();
    match names.as_slice() {
        [only] => json!(only),
        several => json!(several),
    }
}

fn object_schema(object: &Object) -> Map<String, Value> {
    let mut schema = Map::new();
    if !object.fields.is_empty() {
        let fields = object.fields.iter();
        let fields =
            fields.map(|(key, shape)| ((*key).to_owned(), Value::Object(shape_schema(shape))));
        schema.insert("properties".to_owned(), Value::Object(fields.collect()));
    }
    if !object.required.is_empty() {
        schema.insert("required".to_owned(), json!(object.required));
    }
    let (pattern, closed) = match &object.others {
        Others::Any => (None, false),
        Others::Refused => (None, true),
        Others::Extensions => (Some(("^x-", json!(true))), true),
        Others::Names(shape) => (Some((NAME, Value::Object(shape_schema(shape)))), true),
        Others::OpenNames(shape) => (Some((NAME, Value::Object(shape_schema(shape)))), false),
        Others::Keys(shape) => (Some((".+", Value::Object(shape_schema(shape)))), true),
        Others::Words(shape) => (
            Some(("^[a-z]+$", Value::Object(shape_schema(shape)))),
            false,
        ),
    };
    if let Some((pattern, inner)) = pattern {
        schema.insert("patternProperties".to_owned(), json!({ pattern: inner }));
    }
    if closed {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    schema
}
