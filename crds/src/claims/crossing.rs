//! What never crosses between clusters, whatever a claim says. Pure.

/// Types of Secrets that are credentials of the cluster they are in.
const CLUSTER_CREDENTIALS: &[&str] = &[
    "kubernetes.io/service-account-token",
    "bootstrap.kubernetes.io/token",
];

/// Objects that every cluster writes for itself into every namespace.
const WRITTEN_BY_EVERY_CLUSTER: &[&str] = &["kube-root-ca.crt", "openshift-service-ca.crt"];

/// Whether a claimed object may be copied, by its namespace and name on the side it is read from.
/// `secret_type` is the type of a Secret, `None` for other kinds. Namespaces `kube-*` hold the
/// credentials of clusters, and `kube-bind` those of all providers.
pub fn may_cross(secret_type: Option<&str>, namespace: &str, name: &str) -> bool {
    !secret_type.is_some_and(|type_| CLUSTER_CREDENTIALS.contains(&type_))
        && !namespace.starts_with("kube-")
        && !WRITTEN_BY_EVERY_CLUSTER.contains(&name)
}
