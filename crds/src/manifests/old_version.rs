//! `v1alpha1` of the kinds that still serve it (contract section 1.1). Pure.
//!
//! It is served and not converted, and nobody reads or writes it. It exists so that a client which
//! names it is not refused, and that an installation of the original is taken over without a version
//! vanishing from its CRDs.
//!
//! Its schemas are the contract's. A write by it prunes from the stored object what only `v1alpha2` has,
//! as it did in the original; whoever reads lists of what others write has to bear such objects.

use serde_json::{Value, json};

use super::manifest;
use crate::api::BoundSchema;

/// The older version of a kind, made from its `v1alpha2`.
pub fn of(kind: &str, current: &Value) -> Option<Value> {
    let mut version = current.clone();
    version["name"] = json!("v1alpha1");
    version["storage"] = json!(false);
    let root = &mut version["schema"]["openAPIV3Schema"];
    match kind {
        "APIServiceNamespace" => {}
        "APIServiceExportRequest" => {
            remove(root, "spec", "permissionClaims");
            remove(root, "spec", "namespaces");
            remove(root, "spec", "schemaUpdatePolicy");
        }
        "APIServiceExport" => root["properties"]["spec"] = embedded_crd_spec(root),
        "ClusterBinding" => {
            only_key(root);
            remove(root, "status", "consumerSecretRef");
        }
        "APIServiceBinding" => {
            only_key(root);
            remove(root, "status", "boundSchemas");
            remove(root, "status", "permissionClaims");
        }
        _ => return None,
    }
    Some(version)
}

fn remove(root: &mut Value, part: &str, field: &str) {
    if let Some(fields) = root["properties"][part]["properties"].as_object_mut() {
        fields.remove(field);
    }
}

/// The kubeconfig had to be under the key `kubeconfig`.
fn only_key(root: &mut Value) {
    root["properties"]["spec"]["properties"]["kubeconfigSecretRef"]["properties"]["key"]["enum"] =
        json!(["kubeconfig"]);
}

/// An export was one CRD, which a bound schema is today; `conversion` came later.
fn embedded_crd_spec(root: &Value) -> Value {
    let mut spec =
        manifest::<BoundSchema>()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
            ["spec"]
            .take();
    if let Some(fields) = spec["properties"].as_object_mut() {
        fields.remove("conversion");
        fields.insert(
            "clusterScopedIsolation".to_owned(),
            root["properties"]["spec"]["properties"]["clusterScopedIsolation"].clone(),
        );
    }
    spec
}
