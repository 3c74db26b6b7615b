//! One of the two objects of a claimed name, reduced to what decisions need. No IO.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::DynamicObject;
use kube_bind_crds::claims::{CopyState, ObjectRef, Owner, may_cross};
use kube_bind_crds::names::{
    ANNOTATION_BINDING, ANNOTATION_CLUSTER_NAMESPACE, ANNOTATION_CONSUMER_BINDING,
    ANNOTATION_CONSUMER_UID, ANNOTATION_PROVIDER_CLUSTER, ANNOTATION_PROVIDER_UID, KEY_PREFIX,
};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::state::Side;

/// Top-level fields that are copied and compared, beside labels and annotations. A ServiceAccount's
/// `secrets` and `imagePullSecrets` are not among them: they name objects of the cluster that they are in.
const CONTENT: [&str; 5] = [
    "type",
    "data",
    "binaryData",
    "immutable",
    "automountServiceAccountToken",
];

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Its content cannot be changed.
    pub immutable: bool,
    /// Neither its type nor its labels forbid it to cross.
    pub may_cross: bool,
    /// Hash of the content.
    pub content: u64,
    /// Hash of the labels and annotations that cross.
    pub metadata: u64,
    /// Bindings whose label selector matches.
    pub labelled: Vec<String>,
    /// Whose it is.
    pub marks: Marks,
}

/// The annotations of ours that an object carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// On the consumer: uid of the provider's cluster namespace; the original does not write it.
    pub provider_cluster: Option<String>,
    /// On a copy on the consumer: uid of the provider's object.
    pub provider_uid: Option<String>,
    /// On the consumer: the binding that claims it.
    pub binding: Option<String>,
    /// On a copy on the provider: the consumer's cluster namespace; the original does not write it.
    pub cluster_namespace: Option<String>,
    /// On a copy on the provider: uid of the consumer's object.
    pub consumer_uid: Option<String>,
    /// On a copy on the provider: the binding that claims it; another mark than on the consumer, because
    /// a provider can be a consumer of the next one.
    pub consumer_binding: Option<String>,
}

impl Copy {
    /// Reads what matters out of an object of the claimed kind `plural`.
    pub fn of(plural: &str, object: &DynamicObject) -> Self {
        let annotation = |key: &str| object.annotations().get(key).cloned();
        let type_ = object.data["type"].as_str();
        // Where it is counts by the namespace on the consumer, which is not known here.
        let anywhere = ObjectRef {
            namespace: "",
            name: "",
            labels: Some(object.labels()),
        };
        Self {
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            owner: Owner::from_labels(object.labels()),
            terminating: object.metadata.deletion_timestamp.is_some(),
            may_cross: may_cross(plural, type_, anywhere),
            type_: type_.map(str::to_owned),
            immutable: object.data["immutable"] == Value::Bool(true),
            content: digest(&json!(content(object))),
            metadata: digest(&json!([
                crossing(object.labels()),
                crossing(object.annotations())
            ])),
            labelled: Vec::new(),
            marks: Marks {
                provider_cluster: annotation(ANNOTATION_PROVIDER_CLUSTER),
                provider_uid: annotation(ANNOTATION_PROVIDER_UID),
                binding: annotation(ANNOTATION_BINDING),
                cluster_namespace: annotation(ANNOTATION_CLUSTER_NAMESPACE),
                consumer_uid: annotation(ANNOTATION_CONSUMER_UID),
                consumer_binding: annotation(ANNOTATION_CONSUMER_BINDING),
            },
        }
    }

    /// Whether both have the same content, labels and annotations.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.content, self.metadata) == (other.content, other.metadata)
    }

    /// The binding that claimed it, by its marks on that side.
    pub fn binding(&self, side: Side) -> Option<&str> {
        let marks = &self.marks;
        match side {
            Side::Consumer => marks.binding.as_deref(),
            Side::Provider => marks.consumer_binding.as_deref(),
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

    /// Its version, if that is a number.
    pub fn version(&self) -> Option<u64> {
        self.resource_version.parse().ok()
    }

    /// Whether it is older than another one of the same object, as far as versions can tell.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.version()
            .zip(other.version())
            .is_some_and(|(own, other)| own < other)
    }
}

/// Labels or annotations that cross: none of ours, and none that a tool keeps for itself.
pub(super) fn crossing(keys: &BTreeMap<String, String>) -> BTreeMap<&String, &String> {
    keys.iter()
        .filter(|(key, _)| {
            !key.starts_with(KEY_PREFIX)
                && !key.starts_with("kubectl.kubernetes.io/")
                && !key.contains("claimed.internal.apis.kcp.io")
                && !key.contains("kcp.io/cluster")
        })
        .collect()
}

pub(super) fn content(object: &DynamicObject) -> BTreeMap<&'static str, &Value> {
    CONTENT
        .into_iter()
        .filter_map(|field| Some((field, object.data.get(field)?)))
        .filter(|(_, value)| !value.is_null())
        .collect()
}

fn digest(value: &Value) -> u64 {
    xxh3_64(value.to_string().as_bytes())
}

#[cfg(test)]
impl Default for Copy {
    fn default() -> Self {
        Self {
            uid: String::new(),
            resource_version: String::new(),
            owner: None,
            terminating: false,
            type_: None,
            immutable: false,
            may_cross: true,
            content: 0,
            metadata: 0,
            labelled: Vec::new(),
            marks: Marks::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(labels: Value, value: &str) -> Copy {
        let object = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "tls", "namespace": "tenant-team-a", "uid": "p-1",
                "resourceVersion": "7", "labels": labels},
            "data": {"tls.key": value},
        }))
        .unwrap();
        Copy::of("secrets", &object)
    }

    #[test]
    fn the_digests_see_data_type_labels_and_annotations_but_not_our_marks() {
        let base = secret(json!({"app": "web"}), "AA==");
        let marked = json!({"app": "web", "kube-bind.io/owner": "provider"});
        assert!(base.is_like(&secret(marked, "AA==")));
        let changed = secret(json!({"app": "web"}), "AQ==");
        assert!(!base.is_like(&changed) && base.content != changed.content);
        let unlabelled = secret(json!({}), "AA==");
        assert!(!base.is_like(&unlabelled));
        assert_eq!(base.content, unlabelled.content);
    }

    #[test]
    fn credentials_of_clusters_and_of_providers_do_not_cross() {
        let labelled = json!({"kube-bind.io/provider-kubeconfig": "true"});
        assert!(!secret(labelled, "AA==").may_cross);
        assert!(secret(json!({}), "AA==").may_cross);
        let token = serde_json::from_value(json!({
            "metadata": {"name": "t"}, "type": "kubernetes.io/service-account-token",
        }));
        assert!(!Copy::of("secrets", &token.unwrap()).may_cross);
    }

    #[test]
    fn an_account_is_compared_without_the_secrets_that_its_cluster_gave_it() {
        let account = |secrets: Value| {
            let object = json!({"metadata": {"name": "robot"}, "secrets": secrets,
                "imagePullSecrets": secrets});
            Copy::of("serviceaccounts", &serde_json::from_value(object).unwrap())
        };
        assert!(account(json!([])).is_like(&account(json!([{"name": "robot-token"}]))));
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
