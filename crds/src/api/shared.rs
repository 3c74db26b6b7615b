//! Types that several kinds share (contract section 1.3).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{lenient, schema};

/// One observation of an object's state, in the Cluster API style of the original: with a
/// severity, without `observedGeneration`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of the condition, `Ready` being the summary of all others.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// `Error`, `Warning` or `Info` when the status is `False`, absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// When status, reason, severity or message last changed, in whole seconds.
    #[serde(deserialize_with = "lenient::time")]
    pub last_transition_time: Time,
    /// Reason of the last change, in CamelCase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What a person should know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Group and plural of a resource; the empty group is the core group.
#[derive(
    Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct GroupResource {
    /// API group, empty for the core group.
    #[serde(default)]
    #[schemars(regex(pattern = schema::GROUP_PATTERN))]
    pub group: String,
    /// Plural name of the resource.
    #[schemars(regex(pattern = schema::RESOURCE_PATTERN))]
    pub resource: String,
}

/// A resource to export, with the versions that are wanted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportResource {
    /// Group and plural.
    #[serde(flatten)]
    pub group_resource: GroupResource,
    /// Versions to export; empty means all that are served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
}

/// Related objects that the provider wants to read or write beside the exported kinds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionClaim {
    /// Group and plural of the claimed kind.
    #[serde(flatten)]
    pub group_resource: GroupResource,
    /// Which of its objects are claimed.
    pub selector: Selector,
}

/// Which objects a claim selects: the parts are ORed, and none of them selects nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Objects with matching labels; `{}` matches everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub label_selector: Option<LabelSelector>,
    /// Objects by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_resources: Vec<NamedResource>,
    /// Objects that an exported object refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<SelectorReference>,
}

/// An object by name.
#[derive(
    Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct NamedResource {
    /// Name of the object.
    pub name: String,
    /// Its namespace; empty matches any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Where an exported object names the claimed object.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelectorReference {
    /// Kind of the referring objects.
    #[serde(flatten)]
    pub group_resource: GroupResource,
    /// Versions of the referring kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// gjson paths (not JSONPath) to the name and the namespace.
    #[serde(rename = "jsonPath")]
    pub json_path: ReferencePath,
}

/// gjson paths into a referring object.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReferencePath {
    /// Path to the name or the names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Path to the namespace; empty: any, or the referrer's under isolation `Namespaced`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// A key of a Secret anywhere in the cluster.
#[derive(
    Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Key within it.
    pub key: String,
    /// Its namespace.
    #[schemars(length(min = 1))]
    pub namespace: String,
}

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalSecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Key within it.
    pub key: String,
}

/// A Secret of the consumer cluster, as the konnector reports it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its namespace.
    #[schemars(length(min = 1))]
    pub namespace: String,
}

/// A namespace that the provider creates in advance.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceName {
    /// Name on the consumer.
    pub name: String,
}

/// How widely the konnector watches the provider.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, Hash, JsonSchema)]
pub enum InformerScope {
    /// All namespaces at once.
    Cluster,
    /// Each service namespace by itself.
    #[default]
    Namespaced,
}

/// Scope of a kind.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, Hash, JsonSchema)]
pub enum ResourceScope {
    /// Objects live in no namespace.
    Cluster,
    /// Objects live in namespaces.
    #[default]
    Namespaced,
}

/// How the objects of several consumers are kept apart on the provider.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, Hash, JsonSchema)]
pub enum Isolation {
    /// Names and namespaces get the cluster namespace as prefix.
    #[default]
    Prefixed,
    /// Objects live in the cluster namespace.
    Namespaced,
    /// Nothing is renamed: for a provider with one consumer.
    None,
}

/// Whether a bound schema follows its source.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, Hash, JsonSchema)]
pub enum SchemaUpdatePolicy {
    /// The schema stays as it was when bound.
    #[default]
    Never,
    /// The schema follows its source.
    Always,
}

/// Progress of a request.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, Hash, JsonSchema)]
pub enum Phase {
    /// Not decided yet.
    #[default]
    Pending,
    /// Refused for good; see the terminal message or the conditions.
    Failed,
    /// Done.
    Succeeded,
}
