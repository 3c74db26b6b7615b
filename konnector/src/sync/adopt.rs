//! Taking over what was written otherwise than we write now. The original's first write of a copy is a
//! POST, whose fields a later apply could never remove. And an apply fails on every field that is new
//! in its version for as long as some entry names an older one, because the API server looks at the
//! whole object through the eyes of each entry. Pure.

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

/// Whether this is our entry.
fn is_ours(entry: &Value) -> bool {
    entry["manager"] == names::FIELD_MANAGER_SYNC
        && entry["operation"] == "Apply"
        && entry["subresource"].as_str().is_none_or(str::is_empty)
}

/// Whether a copy has to be adopted before it is changed: the original created it, or we applied it
/// last in another version.
pub(super) fn is_needed(body: &Value) -> bool {
    let version = &body["apiVersion"];
    let moved = |entry: &Value| {
        version.is_string() && entry["apiVersion"].is_string() && entry["apiVersion"] != *version
    };
    managed(body).any(|entry| is_original(entry) || (is_ours(entry) && moved(entry)))
}

/// The `managedFields` of a copy after adoption: what the original created and what it applied
/// become one entry, as if all of it had been applied from the beginning, and all entries name the
/// version of today.
pub(super) fn adopted(body: &Value) -> Value {
    let ours = |entry: &&Value| is_original(entry) || is_ours(entry);
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
    let mut all: Vec<Value> = std::iter::once(template).chain(others).collect();
    if let version @ Value::String(_) = &body["apiVersion"] {
        for entry in &mut all {
            entry["apiVersion"] = version.clone();
        }
    }
    all.into()
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

    #[test]
    fn all_entries_follow_the_version_that_we_apply_in() {
        let entry = |manager: &str, version: &str| json!({"manager": manager, "operation": "Apply", "apiVersion": version, "fieldsV1": {}});
        let body = |ours: &str| {
            json!({"apiVersion": "example.io/v1", "metadata": {"managedFields": [
                entry("kube-bind.io", ours), entry("operator", "example.io/v1alpha1"),
            ]}})
        };
        assert!(
            !is_needed(&body("example.io/v1")),
            "an operator may stay behind"
        );
        let old = body("example.io/v1alpha1");
        assert!(is_needed(&old));
        assert_eq!(
            adopted(&old),
            json!([
                entry("kube-bind.io", "example.io/v1"),
                entry("operator", "example.io/v1")
            ])
        );
    }
}
