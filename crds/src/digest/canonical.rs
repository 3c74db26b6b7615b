//! The canonical form, from either end: a configuration that would be applied, or the fields that
//! are owned on a live object.

use serde_json::{Map, Number, Value};

use super::fields::FieldSet;
use super::schema::{Node, Schema};

/// Integers beyond this are not exact as floating point numbers.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value that is compared as a whole.
pub(super) fn atomic(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), atomic(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(atomic).collect()),
        Value::Number(number) => Value::Number(normalise(number)),
        other => other.clone(),
    }
}

/// One spelling per number: Go's encoder writes `1.0` as `1`.
fn normalise(number: &Number) -> Number {
    if number.is_i64() {
        return number.clone();
    }
    match number.as_f64() {
        Some(float) if float.fract() == 0.0 && float.abs() <= EXACT => Number::from(float as i64),
        Some(float) => Number::from_f64(float).unwrap_or_else(|| number.clone()),
        None => number.clone(),
    }
}

impl Schema {
    /// Canonical form of an apply configuration.
    pub(super) fn canonical_applied(&self, configuration: &Value) -> Value {
        let mut root = Map::new();
        for (name, value) in configuration.as_object().into_iter().flatten() {
            let Some((node, _)) = self.root.field(name) else {
                continue;
            };
            match name.as_str() {
                "apiVersion" | "kind" => continue,
                "metadata" => {
                    let mut kept = value.clone();
                    for identity in ["name", "namespace", "uid", "resourceVersion"] {
                        kept.as_object_mut().map(|map| map.remove(identity));
                    }
                    insert(&mut root, name, applied(&kept, node, true));
                }
                _ => insert(&mut root, name, applied(value, node, true)),
            }
        }
        Value::Object(root)
    }

    /// Canonical form of the owned fields of a live object.
    pub(super) fn canonical_owned(&self, body: &Value, set: &FieldSet) -> Value {
        let mut root = Map::new();
        for (name, value) in body.as_object().into_iter().flatten() {
            if matches!(name.as_str(), "apiVersion" | "kind") {
                continue;
            }
            let Some(set) = set.field(name) else { continue };
            if let Some((node, _)) = self.root.field(name) {
                insert(&mut root, name, owned(value, set, node, true));
            }
        }
        Value::Object(root)
    }
}

fn insert(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value);
    }
}

/// `declared`: the schema names this place. Only then can a map that is not empty itself be owned
/// by nobody, when nothing inside of it is.
pub(super) fn applied(value: &Value, node: &Node, declared: bool) -> Option<Value> {
    if !node.is_granular(value) {
        return Some(atomic(value));
    }
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (name, value) in map {
                if let Some((node, declared)) = node.field(name) {
                    insert(&mut out, name, applied(value, node, declared));
                }
            }
            (!out.is_empty() || map.is_empty() || !declared).then_some(Value::Object(out))
        }
        Value::Array(items) => {
            let mut out = Map::new();
            for item in items {
                let inner = applied(item, node.item(), false).unwrap_or_default();
                out.insert(node.item_key(item), inner);
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        _ => Some(atomic(value)),
    }
}

fn owned(value: &Value, set: &FieldSet, node: &Node, declared: bool) -> Option<Value> {
    if !node.is_granular(value) {
        // Somebody owns the value as a whole, or owned parts of it under an older schema.
        return Some(atomic(value));
    }
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (name, value) in map {
                let Some(set) = set.field(name) else { continue };
                if let Some((node, declared)) = node.field(name) {
                    insert(&mut out, name, owned(value, set, node, declared));
                }
            }
            // Owned and nothing inside is ours: presence.
            (!out.is_empty() || set.member || !declared).then_some(Value::Object(out))
        }
        Value::Array(items) => {
            let mut out = Map::new();
            for item in items {
                let key = node.item_key(item);
                let Some(set) = set.child(&key) else { continue };
                let inner = owned(item, set, node.item(), false).unwrap_or_default();
                out.insert(key, inner);
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        _ => Some(atomic(value)),
    }
}
