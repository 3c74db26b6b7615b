//! Tests of the parent module.

use std::sync::Mutex;

use kube_bind_crds::switches::SUSPEND;
use serde_json::{Value, json};

use super::*;
use crate::test_support::{answering, failure};

fn binding(name: &str, bound: &[&str]) -> APIServiceBinding {
    let bound: Vec<Value> = bound.iter().map(|plural| kind(plural)).collect();
    serde_json::from_value(json!({"apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBinding",
        "metadata": {"name": name},
        "spec": {"kubeconfigSecretRef": {"name": "s", "namespace": "kube-bind", "key": "kubeconfig"}},
        "status": {"conditions": [], "boundSchemas": bound}}))
    .unwrap()
}

fn kind(plural: &str) -> Value {
    json!({"group": "example.org", "resource": plural})
}

fn export(name: &str, plural: &str) -> APIServiceExport {
    let mut resource = kind(plural);
    resource["versions"] = json!(["v1"]);
    serde_json::from_value(
        json!({"apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExport",
        "metadata": {"name": name},
        "spec": {"resources": [resource], "informerScope": "Namespaced", "isolation": "Prefixed",
            "permissionClaims": [{"group": "", "resource": "secrets", "selector": {}}]}}),
    )
    .unwrap()
}

fn bound(kind: &GroupResource, scope: &str) -> Option<Arc<BoundSchema>> {
    let names = json!({"plural": kind.resource, "kind": "Thing", "singular": "thing"});
    let version = json!({"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object"}}});
    let schema = json!({"apiVersion": "kube-bind.io/v1alpha2", "kind": "BoundSchema",
        "metadata": {"name": schema::name(kind)},
        "spec": {"group": kind.group, "names": names, "scope": scope, "versions": [version],
            "informerScope": "Namespaced"}});
    Some(Arc::new(serde_json::from_value(schema).unwrap()))
}

fn asked(bindings: &[APIServiceBinding], exports: &[&APIServiceExport]) -> Result<Kinds, String> {
    kinds(bindings, exports, Vec::new(), |kind| {
        bound(kind, "Namespaced")
    })
}

fn plurals(all: &[ApiResource]) -> Vec<&str> {
    all.iter().map(|kind| kind.plural.as_str()).collect()
}

#[test]
fn everything_is_asked_for_that_was_ever_bound() {
    let bindings = [binding("widgets", &["widgets", "withdrawn"])];
    let (used, offered) = (export("widgets", "widgets"), export("gears", "gears"));
    let all = asked(&bindings, &[&used, &offered]).unwrap();
    assert_eq!(plurals(&all.bound), ["gears", "widgets", "withdrawn"]);
    assert_eq!(plurals(&all.claimed), ["secrets"]);
    let scope = |kind: &GroupResource| bound(kind, "Cluster");
    let all = kinds(&bindings, &[&used], Vec::new(), scope).unwrap();
    assert_eq!(plurals(&all.bound), [""; 0], "they are in no namespace");
}

#[test]
fn what_cannot_be_known_is_not_taken_for_nothing() {
    let used = export("widgets", "widgets");
    assert!(asked(&[binding("lost", &[])], &[&used]).is_err());
    let nothing = |_: &GroupResource| None;
    let bindings = [binding("widgets", &[])];
    assert!(kinds(&bindings, &[&used], Vec::new(), nothing).is_err());

    assert!(not_ours_to_say(&[]).is_some(), "nobody is bound");
    let mut bindings = [binding("widgets", &[]), binding("gears", &[])];
    assert_eq!(not_ours_to_say(&bindings), None);
    for value in ["true", "ture"] {
        let annotations = bindings[1].annotations_mut();
        annotations.insert(SUSPEND.into(), value.into());
        assert!(not_ours_to_say(&bindings).is_some(), "{value}");
    }
}

/// What is left where the API server answers so.
async fn found(widgets: (u16, Value), secrets: (u16, Value)) -> Left {
    let used = export("widgets", "widgets");
    let kinds = asked(&[binding("widgets", &[])], &[&used]).unwrap();
    let answers = Mutex::new([widgets, secrets]);
    let client = answering(move |asked| {
        assert_eq!(asked.method, "GET");
        let of_secrets = asked.uri.contains("/namespaces/service/secrets");
        assert!(of_secrets || asked.uri.contains("/namespaces/service/widgets"));
        answers.lock().unwrap()[usize::from(of_secrets)].clone()
    });
    look(&client, "service", "tenant", &kinds).await.unwrap()
}

fn list(annotations: &[Value]) -> (u16, Value) {
    let items: Vec<Value> = annotations
        .iter()
        .map(|all| json!({"metadata": {"name": "one", "annotations": all}}))
        .collect();
    let kind = "PartialObjectMetadataList";
    let list =
        json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "metadata": {}, "items": items});
    (200, list)
}

#[tokio::test]
async fn every_object_of_a_bound_kind_and_every_copy_of_a_claimed_one_is_something_to_lose() {
    let none = || list(&[]);
    assert_eq!(found(none(), none()).await, Left::Nothing);
    let foreign = || list(&[json!({}), json!({ANNOTATION_CLUSTER_NAMESPACE: "another"})]);
    let widgets = Left::Objects("widgets".into());
    assert_eq!(found(foreign(), none()).await, widgets);
    assert_eq!(found(none(), foreign()).await, Left::Nothing);
    let ours = list(&[json!({}), json!({ANNOTATION_CLUSTER_NAMESPACE: "tenant"})]);
    assert_eq!(found(none(), ours).await, Left::Objects("secrets".into()));
}

#[tokio::test]
async fn a_kind_that_may_not_be_listed_may_have_objects() {
    for (code, reason) in [(403, "Forbidden"), (404, "NotFound")] {
        let denied = || failure(code, reason);
        let left = found(denied(), list(&[])).await;
        assert!(matches!(left, Left::Unknown(_)), "{left:?}");
        let left = found(list(&[]), denied()).await;
        assert!(matches!(left, Left::Unknown(_)), "{left:?}");
    }
}
