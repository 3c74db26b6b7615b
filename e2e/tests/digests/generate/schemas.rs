//! Random structural schemas. Pure.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::values::value;
use super::{chance, pick};

/// Names of fields. Few, so that removals, changes and additions meet.
const FIELDS: &[&str] = &["alpha", "beta", "gamma", "delta"];
/// A schema, nested up to this depth.
pub fn schema(rng: &mut StdRng, depth: u32) -> Value {
    let mut schema = bare(rng, depth);
    if chance(rng, 20) {
        schema["nullable"] = json!(true);
    }
    schema
}

fn bare(rng: &mut StdRng, depth: u32) -> Value {
    if depth == 0 {
        return scalar(rng);
    }
    match rng.random_range(0..12) {
        0..=1 => scalar(rng),
        2..=4 => object(rng, depth),
        5..=6 => {
            let mut map = json!({"type": "object", "additionalProperties": schema(rng, depth - 1)});
            if chance(rng, 15) {
                map["x-kubernetes-map-type"] = json!("atomic");
            }
            map
        }
        7 => {
            let mut list = json!({"type": "array", "items": schema(rng, depth - 1)});
            if chance(rng, 50) {
                list["x-kubernetes-list-type"] = json!("atomic");
            }
            list
        }
        8 => set(rng),
        9..=10 => keyed(rng, depth),
        _ => match rng.random_range(0..3) {
            0 => json!({"x-kubernetes-preserve-unknown-fields": true}),
            1 => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            _ => {
                let mut open = object(rng, depth);
                open["x-kubernetes-preserve-unknown-fields"] = json!(true);
                open
            }
        },
    }
}

fn scalar(rng: &mut StdRng) -> Value {
    match rng.random_range(0..8) {
        0..=2 => json!({"type": "string"}),
        3 => json!({"type": "boolean"}),
        4 => json!({"type": "integer"}),
        5 => json!({"type": "integer", "format": "int64"}),
        6 => json!({"type": "number", "format": "double"}),
        _ if chance(rng, 50) => json!({"type": "number"}),
        _ => json!({"x-kubernetes-int-or-string": true}),
    }
}

fn object(rng: &mut StdRng, depth: u32) -> Value {
    let mut properties = Map::new();
    for name in FIELDS {
        if chance(rng, 65) {
            let mut inner = schema(rng, depth - 1);
            if chance(rng, 25) {
                inner["default"] = value(rng, &inner);
            }
            properties.insert((*name).to_owned(), inner);
        }
    }
    let mut object = json!({"type": "object", "properties": properties});
    match rng.random_range(0..10) {
        0 => object["x-kubernetes-map-type"] = json!("atomic"),
        1 => object["x-kubernetes-map-type"] = json!("granular"),
        _ => {}
    }
    object
}

fn set(rng: &mut StdRng) -> Value {
    // Server-side apply refuses sets of objects, although CRDs may have them.
    let items = match rng.random_range(0..4) {
        0 => json!({"type": "integer"}),
        1 => json!({"type": "number"}),
        _ => json!({"type": "string"}),
    };
    json!({"type": "array", "x-kubernetes-list-type": "set", "items": items})
}

fn keyed(rng: &mut StdRng, depth: u32) -> Value {
    let mut items = object(rng, depth);
    let kind = pick(rng, &["string", "integer", "boolean"]);
    items["properties"]["id"] = json!({"type": kind});
    let mut keys = vec!["id"];
    if chance(rng, 40) {
        items["properties"]["protocol"] = json!({"type": "string", "default": "TCP"});
        keys.push("protocol");
    }
    items["required"] = json!(["id"]);
    json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items})
}
