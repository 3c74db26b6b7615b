//! `GET /api/authorize`: begins a login and sends the browser to the identity provider. All that is
//! to be remembered goes into a sealed cookie, so that this costs the backend no memory.

use std::error::Error as StdError;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use http::StatusCode;
use jiff::SignedDuration;
use kube_bind_crds::wire::ErrorCode;
use tracing::error;

use super::found;
use crate::http::failure::Failure;
use crate::keys::{self, Purpose};
use crate::oidc;
use crate::session::login::{self, Client, Invalid, Login, cookie_name};
use crate::session::login_cookie;
use crate::state::AppState;

/// Why no login begins.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The query cannot be read.
    #[error("failed to read the query")]
    Query(#[from] QueryRejection),
    /// The client asks for what it cannot get.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The identity provider is not there.
    #[error(transparent)]
    Oidc(#[from] oidc::Error),
    /// The cookie cannot be made.
    #[error("failed to make the login cookie")]
    Seal(#[from] keys::Error),
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        match &self {
            Self::Query(_) => Failure::bad_request(self.to_string()),
            Self::Invalid(Invalid::Cluster(_)) => {
                Failure::new(ErrorCode::ResourceNotFound, self.to_string())
            }
            Self::Invalid(_) => Failure::bad_request(self.to_string()),
            Self::Oidc(oidc::Error::NotReady) => {
                Failure::new(ErrorCode::InternalError, self.to_string())
                    .with_status(StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Oidc(_) | Self::Seal(_) => {
                error!(error = &self as &dyn StdError, "failed to begin a login");
                Failure::internal()
            }
        }
        .into_response()
    }
}

/// Begins a login.
pub async fn handle(
    State(state): State<AppState>,
    query: Result<Query<login::Request>, QueryRejection>,
) -> Result<Response, RouteError> {
    let Query(request) = query?;
    let client = Client::parse(request, state.site.allow_legacy_login)?;
    let begun = state.relying_party.begin()?;
    let login = Login {
        state: begun.state,
        nonce: begun.nonce,
        verifier: begun.verifier,
        client,
    };
    let life = SignedDuration::from_secs(login::LIFE.as_secs().cast_signed());
    let expires = state.clock.now() + life;
    let sealed = state
        .keys
        .get()
        .seal(Purpose::LoginCookie, &login, expires)?;
    let name = cookie_name(&login.state, state.site.is_https);
    let jar = CookieJar::new().add(login_cookie::new(name, sealed, state.site.is_https));
    Ok((jar, found(&begun.url)).into_response())
}
