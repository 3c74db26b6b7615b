//! Tests of the parent module.

use kube_bind_crds::api::{InformerScope, Isolation};

use super::*;
use crate::provision::test_support::{crd, export, group_resource};

const WIDGETS: &str = "widgets.example.org";

fn bound(versions: &[&str], owners: Vec<OwnerReference>) -> BoundSchema {
    let source = crd(WIDGETS, "Namespaced", versions);
    let mut made = schema::bound_schema_from_crd(
        &source,
        &group_resource(WIDGETS),
        &[],
        "cluster-a",
        InformerScope::Namespaced,
        Isolation::default(),
    )
    .unwrap()
    .bound_schema;
    made.metadata.resource_version = Some("42".into());
    made.metadata.owner_references = Some(owners);
    made
}

fn controlled_by(export: &APIServiceExport) -> OwnerReference {
    OwnerReference {
        controller: Some(true),
        ..export.owner_ref(&()).unwrap()
    }
}

fn following(mut export: APIServiceExport) -> APIServiceExport {
    export
        .annotations_mut()
        .insert(ANNOTATION_UPDATE_POLICY.into(), "Always".into());
    export
}

fn observed(
    exports: &[&APIServiceExport],
    schema: Option<BoundSchema>,
    source: Option<&[&str]>,
) -> Observed {
    Observed {
        exports: exports.iter().map(|export| (*export).clone()).collect(),
        schemas: schema
            .into_iter()
            .map(|schema| (WIDGETS.to_owned(), schema))
            .collect(),
        sources: source
            .into_iter()
            .map(|versions| {
                (
                    WIDGETS.to_owned(),
                    Arc::new(crd(WIDGETS, "Namespaced", versions)),
                )
            })
            .collect(),
    }
}

fn in_sync() -> New {
    New::true_(types::PROVIDER_IN_SYNC)
}

#[test]
fn nothing_is_written_when_all_is_as_it_should_be() {
    let one = export("one", &[WIDGETS], &[]);
    let schema = bound(&["v1"], vec![controlled_by(&one)]);
    let hash = schema::combined_hash([&schema.spec]);
    let decision = decide(&one, &observed(&[&one], Some(schema), Some(&["v1"])));
    let nothing = Decision {
        create: vec![],
        patch: vec![],
        hash: Some(hash),
        condition: in_sync(),
    };
    assert_eq!(decision, nothing);
}

#[test]
fn a_changed_source_is_followed_only_when_asked_for() {
    let fixed = export("one", &[WIDGETS], &[]);
    let schema = bound(&["v1"], vec![controlled_by(&fixed)]);
    let changed: &[&str] = &["v1", "v2"];
    let kept = decide(
        &fixed,
        &observed(&[&fixed], Some(schema.clone()), Some(changed)),
    );
    assert!(kept.patch.is_empty());
    assert_eq!(kept.hash, Some(schema::combined_hash([&schema.spec])));

    let follower = following(fixed);
    let followed = decide(
        &follower,
        &observed(&[&follower], Some(schema.clone()), Some(changed)),
    );
    let [(name, patch)] = &followed.patch[..] else {
        panic!("one patch")
    };
    assert_eq!(name, WIDGETS);
    assert_eq!(
        patch[0],
        json!({ "op": "test", "path": "/metadata/resourceVersion", "value": "42" })
    );
    assert_eq!(patch[1]["path"], "/spec");
    assert_eq!(patch[1]["value"]["versions"].as_array().unwrap().len(), 2);
    assert_ne!(followed.hash, kept.hash);
}

#[test]
fn a_source_that_vanished_keeps_the_schema_and_is_shown() {
    let follower = following(export("one", &[WIDGETS], &[]));
    let schema = bound(&["v1"], vec![controlled_by(&follower)]);
    let decision = decide(&follower, &observed(&[&follower], Some(schema), None));
    assert!(decision.patch.is_empty() && decision.hash.is_some());
    assert_ne!(decision.condition, in_sync());
}

#[test]
fn a_deleted_schema_is_made_again_from_its_source() {
    let one = export("one", &[WIDGETS], &[]);
    let decision = decide(&one, &observed(&[&one], None, Some(&["v1"])));
    let [new] = &decision.create[..] else {
        panic!("one schema")
    };
    assert_eq!(new.owner_references(), [controlled_by(&one)]);
    assert_eq!(decision.condition, in_sync());
}

#[test]
fn without_source_a_missing_schema_is_an_error_and_nothing_is_announced() {
    let one = export("one", &[WIDGETS], &[]);
    let decision = decide(&one, &observed(&[&one], None, None));
    assert_eq!(decision.hash, None);
    let New { .. } = &decision.condition;
    assert!(format!("{:?}", decision.condition).contains(reasons::BOUND_SCHEMA_MISSING));
}

#[test]
fn a_shared_schema_belongs_to_both_exports_with_one_controller() {
    let one = export("one", &[WIDGETS], &[]);
    let two = export("two", &[WIDGETS], &[]);
    let schema = bound(&["v1"], vec![controlled_by(&one)]);
    let decision = decide(&two, &observed(&[&one, &two], Some(schema), Some(&["v1"])));
    let owners = decision.patch[0].1[1]["value"].as_array().unwrap();
    let of = |owner: &Value| {
        (
            owner["uid"].as_str().unwrap().to_owned(),
            owner.get("controller").cloned(),
        )
    };
    assert_eq!(
        owners.iter().map(of).collect::<Vec<_>>(),
        [
            ("uid-of-one".into(), Some(json!(true))),
            ("uid-of-two".into(), None)
        ]
    );
}

#[test]
fn the_export_that_stays_takes_the_schema_over() {
    let one = export("one", &[WIDGETS], &[]);
    let two = export("two", &[WIDGETS], &[]);
    let schema = bound(
        &["v1"],
        vec![controlled_by(&one), two.owner_ref(&()).unwrap()],
    );
    let decision = decide(&two, &observed(&[&two], Some(schema), Some(&["v1"])));
    assert_eq!(
        decision.patch[0].1[1]["value"],
        serde_json::to_value([controlled_by(&two)]).unwrap()
    );
}

#[test]
fn versions_of_all_exports_that_share_a_schema_add_up() {
    let mut one = export("one", &[WIDGETS], &[]);
    one.spec.resources[0].versions = vec!["v1".into()];
    let mut two = export("two", &[WIDGETS], &[]);
    two.spec.resources[0].versions = vec!["v2".into()];
    let resource = group_resource(WIDGETS);
    assert_eq!(wanted_versions(&[&one, &two], &resource), ["v1", "v2"]);
    two.spec.resources[0].versions.clear();
    assert!(wanted_versions(&[&one, &two], &resource).is_empty());
}

#[test]
fn a_stale_hash_annotation_is_repaired_without_touching_the_schema() {
    let one = export("one", &[WIDGETS], &[]);
    let mut schema = bound(&["v1"], vec![controlled_by(&one)]);
    schema
        .annotations_mut()
        .insert(ANNOTATION_SOURCE_SPEC_HASH.into(), "of-the-original".into());
    let decision = decide(&one, &observed(&[&one], Some(schema), Some(&["v1"])));
    let paths: Vec<_> = decision.patch[0]
        .1
        .as_array()
        .unwrap()
        .iter()
        .map(|op| op["path"].clone())
        .collect();
    assert_eq!(
        paths,
        ["/metadata/resourceVersion", "/metadata/annotations"]
    );
}
