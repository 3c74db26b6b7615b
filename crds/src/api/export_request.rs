//! `APIServiceExportRequest`: a consumer asks for an export (contract section 1.4).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, ExportResource, NamespaceName, PermissionClaim, Phase, SchemaUpdatePolicy, schema,
};

/// What is wanted; immutable.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "APIServiceExportRequest",
    plural = "apiserviceexportrequests",
    singular = "apiserviceexportrequest",
    namespaced,
    category = "kube-bindings",
    status = "APIServiceExportRequestStatus",
    derive = "PartialEq",
    doc = "APIServiceExportRequest asks the provider for an export of the same name."
)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceExportRequestSpec {
    /// Free for providers; nobody reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "object", "x-kubernetes-preserve-unknown-fields" = true, "x-kubernetes-validations" = schema::immutable()))]
    pub parameters: Option<serde_json::Value>,
    /// Kinds that are wanted.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub resources: Vec<ExportResource>,
    /// Claims that go with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub permission_claims: Vec<PermissionClaim>,
    /// Namespaces made in advance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub namespaces: Vec<NamespaceName>,
    /// Whether schemas follow their source.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub schema_update_policy: SchemaUpdatePolicy,
}

/// What became of a request.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceExportRequestStatus {
    /// Progress; a fresh object reads back as `Pending`.
    #[serde(default)]
    pub phase: Phase,
    /// Why it failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal_message: Option<String>,
    /// Observations; `Ready` is the summary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
