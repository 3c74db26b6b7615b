//! `POST /api/token`: the plugin redeems its one-time code. Works once, on whichever replica.

use std::error::Error as StdError;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use kube_bind_crds::wire::{TokenRequest, TokenResponse};
use tracing::{error, warn};

use crate::http::body::JsonBody;
use crate::http::failure::Failure;
use crate::keys;
use crate::metrics::LoginResult;
use crate::session::code::{self, Refused};
use crate::session::markers::{Kind, Marked};
use crate::session::token;
use crate::state::AppState;

/// How long a redeemed code is remembered: its own life, and what the replicas' clocks may differ by.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The code is no good, or not for this client.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The code was redeemed before.
    #[error("the code was used before: log in again")]
    Again,
    /// The API server could not say.
    #[error("failed to mark the code as redeemed")]
    Marker(#[source] kube::Error),
    /// The token cannot be made.
    #[error("failed to make the token")]
    Sign(#[from] keys::Error),
}

impl RouteError {
    fn result(&self) -> LoginResult {
        match self {
            Self::Refused(_) | Self::Again => LoginResult::Invalid,
            Self::Marker(_) | Self::Sign(_) => LoginResult::Error,
        }
    }
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        match &self {
            Self::Refused(_) => Failure::bad_request(self.to_string()),
            Self::Again => {
                warn!("a one-time login code was presented twice");
                Failure::bad_request(self.to_string())
            }
            Self::Marker(_) | Self::Sign(_) => {
                error!(
                    error = &self as &dyn StdError,
                    "failed to redeem a login code"
                );
                Failure::internal()
            }
        }
        .into_response()
    }
}

/// Gives out the access token.
pub async fn handle(
    State(state): State<AppState>,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<Json<TokenResponse>, RouteError> {
    let result = redeem(&state, &request).await;
    state.metrics.login(
        result
            .as_ref()
            .map_or_else(RouteError::result, |_| LoginResult::Success),
    );
    result.map(Json)
}

async fn redeem(state: &AppState, request: &TokenRequest) -> Result<TokenResponse, RouteError> {
    let now = state.clock.now();
    let keys = state.keys.get();
    let grant = code::redeem(
        &keys,
        &request.code,
        &request.code_verifier,
        &request.redirect_uri,
        now,
    )?;
    let until = now + SignedDuration::from_secs(REMEMBERED.as_secs().cast_signed());
    let marked = state
        .markers
        .mark(Kind::Redeemed, &grant.id, until)
        .await
        .map_err(RouteError::Marker)?;
    if marked == Marked::Again {
        return Err(RouteError::Again);
    }
    let life = state.site.token_expiry;
    let access_token = token::issue(&keys, &state.site.public_url, grant.user, now, life)?;
    Ok(TokenResponse {
        access_token,
        token_type: "Bearer".to_owned(),
        expires_in: life.as_secs(),
    })
}
