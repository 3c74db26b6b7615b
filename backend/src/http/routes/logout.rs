//! `POST /api/logout`: the presented token ends, on every replica.

use std::error::Error as StdError;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use tracing::error;

use crate::http::auth::{self, Authenticated};
use crate::http::failure::Failure;
use crate::session::markers::Kind;
use crate::state::AppState;

/// Why the token is still valid.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// It could not even be checked.
    #[error(transparent)]
    Auth(auth::RouteError),
    /// The API server did not take the marker.
    #[error("failed to mark the token as logged out")]
    Marker(#[source] kube::Error),
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        match self {
            Self::Auth(err) => err.into_response(),
            Self::Marker(_) => {
                error!(error = &self as &dyn StdError, "failed to log a user out");
                Failure::internal().into_response()
            }
        }
    }
}

/// Ends the token. Who is not logged in (any more) is logged out already.
pub async fn handle(
    State(state): State<AppState>,
    session: Result<Authenticated, auth::RouteError>,
) -> Result<&'static str, RouteError> {
    match session {
        Ok(Authenticated(session)) => {
            let marked = state
                .markers
                .mark(Kind::LoggedOut, &session.id, session.expires)
                .await;
            marked.map_err(RouteError::Marker)?;
        }
        Err(err @ (auth::RouteError::Marker(_) | auth::RouteError::Cluster)) => {
            return Err(RouteError::Auth(err));
        }
        Err(_) => {}
    }
    Ok("logged out")
}
