//! The HTTP API of the backend (contract section 2): routes, and what surrounds all of them.

mod auth;
mod body;
mod failure;
mod layers;
mod routes;
pub mod server;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::embedded;
use crate::state::AppState;

/// All routes of the public listener.
pub fn router(state: AppState) -> Router {
    let mut router = Router::new()
        .route("/", get(routes::index::handle))
        .route("/healthz", get(routes::healthz::root))
        .route("/exports", get(routes::exports::redirect))
        .route("/api/healthz", get(routes::healthz::api))
        .route("/api/exports", get(routes::exports::handle))
        .route("/api/authorize", get(routes::authorize::handle))
        .route("/api/callback", get(routes::callback::handle))
        .route("/api/token", post(routes::token::handle))
        .route("/api/logout", post(routes::logout::handle))
        .route("/api/ping", get(routes::ping::handle))
        .route("/api/templates", get(routes::templates::handle))
        .route("/api/collections", get(routes::collections::handle))
        .route("/api/bind", post(routes::bind::handle))
        .route(
            "/api/bindable-resources",
            get(routes::bindable_resources::handle),
        );
    if let Some(idp) = &state.embedded {
        let routes = embedded::router(
            Arc::clone(idp),
            state.keys.clone(),
            Arc::clone(&state.clock),
        );
        router = router.merge(routes);
    }
    layers::wrap(router.with_state(state.clone()), &state)
}
