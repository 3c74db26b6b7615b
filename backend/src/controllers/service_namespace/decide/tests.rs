//! Tests of the parent module.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_bind_crds::api::{APIServiceNamespaceSpec, APIServiceNamespaceStatus};

use super::*;

const MARKER: &str = "cluster-a/shop";

fn object(published: Option<&str>) -> APIServiceNamespace {
    let mut object = APIServiceNamespace::new("shop", APIServiceNamespaceSpec {});
    object.status = Some(APIServiceNamespaceStatus {
        namespace: published.map(str::to_owned),
    });
    object
}

fn found(marker: Option<&str>, deleting: bool) -> ObjectMeta {
    ObjectMeta {
        annotations: marker.map(|m| [(ANNOTATION_API_SERVICE_NAMESPACE.into(), m.into())].into()),
        deletion_timestamp: deleting.then(|| Time("2026-01-01T00:00:00Z".parse().unwrap())),
        labels: Some([(LABEL_COMPONENT.into(), COMPONENT_SERVICE_NAMESPACE.into())].into()),
        ..ObjectMeta::default()
    }
}

fn settings(isolation: Isolation) -> Settings {
    Settings {
        isolation,
        ..crate::provision::test_support::settings()
    }
}

#[test]
fn names_follow_the_isolation_until_one_is_published() {
    let name = |published, isolation| {
        provider_name(
            &object(published),
            "cluster-a",
            "shop",
            &settings(isolation),
        )
    };
    assert_eq!(name(None, Isolation::Prefixed).unwrap(), "cluster-a-shop");
    assert_eq!(name(None, Isolation::None).unwrap(), "shop");
    assert_eq!(name(Some("older"), Isolation::Prefixed).unwrap(), "older");
}

#[test]
fn names_of_kubernetes_and_names_too_long_are_refused() {
    let name =
        |name, isolation| provider_name(&object(None), "cluster-a", name, &settings(isolation));
    for taken in [
        "kube-system",
        "kube-bind-backend",
        "default",
        "cert-manager-system",
        "cluster-b",
    ] {
        let reserved = name(taken, Isolation::None);
        assert_eq!(
            reserved.unwrap_err().reason(),
            "ReservedNamespace",
            "{taken}"
        );
        assert!(name(taken, Isolation::Prefixed).is_ok());
    }
    let mut own = settings(Isolation::None);
    own.namespace = "provider".into();
    let reserved = provider_name(&object(None), "cluster-a", "provider", &own);
    assert_eq!(reserved.unwrap_err().reason(), "ReservedNamespace");
    assert!(name("provider", Isolation::None).is_ok());
    let long = "x".repeat(60);
    let refused = name(&long, Isolation::Prefixed);
    assert_eq!(refused.unwrap_err().reason(), "InvalidNamespaceName");
}

#[test]
fn a_foreign_namespace_is_neither_adopted_nor_deleted() {
    for foreign in [
        found(None, false),
        found(Some("cluster-b/shop"), false),
        found(None, true),
    ] {
        let refused = Decision::Refuse(Refusal::Foreign {
            name: "cluster-a-shop".into(),
        });
        assert_eq!(decide(Some(&foreign), "cluster-a-shop", MARKER), refused);
        assert_eq!(clean_up(Some(&foreign), MARKER), Cleanup::Done);
    }
}

#[test]
fn our_namespace_is_made_equipped_and_awaited() {
    assert_eq!(decide(None, "n", MARKER), Decision::Create);
    let ours = found(Some(MARKER), false);
    assert_eq!(
        decide(Some(&ours), "n", MARKER),
        Decision::Equip { label: false }
    );
    let mut original = ours.clone();
    original.labels = None;
    assert_eq!(
        decide(Some(&original), "n", MARKER),
        Decision::Equip { label: true }
    );
    assert_eq!(
        decide(Some(&found(Some(MARKER), true)), "n", MARKER),
        Decision::Wait
    );
}

#[test]
fn no_export_owns_a_namespace_that_all_share() {
    let owner = |kind: &str| OwnerReference {
        kind: kind.into(),
        ..OwnerReference::default()
    };
    let (export, other) = (owner("APIServiceExport"), owner("ConfigMap"));
    assert_eq!(
        without_exports(&[export, other.clone()]),
        Some(vec![&other])
    );
    assert_eq!(without_exports(&[other]), None);
    assert_eq!(without_exports(&[]), None);
}

#[test]
fn clean_up_ends_when_the_namespace_is_gone() {
    assert_eq!(
        clean_up(Some(&found(Some(MARKER), false)), MARKER),
        Cleanup::Delete
    );
    assert_eq!(
        clean_up(Some(&found(Some(MARKER), true)), MARKER),
        Cleanup::Wait
    );
    assert_eq!(clean_up(None, MARKER), Cleanup::Done);
}
