//! What one consumer needs in its cluster namespace (contract sections 3.1 and 3.6), as data. Pure.

use k8s_openapi::api::core::v1::{ResourceQuota, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube_bind_crds::api::ClusterBinding;
use kube_bind_crds::names::{
    ANNOTATION_AUTHOR, ANNOTATION_CLUSTER_PRETTY_NAME, ANNOTATION_IDENTITY, BINDER,
    CLUSTER_BINDING_NAME, GROUP, KUBECONFIG_KEY, KUBECONFIG_SECRET,
};
use serde_json::{Value, json};

use super::desired::Desired;
use super::names::ANNOTATION_OFFERINGS;
use super::{Consumer, Settings, offerings};

const RBAC: &str = "rbac.authorization.k8s.io";

/// The service account of a consumer and its rights within the cluster namespace, in the order of
/// creation. What binds them ends with `owner`, the connection object.
pub fn rights(namespace: &str, owner: &OwnerReference) -> Vec<Desired> {
    let mut binding = role_binding(namespace, BINDER, namespace);
    binding.body["metadata"]["ownerReferences"] = json!([owner]);
    vec![
        Desired::of::<ServiceAccount>(Some(namespace), BINDER, json!({})),
        Desired::of::<Role>(Some(namespace), BINDER, json!({ "rules": binder_rules() })),
        binding,
    ]
}

/// Limits what a consumer can make the provider store and do.
pub fn quota(namespace: &str, owner: &OwnerReference, settings: &Settings) -> Desired {
    let count = |plural: &str| format!("count/{plural}.{GROUP}");
    Desired::of::<ResourceQuota>(
        Some(namespace),
        BINDER,
        json!({
            "metadata": { "ownerReferences": [owner] },
            "spec": { "hard": {
                count("apiserviceexportrequests"): quantity(settings.max_requests),
                count("apiservicenamespaces"): quantity(settings.max_namespaces),
            } },
        }),
    )
}

/// A count as the API server writes it down: thousands with a suffix.
fn quantity(count: u32) -> String {
    match count {
        0 => "0".to_owned(),
        count if count.is_multiple_of(1_000_000_000) => format!("{}G", count / 1_000_000_000),
        count if count.is_multiple_of(1_000_000) => format!("{}M", count / 1_000_000),
        count if count.is_multiple_of(1000) => format!("{}k", count / 1000),
        count => count.to_string(),
    }
}

/// Binds the role `name` of `namespace` to the service account of the consumer of `cluster_namespace`.
pub fn role_binding(namespace: &str, name: &str, cluster_namespace: &str) -> Desired {
    Desired::of::<RoleBinding>(
        Some(namespace),
        name,
        json!({
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": name },
            "subjects": [
                { "kind": "ServiceAccount", "name": BINDER, "namespace": cluster_namespace },
            ],
        }),
    )
}

/// The rules of contract section 3.6. `namespaces: get` in a Role of a namespace is the right to read
/// that one Namespace object, whose uid the konnector needs.
fn binder_rules() -> Value {
    const ALL: &[&str] = &[
        "create", "delete", "patch", "update", "get", "list", "watch",
    ];
    const READ: &[&str] = &["get", "watch", "list"];
    const STATUS: &[&str] = &["get", "patch", "update"];
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs });
    json!([
        rule(GROUP, "apiserviceexportrequests", ALL),
        rule("", "namespaces", &["get"]),
        rule("", "secrets", READ),
        rule(GROUP, "clusterbindings", READ),
        rule(GROUP, "clusterbindings/status", STATUS),
        rule(GROUP, "apiserviceexports", READ),
        rule(GROUP, "apiserviceexports/status", STATUS),
        rule(GROUP, "apiservicenamespaces", ALL),
        rule(GROUP, "boundschemas", &["get", "list", "watch"]),
        rule(
            GROUP,
            "boundschemas/status",
            &["get", "list", "patch", "update"]
        ),
    ])
}

/// The connection object, with `offering` in its record. An existing one keeps its Secret, because that
/// reference is immutable.
pub fn cluster_binding(
    namespace: &str,
    consumer: &Consumer,
    offering: &str,
    provider_pretty_name: &str,
    existing: Option<&ClusterBinding>,
) -> Desired {
    let secret = secret_of(existing);
    let mut annotations = serde_json::Map::new();
    for (key, value) in [
        (ANNOTATION_IDENTITY, &consumer.identity),
        (ANNOTATION_AUTHOR, &consumer.author.subject),
        (ANNOTATION_CLUSTER_PRETTY_NAME, &consumer.pretty_name),
    ] {
        if !value.is_empty() {
            annotations.insert(key.to_owned(), json!(value));
        }
    }
    let offerings = offerings::with(existing, offering);
    annotations.insert(ANNOTATION_OFFERINGS.to_owned(), json!(offerings));
    Desired::of::<ClusterBinding>(
        Some(namespace),
        CLUSTER_BINDING_NAME,
        json!({
            "metadata": { "annotations": annotations },
            "spec": {
                "kubeconfigSecretRef": { "name": secret.name, "key": secret.key },
                "providerPrettyName": provider_pretty_name,
            },
        }),
    )
}

/// Where the kubeconfig of a consumer is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// Name of the Secret in the cluster namespace.
    pub name: String,
    /// Key in it.
    pub key: String,
}

/// Where the kubeconfig is, or will be.
pub fn secret_of(existing: Option<&ClusterBinding>) -> SecretKey {
    existing.map_or_else(
        || SecretKey {
            name: KUBECONFIG_SECRET.to_owned(),
            key: KUBECONFIG_KEY.to_owned(),
        },
        |binding| SecretKey {
            name: binding.spec.kubeconfig_secret_ref.name.clone(),
            key: binding.spec.kubeconfig_secret_ref.key.clone(),
        },
    )
}

#[cfg(test)]
mod tests {
    use kube_bind_crds::api::{ClusterBindingSpec, LocalSecretKeyRef};

    use super::*;
    use crate::provision::Author;

    fn consumer() -> Consumer {
        Consumer {
            identity: "id-a".into(),
            author: Author {
                subject: "sub-a".into(),
                issuer: "https://idp".into(),
            },
            pretty_name: String::new(),
        }
    }

    #[test]
    fn nothing_of_a_consumer_is_cluster_wide() {
        let owner = OwnerReference {
            uid: "uid-of-cluster".into(),
            ..OwnerReference::default()
        };
        let mut all = rights("cluster-a", &owner);
        assert_eq!(
            all[2].body["metadata"]["ownerReferences"][0]["uid"],
            "uid-of-cluster"
        );
        all.push(cluster_binding(
            "cluster-a",
            &consumer(),
            "widgets",
            "Provider",
            None,
        ));
        for desired in all {
            assert_eq!(
                desired.namespace.as_deref(),
                Some("cluster-a"),
                "{}",
                desired.name
            );
        }
    }

    #[test]
    fn the_role_is_bound_to_the_service_account_of_the_namespace_only() {
        let binding = role_binding("service-ns", "kube-binder-exports", "cluster-a");
        assert_eq!(
            binding.body["subjects"],
            json!([{ "kind": "ServiceAccount", "name": "kube-binder", "namespace": "cluster-a" }])
        );
        assert_eq!(binding.body["roleRef"]["kind"], "Role");
    }

    #[test]
    fn a_quota_reads_as_the_api_server_stores_it() {
        for (count, text) in [(7, "7"), (1000, "1k"), (1500, "1500"), (2_000_000, "2M")] {
            assert_eq!(quantity(count), text);
        }
        let settings = crate::provision::test_support::settings();
        let quota = quota("cluster-a", &OwnerReference::default(), &settings);
        assert_eq!(
            quota.body["spec"]["hard"],
            json!({
                "count/apiserviceexportrequests.kube-bind.io": "100",
                "count/apiservicenamespaces.kube-bind.io": "1k",
            })
        );
    }

    #[test]
    fn no_rule_has_a_wildcard() {
        assert!(!binder_rules().to_string().contains('*'));
    }

    #[test]
    fn empty_names_make_no_annotation_and_an_existing_secret_is_kept() {
        let existing = ClusterBinding::new(
            "cluster",
            ClusterBindingSpec {
                kubeconfig_secret_ref: LocalSecretKeyRef {
                    name: "older".into(),
                    key: "kc".into(),
                },
                ..ClusterBindingSpec::default()
            },
        );
        let desired = cluster_binding(
            "cluster-a",
            &consumer(),
            "widgets",
            "Provider",
            Some(&existing),
        );
        assert_eq!(
            desired.body["spec"]["kubeconfigSecretRef"],
            json!({ "name": "older", "key": "kc" })
        );
        assert!(
            desired.body["metadata"]["annotations"]
                .get(ANNOTATION_CLUSTER_PRETTY_NAME)
                .is_none()
        );
    }
}
