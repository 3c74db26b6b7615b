//! API groups that no provider may define on a consumer. Pure.

use crate::names;

/// Groups of Kubernetes with more than one label before `k8s.io`; other such groups belong to CRDs.
const NESTED_BUILT_IN: &[&str] = &[
    "rbac.authorization.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "custom.metrics.k8s.io",
    "external.metrics.k8s.io",
];

/// Whether the group is one of Kubernetes (`""`, `apps`, `<one label>.k8s.io`, ...) or ours. A provider
/// that could publish `secrets` as a bound schema would otherwise have all Secrets sent to it. Groups
/// such as `gateway.networking.k8s.io` are defined by CRDs and pass.
pub fn is_built_in_group(group: &str) -> bool {
    if group == names::GROUP || !group.contains('.') {
        return true;
    }
    ["k8s.io", "kubernetes.io"].into_iter().any(|domain| {
        group == domain
            || group
                .strip_suffix(domain)
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|labels| !labels.contains('.'))
    }) || NESTED_BUILT_IN.contains(&group)
}

/// Whether an API server serves CRDs of that group only with an approval annotation.
pub(super) fn needs_approval(group: &str) -> bool {
    group.ends_with(".k8s.io") || group.ends_with(".kubernetes.io")
}
