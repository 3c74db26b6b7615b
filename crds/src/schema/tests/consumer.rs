//! From a bound schema to a CRD, and what both sides share.

use super::*;

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
