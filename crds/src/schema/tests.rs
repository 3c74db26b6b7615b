//! Tests of the parent module: fixtures, used by the tests of each side.

use serde_json::{Value, json};

use super::*;
use crate::api::{
    BoundSchema, GroupResource, InformerScope, Isolation, ResourceScope, SchemaConversion,
};

fn widgets() -> GroupResource {
    GroupResource {
        group: "example.org".to_owned(),
        resource: "widgets".to_owned(),
    }
}

fn open_api_schema(field: &str) -> Value {
    json!({
        "type": "object",
        "properties": { "spec": { "type": "object", "properties": { field: { "type": "string", "x-unknown": [1.5] } } } },
    })
}

fn version(name: &str, served: bool, storage: bool) -> Value {
    json!({
        "name": name,
        "served": served,
        "storage": storage,
        "schema": { "openAPIV3Schema": open_api_schema(name) },
        "subresources": { "status": {} },
        "additionalPrinterColumns": [{ "name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1 }],
        "selectableFields": [{ "jsonPath": ".spec.size" }],
    })
}

fn crd(versions: Vec<Value>) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.org", "labels": { "kube-bind.io/exported": "true" }, "uid": "u" },
        "spec": {
            "group": "example.org",
            "names": {
                "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList",
                "shortNames": ["wd"], "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": versions,
            "conversion": { "strategy": "None" },
            "preserveUnknownFields": false,
        },
        "status": { "storedVersions": ["v1"] },
    })
}

fn with_webhook(mut crd: Value) -> Value {
    crd["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {
            "clientConfig": { "url": "https://10.0.0.1/convert", "service": { "name": "hook", "namespace": "ops" } },
            "conversionReviewVersions": ["v1"],
        },
    });
    crd
}

fn bound(crd: &Value, versions: &[&str]) -> Result<FromCrd, Error> {
    let versions: Vec<String> = versions.iter().map(|name| (*name).to_owned()).collect();
    bound_schema_from_crd(
        crd,
        &widgets(),
        &versions,
        "cluster-abc",
        InformerScope::Namespaced,
        Isolation::Prefixed,
    )
}

fn versions_of(schema: &BoundSchema) -> Vec<(String, bool, bool)> {
    let versions = schema.spec.versions.iter();
    versions
        .map(|version| (version.name.clone(), version.served, version.storage))
        .collect()
}

fn owned(versions: &[(&str, bool, bool)]) -> Vec<(String, bool, bool)> {
    versions
        .iter()
        .map(|(name, served, storage)| ((*name).to_owned(), *served, *storage))
        .collect()
}

mod consumer;
mod provider;
