//! Random structural schemas, values that fit them, and changes of such values. Pure; everything follows
//! from the seed.

mod changes;
mod schemas;
mod values;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;

pub use changes::{drift, edited, extended, with_unknown};
pub use schemas::schema;
pub use values::value;

/// True in so many of a hundred cases.
pub fn chance(rng: &mut StdRng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    *from.choose(rng).unwrap()
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == name))
}

fn is_open(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
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

fn of_field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema["properties"]
        .get(name)
        .or_else(|| schema.get("additionalProperties"))
}
