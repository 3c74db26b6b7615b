//! `BindingResourceResponse`: what `POST /api/bind` answers, and what the konnector's `--file` reads.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize};

use crate::api::APIServiceExportRequestSpec;
use crate::names;

/// Credentials, and the requests to create with them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingResourceResponse {
    /// `BindingResourceResponse`; the original says `BindingResponse` over HTTP, so readers ignore it.
    #[serde(default)]
    pub kind: String,
    /// `kube-bind.io/v1alpha2`.
    #[serde(default)]
    pub api_version: String,
    /// Who logged in.
    #[serde(default)]
    pub authentication: Authentication,
    /// Kubeconfig in standard base64; see [`BindingResourceResponse::kubeconfig`].
    #[serde(default)]
    pub kubeconfig: String,
    /// Requests to create on the provider.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub requests: Vec<APIServiceExportRequestResponse>,
    /// The consumer's cluster namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_namespace: Option<String>,
    /// Name of the binding, when the backend made the request itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_name: Option<String>,
}

impl std::fmt::Debug for BindingResourceResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BindingResourceResponse")
            .field("requests", &self.requests)
            .field("provider_namespace", &self.provider_namespace)
            .field("binding_name", &self.binding_name)
            .finish_non_exhaustive()
    }
}

/// Who logged in, for display.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// After a login through the browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2_code_grant: Option<OAuth2CodeGrantState>,
}

/// The session of a login through the browser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuth2CodeGrantState {
    /// Session id.
    #[serde(default)]
    pub sid: String,
    /// `<issuer>/<subject>`.
    #[serde(default)]
    pub id: String,
}

/// One element of `requests`: an `APIServiceExportRequest` that may have no name yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct APIServiceExportRequestResponse {
    /// `APIServiceExportRequest`.
    #[serde(default)]
    pub kind: String,
    /// `kube-bind.io/v1alpha2`; readers refuse any other.
    #[serde(default)]
    pub api_version: String,
    /// The suggested name.
    #[serde(default)]
    pub metadata: RequestMetadata,
    /// What to request.
    pub spec: APIServiceExportRequestSpec,
    /// Always empty; the original's reader wants the field.
    #[serde(default, skip_deserializing)]
    pub status: EmptyStatus,
}

/// `{}` on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyStatus {}

/// Metadata of a request that does not exist yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestMetadata {
    /// The suggested name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl BindingResourceResponse {
    /// The document with what both flows need.
    pub fn new(kubeconfig: &[u8], requests: Vec<APIServiceExportRequestResponse>) -> Self {
        Self {
            kind: "BindingResourceResponse".to_owned(),
            api_version: names::API_VERSION.to_owned(),
            kubeconfig: STANDARD.encode(kubeconfig),
            requests,
            ..Self::default()
        }
    }

    /// The kubeconfig, decoded.
    pub fn kubeconfig(&self) -> Result<Vec<u8>, base64::DecodeError> {
        STANDARD.decode(self.kubeconfig.trim())
    }
}

impl APIServiceExportRequestResponse {
    /// The element for a request of that name.
    pub fn new(name: Option<String>, spec: APIServiceExportRequestSpec) -> Self {
        Self {
            kind: "APIServiceExportRequest".to_owned(),
            api_version: names::API_VERSION.to_owned(),
            metadata: RequestMetadata { name },
            spec,
            status: EmptyStatus {},
        }
    }
}

/// The original writes `null` for an empty list.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
