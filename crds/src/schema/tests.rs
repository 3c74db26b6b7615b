//! Tests of the parent module.

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

#[test]
fn a_crd_arrives_as_it_was_but_for_what_belongs_to_its_cluster() {
    let source = crd(vec![version("v1", true, true)]);
    let there = bound(&source, &[]).unwrap();
    assert_eq!(there.left_out, Vec::<String>::new());
    let schema = &there.bound_schema;
    assert_eq!(schema.metadata.name.as_deref(), Some("widgets.example.org"));
    assert_eq!(schema.metadata.namespace.as_deref(), Some("cluster-abc"));
    assert_eq!(
        schema.metadata.annotations.as_ref().unwrap()["kube-bind.io/source-spec-hash"],
        hash(&schema.spec)
    );
    assert_eq!(schema.spec.informer_scope, InformerScope::Namespaced);

    let mut version = version("v1", true, true);
    version.as_object_mut().unwrap().remove("selectableFields");
    assert_eq!(
        crd_from_bound_schema(schema).unwrap(),
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": "widgets.example.org" },
            "spec": {
                "group": "example.org",
                "names": source["spec"]["names"],
                "scope": "Namespaced",
                "versions": [version],
                "conversion": { "strategy": "None" },
            },
        })
    );
}

#[test]
fn only_wanted_versions_cross_and_no_list_means_all_that_are_served() {
    let source = crd(vec![
        version("v1alpha1", false, false),
        version("v1beta1", true, false),
        version("v1", true, true),
    ]);
    for (wanted, expected) in [
        (vec![], vec![("v1beta1", true, false), ("v1", true, true)]),
        (vec!["v1"], vec![("v1", true, true)]),
        (vec!["v1beta1"], vec![("v1beta1", true, true)]),
        (
            vec!["v1", "v1beta1"],
            vec![("v1beta1", true, false), ("v1", true, true)],
        ),
    ] {
        let there = bound(&source, &wanted).unwrap();
        assert_eq!(
            versions_of(&there.bound_schema),
            owned(&expected),
            "{wanted:?}"
        );
        assert!(there.left_out.is_empty());
    }
}

#[test]
fn a_version_that_is_not_served_is_named() {
    let source = crd(vec![
        version("v1alpha1", false, false),
        version("v1", true, true),
    ]);
    for missing in ["v1alpha1", "v2"] {
        let error = bound(&source, &["v1", missing]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("widgets.example.org does not serve version \"{missing}\", only v1")
        );
    }
    let nothing = crd(vec![version("v1", false, true)]);
    assert!(matches!(
        bound(&nothing, &[]),
        Err(Error::NoServedVersion { .. })
    ));
    assert!(matches!(
        bound(&crd(vec![]), &[]),
        Err(Error::NoServedVersion { .. })
    ));
}

#[test]
fn with_a_conversion_webhook_only_one_version_crosses() {
    let versions = || {
        vec![
            version("v1alpha1", true, false),
            version("v1", true, true),
            version("v1beta1", true, false),
        ]
    };
    let there = bound(&with_webhook(crd(versions())), &[]).unwrap();
    assert_eq!(
        versions_of(&there.bound_schema),
        owned(&[("v1", true, true)])
    );
    assert_eq!(there.left_out, ["v1alpha1", "v1beta1"]);
    assert_eq!(there.bound_schema.spec.conversion, None);

    let unwanted_storage = bound(&with_webhook(crd(versions())), &["v1beta1", "v1alpha1"]).unwrap();
    assert_eq!(
        versions_of(&unwanted_storage.bound_schema),
        owned(&[("v1alpha1", true, true)])
    );
    assert_eq!(unwanted_storage.left_out, ["v1beta1"]);

    let unserved_storage = crd(vec![
        version("v1beta1", true, false),
        version("v1", false, true),
    ]);
    let there = bound(&with_webhook(unserved_storage), &[]).unwrap();
    assert_eq!(
        versions_of(&there.bound_schema),
        owned(&[("v1beta1", true, true)])
    );
}

#[test]
fn a_webhook_that_a_peer_sends_is_not_installed() {
    let source = crd(vec![
        version("v1beta1", true, false),
        version("v1", true, true),
        version("v2", true, false),
    ]);
    let mut schema = bound(&source, &[]).unwrap().bound_schema;
    schema.spec.conversion = Some(SchemaConversion {
        strategy: "Webhook".to_owned(),
        webhook: None,
    });
    let installed = crd_from_bound_schema(&schema).unwrap();
    let names: Vec<&Value> = installed["spec"]["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| &version["name"])
        .collect();
    assert_eq!(names, ["v1"]);
    assert_eq!(
        installed["spec"]["conversion"],
        json!({ "strategy": "None" })
    );
    assert_eq!(synced_version(&schema.spec).unwrap().name, "v1");
}

#[test]
fn the_first_served_version_is_synced() {
    let mut schema = bound(
        &crd(vec![
            version("v1beta1", true, false),
            version("v1", true, true),
        ]),
        &[],
    )
    .unwrap()
    .bound_schema;
    assert_eq!(synced_version(&schema.spec).unwrap().name, "v1beta1");
    schema.spec.versions[0].served = false;
    assert_eq!(synced_version(&schema.spec).unwrap().name, "v1");
    schema.spec.versions[1].served = false;
    assert_eq!(synced_version(&schema.spec), None);
    assert!(matches!(
        crd_from_bound_schema(&schema),
        Err(Error::NoServedVersion { .. })
    ));
}

#[test]
fn bare_and_wrapped_schemas_are_read() {
    let bare = open_api_schema("size");
    for (schema, expected) in [
        (json!({ "openAPIV3Schema": bare }), Some(bare.clone())),
        (bare.clone(), Some(bare.clone())),
        (json!({ "openAPIV3Schema": null }), None),
        (json!({}), None),
        (json!(null), None),
        (json!("text"), None),
    ] {
        let version = SchemaVersion {
            schema: schema.clone(),
            ..SchemaVersion::default()
        };
        assert_eq!(open_api(&version), expected.as_ref(), "{schema}");
    }
}

#[test]
fn a_bare_source_stays_bare_and_is_installed_wrapped() {
    let mut bare = version("v1", true, true);
    bare["schema"] = open_api_schema("size");
    bare.as_object_mut().unwrap().remove("subresources");
    let schema = bound(&crd(vec![bare]), &[]).unwrap().bound_schema;
    assert_eq!(schema.spec.versions[0].schema, open_api_schema("size"));
    let installed = crd_from_bound_schema(&schema).unwrap();
    let version = &installed["spec"]["versions"][0];
    assert_eq!(
        version["schema"],
        json!({ "openAPIV3Schema": open_api_schema("size") })
    );
    assert_eq!(version["subresources"], json!({}));
}

#[test]
fn a_version_without_schema_is_an_error_on_both_sides() {
    let mut empty = version("v1", true, true);
    empty["schema"] = json!({});
    assert!(matches!(
        bound(&crd(vec![empty]), &[]),
        Err(Error::NoSchema { .. })
    ));
    let mut schema = bound(&crd(vec![version("v1", true, true)]), &[])
        .unwrap()
        .bound_schema;
    schema.spec.versions[0].schema = json!({ "openAPIV3Schema": null });
    assert!(matches!(
        crd_from_bound_schema(&schema),
        Err(Error::NoSchema { .. })
    ));
}

#[test]
fn the_scope_is_rewritten_only_where_objects_live_in_the_cluster_namespace() {
    for (scope, isolation, expected) in [
        ("Namespaced", Isolation::None, ResourceScope::Namespaced),
        ("Namespaced", Isolation::Prefixed, ResourceScope::Namespaced),
        ("Namespaced", Isolation::Namespaced, ResourceScope::Cluster),
        ("Cluster", Isolation::None, ResourceScope::Cluster),
        ("Cluster", Isolation::Prefixed, ResourceScope::Cluster),
        ("Cluster", Isolation::Namespaced, ResourceScope::Cluster),
    ] {
        let mut source = crd(vec![version("v1", true, true)]);
        source["spec"]["scope"] = json!(scope);
        let there = bound_schema_from_crd(
            &source,
            &widgets(),
            &[],
            "c",
            InformerScope::Cluster,
            isolation,
        )
        .unwrap();
        assert_eq!(
            there.bound_schema.spec.scope, expected,
            "{scope} {isolation:?}"
        );
    }
}

#[test]
fn what_is_not_a_crd_is_named() {
    assert!(matches!(bound(&json!({}), &[]), Err(Error::NoSpec { .. })));
    assert!(matches!(
        bound(&json!({ "spec": {} }), &[]),
        Err(Error::Malformed { .. })
    ));
    let mut other = crd(vec![version("v1", true, true)]);
    other["spec"]["names"]["plural"] = json!("gadgets");
    assert_eq!(
        bound(&other, &[]).unwrap_err().to_string(),
        "expected the schema of widgets.example.org, found the one of gadgets.example.org"
    );
}

#[test]
fn a_bound_schema_under_another_name_is_refused() {
    let mut schema = bound(&crd(vec![version("v1", true, true)]), &[])
        .unwrap()
        .bound_schema;
    schema.metadata.name = Some("gadgets.example.org".to_owned());
    assert!(matches!(
        crd_from_bound_schema(&schema),
        Err(Error::OtherResource { .. })
    ));
}

#[test]
fn built_in_groups_are_refused_and_groups_of_crds_are_not() {
    for (group, built_in) in [
        ("", true),
        ("apps", true),
        ("batch", true),
        ("k8s.io", true),
        ("storage.k8s.io", true),
        ("rbac.authorization.k8s.io", true),
        ("flowcontrol.apiserver.k8s.io", true),
        ("kubernetes.io", true),
        ("anything.kubernetes.io", true),
        ("kube-bind.io", true),
        ("example.org", false),
        ("gateway.networking.k8s.io", false),
        ("cluster.x-k8s.io", false),
        ("demo.kube-bind.io", false),
        ("notkubernetes.io", false),
    ] {
        assert_eq!(is_built_in_group(group), built_in, "{group:?}");
        let mut schema = bound(&crd(vec![version("v1", true, true)]), &[])
            .unwrap()
            .bound_schema;
        schema.spec.group = group.to_owned();
        schema.metadata.name = None;
        let refused = matches!(crd_from_bound_schema(&schema), Err(Error::BuiltIn { .. }));
        assert_eq!(refused, built_in, "{group:?}");
    }
    let mut secrets = crd(vec![version("v1", true, true)]);
    secrets["spec"]["group"] = json!("");
    secrets["spec"]["names"]["plural"] = json!("secrets");
    let resource = GroupResource {
        group: String::new(),
        resource: "secrets".to_owned(),
    };
    let error = bound_schema_from_crd(
        &secrets,
        &resource,
        &[],
        "c",
        InformerScope::Cluster,
        Isolation::None,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "secrets.core is in a built-in API group and cannot be bound"
    );
}

#[test]
fn groups_that_an_api_server_protects_get_the_annotation_it_wants() {
    let mut schema = bound(&crd(vec![version("v1", true, true)]), &[])
        .unwrap()
        .bound_schema;
    schema.spec.group = "gateway.networking.k8s.io".to_owned();
    schema.metadata.name = None;
    let installed = crd_from_bound_schema(&schema).unwrap();
    let approval = installed["metadata"]["annotations"]["api-approved.kubernetes.io"].as_str();
    assert!(approval.unwrap().starts_with("unapproved"));
}

#[test]
fn hashes_change_with_the_schema_and_with_nothing_else() {
    let spec = || {
        bound(&crd(vec![version("v1", true, true)]), &[])
            .unwrap()
            .bound_schema
            .spec
    };
    assert_eq!(hash(&spec()), hash(&spec()));
    assert_eq!(hash(&spec()).len(), 64);

    let mut reordered = spec();
    let text = r#"{"openAPIV3Schema":{"properties":{"b":{},"a":{}},"type":"object"}}"#;
    let other_order = r#"{"openAPIV3Schema":{"type":"object","properties":{"a":{},"b":{}}}}"#;
    reordered.versions[0].schema = serde_json::from_str(text).unwrap();
    let one = hash(&reordered);
    reordered.versions[0].schema = serde_json::from_str(other_order).unwrap();
    assert_eq!(one, hash(&reordered));
    assert_ne!(one, hash(&spec()));

    let mut renamed = spec();
    renamed.versions[0].name = "v2".to_owned();
    assert_ne!(hash(&spec()), hash(&renamed));
    assert_eq!(combined_hash([&spec()]), hash(&spec()));
    assert_ne!(
        combined_hash([&spec(), &renamed]),
        combined_hash([&renamed, &spec()])
    );
}

#[test]
fn names_spell_the_core_group() {
    assert_eq!(name(&widgets()), "widgets.example.org");
    let secrets = GroupResource {
        group: String::new(),
        resource: "secrets".to_owned(),
    };
    assert_eq!(name(&secrets), "secrets.core");
}
