//! Server-side apply, as far as one merge goes in which maps merge, finalizers are a set, and
//! everything else is replaced.

use kube_bind_crds::digest::Schema;
use serde_json::{Map, Value, json};

use super::super::cluster::Error;
use super::store::invalid;

/// Applies a configuration over an object, forced. Returns the object with its new ownership.
pub(super) fn apply(
    schema: &Schema,
    object: &Value,
    manager: &str,
    configuration: &Value,
) -> Result<Value, Error> {
    let fields = schema.recorded(configuration);
    let mut result = object.clone();
    let entries = result["metadata"]["managedFields"].as_array_mut();
    let mut managed: Vec<Value> = entries.map(std::mem::take).unwrap_or_default();
    let mine = |entry: &Value| entry["manager"] == manager && entry["operation"] == "Apply";
    let before = match managed.iter().position(mine) {
        Some(place) => managed.remove(place)["fieldsV1"].take(),
        None => json!({}),
    };
    let others: Vec<&Value> = managed.iter().map(|entry| &entry["fieldsV1"]).collect();
    if remove(&mut result, &before, &fields, &others) {
        return Err(invalid("Invalid value: \"null\": must be of type object"));
    }
    merge(&mut result, configuration, true);
    for entry in &mut managed {
        take(&mut entry["fieldsV1"], &fields, &result, object);
    }
    managed.push(json!({"manager": manager, "operation": "Apply", "fieldsV1": fields}));
    result["metadata"]["managedFields"] = managed.into();
    Ok(result)
}

/// Removes what was owned, is not any more, and belongs to nobody else. Says whether a container of
/// ours is empty now: that a server cannot do.
fn remove(value: &mut Value, before: &Value, after: &Value, others: &[&Value]) -> bool {
    let mut emptied = false;
    for (element, inner) in before.as_object().into_iter().flatten() {
        let theirs: Vec<&Value> = others
            .iter()
            .filter_map(|fields| fields.get(element))
            .collect();
        if let (Some(item), Some(items)) = (element.strip_prefix("v:"), value.as_array_mut()) {
            if after.get(element).is_none() && theirs.is_empty() {
                items.retain(|held| serde_json::from_str(item).ok().as_ref() != Some(held));
            }
            continue;
        }
        let (Some(name), Some(map)) = (element.strip_prefix("f:"), value.as_object_mut()) else {
            continue;
        };
        let Some(child) = map.get_mut(name) else {
            continue;
        };
        let is_leaf = inner.as_object().is_none_or(Map::is_empty);
        match after.get(element) {
            None if theirs.is_empty() && (is_leaf || inner.get(".").is_some()) => {
                map.remove(name);
            }
            after => {
                let within = remove(child, inner, after.unwrap_or(&Value::Null), &theirs);
                // Typed metadata knows no empty maps: they are simply absent.
                emptied |= within && name != "metadata";
                let wanted = after
                    .and_then(Value::as_object)
                    .is_some_and(|all| !all.is_empty());
                if !is_leaf && !wanted && child.as_object().is_some_and(Map::is_empty) {
                    map.remove(name);
                    emptied = true;
                }
            }
        }
    }
    emptied
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
                } else if name == "finalizers" {
                    let held = into.entry(name).or_insert_with(|| json!([]));
                    for finalizer in value.as_array().into_iter().flatten() {
                        if let Some(held) =
                            held.as_array_mut().filter(|held| !held.contains(finalizer))
                        {
                            held.push(finalizer.clone());
                        }
                    }
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
    map.retain(|element, inner| {
        let (Some(name), Some(ours)) = (element.strip_prefix("f:"), applied.get(element)) else {
            return true;
        };
        if inner.as_object().is_none_or(Map::is_empty) {
            return result[name] == object[name];
        }
        take(inner, ours, &result[name], &object[name]);
        inner.as_object().is_some_and(|inner| !inner.is_empty())
    });
}
