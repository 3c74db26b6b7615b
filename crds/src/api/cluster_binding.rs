//! `ClusterBinding`: the connection of one consumer cluster (contract section 1.4).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, LocalSecretKeyRef, LocalSecretRef, lenient, schema};

/// How the consumer connects.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[kube(
    group = "kube-bind.io",
    version = "v1alpha2",
    kind = "ClusterBinding",
    plural = "clusterbindings",
    singular = "clusterbinding",
    namespaced,
    category = "kube-bindings",
    status = "ClusterBindingStatus",
    derive = "PartialEq",
    doc = "ClusterBinding is the connection of one consumer cluster; there is one, named cluster, per cluster namespace."
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterBindingSpec {
    /// Secret of the cluster namespace that holds the consumer's kubeconfig; the konnector copies it.
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub kubeconfig_secret_ref: LocalSecretKeyRef,
    /// Display name of the provider.
    #[schemars(length(min = 1))]
    pub provider_pretty_name: String,
    /// Free for providers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "object", "x-kubernetes-preserve-unknown-fields" = true))]
    pub service_provider_spec: Option<serde_json::Value>,
}

/// What the konnector reports of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterBindingStatus {
    /// When the konnector last reported.
    #[serde(
        default,
        deserialize_with = "lenient::optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_heartbeat_time: Option<Time>,
    /// How often it does, as a Go duration such as `5m0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval: Option<String>,
    /// Version of the konnector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub konnector_version: Option<String>,
    /// Where the consumer keeps the kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_secret_ref: Option<LocalSecretRef>,
    /// `SecretValid`, `ValidVersion` and `Ready` by the konnector.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
