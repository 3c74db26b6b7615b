//! `BindingProvider`: what `GET /api/exports` answers.

use serde::{Deserialize, Serialize};

use crate::names;

/// The provider and how to log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingProvider {
    /// `BindingProvider`.
    #[serde(default)]
    pub kind: String,
    /// `v1alpha2`: the version only, without the group.
    #[serde(default)]
    pub api_version: String,
    /// Name for people.
    #[serde(default)]
    pub provider_pretty_name: String,
    /// Version of the backend.
    #[serde(default)]
    pub version: String,
    /// Ways to log in.
    #[serde(default)]
    pub authentication_methods: Vec<AuthenticationMethod>,
}

/// One way to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationMethod {
    /// [`BindingProvider::OAUTH2_CODE_GRANT`], or one that we do not know.
    #[serde(default)]
    pub method: String,
    /// Parameters of that method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2_code_grant: Option<OAuth2CodeGrant>,
}

/// Login through the browser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuth2CodeGrant {
    /// Where the browser goes.
    #[serde(rename = "authenticatedURL", default)]
    pub authenticated_url: String,
}

impl BindingProvider {
    /// The only login method of the contract.
    pub const OAUTH2_CODE_GRANT: &'static str = "OAuth2CodeGrant";

    /// The document of a provider with login through the browser.
    pub fn new(
        provider_pretty_name: impl Into<String>,
        version: impl Into<String>,
        authenticated_url: impl Into<String>,
    ) -> Self {
        Self {
            kind: "BindingProvider".to_owned(),
            api_version: names::VERSION.to_owned(),
            provider_pretty_name: provider_pretty_name.into(),
            version: version.into(),
            authentication_methods: vec![AuthenticationMethod {
                method: Self::OAUTH2_CODE_GRANT.to_owned(),
                oauth2_code_grant: Some(OAuth2CodeGrant {
                    authenticated_url: authenticated_url.into(),
                }),
            }],
        }
    }

    /// Where the browser goes, if the provider offers that.
    pub fn authenticated_url(&self) -> Option<&str> {
        self.authentication_methods
            .iter()
            .filter(|offered| offered.method == Self::OAUTH2_CODE_GRANT)
            .find_map(|offered| offered.oauth2_code_grant.as_ref())
            .map(|grant| grant.authenticated_url.as_str())
            .filter(|url| !url.is_empty())
    }
}
