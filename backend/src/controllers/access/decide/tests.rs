//! Tests of the parent module.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_bind_crds::api::InformerScope;

use super::*;
use crate::provision::test_support::{export, group_resource, settings};

const TENANTS: &str = "tenants.example.org";
const WIDGETS: &str = "widgets.example.org";

fn scopes() -> BTreeMap<GroupResource, ResourceScope> {
    [
        (group_resource(TENANTS), ResourceScope::Cluster),
        (group_resource(WIDGETS), ResourceScope::Namespaced),
    ]
    .into()
}

fn in_mode(
    resource: &str,
    isolation: Isolation,
    informer_scope: InformerScope,
) -> APIServiceExport {
    let mut export = export("one", &[resource], &["secrets."]);
    export.spec.isolation = isolation;
    export.spec.informer_scope = informer_scope;
    export
}

fn access(exports: &[APIServiceExport]) -> Access {
    Access::of(exports, &scopes(), &settings())
}

#[test]
fn namespaced_kinds_with_namespaced_informers_reach_nowhere() {
    for isolation in [Isolation::Prefixed, Isolation::None] {
        let usual = in_mode(WIDGETS, isolation, InformerScope::Namespaced);
        assert_eq!(access(&[usual]), Access::default());
    }
}

#[test]
fn under_isolation_namespaced_the_own_namespace_is_all() {
    let access = access(&[in_mode(
        WIDGETS,
        Isolation::Namespaced,
        InformerScope::Namespaced,
    )]);
    assert_eq!(access.own, [group_resource(WIDGETS)].into());
    assert!(access.is_narrow());
}

#[test]
fn cluster_wide_informers_read_and_never_write() {
    let access = access(&[in_mode(WIDGETS, Isolation::None, InformerScope::Cluster)]);
    let [role, _] = access.cluster_role("cluster-a", "uid-of-namespace");
    assert_eq!(
        role.body["rules"],
        json!([{ "apiGroups": ["example.org"], "resources": ["widgets"], "verbs": READ }])
    );
}

#[test]
fn a_cluster_scoped_kind_is_written_without_subresources_and_collections() {
    let access = access(&[in_mode(
        TENANTS,
        Isolation::Prefixed,
        InformerScope::Namespaced,
    )]);
    let [role, binding] = access.cluster_role("cluster-a", "uid-of-namespace");
    let rules = role.body["rules"].to_string();
    for unwanted in [
        "status",
        "deletecollection",
        VERB_NAME_FREELY,
        "secrets",
        "*",
    ] {
        assert!(!rules.contains(unwanted), "{unwanted}: {rules}");
    }
    assert_eq!(
        binding.body["subjects"],
        json!([{ "kind": "ServiceAccount", "name": "kube-binder", "namespace": "cluster-a" }])
    );
    assert_eq!(binding.body["roleRef"]["name"], "kube-binder-cluster-a");
    for object in [role, binding] {
        let owner = &object.body["metadata"]["ownerReferences"][0];
        assert_eq!(owner["uid"], "uid-of-namespace");
    }
    assert_eq!(namespace_of(&role_name("cluster-a")), Some("cluster-a"));
}

#[test]
fn names_are_free_only_where_some_export_says_so() {
    let prefixed = in_mode(TENANTS, Isolation::Prefixed, InformerScope::Namespaced);
    let free = in_mode(TENANTS, Isolation::None, InformerScope::Namespaced);
    assert!(!access(std::slice::from_ref(&prefixed)).writes[&group_resource(TENANTS)]);
    for exports in [vec![prefixed.clone(), free.clone()], vec![free, prefixed]] {
        assert!(access(&exports).writes[&group_resource(TENANTS)]);
    }
}

#[test]
fn an_export_that_goes_and_a_schema_that_is_missing_give_nothing() {
    let mut going = in_mode(TENANTS, Isolation::None, InformerScope::Namespaced);
    going.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    assert!(access(&[going]).is_narrow());
    let unknown = in_mode(
        "others.example.org",
        Isolation::None,
        InformerScope::Cluster,
    );
    assert_eq!(access(&[unknown]), Access::default());
}

#[test]
fn the_first_consumer_keeps_a_kind_to_itself_unless_sharing_is_allowed() {
    let of = |namespace: &str, second: i64| {
        let mut export = in_mode(TENANTS, Isolation::Prefixed, InformerScope::Namespaced);
        export.metadata.namespace = Some(namespace.into());
        let created = jiff::Timestamp::from_second(second).unwrap();
        export.metadata.creation_timestamp = Some(Time(created));
        export
    };
    let all = [
        of("cluster-a", 20),
        of("cluster-b", 10),
        of("cluster-c", 10),
    ];
    let tenants = BTreeSet::from([group_resource(TENANTS)]);
    // Of two at once the order of names decides, the same for both.
    assert_eq!(taken(&all, "cluster-b", &settings()), BTreeSet::new());
    assert_eq!(taken(&all, "cluster-a", &settings()), tenants);
    assert_eq!(taken(&all, "cluster-c", &settings()), tenants);
    let mut late = access(&all[..1]);
    assert_eq!(late.without(&tenants), [group_resource(TENANTS)]);
    assert!(late.is_narrow());
    let mut sharing = settings();
    sharing.allow_shared_reads = true;
    assert_eq!(taken(&all, "cluster-a", &sharing), BTreeSet::new());
}
