//! `APIServiceExportRequest`: a consumer asks for an export (contract section 1.4).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, ExportResource, NamespaceName, PermissionClaim, Phase, SchemaUpdatePolicy};

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
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceExportRequestSpec {
    /// Free for providers; nobody reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<serde_json::Value>,
    /// Kinds that are wanted.
    pub resources: Vec<ExportResource>,
    /// Claims that go with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permission_claims: Vec<PermissionClaim>,
    /// Namespaces made in advance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<NamespaceName>,
    /// Whether schemas follow their source.
    #[serde(default)]
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
