//! What a provider offers: templates, collections, and the provider cluster itself (contract section 1.4).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, ExportResource, NamespaceName, PermissionClaim, ResourceScope, SchemaUpdatePolicy,
};

/// An offering.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "APIServiceExportTemplate",
    plural = "apiserviceexporttemplates",
    singular = "apiserviceexporttemplate",
    category = "kube-bind",
    status = "CatalogueStatus",
    derive = "PartialEq",
    doc = "APIServiceExportTemplate is an offering of the provider."
)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceExportTemplateSpec {
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Scope of the kinds, for people; nobody decides by it.
    pub scope: ResourceScope,
    /// Kinds of the offering.
    #[schemars(length(min = 1))]
    pub resources: Vec<ExportResource>,
    /// Related objects that the provider needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permission_claims: Vec<PermissionClaim>,
    /// Namespaces made in advance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<NamespaceName>,
    /// Whether schemas follow their source.
    #[serde(default)]
    pub schema_update_policy: SchemaUpdatePolicy,
}

/// A named group of offerings.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "Collection",
    plural = "collections",
    singular = "collection",
    category = "kube-bind",
    status = "CatalogueStatus",
    derive = "PartialEq",
    doc = "Collection is a named group of offerings."
)]
#[serde(rename_all = "camelCase")]
pub struct CollectionSpec {
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Names of the templates.
    #[schemars(length(min = 1))]
    pub templates: Vec<NamespaceName>,
}

/// The provider cluster; its deletion takes the login permissions away.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "Cluster",
    plural = "clusters",
    singular = "cluster",
    category = "kube-bind",
    status = "CatalogueStatus",
    derive = "PartialEq",
    doc = "Cluster stands for the provider cluster; its deletion takes the login permissions away."
)]
pub struct ClusterSpec {}

/// Status of the catalogue's kinds; nobody writes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatalogueStatus {
    /// Observations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
