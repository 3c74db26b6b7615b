//! `APIServiceNamespace`: the service namespace of one consumer namespace (contract section 1.4).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Empty: the name is the consumer namespace.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "APIServiceNamespace",
    plural = "apiservicenamespaces",
    singular = "apiservicenamespace",
    namespaced,
    category = "kube-bindings",
    status = "APIServiceNamespaceStatus",
    derive = "PartialEq",
    doc = "APIServiceNamespace maps the consumer namespace of the same name to a namespace of the provider."
)]
pub struct APIServiceNamespaceSpec {}

/// Where objects of that consumer namespace live.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceNamespaceStatus {
    /// The provider's namespace; set once it exists with rights for the konnector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
