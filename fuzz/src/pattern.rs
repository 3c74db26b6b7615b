//! A kind that has every way of merging, for targets that fuzz objects and not schemas.

use serde_json::{Value, json};

/// Its schema; the words of the targets are its fields.
pub fn schema() -> Value {
    let any = json!({"x-kubernetes-preserve-unknown-fields": true});
    let item = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "a": any, "b": {"type": "integer", "default": 1},
    }});
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "b": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": any}},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "b"], "items": item},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "object", "additionalProperties": item},
            "any": any,
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "name": {"type": "array", "items": item},
        }},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }})
}
