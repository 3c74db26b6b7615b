//! How errors of the catalogue look to clients, for the routes that use it.

use std::error::Error as StdError;

use axum::response::{IntoResponse, Response};
use kube_bind_crds::wire::ErrorCode;
use tracing::error;

use crate::catalogue::Error;
use crate::http::failure::Failure;
use crate::session::User;

/// Why a user is shown no list.
#[derive(Debug, thiserror::Error)]
#[error("failed to list what a user may bind")]
pub struct RouteError {
    /// Why.
    pub source: Error,
    /// Who asked.
    pub user: User,
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        failure(&self.source, &self.user).into_response()
    }
}

/// What the provider's administrator has to do.
fn hint(user: &User) -> String {
    format!(
        "the provider's administrator can permit it with --oidc-allowed-users={} or --oidc-allowed-groups, or with a role that allows verb bind on apiserviceexporttemplates.kube-bind.io",
        user.subject
    )
}

/// The document for an error of the catalogue; internals go to the log.
pub fn failure(err: &Error, user: &User) -> Failure {
    match err {
        Error::NothingPermitted => {
            Failure::new(ErrorCode::AuthorizationFailed, err.to_string()).with_details(hint(user))
        }
        Error::NotPermitted { reason, .. } => {
            let details = if reason.is_empty() {
                hint(user)
            } else {
                format!("{reason}; {}", hint(user))
            };
            Failure::new(ErrorCode::AuthorizationFailed, err.to_string()).with_details(details)
        }
        Error::UnknownTemplate(_) => Failure::new(ErrorCode::ResourceNotFound, err.to_string()),
        Error::Kube { .. } => {
            error!(error = err as &dyn StdError, "failed to use the catalogue");
            Failure::internal()
        }
    }
}
