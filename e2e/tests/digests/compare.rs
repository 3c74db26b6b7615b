//! What differences mean. Pure.

use kube_bind_crds::digest;
use serde_json::{Map, Value};

/// Somewhere our null has become a container, because others own something in it: an apply does not
/// take that away, so the engine remembers it as settled.
pub fn is_filled(ours: &Value, live: &Value) -> bool {
    match (ours, live) {
        (Value::Null, Value::Object(_) | Value::Array(_)) => true,
        (Value::Object(ours), live) => ours
            .iter()
            .any(|(name, ours)| live.get(name).is_some_and(|live| is_filled(ours, live))),
        // Items may have moved.
        (Value::Array(ours), Value::Array(live)) => ours
            .iter()
            .any(|ours| live.iter().any(|live| is_filled(ours, live))),
        _ => false,
    }
}

/// Nobody owns empty lists, so they and maps of nothing else may stay. Empty maps of ours are in the
/// digest.
pub fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| {
                drop_empty(value);
                !value.as_array().is_some_and(Vec::is_empty)
                    && !value.as_object().is_some_and(Map::is_empty)
            });
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

/// Whether all of ours is in what is there.
pub fn holds(schema: &Value, ours: &Value, live: &Value) -> bool {
    let inner = |name: &str| {
        let known = schema["properties"].get(name);
        known
            .or_else(|| schema.get("additionalProperties"))
            .unwrap_or(&Value::Null)
    };
    let granular = matches!(
        schema["x-kubernetes-list-type"].as_str(),
        Some("set" | "map")
    );
    match (ours, live) {
        (Value::Object(ours), Value::Object(live))
            if schema["x-kubernetes-map-type"] != "atomic" =>
        {
            ours.iter().all(|(name, ours)| {
                live.get(name)
                    .is_some_and(|live| holds(inner(name), ours, live))
            })
        }
        (Value::Array(ours), Value::Array(live)) if granular => ours
            .iter()
            .all(|ours| live.iter().any(|live| holds(&schema["items"], ours, live))),
        (Value::Array(ours), _) if granular && ours.is_empty() => true,
        _ => digest::whole(Some(ours)) == digest::whole(Some(live)),
    }
}
