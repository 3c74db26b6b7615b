//! HTTP documents between the plugin and the backend (contract sections 1.5 and 2.3). Reading is
//! lenient: unknown fields are ignored, and what a peer may leave out has a default. Pure.

mod binding;
mod error;
mod login;
mod provider;

pub use binding::{
    APIServiceExportRequestResponse, Authentication, BindingResourceResponse, EmptyStatus,
    OAuth2CodeGrantState, RequestMetadata,
};
pub use error::{ErrorCode, ErrorDocument};
pub use login::{TokenRequest, TokenResponse};
pub use provider::{AuthenticationMethod, BindingProvider, OAuth2CodeGrant};

#[cfg(test)]
mod tests;
