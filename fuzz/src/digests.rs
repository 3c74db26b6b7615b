//! `managedFields` and digests: what a provider's API server and everybody who writes to it send.

use kube_bind_crds::digest::{FieldSet, Schema, to_apply, whole};
use serde_json::{Value, json};

use crate::document::json as document;
use crate::pattern;

/// Keys and values of `managedFields` and of objects.
const WORDS: &[&str] = &[
    "metadata",
    "managedFields",
    "manager",
    "kube-bind.io",
    "operation",
    "Apply",
    "Update",
    "fieldsV1",
    "subresource",
    "status",
    "f:spec",
    "f:status",
    "f:metadata",
    "f:labels",
    "f:list",
    "f:set",
    "f:map",
    "f:a",
    "f:b",
    ".",
    "f:",
    "k:",
    "v:",
    "i:0",
    "k:{\"name\":\"a\"}",
    "k:{\"name\":1e2}",
    "v:\"a\"",
    "v:1.0",
    "v:[[[[{\"a\":[]}]]]]",
    "k:{",
    "v:",
    "spec",
    "labels",
    "list",
    "set",
    "map",
    "any",
    "name",
    "a",
    "b",
    "é\u{2028}",
];

const MANAGER: &str = "kube-bind.io";

/// Extracts who owns what.
pub fn managed_fields(input: &[u8]) {
    let Some(mut body) = document(input, WORDS) else {
        return;
    };
    if crate::document::recipe(input).is_some() {
        body = json!({"metadata": {"managedFields": [
            {"manager": MANAGER, "operation": "Apply", "fieldsV1": body},
            {"manager": "other", "operation": "Update", "fieldsV1": body["metadata"]},
            body["spec"],
        ]}, "spec": body["f:spec"]});
    }
    let (ours, others) = (
        FieldSet::applied_by(&body, MANAGER),
        FieldSet::of_others(&body, MANAGER),
    );
    let mut all = ours.clone();
    all.merge(others.clone());
    let mut turned = others.clone();
    turned.merge(ours.clone());
    assert_eq!(all, turned, "the order of managers does not matter");
    let mut twice = all.clone();
    twice.merge(all.clone());
    assert_eq!(all, twice);
    assert_eq!(all.is_empty(), ours.is_empty() && others.is_empty());
    for schema in [Schema::new(&Value::Null), Schema::new(&pattern::schema())] {
        let _ = schema.owned(&body, &ours);
        let none = schema.owned(&body, &FieldSet::default());
        assert_eq!(
            none,
            schema.applied(&json!({})),
            "what is not ours does not count"
        );
        for operation in schema.shrink(&body, &ours, &others, &json!({})) {
            let path = operation["path"].as_str().expect("each has a path");
            assert!(body.pointer(path).is_some(), "{path} is not there");
        }
    }
}

/// An object that is applied, recorded, and found to be in sync, whatever is in it.
pub fn digests(input: &[u8]) {
    let Some(spec) = document(input, WORDS) else {
        return;
    };
    let schema = Schema::new(&pattern::schema());
    let mut sent = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
    schema.prune(&mut sent);
    let mut again = sent.clone();
    schema.prune(&mut again);
    assert_eq!(sent, again, "pruned twice is pruned once");
    let read: Value = serde_json::from_slice(&to_apply(&sent)).expect("an apply body is JSON");
    assert_eq!(whole(Some(&read)), whole(Some(&sent)));
    let set = FieldSet::parse(&schema.recorded(&sent));
    assert_eq!(
        schema.applied(&sent),
        schema.owned(&sent, &set),
        "what was applied is in sync: {sent}"
    );
    let nobody = FieldSet::default();
    for (ours, others) in [(&set, &nobody), (&nobody, &set), (&set, &set)] {
        for operation in schema.shrink(&sent, ours, others, &json!({"spec": {}})) {
            let path = operation["path"].as_str().expect("each has a path");
            assert!(sent.pointer(path).is_some(), "{path} is not there");
        }
    }
}
