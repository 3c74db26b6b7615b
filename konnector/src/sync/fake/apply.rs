//! Server-side apply, as far as one schema-less merge goes: maps merge, everything else is replaced.

use kube_bind_crds::digest::Schema;
use serde_json::{Map, Value, json};

/// Applies a configuration over an object, forced. Returns the object with its new ownership.
pub(super) fn apply(
    schema: &Schema,
    object: &Value,
    manager: &str,
    configuration: &Value,
) -> Value {
    let fields = schema.recorded(configuration);
    let mut result = object.clone();
    let entries: Vec<Value> = object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mine = |entry: &&Value| entry["manager"] == manager && entry["operation"] == "Apply";
    let before = entries
        .iter()
        .find(mine)
        .map(|entry| entry["fieldsV1"].clone())
        .unwrap_or(json!({}));
    let others: Vec<Value> = entries
        .iter()
        .filter(|entry| !mine(entry))
        .cloned()
        .collect();
    remove(
        &mut result,
        &before,
        &fields,
        &others
            .iter()
            .map(|entry| &entry["fieldsV1"])
            .collect::<Vec<_>>(),
    );
    merge(&mut result, configuration, true);
    let mut managed: Vec<Value> = others
        .into_iter()
        .map(|mut entry| {
            let mut left = entry["fieldsV1"].clone();
            take(&mut left, &fields, &result, object);
            entry["fieldsV1"] = left;
            entry
        })
        .collect();
    managed.push(json!({"manager": manager, "operation": "Apply", "fieldsV1": fields}));
    result["metadata"]["managedFields"] = managed.into();
    result
}

/// Removes what was owned, is not any more, and belongs to nobody else.
fn remove(value: &mut Value, before: &Value, after: &Value, others: &[&Value]) {
    let Some(owned) = before.as_object() else {
        return;
    };
    for (element, inner) in owned {
        let Some(name) = element.strip_prefix("f:") else {
            continue;
        };
        let theirs: Vec<&Value> = others
            .iter()
            .filter_map(|fields| fields.get(element))
            .collect();
        let Some(map) = value.as_object_mut() else {
            continue;
        };
        match after.get(element) {
            None if theirs.is_empty() => {
                map.remove(name);
            }
            after => {
                if let Some(child) = map.get_mut(name) {
                    remove(child, inner, after.unwrap_or(&Value::Null), &theirs);
                }
            }
        }
    }
}

fn merge(into: &mut Value, from: &Value, top: bool) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                if top && name == "metadata" {
                    let mut value = value.clone();
                    value
                        .as_object_mut()
                        .map(|map| map.remove("resourceVersion"));
                    merge(into.entry(name).or_insert_with(|| json!({})), &value, false);
                } else {
                    merge(into.entry(name).or_insert(Value::Null), value, false);
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// A forced apply takes the fields whose values it changed out of the sets of others.
fn take(fields: &mut Value, applied: &Value, result: &Value, object: &Value) {
    let Some(map) = fields.as_object_mut() else {
        return;
    };
    let names: Vec<String> = map.keys().cloned().collect();
    for element in names {
        let Some(name) = element.strip_prefix("f:") else {
            continue;
        };
        let Some(inner) = applied.get(&element) else {
            continue;
        };
        let leaf = map[&element].as_object().is_none_or(Map::is_empty);
        if leaf && result[name] != object[name] {
            map.remove(&element);
        } else if !leaf {
            take(&mut map[&element], inner, &result[name], &object[name]);
        }
    }
}
