//! Derived schemas without what only the derivation puts there. Pure.

use serde_json::{Map, Value};

/// Removes titles, `nullable` (a null is dropped by the API server instead of being stored), formats
/// that OpenAPI does not know, and line breaks in descriptions; at every depth.
pub fn schema(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.remove("title");
    fields.remove("nullable");
    if fields
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint"))
    {
        fields.remove("format");
    }
    for key in ["minimum", "maximum"] {
        // The typed form has only floats, so that an integer's limit would read `0.0`.
        if let Some(limit) = fields.get_mut(key)
            && let Some(whole) = limit.as_f64().filter(|limit| limit.fract() == 0.0)
        {
            *limit = Value::from(whole as i64);
        }
    }
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    each_child(fields, self::schema);
}

/// Makes a field of an object optional.
pub fn not_required(schema: &mut Value, field: &str) {
    let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) else {
        return;
    };
    required.retain(|name| name != field);
    let empty = required.is_empty();
    if let Some(fields) = schema.as_object_mut().filter(|_| empty) {
        fields.remove("required");
    }
}

fn each_child(fields: &mut Map<String, Value>, visit: fn(&mut Value)) {
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = fields.get_mut(key) {
            visit(child);
        }
    }
}
