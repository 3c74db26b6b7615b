//! A policy that keeps the konnector to its claims: RBAC can say that it may write
//! Secrets, but not which. Whoever may create any Secret can mint any ServiceAccount's token. Pure.

use kube_bind_crds::names::{
    KEY_PREFIX, KONNECTOR_NAME, KONNECTOR_NAMESPACE, LABEL_OWNER, OWNER_PROVIDER,
};
use serde_json::{Value, json};

use crate::objects::Object;

/// Name of the policy and of its binding.
const NAME: &str = "kube-bind-konnector";

/// The policy and its binding, needed as soon as anything is claimed.
pub fn objects() -> [Object; 2] {
    let api_version = "admissionregistration.k8s.io/v1";
    let policy = json!({
        "apiVersion": api_version,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["secrets", "configmaps", "serviceaccounts"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
            }]},
            "matchConditions": [{
                "name": "is-the-konnector",
                "expression": format!("request.userInfo.username == 'system:serviceaccount:{KONNECTOR_NAMESPACE}:{KONNECTOR_NAME}'"),
            }],
            "variables": variables(),
            "validations": validations(),
        },
    });
    let binding = json!({
        "apiVersion": api_version,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    });
    [Object(policy), Object(binding)]
}

fn variables() -> Value {
    let owned = |object: &str| {
        format!(
            "{object} != null && has({object}.metadata.labels) && '{LABEL_OWNER}' in {object}.metadata.labels && \
             {object}.metadata.labels['{LABEL_OWNER}'] == '{OWNER_PROVIDER}'"
        )
    };
    let same = |field: &str| {
        format!(
            "(has(object.{field}) == has(oldObject.{field}) && (!has(object.{field}) || object.{field} == oldObject.{field}))"
        )
    };
    let map = |object: &str, field: &str| {
        format!("has({object}.metadata.{field}) ? {object}.metadata.{field} : {{}}")
    };
    // Every key but ours has the same value in both maps.
    let same_but_ours = |field: &str, is_ours: &str| {
        let one_way = |one: &str, other: &str| {
            format!(
                "variables.{one}.all(k, {is_ours} || (k in variables.{other} && variables.{other}[k] == variables.{one}[k]))"
            )
        };
        let (new, old) = (field.to_owned(), format!("old{field}"));
        format!("{} && {}", one_way(&new, &old), one_way(&old, &new))
    };
    let content: Vec<String> = [
        "data",
        "binaryData",
        "type",
        "immutable",
        "secrets",
        "imagePullSecrets",
        "automountServiceAccountToken",
        "metadata.ownerReferences",
        "metadata.finalizers",
    ]
    .into_iter()
    .map(same)
    .collect();
    json!([
        // Its own namespace holds the providers' kubeconfigs, which RBAC grants it anyway.
        {"name": "athome", "expression": format!("request.namespace == '{KONNECTOR_NAMESPACE}'")},
        {"name": "owned", "expression": owned("object")},
        {"name": "wasowned", "expression": owned("oldObject")},
        {"name": "labels", "expression": map("object", "labels")},
        {"name": "oldlabels", "expression": map("oldObject", "labels")},
        {"name": "annotations", "expression": map("object", "annotations")},
        {"name": "oldannotations", "expression": map("oldObject", "annotations")},
        {"name": "samecontent", "expression": content.join(" && ")},
        {"name": "samelabels", "expression": same_but_ours("labels", &format!("k == '{LABEL_OWNER}'"))},
        {"name": "sameannotations", "expression": same_but_ours("annotations", &format!("k.startsWith('{KEY_PREFIX}')"))},
    ])
}

fn validations() -> Value {
    json!([
        {
            "expression": "request.operation == 'DELETE' || request.resource.resource != 'secrets' || !has(object.type) || \
                !(object.type in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])",
            "message": "the konnector may not write tokens of ServiceAccounts or for bootstrapping",
        },
        {
            "expression": "variables.athome || !request.namespace.startsWith('kube-')",
            "message": "the konnector may not write into kube-* namespaces",
        },
        {
            "expression": "request.operation != 'CREATE' || variables.athome || variables.owned",
            "message": "the konnector may create only objects that are marked as the provider's",
        },
        {
            "expression": "request.operation != 'DELETE' || variables.athome || variables.wasowned",
            "message": "the konnector may delete only objects that are marked as the provider's",
        },
        {
            // What a user made can be marked as the source of a copy, and never as a copy.
            "expression": "request.operation != 'UPDATE' || variables.athome || variables.wasowned || \
                (!variables.owned && variables.samecontent && variables.samelabels && variables.sameannotations)",
            "message": "the konnector may change nothing but its own marks on objects that are not marked as the provider's",
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_this() {
        let [policy, binding] = objects();
        assert_eq!(binding.0["spec"]["policyName"], policy.name());
        insta::assert_yaml_snapshot!(policy.0["spec"]);
    }
}
