//! `GET /api/templates`: what the user may bind.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::catalogue_error::RouteError;
use super::list;
use crate::http::auth::Authenticated;
use crate::state::AppState;

/// The list.
pub async fn handle(
    State(state): State<AppState>,
    Authenticated(session): Authenticated,
) -> Result<Json<Value>, RouteError> {
    let user = session.user;
    let items = state
        .catalogue
        .templates(state.authorizer.as_ref(), &user)
        .await
        .map_err(|source| RouteError { source, user })?;
    Ok(list("APIServiceExportTemplateList", &items))
}
