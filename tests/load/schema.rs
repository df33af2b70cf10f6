//! The published schema is the one that the loader checks with.

use std::{error::Error, fs, path::Path};

use hoist::load;
use serde_json::{Map, Value};

#[test]
fn the_published_schema_is_the_loaders() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/compose.schema.json");
    let schema = load::json_schema();
    if std::env::var_os("HOIST_UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(&file, serde_json::to_string_pretty(&schema)? + "\n")?;
    }
    let published: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    assert!(published == schema, "run with HOIST_UPDATE=1");
    Ok(())
}

/// The files that the project itself shows and tests with; an editor that checks them has nothing to say.
#[test]
fn accepted_files_validate_against_the_schema() -> Result<(), Box<dyn Error>> {
    let schema = load::json_schema();
    let mut checked = 0;
    for folder in ["examples", "tests"] {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if path.is_dir() {
                    folders.push(path);
                } else if name.contains("compose") && name.ends_with("yaml") {
                    check_file(&schema, &path)?;
                    checked += 1;
                }
            }
        }
    }
    assert!(checked >= 6, "{checked}");
    Ok(())
}

/// Every way to write an attribute that the loader takes; one text for each that the tests of the loader accept.
#[test]
fn accepted_texts_validate_against_the_schema() -> Result<(), Box<dyn Error>> {
    let schema = load::json_schema();
    for text in ACCEPTED.split("---\n") {
        super::load_text(text).map_err(|error| format!("{text}\n{error}"))?;
        let problems = problems_of(&schema, "text", text)?;
        assert!(problems.is_empty(), "{text}\n{problems:?}");
    }
    for (text, place) in [
        ("services: {a: {image: [x]}}", "services.a.image"),
        ("services: {a: {imge: x}}", "services.a.imge"),
        ("services: {a: {image: x, ports: [true]}}", "ports.0"),
        (
            "services: {a: {image: x, depends_on: [b, b]}}",
            "depends_on",
        ),
    ] {
        let problems = problems_of(&schema, "text", text)?.join("\n");
        assert!(problems.contains(place), "{text}: {problems}");
    }
    Ok(())
}

const ACCEPTED: &str = include_str!("accepted.txt");

fn check_file(schema: &Value, path: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let problems = problems_of(schema, &path.display().to_string(), &text)?;
    assert!(problems.is_empty(), "{}: {problems:?}", path.display());
    Ok(())
}

fn problems_of(schema: &Value, name: &str, text: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut problems = Vec::new();
    for document in load::documents(name, text)? {
        let tree = document.as_map().ok_or("no mapping")?;
        validate(schema, &load::to_json(tree), "", &mut problems);
    }
    Ok(problems)
}

/// The part of JSON Schema that the schema uses, written from the standard: the loader's own check has no part in it.
fn validate(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            problems.push(format!("{path}: nothing may be here"));
        }
        return;
    };
    for (keyword, rule) in schema {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => match rule {
                Value::Array(types) => types.iter().any(|kind| is_of_type(kind, value)),
                kind => is_of_type(kind, value),
            },
            "enum" => rule.as_array().is_some_and(|known| known.contains(value)),
            "anyOf" => rule.as_array().into_iter().flatten().any(|schema| {
                let mut inner = Vec::new();
                validate(schema, value, path, &mut inner);
                inner.is_empty()
            }),
            "minimum" => value.as_f64().is_none_or(|it| Some(it) >= rule.as_f64()),
            "maximum" => value.as_f64().is_none_or(|it| Some(it) <= rule.as_f64()),
            "pattern" => value.as_str().is_none_or(|text| fits(rule.as_str(), text)),
            "required" => value.as_object().is_none_or(|map| {
                let keys = rule.as_array().into_iter().flatten();
                keys.filter_map(Value::as_str)
                    .all(|key| map.contains_key(key))
            }),
            "uniqueItems" => value.as_array().is_none_or(|list| {
                let repeated = |(at, item)| list[..at].contains(item);
                !list.iter().enumerate().any(repeated)
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(rule, item, &format!("{path}.{index}"), problems);
                }
                true
            }
            "properties" | "patternProperties" | "additionalProperties" => true,
            unknown => panic!("this test does not know `{unknown}`"),
        };
        if !holds {
            problems.push(format!("{path}: {keyword} {rule}"));
        }
    }
    for (key, child) in value.as_object().into_iter().flatten() {
        validate_key(schema, key, child, &format!("{path}.{key}"), problems);
    }
}

fn validate_key(
    schema: &Map<String, Value>,
    key: &str,
    child: &Value,
    path: &str,
    problems: &mut Vec<String>,
) {
    let own = schema.get("properties").and_then(|known| known.get(key));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let fitting = patterns.into_iter().flatten();
    let fitting = fitting.filter(|(pattern, _)| fits(Some(pattern), key));
    let rules: Vec<_> = own
        .into_iter()
        .chain(fitting.map(|(_, rule)| rule))
        .collect();
    for rule in &rules {
        validate(rule, child, path, problems);
    }
    if let (true, Some(rest)) = (rules.is_empty(), schema.get("additionalProperties")) {
        validate(rest, child, path, problems);
    }
}

fn is_of_type(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}

fn fits(pattern: Option<&str>, text: &str) -> bool {
    let pattern = pattern.map(regex::Regex::new);
    pattern.is_some_and(|pattern| pattern.is_ok_and(|pattern| pattern.is_match(text)))
}
