//! `BindableResourcesRequest`: a bind asked for by an object, and the body of `POST /api/bind` (contract section 1.4).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as MetaCondition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LocalSecretKeyRef, NamespaceName, Phase, schema};

/// Who binds what.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "BindableResourcesRequest",
    plural = "bindableresourcesrequests",
    singular = "bindableresourcesrequest",
    namespaced,
    category = "kube-bindings",
    status = "BindableResourcesRequestStatus",
    derive = "PartialEq",
    doc = "BindableResourcesRequest asks for the credentials of a consumer cluster; also the body of POST /api/bind."
)]
#[serde(rename_all = "camelCase")]
pub struct BindableResourcesRequestSpec {
    /// The offering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<NamespaceName>,
    /// The consumer cluster.
    pub cluster_identity: ClusterIdentity,
    /// Who asks; over HTTP the login decides and this is ignored.
    pub author: String,
    /// Where to put the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig_secret_ref: Option<LocalSecretKeyRef>,
    /// Delete the request this long after it finished, as a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<String>,
}

/// Identity of a consumer cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterIdentity {
    /// Opaque; the plugin sends the uid of `kube-system`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub identity: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pretty_name: String,
}

/// What became of a request.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindableResourcesRequestStatus {
    /// Progress.
    #[serde(default)]
    pub phase: Phase,
    /// The consumer's cluster namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Where the response is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig_secret_ref: Option<LocalSecretKeyRef>,
    /// When it finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Standard conditions; type `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::standard_conditions")]
    pub conditions: Vec<MetaCondition>,
}
