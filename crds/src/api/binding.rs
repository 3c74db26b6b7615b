//! `APIServiceBinding`: a consumer's use of one export (contract section 1.4).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterSecretKeyRef, Condition, GroupResource, PermissionClaim, schema};

/// What is bound: the export of the same name behind the kubeconfig.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "APIServiceBinding",
    plural = "apiservicebindings",
    singular = "apiservicebinding",
    shortname = "sb",
    category = "kube-bindings",
    status = "APIServiceBindingStatus",
    derive = "PartialEq",
    doc = "APIServiceBinding binds the export of the same name behind a kubeconfig."
)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceBindingSpec {
    /// Where the provider's kubeconfig is.
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub kubeconfig_secret_ref: ClusterSecretKeyRef,
}

/// What the konnector reports of a binding.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceBindingStatus {
    /// Display name of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_pretty_name: Option<String>,
    /// Bound kinds; omitted while empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub bound_schemas: Vec<GroupResource>,
    /// Claims in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permission_claims: Vec<PermissionClaim>,
    /// Observations; `Ready` is the summary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
