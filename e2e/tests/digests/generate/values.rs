//! Random values that fit a schema. Pure.

use kube_bind_crds::digest;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::{chance, is_open, is_required, key, pick};

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
pub fn free(rng: &mut StdRng, depth: u32) -> Value {
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
pub fn push(rng: &mut StdRng, schema: &Value, items: &mut Vec<Value>) {
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
