//! Schemas on their way from a provider to a consumer.

use kube_bind_crds::api::{GroupResource, InformerScope, Isolation};
use kube_bind_crds::digest::Schema;
use kube_bind_crds::schema::{
    bound_schema_from_crd, crd_from_bound_schema, crossing_versions, hash, open_api, synced_version,
};
use serde_json::Value;

use crate::document::json;

/// Keys and values that CRDs are made of.
const WORDS: &[&str] = &[
    "spec",
    "group",
    "names",
    "plural",
    "singular",
    "kind",
    "listKind",
    "shortNames",
    "categories",
    "scope",
    "versions",
    "name",
    "served",
    "storage",
    "schema",
    "openAPIV3Schema",
    "type",
    "object",
    "array",
    "string",
    "integer",
    "properties",
    "items",
    "additionalProperties",
    "default",
    "metadata",
    "status",
    "subresources",
    "conversion",
    "strategy",
    "Webhook",
    "None",
    "Namespaced",
    "Cluster",
    "v1",
    "v1beta1",
    "widgets",
    "Widget",
    "example.org",
    "apps",
    "x.k8s.io",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "atomic",
    "granular",
    "set",
    "map",
    "additionalPrinterColumns",
    "selectableFields",
    "deprecated",
    "deprecationWarning",
];

/// Carries a CRD across and back, and compiles its schemas.
pub fn schemas(input: &[u8]) {
    let Some(mut crd) = json(input, WORDS) else {
        return;
    };
    // Whatever it is, it may be a schema by itself.
    let alone = Schema::new(&crd);
    alone.prune(&mut crd.clone());
    if crate::document::recipe(input).is_some() {
        crd = around(crd);
    }
    let resource = GroupResource {
        group: text(&crd, "/spec/group"),
        resource: text(&crd, "/spec/names/plural"),
    };
    for isolation in [Isolation::None, Isolation::Prefixed, Isolation::Namespaced] {
        let scope = InformerScope::Namespaced;
        let first = match bound_schema_from_crd(&crd, &resource, &[], "n", scope, isolation) {
            Ok(first) => first,
            Err(error) => {
                let _ = error.to_string();
                continue;
            }
        };
        let bound = first.bound_schema;
        assert!(synced_version(&bound.spec).is_some());
        let made = crd_from_bound_schema(&bound).expect("what we made can be used");
        let storage = made["spec"]["versions"].as_array().into_iter().flatten();
        assert_eq!(storage.filter(|v| v["storage"] == true).count(), 1);
        // A CRD of ours, offered on by its owner, crosses unchanged.
        let again = bound_schema_from_crd(&made, &resource, &[], "n", scope, Isolation::None)
            .expect("a CRD of ours can be offered on");
        assert!(again.left_out.is_empty());
        let twice = crd_from_bound_schema(&again.bound_schema).expect("as before");
        assert_eq!(made, twice);
        let _ = hash(&bound.spec);
        for version in crossing_versions(&bound.spec) {
            let schema = open_api(version).expect("versions without a schema do not cross");
            Schema::new(schema).prune(&mut crd.clone());
        }
    }
}

/// The usual CRD, with what was cooked as its schema.
fn around(schema: Value) -> Value {
    serde_json::json!({"spec": {
        "group": "example.org",
        "names": {"plural": "widgets", "kind": "Widget"},
        "scope": "Namespaced",
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
    }})
}

fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}
