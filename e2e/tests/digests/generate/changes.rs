//! Random changes of values: by their author, by other managers, and against a schema. Pure.

use kube_bind_crds::digest;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Map, Value};

use super::values::{free, push, value};
use super::{chance, is_open, is_required, key, of_field};

/// Somebody edits the value: removes, empties, adds, changes and re-orders.
pub fn edited(rng: &mut StdRng, schema: &Value, current: &Value) -> Value {
    if chance(rng, 15) {
        return value(rng, schema);
    }
    match current {
        Value::Object(map) => {
            let empty = chance(rng, 12);
            let mut out = Map::new();
            for (name, inner) in map {
                let required = is_required(schema, name);
                let known = of_field(schema, name);
                if required {
                    out.insert(name.clone(), inner.clone());
                } else if !empty && !chance(rng, 25) {
                    let inner = match known {
                        Some(known) => edited(rng, known, inner),
                        None => free(rng, 2),
                    };
                    out.insert(name.clone(), inner);
                }
            }
            if !empty && chance(rng, 40) {
                merge(&mut out, value(rng, schema));
            }
            Value::Object(out)
        }
        Value::Array(items) if schema["type"] == "array" => {
            let mut items = if chance(rng, 15) {
                Vec::new()
            } else {
                items.clone()
            };
            items.retain(|_| !chance(rng, 25));
            if schema["x-kubernetes-list-type"] == "map" {
                for item in &mut items {
                    let changed = edited(rng, &schema["items"], item);
                    if key(schema, &changed) == key(schema, item) {
                        *item = changed;
                    }
                }
            }
            if chance(rng, 40) {
                push(rng, schema, &mut items);
            }
            items.shuffle(rng);
            Value::Array(items)
        }
        _ if chance(rng, 40) => value(rng, schema),
        same => same.clone(),
    }
}

/// Adds the fields of an object that are not there yet.
fn merge(map: &mut Map<String, Value>, from: Value) {
    let Value::Object(from) = from else { return };
    for (name, value) in from {
        map.entry(name).or_insert(value);
    }
}

/// Fields of another manager beside what is there, without a change of what is there.
pub fn extended(rng: &mut StdRng, schema: &Value, current: &Value) -> Value {
    let atomic = schema["x-kubernetes-map-type"] == "atomic";
    match current {
        Value::Object(map) if !atomic => {
            let mut out: Map<_, _> = map
                .iter()
                .map(|(name, inner)| {
                    let known = of_field(schema, name);
                    (
                        name.clone(),
                        known.map_or_else(|| inner.clone(), |known| extended(rng, known, inner)),
                    )
                })
                .collect();
            if schema["type"] == "object" {
                merge(&mut out, value(rng, schema));
            }
            Value::Object(out)
        }
        Value::Array(items) if schema["x-kubernetes-list-type"] == "map" => {
            let mut items: Vec<_> = items
                .iter()
                .map(|item| extended(rng, &schema["items"], item))
                .collect();
            push(rng, schema, &mut items);
            items.reverse();
            Value::Array(items)
        }
        Value::Array(items) if schema["x-kubernetes-list-type"] == "set" => {
            let mut items = items.clone();
            push(rng, schema, &mut items);
            items.reverse();
            Value::Array(items)
        }
        same => same.clone(),
    }
}

/// Fields that no schema knows, at all places where a schema would know its fields.
pub fn with_unknown(rng: &mut StdRng, schema: &Value, current: &Value) -> Value {
    match current {
        Value::Object(map) => {
            let mut out: Map<_, _> = map
                .iter()
                .map(|(name, inner)| {
                    let known = of_field(schema, name);
                    (
                        name.clone(),
                        known
                            .map_or_else(|| inner.clone(), |known| with_unknown(rng, known, inner)),
                    )
                })
                .collect();
            let closed = schema["type"] == "object"
                && schema.get("additionalProperties").is_none()
                && !is_open(schema);
            if closed && chance(rng, 60) {
                out.insert("unknown".to_owned(), free(rng, 2));
            }
            Value::Object(out)
        }
        Value::Array(items) => items
            .iter()
            .map(|item| with_unknown(rng, &schema["items"], item))
            .collect(),
        same => same.clone(),
    }
}

/// Changes or removes one thing of ours in what is there. False if nothing came of it.
pub fn drift(rng: &mut StdRng, schema: &Value, ours: &Value, current: &mut Value) -> bool {
    let list = schema["x-kubernetes-list-type"].as_str();
    match (ours, current) {
        (Value::Object(ours), Value::Object(current))
            if schema["x-kubernetes-map-type"] != "atomic" =>
        {
            let names: Vec<_> = ours
                .keys()
                .filter(|name| current.contains_key(*name))
                .collect();
            let Some(name) = names.choose(rng).copied() else {
                return false;
            };
            let known = of_field(schema, name).unwrap_or(&Value::Null);
            if is_required(schema, name) || name == "protocol" {
                return false;
            }
            if chance(rng, 30) && !is_empty_list(&ours[name]) {
                current.remove(name);
                return true;
            }
            drift(rng, known, &ours[name], &mut current[name])
        }
        (Value::Array(ours), Value::Array(current)) if matches!(list, Some("set" | "map")) => {
            let Some(item) = ours.choose(rng) else {
                return false;
            };
            let same = |other: &Value| match list {
                Some("map") => key(schema, other) == key(schema, item),
                _ => digest::whole(Some(other)) == digest::whole(Some(item)),
            };
            let Some(at) = current.iter().position(same) else {
                return false;
            };
            if list == Some("set") || chance(rng, 30) {
                current.remove(at);
                return true;
            }
            let mut other = current[at].clone();
            if !drift(rng, &schema["items"], item, &mut other) || !same(&other) {
                return false;
            }
            current[at] = other;
            true
        }
        (_, current) => {
            let other = value(rng, schema);
            let differs = digest::whole(Some(&other)) != digest::whole(Some(current));
            *current = other;
            differs
        }
    }
}

fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}
