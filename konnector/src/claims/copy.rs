//! One of the two copies of a claimed object, reduced to what decisions need, and the bodies that
//! are written. No IO.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::DynamicObject;
use kube_bind_crds::claims::{CopyState, Owner};
use kube_bind_crds::names::{
    ANNOTATION_PROVIDER_NAMESPACE, ANNOTATION_PROVIDER_UID, KEY_PREFIX, LABEL_OWNER, OWNER_PROVIDER,
};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::names::{ANNOTATION_BINDING, ANNOTATION_PROVIDER_CLUSTER};

/// Top-level fields that are copied and compared, beside labels and annotations.
const CONTENT: [&str; 5] = [
    "type",
    "data",
    "binaryData",
    "immutable",
    "automountServiceAccountToken",
];

/// What is kept of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Uid.
    pub uid: String,
    /// Version.
    pub resource_version: String,
    /// Owner by its label.
    pub owner: Option<Owner>,
    /// Deletion has begun.
    pub terminating: bool,
    /// Type of a Secret.
    pub type_: Option<String>,
    /// Hash of all that is compared.
    pub digest: u64,
    /// On the consumer: what it is a copy of.
    pub marker: Marker,
}

/// The annotations that a copy on the consumer carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// Uid of the provider's cluster namespace; the original does not write it.
    pub provider_cluster: Option<String>,
    /// Uid of the provider's object.
    pub provider_uid: Option<String>,
    /// The binding that claimed it.
    pub binding: Option<String>,
}

impl Copy {
    /// Reads what matters out of an object.
    pub fn of(object: &DynamicObject) -> Self {
        let annotation = |key: &str| object.annotations().get(key).cloned();
        Self {
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            owner: Owner::from_labels(object.labels()),
            terminating: object.metadata.deletion_timestamp.is_some(),
            type_: object.data["type"].as_str().map(str::to_owned),
            digest: digest(object),
            marker: Marker {
                provider_cluster: annotation(ANNOTATION_PROVIDER_CLUSTER),
                provider_uid: annotation(ANNOTATION_PROVIDER_UID),
                binding: annotation(ANNOTATION_BINDING),
            },
        }
    }

    /// Its row in the table of ownership.
    pub fn state(copy: Option<&Self>) -> CopyState {
        match copy {
            None => CopyState::Absent,
            Some(copy) => copy
                .owner
                .map_or(CopyState::Unlabelled, CopyState::Labelled),
        }
    }

    /// Whether it is older than another one of the same object, as far as versions can tell.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let version = |copy: &Self| copy.resource_version.parse::<u64>();
        matches!((version(self), version(other)), (Ok(a), Ok(b)) if a < b)
    }
}

/// Labels or annotations that cross: none of ours, and none that a tool keeps for itself.
fn crossing(keys: &BTreeMap<String, String>) -> BTreeMap<&String, &String> {
    keys.iter()
        .filter(|(key, _)| {
            !key.starts_with(KEY_PREFIX)
                && !key.starts_with("kubectl.kubernetes.io/")
                && !key.contains("claimed.internal.apis.kcp.io")
                && !key.contains("kcp.io/cluster")
        })
        .collect()
}

fn content(object: &DynamicObject) -> BTreeMap<&'static str, &Value> {
    CONTENT
        .into_iter()
        .filter_map(|field| Some((field, object.data.get(field)?)))
        .filter(|(_, value)| !value.is_null())
        .collect()
}

fn digest(object: &DynamicObject) -> u64 {
    let compared = json!([
        content(object),
        crossing(object.labels()),
        crossing(object.annotations()),
    ]);
    xxh3_64(compared.to_string().as_bytes())
}

/// Where a consumer copy belongs.
pub struct Placement<'a> {
    /// Its namespace on the consumer.
    pub namespace: &'a str,
    /// Uid of the provider's cluster namespace.
    pub provider_cluster: &'a str,
    /// The binding that claims it.
    pub binding: &'a str,
}

/// The consumer copy of a provider object. `replaces` is the copy that it replaces.
pub fn consumer_body(source: &DynamicObject, to: &Placement<'_>, replaces: Option<&Copy>) -> Value {
    let mut labels = json!(crossing(source.labels()));
    labels[LABEL_OWNER] = OWNER_PROVIDER.into();
    let mut annotations = json!(crossing(source.annotations()));
    annotations[ANNOTATION_PROVIDER_NAMESPACE] = source.namespace().unwrap_or_default().into();
    annotations[ANNOTATION_PROVIDER_UID] = source.uid().unwrap_or_default().into();
    annotations[ANNOTATION_PROVIDER_CLUSTER] = to.provider_cluster.into();
    annotations[ANNOTATION_BINDING] = to.binding.into();
    let mut body = json!(content(source));
    body["metadata"] = json!({
        "name": source.name_any(),
        "namespace": to.namespace,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(labels: Value, value: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "tls", "namespace": "tenant-team-a", "uid": "p-1",
                "resourceVersion": "7", "labels": labels,
                "finalizers": ["example.org/keep"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x"}],
                "annotations": {"cert-manager.io/common-name": "a.example",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "data": {"tls.key": value},
        }))
        .unwrap()
    }

    #[test]
    fn the_consumer_copy_has_the_content_and_our_marks_but_nothing_of_the_cluster() {
        let source = secret(json!({"app": "web"}), "AA==");
        let to = Placement {
            namespace: "team-a",
            provider_cluster: "cluster-uid",
            binding: "certificates",
        };
        let body = consumer_body(&source, &to, None);
        assert_eq!(
            body,
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "data": {"tls.key": "AA=="},
                "metadata": {"name": "tls", "namespace": "team-a",
                    "labels": {"app": "web", "kube-bind.io/owner": "provider"},
                    "annotations": {"cert-manager.io/common-name": "a.example",
                        "kube-bind.io/provider-namespace": "tenant-team-a",
                        "kube-bind.io/provider-uid": "p-1",
                        "kube-bind.io/provider-cluster": "cluster-uid",
                        "kube-bind.io/binding": "certificates"}},
            })
        );
        let copy: DynamicObject = serde_json::from_value(body).unwrap();
        assert_eq!(Copy::of(&copy).digest, Copy::of(&source).digest);
    }

    #[test]
    fn a_replacement_names_what_it_replaces() {
        let old = Copy {
            uid: "c-1".into(),
            resource_version: "9".into(),
            ..Copy::default()
        };
        let to = Placement {
            namespace: "team-a",
            provider_cluster: "u",
            binding: "b",
        };
        let body = consumer_body(&secret(json!({}), "AA=="), &to, Some(&old));
        assert_eq!(body["metadata"]["uid"], "c-1");
        assert_eq!(body["metadata"]["resourceVersion"], "9");
    }

    #[test]
    fn the_digest_sees_data_type_labels_and_annotations_but_not_our_marks() {
        let base = Copy::of(&secret(json!({"app": "web"}), "AA==")).digest;
        let same = secret(
            json!({"app": "web", "kube-bind.io/owner": "provider"}),
            "AA==",
        );
        assert_eq!(Copy::of(&same).digest, base);
        assert_ne!(
            Copy::of(&secret(json!({"app": "web"}), "AQ==")).digest,
            base
        );
        assert_ne!(Copy::of(&secret(json!({}), "AA==")).digest, base);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let at = |version: &str| Copy {
            resource_version: version.into(),
            ..Copy::default()
        };
        assert!(at("9").is_older_than(&at("10")));
        assert!(!at("10").is_older_than(&at("9")));
        assert!(!at("x").is_older_than(&at("9")));
    }
}
