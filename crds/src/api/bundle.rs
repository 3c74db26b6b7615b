//! `APIServiceBindingBundle`: binds all exports behind one kubeconfig (contract section 1.4).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterSecretKeyRef, Condition, schema};

/// Whose exports are bound.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "APIServiceBindingBundle",
    plural = "apiservicebindingbundles",
    singular = "apiservicebindingbundle",
    shortname = "sbb",
    category = "kube-bindings",
    status = "APIServiceBindingBundleStatus",
    derive = "PartialEq",
    doc = "APIServiceBindingBundle binds all exports behind a kubeconfig."
)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceBindingBundleSpec {
    /// Where the provider's kubeconfig is.
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub kubeconfig_secret_ref: ClusterSecretKeyRef,
}

/// What the konnector reports of a bundle.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceBindingBundleStatus {
    /// Observations; `Ready` is the summary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
