//! The shape of a Compose file as a JSON Schema, for editors: `schema/compose.schema.json` is this.

use serde_json::{Map, Value, json};

use super::{
    super::unicity,
    compose, describe,
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
    schema.extend(shape_schema(&compose::FILE, &mut Vec::new()));
    Value::Object(schema)
}

/// Writes a shape as it is in a file: before files are merged, doubles dropped and variables substituted.
fn shape_schema(shape: &Shape, path: &mut Vec<&'static str>) -> Map<String, Value> {
    let mut schema = Map::new();
    // A service may be a bare name where another file says what it is.
    let bare = if path.as_slice() == ["services", "*"] {
        NULL
    } else {
        0
    };
    schema.insert("type".to_owned(), types(shape.kinds | bare));
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
        schema.insert("items".to_owned(), Value::Object(shape_schema(items, path)));
    }
    if shape.unique == Unique::Yes && !unicity::drops_doubles(path) {
        schema.insert("uniqueItems".to_owned(), json!(true));
    }
    if let Some(object) = shape.object {
        schema.extend(object_schema(object, path));
    }
    or_variable(shape, words(shape, schema))
}

/// Adds texts with a variable, whose value only a run knows.
fn or_variable(shape: &Shape, schema: Map<String, Value>) -> Map<String, Value> {
    let free = shape.kinds & TEXT != 0 && shape.one_of.is_empty() && shape.text.is_none();
    if free || shape.kinds & (LIST | MAP) != 0 {
        return schema;
    }
    let mut either = Map::new();
    let variable = json!({ "type": "string", "pattern": "\\$" });
    either.insert("anyOf".to_owned(), json!([schema, variable]));
    either
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

fn object_schema(object: &Object, path: &mut Vec<&'static str>) -> Map<String, Value> {
    let mut schema = Map::new();
    if !object.fields.is_empty() {
        let mut fields = Map::new();
        for (key, shape) in object.fields {
            path.push(key);
            let mut field = Map::new();
            if let Some(text) = describe::describe(path) {
                field.insert("description".to_owned(), json!(text));
            }
            field.extend(shape_schema(shape, path));
            fields.insert((*key).to_owned(), Value::Object(field));
            path.pop();
        }
        schema.insert("properties".to_owned(), Value::Object(fields));
    }
    if !object.required.is_empty() {
        schema.insert("required".to_owned(), json!(object.required));
    }
    path.push("*");
    let mut inner = |shape| Value::Object(shape_schema(shape, path));
    let (pattern, closed) = match &object.others {
        Others::Any => (None, false),
        Others::Refused => (None, true),
        Others::Extensions => (Some(("^x-", json!(true))), true),
        Others::Names(shape) => (Some((NAME, inner(shape))), true),
        Others::OpenNames(shape) => (Some((NAME, inner(shape))), false),
        Others::Keys(shape) => (Some((".+", inner(shape))), true),
        Others::Words(shape) => (Some(("^[a-z]+$", inner(shape))), false),
    };
    path.pop();
    if let Some((pattern, inner)) = pattern {
        schema.insert("patternProperties".to_owned(), json!({ pattern: inner }));
    }
    if closed {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (key, child) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            if child["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            undescribed(child, &path, found);
        }
        for (pattern, child) in schema["patternProperties"]
            .as_object()
            .into_iter()
            .flatten()
        {
            undescribed(child, &format!("{path}.{pattern}"), found);
        }
        undescribed_in(&schema["items"], path, found);
        for child in schema["anyOf"].as_array().into_iter().flatten() {
            undescribed(child, path, found);
        }
    }

    fn undescribed_in(items: &Value, path: &str, found: &mut Vec<String>) {
        if items.is_object() {
            undescribed(items, path, found);
        }
    }

    #[test]
    fn every_attribute_is_described() {
        let mut found = Vec::new();
        undescribed(&json_schema(), "", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_file_on_its_own_may_say_less_than_the_merged_project() {
        let schema = json_schema();
        let service = &schema["properties"]["services"]["patternProperties"][NAME];
        assert_eq!(service["type"], json!(["null", "object"]));
        assert!(service["properties"]["ports"].get("uniqueItems").is_none());
        assert_eq!(service["properties"]["security_opt"]["uniqueItems"], true);
        let policy = &service["properties"]["pull_policy"]["anyOf"];
        assert_eq!(policy[1]["pattern"], "\\$");
    }
}
