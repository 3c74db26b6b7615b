//! `APIServiceExport`: what one consumer may use (contract section 1.4).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, ExportResource, InformerScope, Isolation, PermissionClaim, schema};

/// What is exported; immutable.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "APIServiceExport",
    plural = "apiserviceexports",
    singular = "apiserviceexport",
    namespaced,
    category = "kube-bindings",
    status = "APIServiceExportStatus",
    derive = "PartialEq",
    doc = "APIServiceExport is what one consumer may use; the binding of the same name uses it."
)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceExportSpec {
    /// Exported kinds.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub resources: Vec<ExportResource>,
    /// Claims that go with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub permission_claims: Vec<PermissionClaim>,
    /// How widely the konnector watches.
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub informer_scope: InformerScope,
    /// How objects of several consumers are kept apart.
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub isolation: Isolation,
    /// Deprecated; nobody reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub cluster_scoped_isolation: Option<Isolation>,
}

/// State of an export on both sides.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceExportStatus {
    /// `ProviderInSync` by the backend, `Connected` and `ConsumerInSync` by the konnector.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
