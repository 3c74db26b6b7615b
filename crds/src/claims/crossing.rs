//! What never crosses between clusters, whatever a claim says. Pure.

use std::collections::BTreeMap;

use super::ObjectRef;
use crate::names::LABEL_PROVIDER_KUBECONFIG;

/// Types of Secrets that are credentials of the cluster they are in.
const CLUSTER_CREDENTIALS: &[&str] = &[
    "kubernetes.io/service-account-token",
    "bootstrap.kubernetes.io/token",
];

/// Objects that every cluster writes for itself into every namespace, by plural and name.
const WRITTEN_BY_EVERY_CLUSTER: &[(&str, &str)] = &[
    ("configmaps", "kube-root-ca.crt"),
    ("configmaps", "openshift-service-ca.crt"),
    ("serviceaccounts", "default"),
];

/// Whether a claimed object may be copied, by its namespace on the consumer. `secret_type` is the
/// type of a Secret, `None` for other kinds. Namespaces `kube-*` hold the credentials of clusters, and
/// `kube-bind` those of all providers, whose label is not copied from elsewhere either.
pub fn may_cross(plural: &str, secret_type: Option<&str>, object: ObjectRef<'_>) -> bool {
    let no_labels = BTreeMap::new();
    !secret_type.is_some_and(|type_| CLUSTER_CREDENTIALS.contains(&type_))
        && !object.namespace.starts_with("kube-")
        && !WRITTEN_BY_EVERY_CLUSTER.contains(&(plural, object.name))
        && !object
            .labels
            .unwrap_or(&no_labels)
            .contains_key(LABEL_PROVIDER_KUBECONFIG)
}
