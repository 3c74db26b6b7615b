//! Both directions of the translation.

use std::sync::Arc;

use kube_bind_crds::api::InformerScope;

use super::super::config::Resource;
use super::*;

fn form(scope: ResourceScope, isolation: Isolation) -> Form {
    Form::new(&EngineConfig {
        binding: "b".into(),
        cluster_namespace: "kube-bind-abc".into(),
        cluster_namespace_uid: "ns-uid".into(),
        resource: Resource {
            group: "example.io".into(),
            version: "v1".into(),
            plural: "widgets".into(),
            kind: "Widget".into(),
        },
        scope,
        informer_scope: InformerScope::Namespaced,
        isolation,
        schema: Arc::new(json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
            "status": {"type": "object"},
            "data": {"type": "object", "additionalProperties": {"type": "string"}}}})),
        has_status_subresource: true,
        skip_keys: SkipKeys::default(),
        seed: 0,
    })
}

fn object() -> Value {
    json!({
        "apiVersion": "example.io/v1beta1", "kind": "Widget",
        "metadata": {
            "name": "a", "namespace": "team", "uid": "u", "resourceVersion": "7", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["team/x", "kubebind.io/syncer"],
            "ownerReferences": [{"uid": "o"}],
            "labels": {"app": "x", "argocd.argoproj.io/instance": "y"},
            "annotations": {"kube-bind.io/provider-uid": "p", "kube-bind.io/provider-namespace": "n", "note": "1"},
        },
        "spec": {"size": 1, "unknown": true},
        "data": {"k": "v"},
        "status": {"ready": true},
    })
}

#[test]
fn a_copy_has_the_content_the_markers_and_nothing_else() {
    let form = form(ResourceScope::Namespaced, Isolation::Prefixed);
    assert_eq!(
        form.configuration(&object(), &Key::new("p", "a")),
        json!({
            "apiVersion": "example.io/v1", "kind": "Widget",
            "metadata": {
                "name": "a", "namespace": "p",
                "labels": {"app": "x"},
                "annotations": {"note": "1", "kube-bind.io/cluster-namespace": "kube-bind-abc",
                    "kube-bind.io/consumer-namespace": "team", "kube-bind.io/consumer-uid": "u"},
            },
            "spec": {"size": 1},
            "data": {"k": "v"},
        })
    );
}

#[test]
fn a_cluster_scoped_copy_goes_with_the_cluster_namespace() {
    let owned = |form: Form| {
        form.configuration(&object(), &Key::new("", "a"))["metadata"]
            .get("ownerReferences")
            .cloned()
    };
    let reference = json!([{"apiVersion": "v1", "kind": "Namespace", "name": "kube-bind-abc", "uid": "ns-uid"}]);
    assert_eq!(
        owned(form(ResourceScope::Cluster, Isolation::Prefixed)),
        Some(reference.clone())
    );
    assert_eq!(
        owned(form(ResourceScope::Cluster, Isolation::None)),
        Some(reference)
    );
    assert_eq!(
        owned(form(ResourceScope::Cluster, Isolation::Namespaced)),
        None
    );
}

#[test]
fn our_own_marks_do_not_change_what_would_be_applied() {
    let form = form(ResourceScope::Namespaced, Isolation::Prefixed);
    let before = form.consumer(&object());
    let mut marked = object();
    marked["metadata"]["annotations"]["kube-bind.io/sync-problem"] = "p".into();
    marked["metadata"]["finalizers"] = json!([]);
    marked["status"] = json!({"ready": false});
    let after = form.consumer(&marked);
    assert_eq!(before.configuration, after.configuration);
    assert_ne!(before.status, after.status);
    assert_eq!((before.finalizer, after.finalizer), (true, false));
    assert_eq!(*before.other_finalizers, ["team/x".into()]);
}

#[test]
fn what_an_object_was_before_never_shows_in_what_is_remembered_of_it() {
    let form = form(ResourceScope::Namespaced, Isolation::Prefixed);
    let before = object();
    let known = form.consumer(&before).configuration;
    let edits = [
        (
            "/metadata/annotations/kube-bind.io~1provider-uid",
            json!("q"),
        ),
        ("/metadata/annotations/note", json!("2")),
        ("/metadata/labels/app", json!("z")),
        ("/metadata/labels", json!({})),
        ("/metadata/uid", json!("v")),
        ("/metadata/finalizers", json!([])),
        ("/status/ready", json!(false)),
        ("/spec/size", json!(2)),
        ("/spec/unknown", json!(false)),
        ("/spec", json!({})),
        ("/data/k", json!("w")),
        ("/data", json!(null)),
    ];
    for (path, value) in edits {
        let mut body = before.clone();
        *body.pointer_mut(path).unwrap() = value;
        let seen = form.consumer_after((&before, known), &body);
        assert_eq!(seen, form.consumer(&body), "{path}");
    }
    let mut body = before.clone();
    body.as_object_mut().unwrap().remove("data");
    let seen = form.consumer_after((&before, known), &body);
    assert_eq!(seen, form.consumer(&body));
    let seen = form.consumer_after((&before, Digest(7)), &before);
    assert_eq!(seen.configuration, Digest(7), "it is not computed again");
}

#[test]
fn what_we_apply_is_what_we_find_owned() {
    let form = form(ResourceScope::Cluster, Isolation::Prefixed);
    let mut copy = form.configuration(&object(), &Key::new("", "kube-bind-abc-a"));
    let fields = form.schema.recorded(&copy);
    copy["metadata"]["managedFields"] =
        json!([{"manager": "kube-bind.io", "operation": "Apply", "fieldsV1": fields}]);
    copy["metadata"]["uid"] = "c".into();
    assert_eq!(
        form.provider(&copy).owned,
        form.consumer(&object()).configuration
    );
    assert_eq!(form.provider(&copy).owner, Owner::Ours(Uid::parse("u")));
}

#[test]
fn the_marks_of_an_original_that_is_the_next_hop_change_nothing() {
    let form = form(ResourceScope::Namespaced, Isolation::Prefixed);
    let mut copy = form.configuration(&object(), &Key::new("p", "a"));
    let fields = form.schema.recorded(&copy);
    copy["metadata"]["managedFields"] = json!([
        {"manager": "kube-bind.io", "operation": "Apply", "fieldsV1": fields},
        {"manager": "konnector", "operation": "Update", "fieldsV1": {"f:metadata": {
            "f:annotations": {"f:kube-bind.io/provider-uid": {}, "f:kube-bind.io/provider-namespace": {}},
            "f:finalizers": {".": {}, "v:\"kubebind.io/syncer\"": {}}}}},
    ]);
    copy["metadata"]["finalizers"] = json!(["kubebind.io/syncer"]);
    copy["metadata"]["annotations"]["kube-bind.io/provider-uid"] = "q".into();
    copy["metadata"]["annotations"]["kube-bind.io/provider-namespace"] = "n".into();
    let seen = form.provider(&copy);
    assert!(!seen.adopt);
    assert_eq!(seen.owned, form.consumer(&object()).configuration);
}
