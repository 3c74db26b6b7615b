//! From a CRD to a bound schema.

use super::*;

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
    // The consumer can say so, too.
    assert_eq!(left_behind(&there.bound_schema), ["v1alpha1", "v1beta1"]);

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
