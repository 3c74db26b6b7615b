//! What is written of a claimed object: the body of its copy, and the marks of its source. No IO.

use kube::ResourceExt;
use kube::api::DynamicObject;
use kube_bind_crds::claims::Owner;
use kube_bind_crds::names::{
    ANNOTATION_BINDING, ANNOTATION_CLUSTER_NAMESPACE, ANNOTATION_CONSUMER_BINDING,
    ANNOTATION_CONSUMER_NAMESPACE, ANNOTATION_CONSUMER_UID, ANNOTATION_PROVIDER_CLUSTER,
    ANNOTATION_PROVIDER_NAMESPACE, ANNOTATION_PROVIDER_UID, LABEL_OWNER,
};
use serde_json::{Value, json};

use super::copy::{Copy, content, crossing};
use super::state::Side;

/// Fields that the cluster of a copy filled in and that a PUT would take away.
pub const KEPT: [&str; 2] = ["secrets", "imagePullSecrets"];

/// In whose name things are written.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Uid of the provider's cluster namespace.
    pub provider_cluster: &'a str,
    /// Its name.
    pub cluster_namespace: &'a str,
    /// The binding that claims the object.
    pub binding: &'a str,
}

/// The owner by whose label a copy on that side is known.
fn owner_of_copy(side: Side) -> Owner {
    match side {
        Side::Consumer => Owner::Provider,
        Side::Provider => Owner::Consumer,
    }
}

/// The copy of `source` in `namespace` on that side. `replaces` is the one that it replaces.
pub fn copy_of(
    source: &DynamicObject,
    side: Side,
    namespace: &str,
    identity: Identity<'_>,
    replaces: Option<&Copy>,
) -> Value {
    let mut labels = json!(crossing(source.labels()));
    labels[LABEL_OWNER] = owner_of_copy(side).label().into();
    let mut annotations = json!(crossing(source.annotations()));
    let (from, uid) = (
        source.namespace().unwrap_or_default(),
        source.uid().unwrap_or_default(),
    );
    match side {
        Side::Consumer => {
            annotations[ANNOTATION_PROVIDER_NAMESPACE] = from.into();
            annotations[ANNOTATION_PROVIDER_UID] = uid.into();
            annotations[ANNOTATION_PROVIDER_CLUSTER] = identity.provider_cluster.into();
            annotations[ANNOTATION_BINDING] = identity.binding.into();
        }
        Side::Provider => {
            annotations[ANNOTATION_CONSUMER_NAMESPACE] = from.into();
            annotations[ANNOTATION_CONSUMER_UID] = uid.into();
            annotations[ANNOTATION_CLUSTER_NAMESPACE] = identity.cluster_namespace.into();
            annotations[ANNOTATION_CONSUMER_BINDING] = identity.binding.into();
        }
    }
    let mut body = json!(content(source));
    body["metadata"] = json!({
        "name": source.name_any(),
        "namespace": namespace,
        "labels": labels,
        "annotations": annotations,
    });
    if let Some(types) = &source.types {
        body["apiVersion"] = types.api_version.clone().into();
        body["kind"] = types.kind.clone().into();
    }
    if let Some(old) = replaces {
        body["metadata"]["uid"] = old.uid.clone().into();
        body["metadata"]["resourceVersion"] = old.resource_version.clone().into();
    }
    body
}

/// The patch that marks an object on that side as the source: on the consumer also for whom, so that
/// no other binding takes it.
pub fn mark(side: Side, source: &Copy, identity: Identity<'_>) -> Value {
    let annotations = match side {
        Side::Consumer => json!({
            ANNOTATION_PROVIDER_CLUSTER: identity.provider_cluster,
            ANNOTATION_BINDING: identity.binding,
        }),
        Side::Provider => json!({}),
    };
    let owner = owner_of_copy(side.other()).label();
    patch(source, json!({LABEL_OWNER: owner}), annotations)
}

/// The patch that takes the marks of this hop off an object on that side. Where the provider is itself
/// a consumer of another one, the marks of that hop stay, and so does the label that both share.
pub fn unmark(side: Side, object: &Copy) -> Value {
    let (annotations, shared) = match side {
        Side::Consumer => (
            json!({
                ANNOTATION_BINDING: null,
                ANNOTATION_PROVIDER_CLUSTER: null,
                ANNOTATION_PROVIDER_NAMESPACE: null,
                ANNOTATION_PROVIDER_UID: null,
            }),
            object.marks.consumer_uid.is_some(),
        ),
        Side::Provider => (
            json!({
                ANNOTATION_CONSUMER_BINDING: null,
                ANNOTATION_CLUSTER_NAMESPACE: null,
                ANNOTATION_CONSUMER_NAMESPACE: null,
                ANNOTATION_CONSUMER_UID: null,
            }),
            object.marks.provider_uid.is_some(),
        ),
    };
    let labels = if shared {
        json!({})
    } else {
        json!({LABEL_OWNER: null})
    };
    patch(object, labels, annotations)
}

fn patch(object: &Copy, labels: Value, annotations: Value) -> Value {
    json!({"metadata": {
        "uid": object.uid,
        "resourceVersion": object.resource_version,
        "labels": labels,
        "annotations": annotations,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity<'_> = Identity {
        provider_cluster: "cluster-uid",
        cluster_namespace: "tenant",
        binding: "certificates",
    };

    fn secret() -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "tls", "namespace": "from", "uid": "s-1",
                "resourceVersion": "7", "labels": {"app": "web"},
                "finalizers": ["example.org/keep"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x"}],
                "annotations": {"cert-manager.io/common-name": "a.example",
                    "kube-bind.io/sync-problem": "x",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "data": {"tls.key": "AA=="},
        }))
        .unwrap()
    }

    #[test]
    fn a_copy_has_the_content_and_our_marks_but_nothing_of_the_cluster() {
        let body = copy_of(&secret(), Side::Consumer, "team-a", IDENTITY, None);
        assert_eq!(
            body,
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "data": {"tls.key": "AA=="},
                "metadata": {"name": "tls", "namespace": "team-a",
                    "labels": {"app": "web", "kube-bind.io/owner": "provider"},
                    "annotations": {"cert-manager.io/common-name": "a.example",
                        "kube-bind.io/provider-namespace": "from",
                        "kube-bind.io/provider-uid": "s-1",
                        "kube-bind.io/provider-cluster": "cluster-uid",
                        "kube-bind.io/binding": "certificates"}},
            })
        );
        let copy: DynamicObject = serde_json::from_value(body).unwrap();
        assert!(Copy::of("secrets", &copy).is_like(&Copy::of("secrets", &secret())));
    }

    #[test]
    fn a_copy_on_the_provider_says_whose_it_is() {
        let body = copy_of(&secret(), Side::Provider, "tenant-team-a", IDENTITY, None);
        assert_eq!(
            body["metadata"]["labels"],
            json!({"app": "web", "kube-bind.io/owner": "consumer"})
        );
        assert_eq!(
            body["metadata"]["annotations"],
            json!({"cert-manager.io/common-name": "a.example",
                "kube-bind.io/consumer-namespace": "from",
                "kube-bind.io/consumer-uid": "s-1",
                "kube-bind.io/cluster-namespace": "tenant",
                "kube-bind.io/consumer-binding": "certificates"})
        );
    }

    #[test]
    fn a_replacement_names_what_it_replaces() {
        let old = Copy {
            uid: "c-1".into(),
            resource_version: "9".into(),
            ..Copy::default()
        };
        let body = copy_of(&secret(), Side::Consumer, "team-a", IDENTITY, Some(&old));
        assert_eq!(body["metadata"]["uid"], "c-1");
        assert_eq!(body["metadata"]["resourceVersion"], "9");
    }

    #[test]
    fn marking_a_source_changes_nothing_but_our_marks() {
        let source = Copy::of("secrets", &secret());
        assert_eq!(
            mark(Side::Consumer, &source, IDENTITY),
            json!({"metadata": {"uid": "s-1", "resourceVersion": "7",
                "labels": {"kube-bind.io/owner": "consumer"},
                "annotations": {"kube-bind.io/provider-cluster": "cluster-uid",
                    "kube-bind.io/binding": "certificates"}}})
        );
        assert_eq!(
            mark(Side::Provider, &source, IDENTITY)["metadata"]["labels"],
            json!({"kube-bind.io/owner": "provider"})
        );
    }

    #[test]
    fn the_marks_of_one_hop_are_no_business_of_the_next() {
        let keys = |patch: &Value| -> Vec<String> {
            let parts = ["labels", "annotations"].map(|part| &patch["metadata"][part]);
            let all = parts.into_iter().filter_map(Value::as_object).flatten();
            all.map(|(key, value)| {
                assert!(value.is_null());
                key.clone()
            })
            .collect()
        };
        let mut object = Copy::of("secrets", &secret());
        let patch = unmark(Side::Consumer, &object);
        assert!(keys(&patch).contains(&LABEL_OWNER.to_owned()));
        object.marks.consumer_uid = Some("of a consumer of this cluster".into());
        let patch = unmark(Side::Consumer, &object);
        for key in keys(&patch) {
            assert!(
                !key.starts_with("kube-bind.io/c") && key != LABEL_OWNER,
                "{key}"
            );
        }
    }
}
