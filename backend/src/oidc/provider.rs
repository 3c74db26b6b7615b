//! What we know of the identity provider: the library's generic types with our claims filled in. Pure.

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreClaimName, CoreClaimType, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm,
    CoreResponseMode, CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreSubjectIdentifierType, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AdditionalProviderMetadata, AuthType, ClientId, ClientSecret,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenFields,
    ProviderMetadata, RedirectUrl, StandardErrorResponse, StandardTokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};

/// Discovery document and keys.
pub(super) type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Answer of the token endpoint.
pub(super) type Tokens = StandardTokenResponse<
    IdTokenFields<
        Groups,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

/// Answer of the userinfo endpoint.
pub(super) type UserInfo = UserInfoClaims<Groups, CoreGenderClaim>;

/// We, as the identity provider's client.
pub(super) type Client = openidconnect::Client<
    Groups,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The fields of the discovery document that the library does not know.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Extra {
    /// RFC 9207: the answer names its issuer.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Extra {}

/// The `groups` claim; absent is not the same as empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Groups {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<OneOrMany>,
}

impl AdditionalClaims for Groups {}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<String>),
    One(String),
}

impl Groups {
    /// The groups, if the claim is there.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        self.groups.clone().map(|groups| match groups {
            OneOrMany::Many(groups) => groups,
            OneOrMany::One(group) => vec![group],
        })
    }
}

/// Signatures that only the identity provider can make; `none` and shared secrets are not among them.
pub(super) const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Puts what was discovered and what is configured together.
pub(super) fn client(
    metadata: &Metadata,
    id: &str,
    secret: Option<&str>,
    redirect_url: RedirectUrl,
) -> Client {
    let secret = secret.map(|secret| ClientSecret::new(secret.to_owned()));
    let methods = metadata.token_endpoint_auth_methods_supported();
    // Basic is the default of the specification; some providers only take the secret in the body.
    let only_body = methods.is_some_and(|methods| {
        methods.contains(&CoreClientAuthMethod::ClientSecretPost)
            && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
    });
    let auth_type = if only_body {
        AuthType::RequestBody
    } else {
        AuthType::BasicAuth
    };
    Client::from_provider_metadata(metadata.clone(), ClientId::new(id.to_owned()), secret)
        .set_auth_type(auth_type)
        .set_redirect_uri(redirect_url)
}
