//! A consumer that is set up from applied manifests, without the plugin.

use anyhow::Result;
use kube_bind_crds::api::{GroupResource, PermissionClaim};
use kube_bind_crds::consumer_rights::{
    FIXED_ROLE, binding_rules, fixed_cluster_rules, fixed_namespace_rules, role_name,
};
use kube_bind_crds::names::{KONNECTOR_NAME, KONNECTOR_NAMESPACE, KUBECONFIG_KEY};
use serde_json::{Value, json};

use crate::consumer::Consumer;

const RBAC: &str = "rbac.authorization.k8s.io";

/// The konnector's namespace and its fixed rights, and nothing else.
pub fn konnector() -> Vec<Value> {
    let subject = subject();
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KONNECTOR_NAMESPACE}}),
        cluster_role(FIXED_ROLE, json!(fixed_cluster_rules())),
        cluster_role_binding(FIXED_ROLE),
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role",
            "metadata": {"name": FIXED_ROLE, "namespace": KONNECTOR_NAMESPACE}, "rules": fixed_namespace_rules()}),
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding",
            "metadata": {"name": FIXED_ROLE, "namespace": KONNECTOR_NAMESPACE},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": FIXED_ROLE}, "subjects": [subject]}),
    ]
}

/// The rights of one binding.
pub fn rights(binding: &str, resources: &[(&str, &str)], claims: &[PermissionClaim]) -> Vec<Value> {
    let resources: Vec<GroupResource> = resources
        .iter()
        .map(|(resource, group)| GroupResource {
            group: (*group).to_owned(),
            resource: (*resource).to_owned(),
        })
        .collect();
    let name = role_name(binding);
    vec![
        cluster_role(&name, json!(binding_rules(&resources, claims))),
        cluster_role_binding(&name),
    ]
}

/// A Secret with a provider's kubeconfig.
pub fn credential(name: &str, kubeconfig: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": name, "namespace": KONNECTOR_NAMESPACE},
        "stringData": {KUBECONFIG_KEY: kubeconfig}})
}

/// A binding, or a bundle, that uses it.
pub fn user_of(kind: &str, name: &str, secret: &str, annotations: &Value) -> Value {
    json!({"apiVersion": "kube-bind.io/v1alpha2", "kind": kind,
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"kubeconfigSecretRef": {"name": secret, "namespace": KONNECTOR_NAMESPACE, "key": KUBECONFIG_KEY}}})
}

/// Applies objects as the consumer's administrator.
pub async fn apply(consumer: &Consumer, objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    consumer
        .plane
        .kubectl_with_input(&["apply", "--server-side", "-f", "-"], &list.to_string())
        .await?;
    Ok(())
}

fn subject() -> Value {
    json!({"kind": "ServiceAccount", "name": KONNECTOR_NAME, "namespace": KONNECTOR_NAMESPACE})
}

fn cluster_role(name: &str, rules: Value) -> Value {
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
}

fn cluster_role_binding(name: &str) -> Value {
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}, "subjects": [subject()]})
}
