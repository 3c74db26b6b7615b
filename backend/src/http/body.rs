//! JSON bodies, with errors as the contract's documents.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kube_bind_crds::wire::ErrorCode;
use serde::de::DeserializeOwned;

use super::failure::Failure;

/// Largest body of any request.
pub const BODY_MAX: usize = 1024 * 1024;

/// A body that is JSON, whatever its content type says (the original does not look at it either).
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| {
                if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                    too_large().into_response()
                } else {
                    Failure::bad_request("the body could not be read").into_response()
                }
            })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|err| {
            let details = format!("line {}, column {}", err.line(), err.column());
            Failure::bad_request("the body is not the expected JSON")
                .with_details(details)
                .into_response()
        })
    }
}

/// The answer to a body that is too large.
pub fn too_large() -> Failure {
    Failure::new(
        ErrorCode::BadRequest,
        format!("the body is larger than {BODY_MAX} bytes"),
    )
    .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}
