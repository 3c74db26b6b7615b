//! Objects as JSON, with the few kinds that the plugin writes. Pure.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

/// A kind that the plugin writes.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> Kind {
    Kind {
        group,
        version,
        kind,
        plural,
        namespaced,
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

static KINDS: [Kind; 12] = [
    kind("", "v1", "Namespace", "namespaces", false),
    kind("", "v1", "Secret", "secrets", true),
    kind("", "v1", "ServiceAccount", "serviceaccounts", true),
    kind("apps", "v1", "Deployment", "deployments", true),
    kind(RBAC, "v1", "ClusterRole", "clusterroles", false),
    kind(
        RBAC,
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        false,
    ),
    kind(RBAC, "v1", "Role", "roles", true),
    kind(RBAC, "v1", "RoleBinding", "rolebindings", true),
    kind(
        ADMISSION,
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        false,
    ),
    kind(
        ADMISSION,
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        false,
    ),
    kind(
        "kube-bind.io",
        "v1alpha2",
        "APIServiceBinding",
        "apiservicebindings",
        false,
    ),
    kind(
        "kube-bind.io",
        "v1alpha2",
        "APIServiceExportRequest",
        "apiserviceexportrequests",
        true,
    ),
];

/// One object, complete with `apiVersion`, `kind` and name.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(pub Value);

impl Object {
    /// An object of a Kubernetes type; those serialise with `apiVersion` and `kind`.
    pub fn of(object: &impl serde::Serialize) -> Self {
        Self(serde_json::to_value(object).expect("Kubernetes types are plain data"))
    }

    /// Its kind.
    pub fn kind(&self) -> &'static Kind {
        let name = self.0["kind"].as_str().unwrap_or_default();
        KINDS
            .iter()
            .find(|kind| kind.kind == name)
            .expect("the plugin builds only the kinds listed above")
    }

    /// Its name, or the prefix of a name that is still to be made.
    pub fn name(&self) -> &str {
        let metadata = &self.0["metadata"];
        metadata["name"]
            .as_str()
            .or_else(|| metadata["generateName"].as_str())
            .unwrap_or_default()
    }

    /// Its namespace, for kinds that have one.
    pub fn namespace(&self) -> Option<&str> {
        self.0["metadata"]["namespace"].as_str()
    }

    /// `deployment.apps/konnector`, as kubectl names it.
    pub fn display(&self) -> String {
        let kind = self.kind();
        let dot = if kind.group.is_empty() { "" } else { "." };
        format!(
            "{}{dot}{}/{}",
            kind.kind.to_lowercase(),
            kind.group,
            self.name()
        )
    }

    /// Where objects of this kind and namespace are.
    pub fn api(&self, client: &Client) -> Api<DynamicObject> {
        let kind = self.kind();
        let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        match self.namespace() {
            Some(namespace) if kind.namespaced => {
                Api::namespaced_with(client.clone(), namespace, &resource)
            }
            _ => Api::all_with(client.clone(), &resource),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_named_as_kubectl_names_them() {
        let object =
            |kind: &str| Object(json!({"kind": kind, "metadata": {"name": "x"}})).display();
        assert_eq!(object("Namespace"), "namespace/x");
        assert_eq!(object("Deployment"), "deployment.apps/x");
        assert_eq!(
            object("APIServiceBinding"),
            "apiservicebinding.kube-bind.io/x"
        );
    }
}
