//! Bodies as clients really send them: nulls for parts left out, a command as one text.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::api::call::Call;
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// A JSON object without nulls; without a body an error.
pub(crate) async fn plain_object(call: &mut Call) -> RuntimeResult<Map<String, Value>> {
    match call.json::<Value>().await? {
        Value::Object(mut object) => {
            name_empty_values(&mut object);
            prune(&mut object);
            Ok(object)
        }
        _ => Err(RuntimeError::invalid(
            "invalid JSON: the body is not an object",
        )),
    }
}

/// In these maps only the keys say something; clients send null or `{}` as values.
fn name_empty_values(object: &mut Map<String, Value>) {
    for key in ["ExposedPorts", "Volumes"] {
        if let Some(Value::Object(map)) = object.get_mut(key) {
            map.values_mut().for_each(|value| *value = json!({}));
        }
    }
    for key in ["Cmd", "Entrypoint", "Shell"] {
        if let Some(value) = object.get_mut(key)
            && value.is_string()
        {
            *value = json!([value.clone()]);
        }
    }
}

fn prune(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
    for value in object.values_mut() {
        match value {
            Value::Object(inner) => prune(inner),
            Value::Array(items) => {
                for item in items {
                    if let Value::Object(inner) = item {
                        prune(inner);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Reads a part of a body into its type.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> RuntimeResult<T> {
    serde_json::from_value(value)
        .map_err(|source| RuntimeError::invalid("invalid JSON").caused_by(source))
}
