//! `GET /api/templates`: what the user may bind.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kube_bind_crds::names::API_VERSION;
use serde_json::{Value, json};

use super::catalogue_error::failure;
use crate::catalogue;
use crate::http::auth::Authenticated;
use crate::session::User;
use crate::state::AppState;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
#[error("failed to list templates for a user")]
pub struct RouteError {
    source: catalogue::Error,
    user: User,
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        failure(&self.source, &self.user).into_response()
    }
}

/// The list.
pub async fn handle(
    State(state): State<AppState>,
    Authenticated(session): Authenticated,
) -> Result<Json<Value>, RouteError> {
    let items = state
        .catalogue
        .templates(state.authorizer.as_ref(), &session.user)
        .await
        .map_err(|source| RouteError {
            source,
            user: session.user,
        })?;
    Ok(Json(json!({
        "kind": "APIServiceExportTemplateList",
        "apiVersion": API_VERSION,
        "metadata": {},
        "items": items,
    })))
}
