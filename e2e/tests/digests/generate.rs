//! Random structural schemas, and values that fit them. Pure; everything follows from the seed.

use kube_bind_crds::digest;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Map, Value, json};

/// Names of fields. Few, so that removals, changes and additions meet.
const FIELDS: &[&str] = &["alpha", "beta", "gamma", "delta"];
/// Keys that a user may choose freely; some look like something else to a careless reader.
const KEYS: &[&str] = &[
    "a",
    "b.c/d~e",
    "ü",
    "f:a",
    ".",
    "~1",
    "k:{}",
    "1",
    "",
    "<<",
    "😀 x",
    "\u{2028}\u{7f}",
];
const TEXTS: &[&str] = &[
    "",
    "plain",
    "ünï 日本 😀",
    "line\nbreak\ttab ",
    "yes",
    "1",
    "null",
    "~",
    "1e3",
    "# no: comment",
    "<&>\"'\\",
    "\\u0041",
    "\u{1}\u{1f}",
    "\u{7f}\u{80}",
    "a\u{85}b\u{2028}c\u{2029}d",
    "\u{feff}x\u{fffd}",
];
const INTEGERS: &[i64] = &[
    0,
    1,
    -1,
    42,
    i32::MAX as i64,
    i32::MIN as i64,
    1 << 53,
    (1 << 53) + 1,
    -(1 << 53) - 1,
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
];
const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    0.5,
    1.0,
    -2.25,
    0.1,
    1e21,
    1e-7,
    1.5e300,
    5e-324,
    f64::MAX,
    9_007_199_254_740_994.0,
];

/// True in so many of a hundred cases.
pub fn chance(rng: &mut StdRng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    *from.choose(rng).unwrap()
}

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

/// A value that fits the schema.
pub fn value(rng: &mut StdRng, schema: &Value) -> Value {
    if schema["nullable"] == true && chance(rng, 20) {
        return Value::Null;
    }
    match schema["type"].as_str() {
        Some("string") => json!(pick(rng, TEXTS)),
        Some("boolean") => json!(chance(rng, 50)),
        Some("integer") => integer(rng),
        Some("number") => number(rng),
        Some("array") => {
            let many = rng.random_range(0..4);
            let mut items = Vec::new();
            (0..many).for_each(|_| push(rng, schema, &mut items));
            json!(items)
        }
        Some("object") => {
            let mut map = Map::new();
            if let Some(properties) = schema["properties"].as_object() {
                for (name, inner) in properties {
                    if is_required(schema, name) || chance(rng, 60) {
                        map.insert(name.clone(), value(rng, inner));
                    }
                }
            }
            for _ in 0..rng.random_range(0..4) {
                if schema.get("additionalProperties").is_some() {
                    let key = pick(rng, KEYS).to_owned();
                    map.insert(key, value(rng, &schema["additionalProperties"]));
                } else if is_open(schema) {
                    map.insert(format!("free-{}", pick(rng, KEYS)), free(rng, 2));
                }
            }
            Value::Object(map)
        }
        _ if schema["x-kubernetes-int-or-string"] == true => {
            if chance(rng, 50) {
                integer(rng)
            } else {
                json!(pick(rng, TEXTS))
            }
        }
        _ => free(rng, 2),
    }
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == name))
}

fn is_open(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

/// In keys and sets the API server itself cannot tell integers apart that are too large for a float.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number
            .as_f64()
            .is_some_and(|number| number.abs() < 9e15 || number.fract() != 0.0),
        _ => true,
    }
}

fn integer(rng: &mut StdRng) -> Value {
    if chance(rng, 80) {
        json!(pick(rng, INTEGERS))
    } else {
        json!(rng.random::<i64>())
    }
}

fn number(rng: &mut StdRng) -> Value {
    match rng.random_range(0..5) {
        0 => integer(rng),
        1 => json!(f64::from(rng.random::<f32>())),
        2 => json!(f64::from_bits(rng.random::<u64>() & !(1 << 62))),
        3 => json!(rng.random::<f64>()),
        _ => json!(pick(rng, FLOATS)),
    }
}

/// What only its author knows the meaning of.
fn free(rng: &mut StdRng, depth: u32) -> Value {
    match rng.random_range(0..if depth == 0 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => json!(chance(rng, 50)),
        2 => integer(rng),
        3 => number(rng),
        4 => json!(pick(rng, TEXTS)),
        5 => (0..rng.random_range(0..3))
            .map(|_| free(rng, depth - 1))
            .collect(),
        _ => {
            let keys = (0..rng.random_range(0..3)).map(|_| pick(rng, KEYS));
            let keys: Vec<_> = keys.collect();
            Value::Object(
                keys.into_iter()
                    .map(|key| (key.to_owned(), free(rng, depth - 1)))
                    .collect(),
            )
        }
    }
}

/// Adds an item unless the list then holds something twice.
fn push(rng: &mut StdRng, schema: &Value, items: &mut Vec<Value>) {
    let item = value(rng, &schema["items"]);
    let taken = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => {
            !is_exact(&item)
                || items
                    .iter()
                    .any(|other| digest::whole(Some(other)) == digest::whole(Some(&item)))
        }
        Some("map") => {
            let key_of = key(schema, &item);
            !key_of.iter().all(is_exact) || items.iter().any(|other| key(schema, other) == key_of)
        }
        _ => false,
    };
    if !taken {
        items.push(item);
    }
}

fn key(schema: &Value, item: &Value) -> Vec<Value> {
    let names = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten();
    let value = |name: &Value| {
        let name = name.as_str().unwrap();
        item.get(name)
            .unwrap_or(&schema["items"]["properties"][name]["default"])
            .clone()
    };
    names.map(value).collect()
}

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

fn of_field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema["properties"]
        .get(name)
        .or_else(|| schema.get("additionalProperties"))
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
