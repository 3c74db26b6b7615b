//! `GET /api/exports`: who the provider is and how to log in. URLs come from the configuration, never
//! from the Host header.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use kube_bind_crds::version::VERSION;
use kube_bind_crds::wire::BindingProvider;

use super::found;
use crate::state::AppState;

/// The `BindingProvider` document.
pub async fn handle(State(state): State<AppState>) -> Json<BindingProvider> {
    let url = format!("{}/api/authorize", state.site.public_url);
    Json(BindingProvider::new(
        state.site.pretty_name.clone(),
        VERSION,
        url,
    ))
}

/// `/exports`, the older place of it.
pub async fn redirect(RawQuery(query): RawQuery) -> Response {
    match query {
        Some(query) => found(&format!("/api/exports?{query}")),
        None => found("/api/exports"),
    }
}
