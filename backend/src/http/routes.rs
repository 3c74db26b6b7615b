//! One file per route, each with its own errors.

pub mod authorize;
pub mod bind;
pub mod bindable_resources;
pub mod callback;
pub mod collections;
pub mod exports;
pub mod healthz;
pub mod index;
pub mod logout;
pub mod ping;
pub mod templates;
pub mod token;

mod catalogue_error;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use kube_bind_crds::names::API_VERSION;
use serde::Serialize;
use serde_json::{Value, json};

use super::failure::Failure;

/// A list of objects as Kubernetes writes it.
fn list(kind: &str, items: &[impl Serialize]) -> Json<Value> {
    Json(json!({
        "kind": kind,
        "apiVersion": API_VERSION,
        "metadata": {},
        "items": items,
    }))
}

/// 302, as the contract has it.
fn found(url: &str) -> Response {
    match HeaderValue::from_str(url) {
        Ok(url) => (StatusCode::FOUND, [(header::LOCATION, url)]).into_response(),
        Err(_) => Failure::internal().into_response(),
    }
}
