//! The admission policy that confines what consumers write cluster-wide, as data. Pure.
//!
//! It concerns the service accounts of consumers only, whatever they write to cluster-scoped kinds: new
//! offerings need no new policy. It refuses a probe that names its own digest, which is how it is seen
//! to be enforced: a new policy takes some seconds.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube_bind_crds::names::{ANNOTATION_CLUSTER_NAMESPACE, BINDER};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::provision::Settings;
use crate::provision::desired::Desired;
use crate::provision::names::{
    ANNOTATION_PROBE, COMPONENT_POLICY, LABEL_COMPONENT, POLICY_PROBE, VERB_NAME_FREELY,
};

/// The policy of one backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Of the policy and its binding.
    pub name: String,
    /// Names this content of the policy.
    pub digest: String,
    /// The policy.
    pub policy: Desired,
    /// What puts it in force.
    pub binding: Desired,
}

/// The policy of the backend with these settings.
pub fn policy(settings: &Settings) -> Policy {
    // Backends of one cluster live in different namespaces.
    let name = format!("kube-bind-backend.{}", settings.namespace);
    let mut digest = kube_bind_crds::hex::encode(&Sha256::digest(
        spec(&settings.namespace_prefix, "").to_string(),
    ));
    digest.truncate(16);
    let labels = json!({ "labels": { LABEL_COMPONENT: COMPONENT_POLICY } });
    let spec = spec(&settings.namespace_prefix, &digest);
    Policy {
        policy: Desired::of::<ValidatingAdmissionPolicy>(
            None,
            &name,
            json!({ "metadata": labels, "spec": spec }),
        ),
        binding: Desired::of::<ValidatingAdmissionPolicyBinding>(
            None,
            &name,
            json!({
                "metadata": labels,
                "spec": { "policyName": name, "validationActions": ["Deny"] },
            }),
        ),
        name,
        digest,
    }
}

/// What the policy says to its probe.
pub fn answer(digest: &str) -> String {
    format!("policy {digest} is in effect")
}

fn spec(prefix: &str, digest: &str) -> Value {
    // A hash follows the prefix, and no dash, so this is nobody's whose prefix only begins like ours.
    let consumers = format!(
        "request.userInfo.username.matches('^system:serviceaccount:{prefix}[a-z0-9]+:{BINDER}$')"
    );
    let probe = format!(
        "request.resource.group == 'kube-bind.io' && request.resource.resource == 'clusters' && request.name == '{POLICY_PROBE}'"
    );
    let reviews = "!(request.resource.group in ['authorization.k8s.io', 'authentication.k8s.io'])";
    let owner = |object: &str| {
        format!(
            "{object} == null ? '' : {object}.metadata.?annotations[?'{ANNOTATION_CLUSTER_NAMESPACE}'].orValue('')"
        )
    };
    let rule = |expression: &str, message: &str| json!({ "expression": expression, "message": message, "reason": "Forbidden" });
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": { "resourceRules": [{
            "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
            "operations": ["CREATE", "UPDATE", "DELETE"], "scope": "Cluster",
        }] },
        "matchConditions": [
            { "name": "consumers", "expression": format!("{consumers} || ({probe})") },
            { "name": "no-access-reviews", "expression": reviews },
        ],
        "variables": [
            { "name": "probe", "expression": probe },
            { "name": "consumer", "expression": "request.userInfo.username.split(':')[2]" },
            { "name": "owner", "expression": owner("object") },
            { "name": "formerOwner", "expression": owner("oldObject") },
        ],
        "validations": [
            rule(
                &format!(
                    "!variables.probe || object.metadata.?annotations[?'{ANNOTATION_PROBE}'].orValue('') != '{digest}'"
                ),
                &answer(digest),
            ),
            rule(
                "variables.probe || !has(request.subResource) || request.subResource == ''",
                "consumers write no subresources",
            ),
            rule(
                "variables.probe || request.operation == 'DELETE' || variables.owner == variables.consumer",
                "the object does not carry the mark of this consumer",
            ),
            // Nothing is known of what a deletion of a whole collection deletes.
            rule(
                "variables.probe || request.operation == 'CREATE' || variables.formerOwner == variables.consumer",
                "the object is not this consumer's",
            ),
            rule(
                &format!(
                    "variables.probe || request.operation != 'CREATE' \
                     || object.metadata.name.startsWith(variables.consumer + '-') \
                     || authorizer.group(request.resource.group).resource(request.resource.resource).check('{VERB_NAME_FREELY}').allowed()"
                ),
                "the object's name does not begin with the consumer's cluster namespace",
            ),
            rule(
                "variables.probe || request.operation == 'DELETE' \
                 || object.metadata.?ownerReferences.orValue([]).all(o, \
                 (o.apiVersion == 'v1' && o.kind == 'Namespace' && o.name == variables.consumer && !o.?blockOwnerDeletion.orValue(false)) \
                 || (oldObject != null && oldObject.metadata.?ownerReferences.orValue([]).exists(former, former == o)))",
                "the object has an owner that is not the consumer's cluster namespace",
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::test_support::settings;

    #[test]
    fn the_digest_changes_with_the_content_and_is_what_the_probe_is_told() {
        let (one, mut other) = (policy(&settings()), settings());
        other.namespace_prefix = "tenant-".into();
        let other = policy(&other);
        assert_ne!(one.digest, other.digest);
        let rules = one.policy.body["spec"]["validations"].to_string();
        assert!(rules.contains(&answer(&one.digest)) && !rules.contains(&other.digest));
    }

    #[test]
    fn backends_of_one_cluster_have_policies_of_their_own() {
        let mut other = settings();
        other.namespace = "second".into();
        assert_ne!(policy(&settings()).name, policy(&other).name);
    }

    #[test]
    fn only_consumers_of_this_backend_are_concerned() {
        let conditions = policy(&settings()).policy.body["spec"]["matchConditions"].to_string();
        assert!(conditions.contains("'^system:serviceaccount:cluster-[a-z0-9]+:kube-binder$'"));
    }
}
