//! A provider's side as the original's backend leaves it, written by plain requests, and without a
//! backend running. The test is the backend: it exports kinds and publishes service namespaces.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube_bind_crds::names;
use serde_json::{Value, json};

use crate::cluster::{ControlPlane, Options, User};
use crate::provider::install_crds;

/// The one consumer.
pub const CLUSTER_NAMESPACE: &str = "kube-bind-37p3oxx6sh4fd";

/// A provider without a backend.
pub struct OriginalProvider {
    /// Its Kubernetes.
    pub plane: ControlPlane,
    kubeconfig: String,
}

impl OriginalProvider {
    /// Starts the control plane and leaves there what the original makes of one bind.
    pub async fn start() -> Result<OriginalProvider> {
        let binder = User::service_account(CLUSTER_NAMESPACE, names::BINDER);
        let options = Options {
            users: vec![binder.clone()],
            ..Options::default()
        };
        let plane = ControlPlane::start("original-provider", options).await?;
        install_crds(&plane).await?;
        let kubeconfig = kubeconfig(&plane, &binder.name)?;
        let provider = OriginalProvider { plane, kubeconfig };
        provider.apply(&provider.bound()).await?;
        Ok(provider)
    }

    /// What the consumer was given.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// Applies objects as the provider.
    pub async fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.plane
            .kubectl_with_input(&args, &list.to_string())
            .await?;
        Ok(())
    }

    /// Exports a kind whose CRD is given, under the name of its plural.
    pub async fn export(&self, crd: &Value) -> Result<()> {
        self.export_with(crd, &[]).await
    }

    /// Exports a kind together with claims.
    pub async fn export_with(&self, crd: &Value, claims: &[Value]) -> Result<()> {
        let name = text(crd, "/metadata/name")?;
        let plural = text(crd, "/spec/names/plural")?;
        let group = text(crd, "/spec/group")?;
        self.apply(std::slice::from_ref(crd)).await?;
        let established = ["wait", "--for=condition=Established", "--timeout=60s"];
        let crd_name = format!("crd/{name}");
        self.plane
            .kubectl(&[&established[..], &[&*crd_name]].concat())
            .await?;
        let meta = |name: &str| {
            json!({"name": name, "namespace": CLUSTER_NAMESPACE,
                "annotations": {names::ANNOTATION_SOURCE_SPEC_HASH: "0f0f"}})
        };
        let mut schema = crd["spec"].clone();
        schema["informerScope"] = "Namespaced".into();
        let claimed: Vec<Value> = claims
            .iter()
            .map(|claim| {
                json!({"apiGroups": [claim["group"]], "resources": [claim["resource"]],
                    "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]})
            })
            .collect();
        let rights = format!("kube-binder-resources-{CLUSTER_NAMESPACE}-{plural}");
        self.apply(&[
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": rights, "labels": {"rbac.kube-bind.io/aggregate-to-parent": "true"}},
                "rules": [{"apiGroups": [group], "resources": [plural],
                    "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]}]}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": format!("kube-binder-claims-{CLUSTER_NAMESPACE}-{plural}"),
                    "labels": {"rbac.kube-bind.io/aggregate-to-parent": "true"}},
                "rules": claimed}),
            json!({"apiVersion": names::API_VERSION, "kind": "BoundSchema", "metadata": meta(name), "spec": schema}),
            json!({"apiVersion": names::API_VERSION, "kind": "APIServiceExport", "metadata": meta(plural), "spec": {
                "resources": [{"group": group, "resource": plural, "versions": ["v1"]}],
                "permissionClaims": claims,
                "informerScope": "Namespaced", "isolation": "Prefixed",
            }}),
        ])
        .await
    }

    /// Ends an export.
    pub async fn withdraw(&self, name: &str) -> Result<()> {
        let args = ["-n", CLUSTER_NAMESPACE, "delete", "apiserviceexport", name];
        self.plane.kubectl(&args).await?;
        Ok(())
    }

    /// Makes and publishes the service namespace of a consumer namespace, and gives its name.
    pub async fn serve(&self, namespace: &str) -> Result<String> {
        let service = format!("{CLUSTER_NAMESPACE}-{namespace}");
        self.apply(&[
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": service, "annotations": {
                names::ANNOTATION_API_SERVICE_NAMESPACE: format!("{CLUSTER_NAMESPACE}/{namespace}")}}}),
            json!({"apiVersion": names::API_VERSION, "kind": "APIServiceNamespace",
                "metadata": {"name": namespace, "namespace": CLUSTER_NAMESPACE}, "spec": {}}),
        ])
        .await?;
        let status = json!({"status": {"namespace": service}}).to_string();
        let args = [
            "-n",
            CLUSTER_NAMESPACE,
            "patch",
            "apiservicenamespace",
            namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ];
        self.plane.kubectl(&args).await?;
        Ok(service)
    }

    /// Cluster namespace, rights, credential and ClusterBinding (contract sections 3.1, 3.6 and 4.4).
    fn bound(&self) -> Vec<Value> {
        let rbac = "rbac.authorization.k8s.io";
        let subject = json!([{"kind": "ServiceAccount", "name": names::BINDER, "namespace": CLUSTER_NAMESPACE}]);
        let rule = |group: &str, resource: &str, verbs: &str| {
            let verbs: Vec<&str> = verbs.split(' ').collect();
            json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
        };
        let ours = |resource: &str, verbs: &str| rule(names::GROUP, resource, verbs);
        let all = "create delete patch update get list watch";
        let identity =
            json!({names::ANNOTATION_IDENTITY: "test-id-123", names::ANNOTATION_AUTHOR: "alice"});
        vec![
            json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": CLUSTER_NAMESPACE, "annotations": identity}}),
            json!({"apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": names::BINDER, "namespace": CLUSTER_NAMESPACE}}),
            json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": names::BINDER}, "rules": [
                ours("apiserviceexportrequests", all),
                rule("", "namespaces", "get"),
                rule("", "secrets", "get watch list"),
                ours("clusterbindings", "get watch list"),
                ours("clusterbindings/status", "get patch update"),
                ours("apiserviceexports", "get watch list"),
                ours("apiserviceexports/status", "get patch update"),
                ours("apiservicenamespaces", all),
                ours("boundschemas", "get list watch"),
                ours("boundschemas/status", "get list patch update"),
            ]}),
            json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
                "metadata": {"name": names::BINDER, "namespace": CLUSTER_NAMESPACE},
                "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": names::BINDER}, "subjects": subject}),
            json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": "kube-binder-exports"},
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"rbac.kube-bind.io/aggregate-to-parent": "true"}}]},
                "rules": []}),
            json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "kube-binder-exports"},
                "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "kube-binder-exports"}, "subjects": subject}),
            json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": {"name": names::KUBECONFIG_SECRET, "namespace": CLUSTER_NAMESPACE},
                "stringData": {names::KUBECONFIG_KEY: self.kubeconfig}}),
            json!({"apiVersion": names::API_VERSION, "kind": "ClusterBinding",
                "metadata": {"name": names::CLUSTER_BINDING_NAME, "namespace": CLUSTER_NAMESPACE, "annotations": identity},
                "spec": {"kubeconfigSecretRef": {"name": names::KUBECONFIG_SECRET, "key": names::KUBECONFIG_KEY},
                    "providerPrettyName": "Example Company"}}),
        ]
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> Result<&'a str> {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("the object has no {pointer}"))
}

/// The kubeconfig of a user, as the original renders it (contract section 3.3).
fn kubeconfig(plane: &ControlPlane, user: &str) -> Result<String> {
    let of_user = std::fs::read(plane.kubeconfig(user)?).context("failed to read a kubeconfig")?;
    let of_user: Value = serde_json::from_slice(&of_user).context("the kubeconfig is not JSON")?;
    let ca = std::fs::read(plane.ca_file()).context("failed to read the authority")?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "default",
        "clusters": [{"name": "default", "cluster": {
            "server": plane.server(), "certificate-authority-data": STANDARD.encode(ca)}}],
        "users": [{"name": "default", "user": {"token": of_user["users"][0]["user"]["token"]}}],
        "contexts": [{"name": "default", "context": {
            "cluster": "default", "user": "default", "namespace": CLUSTER_NAMESPACE}}],
    })
    .to_string())
}

/// The clock of a leader that is not ours.
#[expect(clippy::disallowed_methods, reason = "stands for another process")]
pub fn now() -> k8s_openapi::jiff::Timestamp {
    k8s_openapi::jiff::Timestamp::now()
}
