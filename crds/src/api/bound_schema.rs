//! `BoundSchema`: the schema of one exported kind (contract section 1.4).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, InformerScope, ResourceScope, schema};

/// A CRD without what belongs to one cluster.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "BoundSchema",
    plural = "boundschemas",
    singular = "boundschema",
    namespaced,
    shortname = "bs",
    category = "kube-bindings",
    status = "BoundSchemaStatus",
    derive = "PartialEq",
    doc = "BoundSchema is the schema of one exported kind, to be installed as a CRD on the consumer."
)]
#[serde(rename_all = "camelCase")]
pub struct BoundSchemaSpec {
    /// How widely the konnector watches this kind.
    pub informer_scope: InformerScope,
    /// API group.
    pub group: String,
    /// Names of the kind.
    pub names: SchemaNames,
    /// Scope on the consumer.
    pub scope: ResourceScope,
    /// Versions; the first served one is synced.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub versions: Vec<SchemaVersion>,
    /// Conversion between the versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::conversion_is_complete()))]
    pub conversion: Option<SchemaConversion>,
}

/// Names of a kind, as in a CRD.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaNames {
    /// Plural, lower case.
    pub plural: String,
    /// Singular, lower case.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub singular: String,
    /// Short names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub short_names: Vec<String>,
    /// Kind.
    pub kind: String,
    /// Kind of lists.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub list_kind: String,
    /// Categories such as `all`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub categories: Vec<String>,
}

/// One version of a kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaVersion {
    /// Such as `v1` or `v1beta1`.
    #[schemars(length(min = 1))]
    #[schemars(regex(pattern = schema::VERSION_PATTERN))]
    pub name: String,
    /// Whether the API server serves it.
    #[schemars(extend("default" = true))]
    pub served: bool,
    /// Whether objects are stored in it.
    pub storage: bool,
    /// Whether it is deprecated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<bool>,
    /// What clients are told when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecation_warning: Option<String>,
    /// OpenAPI v3 schema, wrapped in `openAPIV3Schema` or bare; opaque.
    #[schemars(extend("type" = "object", "x-kubernetes-preserve-unknown-fields" = true, "x-kubernetes-map-type" = "atomic"))]
    pub schema: serde_json::Value,
    /// `status` and `scale`; opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Subresources>")]
    pub subresources: Option<serde_json::Value>,
    /// Columns of `kubectl get`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub additional_printer_columns: Vec<PrinterColumn>,
}

/// A column of `kubectl get`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrinterColumn {
    /// Heading.
    pub name: String,
    /// OpenAPI type.
    #[serde(rename = "type")]
    pub type_: String,
    /// OpenAPI format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// 0 is always shown, greater only in wide output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Where the value is.
    #[serde(rename = "jsonPath")]
    pub json_path: String,
}

/// Conversion between versions.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaConversion {
    /// `None` or `Webhook`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("enum" = ["None", "Webhook"]))]
    pub strategy: String,
    /// The webhook, for strategy `Webhook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConversion>,
}

/// A conversion webhook; no service reference, because a service does not cross clusters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookConversion {
    /// How to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_config: Option<WebhookClientConfig>,
    /// Accepted versions of `ConversionReview`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub conversion_review_versions: Vec<String>,
}

/// Address of a webhook.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookClientConfig {
    /// Its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "uri"))]
    pub url: Option<String>,
    /// CA in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "byte"))]
    pub ca_bundle: Option<String>,
}

/// State of the CRD on the consumer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundSchemaStatus {
    /// Names that the consumer's API server accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_names: Option<SchemaNames>,
    /// Versions in which objects are stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored_versions: Vec<String>,
    /// Nobody writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub instantiations: Option<serde_json::Number>,
    /// Copies of the consumer CRD's conditions, and `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
