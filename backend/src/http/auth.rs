//! Who calls: the bearer token, checked before a handler runs.

use std::error::Error as StdError;

use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Bearer;
use http::request::Parts;
use http::{HeaderValue, header};
use kube_bind_crds::wire::ErrorCode;
use serde::Deserialize;
use tracing::error;

use super::failure::Failure;
use crate::keys;
use crate::session::markers::Kind;
use crate::session::token::{self, Session};
use crate::state::AppState;

/// A caller that has logged in, and has not logged out.
pub struct Authenticated(pub Session);

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// No token.
    #[error("not logged in")]
    NoToken,
    /// Foreign, altered or expired.
    #[error("the login is not valid (any more)")]
    Token(#[source] keys::Error),
    /// Logged out.
    #[error("logged out")]
    LoggedOut,
    /// There is one cluster only.
    #[error("no such cluster")]
    Cluster,
    /// The API server does not answer.
    #[error("failed to check whether the token was logged out")]
    Marker(#[source] kube::Error),
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        let failure = match &self {
            Self::NoToken | Self::Token(_) | Self::LoggedOut => {
                Failure::new(ErrorCode::AuthenticationFailed, self.to_string())
                    .with_details("log in with `kubectl bind login`")
            }
            Self::Cluster => Failure::new(ErrorCode::ResourceNotFound, self.to_string())
                .with_details("this provider has only one cluster: leave cluster_id out"),
            Self::Marker(_) => {
                error!(
                    error = &self as &dyn StdError,
                    "failed to authenticate a request"
                );
                Failure::internal()
            }
        };
        let mut response = failure.into_response();
        if response.status() == http::StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[derive(Default, Deserialize)]
struct ClusterQuery {
    #[serde(default)]
    cluster_id: String,
}

impl FromRequestParts<AppState> for Authenticated {
    type Rejection = RouteError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let TypedHeader(Authorization(bearer)) =
            TypedHeader::<Authorization<Bearer>>::from_request_parts(parts, state)
                .await
                .map_err(|_| RouteError::NoToken)?;
        let issuer = &state.site.public_url;
        let session = token::verify(&state.keys.get(), issuer, bearer.token(), state.clock.now())
            .map_err(RouteError::Token)?;
        if state
            .markers
            .is_marked(Kind::LoggedOut, &session.id)
            .await
            .map_err(RouteError::Marker)?
        {
            return Err(RouteError::LoggedOut);
        }
        let query = Query::<ClusterQuery>::try_from_uri(&parts.uri).unwrap_or_default();
        if !query.cluster_id.is_empty() {
            return Err(RouteError::Cluster);
        }
        Ok(Self(session))
    }
}
