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

/// The fields in this entry that the original gave a copy when it created it, if there are any. Where this
/// provider offers on what it gets, an original is the next hop, and marks the copy under the same name: that
/// may be the same entry, and is not ours to take.
pub(super) fn created(entry: &Value) -> Option<Value> {
    let original = entry["manager"] == ORIGINAL_MANAGER
        && entry["operation"] == "Update"
        && entry["subresource"].as_str().is_none_or(str::is_empty);
    original
        .then(|| part(&entry["fieldsV1"], &mut Vec::new(), false))
        .flatten()
}

/// Of these fields at `path` those that are the marks of a next hop, or those that are not.
fn part<'a>(fields: &'a Value, path: &mut Vec<&'a str>, marks: bool) -> Option<Value> {
    if is_mark(path) {
        return marks.then(|| fields.clone());
    }
    let all = fields.as_object()?;
    let mut found = serde_json::Map::new();
    for (element, inner) in all.iter().filter(|(element, _)| *element != ".") {
        path.push(element);
        if let Some(inner) = part(inner, path, marks) {
            found.insert(element.clone(), inner);
        }
        path.pop();
    }
    let leaf = all.keys().all(|element| element == ".") && !path.is_empty();
    if found.is_empty() {
        return (leaf && !marks).then(|| fields.clone());
    }
    if let Some(presence) = all.get(".") {
        found.insert(".".into(), presence.clone());
    }
    Some(found.into())
}

/// Whether only the next hop writes this on what is a consumer object to it.
fn is_mark(path: &[&str]) -> bool {
    const OURS: [&str; 3] = [
        names::ANNOTATION_CLUSTER_NAMESPACE,
        names::ANNOTATION_CONSUMER_NAMESPACE,
        names::ANNOTATION_CONSUMER_UID,
    ];
    match path {
        ["f:status"] | ["f:metadata", "f:finalizers"] => true,
        ["f:metadata", "f:annotations", key] => {
            let key = key.trim_start_matches("f:");
            key.starts_with("kube-bind.io/") && !OURS.contains(&key)
        }
        _ => false,
    }
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
    managed(body).any(|entry| created(entry).is_some() || (is_ours(entry) && moved(entry)))
}

/// The `managedFields` of a copy after adoption: what the original created and what it applied
/// become one entry, as if all of it had been applied from the beginning, and all entries name the
/// version of today.
pub(super) fn adopted(body: &Value) -> Value {
    let mut fields = json!({});
    let mut template = json!({});
    let mut others = Vec::new();
    for entry in managed(body) {
        let created = created(entry);
        if created.is_none() && !is_ours(entry) {
            others.push(entry.clone());
            continue;
        }
        unite(&mut fields, created.as_ref().unwrap_or(&entry["fieldsV1"]));
        template = entry.clone();
        let marks = created.and_then(|_| part(&entry["fieldsV1"], &mut Vec::new(), true));
        if let Some(marks) = marks {
            let mut entry = entry.clone();
            entry["fieldsV1"] = marks;
            others.push(entry);
        }
    }
    template["manager"] = names::FIELD_MANAGER_SYNC.into();
    template["operation"] = "Apply".into();
    template["fieldsV1"] = fields;
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
    fn what_an_original_that_is_the_next_hop_writes_on_a_copy_stays_its_own() {
        let creation = json!({
            "f:metadata": {"f:annotations": {".": {}, "f:kube-bind.io/consumer-uid": {}, "f:note": {}}},
            "f:spec": {".": {}, "f:size": {}},
        });
        let marks = json!({
            "f:metadata": {
                "f:annotations": {".": {}, "f:kube-bind.io/provider-uid": {}, "f:kube-bind.io/provider-namespace": {}},
                "f:finalizers": {".": {}, "v:\"kubebind.io/syncer\"": {}},
            },
            "f:status": {"f:ready": {}},
        });
        let entry = |fields: &Value| json!({"manager": "konnector", "operation": "Update", "apiVersion": "v1", "fieldsV1": fields});
        let body = |fields: &Value| json!({"metadata": {"managedFields": [entry(fields)]}});
        assert!(!is_needed(&body(&marks)));

        let mut both = creation.clone();
        unite(&mut both, &marks);
        assert!(is_needed(&body(&both)));
        let adopted = adopted(&body(&both));
        let mut ours = entry(&creation);
        ours["manager"] = "kube-bind.io".into();
        ours["operation"] = "Apply".into();
        assert_eq!(adopted, json!([ours, entry(&marks)]));
        assert!(!is_needed(&json!({"metadata": {"managedFields": adopted}})));
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
