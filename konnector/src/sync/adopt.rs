//! Taking over what the original wrote: its first write of a copy is a POST, whose fields a later
//! apply could never remove. Pure.

use kube_bind_crds::names;
use serde_json::{Value, json};

/// Manager of the original's first write of a copy, taken from its user agent.
const ORIGINAL_MANAGER: &str = "konnector";

/// The entries of `managedFields`.
pub(super) fn managed(body: &Value) -> impl Iterator<Item = &Value> {
    body["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
}

/// Whether the original wrote this entry when it created the copy.
pub(super) fn is_original(entry: &Value) -> bool {
    entry["manager"] == ORIGINAL_MANAGER
        && entry["operation"] == "Update"
        && entry["subresource"].as_str().is_none_or(str::is_empty)
}

/// The `managedFields` of a copy after adoption: what the original created and what it applied
/// become one entry, as if all of it had been applied from the beginning.
pub(super) fn adopted(body: &Value) -> Value {
    let ours = |entry: &&Value| {
        is_original(entry)
            || (entry["manager"] == names::FIELD_MANAGER_SYNC
                && entry["operation"] == "Apply"
                && entry["subresource"].as_str().is_none_or(str::is_empty))
    };
    let mut fields = json!({});
    let mut template = json!({});
    for entry in managed(body).filter(ours) {
        unite(&mut fields, &entry["fieldsV1"]);
        template = entry.clone();
    }
    template["manager"] = names::FIELD_MANAGER_SYNC.into();
    template["operation"] = "Apply".into();
    template["fieldsV1"] = fields;
    let others = managed(body).filter(|entry| !ours(entry)).cloned();
    Value::Array(std::iter::once(template).chain(others).collect())
}

fn unite(into: &mut Value, from: &Value) {
    for (element, inner) in from.as_object().into_iter().flatten() {
        unite(&mut into[element], inner);
    }
    if into.is_null() {
        *into = json!({});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adoption_makes_one_apply_entry_of_two() {
        let body = json!({"metadata": {"managedFields": [
            {"manager": "konnector", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:spec": {".": {}, "f:size": {}}}},
            {"manager": "operator", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
            {"manager": "kube-bind.io", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:color": {}}}},
        ]}});
        assert_eq!(
            adopted(&body),
            json!([
                {"manager": "kube-bind.io", "operation": "Apply", "apiVersion": "v1",
                    "fieldsV1": {"f:spec": {".": {}, "f:size": {}, "f:color": {}}}},
                {"manager": "operator", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
            ])
        );
    }
}
