//! Tests of the parent module.

use kube_bind_crds::api::{
    APIServiceExportTemplate, APIServiceExportTemplateSpec, BoundSchemaSpec, InformerScope,
    Isolation, SchemaVersion,
};

use super::*;
use crate::provision::offerings::Permitted;
use crate::provision::test_support::{claim, crd, export, resource, settings};

const WIDGETS: &str = "widgets.example.org";
const GADGETS: &str = "gadgets.example.org";

fn request(resources: Vec<ExportResource>, claims: &[&str]) -> APIServiceExportRequest {
    let mut request = APIServiceExportRequest::new(
        "wanted",
        kube_bind_crds::api::APIServiceExportRequestSpec {
            resources,
            permission_claims: claims.iter().map(|text| claim(text)).collect(),
            ..Default::default()
        },
    );
    request.metadata.namespace = Some("cluster-a".into());
    request
}

fn widgets() -> APIServiceExportRequest {
    request(vec![resource(WIDGETS, &[])], &["secrets."])
}

fn offer() -> Offer {
    let template = APIServiceExportTemplate::new(
        "offer",
        APIServiceExportTemplateSpec {
            resources: vec![resource(WIDGETS, &[]), resource(GADGETS, &[])],
            permission_claims: vec![claim("secrets.")],
            ..APIServiceExportTemplateSpec::default()
        },
    );
    Offer {
        templates: vec![std::sync::Arc::new(template)],
        permitted: Permitted::Only(["offer".to_owned()].into()),
    }
}

fn observed() -> Observed {
    Observed {
        sources: BTreeMap::from([(
            WIDGETS.to_owned(),
            crd(WIDGETS, "Namespaced", &["v1", "v2"]),
        )]),
        schemas: BTreeMap::new(),
        export: None,
        of_others: BTreeSet::new(),
    }
}

fn decided(request: &APIServiceExportRequest, observed: &Observed) -> Result<Grant, Problem> {
    check(request)?;
    check_offer(request, &offer())?;
    decide(request, observed, &settings())
}

fn problem(
    request: &APIServiceExportRequest,
    observed: &Observed,
) -> (&'static str, &'static str, bool) {
    let Problem {
        condition,
        reason,
        is_final,
        message,
    } = decided(request, observed).unwrap_err();
    assert!(!message.is_empty());
    (condition, reason, is_final)
}

#[test]
fn a_good_request_becomes_schemas_and_an_export() {
    let grant = decide(&widgets(), &observed(), &settings()).unwrap();
    let [schema] = &grant.schemas[..] else {
        panic!("one schema")
    };
    assert_eq!(schema.metadata.name.as_deref(), Some(WIDGETS));
    assert_eq!(schema.metadata.namespace.as_deref(), Some("cluster-a"));
    let export = grant.export.unwrap();
    assert_eq!(export.metadata.name.as_deref(), Some("wanted"));
    assert_eq!(export.spec.permission_claims, vec![claim("secrets.")]);
    let annotations = export.metadata.annotations.unwrap();
    assert_eq!(
        annotations[ANNOTATION_SOURCE_SPEC_HASH],
        schema::combined_hash([&schema.spec])
    );
    assert!(!annotations.contains_key(ANNOTATION_UPDATE_POLICY));
}

#[test]
fn wanted_versions_filter_and_none_means_all() {
    let names = |versions: &[&str]| {
        let grant = decide(
            &request(vec![resource(WIDGETS, versions)], &[]),
            &observed(),
            &settings(),
        )
        .unwrap();
        grant.schemas[0]
            .spec
            .versions
            .iter()
            .map(|v| v.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["v1", "v2"]);
    assert_eq!(names(&["v2"]), ["v2"]);
}

#[test]
fn the_update_policy_outlives_the_request() {
    let mut request = widgets();
    request.spec.schema_update_policy = SchemaUpdatePolicy::Always;
    let grant = decide(&request, &observed(), &settings()).unwrap();
    assert_eq!(
        grant.export.unwrap().metadata.annotations.unwrap()[ANNOTATION_UPDATE_POLICY],
        "Always"
    );
}

#[test]
fn claims_are_checked_first_and_finally() {
    let claims =
        |claims: &[&str]| problem(&request(vec![resource(WIDGETS, &[])], claims), &observed());
    let invalid = ("PermissionClaim", "InvalidPermissionClaim", true);
    assert_eq!(claims(&["clusterroles.rbac.authorization.k8s.io"]), invalid);
    let twice = ("PermissionClaim", "DuplicatePermissionClaim", true);
    assert_eq!(claims(&["secrets.", "secrets."]), twice);
}

#[test]
fn only_what_a_template_offers_can_be_had() {
    let mut nothing = offer();
    nothing.templates.clear();
    let problem_of_nothing = check_offer(&widgets(), &nothing).unwrap_err();
    assert_eq!(
        (problem_of_nothing.reason, problem_of_nothing.is_final),
        ("NotOffered", true)
    );
    let configmaps = request(vec![resource(WIDGETS, &[])], &["configmaps."]);
    assert_eq!(
        problem(&configmaps, &observed()),
        ("ExportsReady", "NotOffered", true)
    );
}

#[test]
fn an_offering_that_the_user_was_not_permitted_to_bind_cannot_be_ordered() {
    assert_eq!(check_offer(&widgets(), &offer()), Ok(()));
    let mut other = offer();
    other.permitted = Permitted::Only(["another".to_owned()].into());
    let refused = check_offer(&widgets(), &other).unwrap_err();
    assert_eq!((refused.reason, refused.is_final), ("NotOffered", true));
    other.permitted = Permitted::Any;
    assert_eq!(check_offer(&widgets(), &other), Ok(()));
}

#[test]
fn a_missing_or_unusable_source_is_waited_for() {
    let mut missing = observed();
    missing.sources.clear();
    assert_eq!(
        problem(&widgets(), &missing),
        ("ExportsReady", "SchemaNotFound", false)
    );
    let mut unserved = observed();
    let crd = unserved.sources.get_mut(WIDGETS).unwrap();
    for version in crd["spec"]["versions"].as_array_mut().unwrap() {
        version["served"] = false.into();
    }
    assert_eq!(
        problem(&widgets(), &unserved),
        ("ExportsReady", "NoServedVersion", false)
    );
    let v9 = request(vec![resource(WIDGETS, &["v9"])], &[]);
    assert_eq!(
        problem(&v9, &observed()),
        ("ExportsReady", "VersionNotServed", false)
    );
}

fn with_cluster_scoped_gadgets() -> Observed {
    let mut wanted = observed();
    wanted
        .sources
        .insert(GADGETS.into(), crd(GADGETS, "Cluster", &["v1"]));
    wanted
}

#[test]
fn kinds_of_both_scopes_are_refused_together() {
    let both = request(vec![resource(WIDGETS, &[]), resource(GADGETS, &[])], &[]);
    assert_eq!(
        problem(&both, &with_cluster_scoped_gadgets()),
        ("ExportsReady", "DifferentScopes", true)
    );
}

#[test]
fn a_cluster_scoped_kind_has_no_place_in_namespaces() {
    let gadgets = request(vec![resource(GADGETS, &[])], &[]);
    let wanted = with_cluster_scoped_gadgets();
    let mut settings = settings();
    for isolation in [Isolation::Prefixed, Isolation::None] {
        settings.isolation = isolation;
        let export = decide(&gadgets, &wanted, &settings).unwrap().export;
        assert_eq!(export.unwrap().spec.isolation, isolation);
    }
    settings.isolation = Isolation::Namespaced;
    let refused = decide(&gadgets, &wanted, &settings).unwrap_err();
    assert_eq!(
        (refused.reason, refused.is_final),
        ("ClusterScopedKind", true)
    );
}

#[test]
fn what_all_can_read_is_for_one_consumer_unless_the_provider_says_otherwise() {
    let gadgets = request(vec![resource(GADGETS, &[])], &[]);
    let mut wanted = with_cluster_scoped_gadgets();
    assert!(decide(&gadgets, &wanted, &settings()).is_ok());
    wanted.of_others = [GADGETS.to_owned(), WIDGETS.to_owned()].into();
    let refused = decide(&gadgets, &wanted, &settings()).unwrap_err();
    assert_eq!((refused.reason, refused.is_final), ("SharedReads", true));
    // The usual mode lists in namespaces.
    assert!(decide(&widgets(), &wanted, &settings()).is_ok());
    let mut wide = settings();
    wide.informer_scope = InformerScope::Cluster;
    assert_eq!(
        decide(&widgets(), &wanted, &wide).unwrap_err().reason,
        "SharedReads"
    );
    wide.allow_shared_reads = true;
    assert!(decide(&widgets(), &wanted, &wide).is_ok());
    assert!(decide(&gadgets, &wanted, &wide).is_ok());
}

#[test]
fn a_schema_of_another_mode_is_not_shared() {
    let mut wanted = observed();
    let made = decide(&widgets(), &wanted, &settings()).unwrap().schemas;
    wanted.schemas.insert(WIDGETS.into(), made[0].clone());
    assert!(decide(&widgets(), &wanted, &settings()).is_ok());
    let mut settings = settings();
    settings.isolation = Isolation::Namespaced;
    let refused = decide(&widgets(), &wanted, &settings).unwrap_err();
    assert_eq!(refused.reason, "BoundInOtherMode");
}

#[test]
fn an_export_that_exists_already_is_success_if_it_is_the_same() {
    let mut wanted = observed();
    wanted.export = Some(export("wanted", &[WIDGETS], &["secrets."]));
    assert_eq!(
        decide(&widgets(), &wanted, &settings()).unwrap().export,
        None
    );
    wanted.export = Some(export("wanted", &[GADGETS], &["secrets."]));
    assert_eq!(
        problem(&widgets(), &wanted),
        ("ExportsReady", "ExportExists", true)
    );
}

#[test]
fn a_schema_that_another_export_made_is_shared_if_it_suffices() {
    let existing = |versions: &[&str]| {
        let spec = BoundSchemaSpec {
            versions: versions
                .iter()
                .map(|name| SchemaVersion {
                    name: (*name).into(),
                    served: true,
                    ..Default::default()
                })
                .collect(),
            ..BoundSchemaSpec::default()
        };
        let mut wanted = observed();
        wanted
            .schemas
            .insert(WIDGETS.into(), BoundSchema::new(WIDGETS, spec));
        wanted
    };
    assert!(
        decide(&widgets(), &existing(&["v1", "v2"]), &settings())
            .unwrap()
            .schemas
            .is_empty()
    );
    assert_eq!(
        problem(&widgets(), &existing(&["v1"])),
        ("ExportsReady", "BoundInOtherVersions", true)
    );
}

#[test]
fn what_is_asked_for_is_limited_in_number_and_repeated_in_short() {
    let many = |count: usize| -> Vec<ExportResource> {
        (0..count)
            .map(|n| resource(&format!("r{n}.example.org"), &[]))
            .collect()
    };
    let judged = |request: &APIServiceExportRequest| {
        let problem = check(request).unwrap_err();
        assert!(problem.is_final);
        (problem.condition, problem.reason)
    };
    assert_eq!(check(&request(many(64), &[])), Ok(()));
    assert_eq!(judged(&request(many(65), &[])), ("ExportsReady", "TooMany"));
    let claims = vec!["secrets."; 65];
    assert_eq!(
        judged(&request(many(1), &claims)),
        ("PermissionClaim", "TooMany")
    );
    let versions = vec!["v1"; 17];
    assert_eq!(
        judged(&request(vec![resource(WIDGETS, &versions)], &[])),
        ("ExportsReady", "TooMany")
    );
    let twice = vec![resource(WIDGETS, &["v1"]), resource(WIDGETS, &["v2"])];
    assert_eq!(
        judged(&request(twice, &[])),
        ("ExportsReady", "DuplicateResource")
    );
    let long = request(
        vec![resource(
            &format!("{}.example.org", "ä".repeat(10_000)),
            &[],
        )],
        &[],
    );
    let message = check_offer(&long, &offer()).unwrap_err().message;
    assert!(message.chars().count() <= 513 && message.ends_with('…'));
}

#[test]
fn versions_that_stay_behind_are_named() {
    let mut wanted = observed();
    let crd = wanted.sources.get_mut(WIDGETS).unwrap();
    crd["spec"]["conversion"] = serde_json::json!({ "strategy": "Webhook" });
    let grant = decided(&widgets(), &wanted).unwrap();
    assert_eq!(grant.schemas[0].spec.versions.len(), 1);
    let left_out = grant.left_out.unwrap();
    assert!(left_out.contains("widgets.example.org v1"), "{left_out}");
    assert_eq!(decided(&widgets(), &observed()).unwrap().left_out, None);
}
