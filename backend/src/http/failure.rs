//! What a client gets to see of an error: the contract's error document, never internals. Pure.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kube_bind_crds::wire::{ErrorCode, ErrorDocument};

/// An error document with its status.
#[derive(Clone, Debug)]
pub struct Failure {
    status: StatusCode,
    document: ErrorDocument,
}

impl Failure {
    /// An error with the status that goes with its code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let status =
            StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            document: ErrorDocument::new(code, message),
        }
    }

    /// The request is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// Something that is not the client's fault; the log says what.
    pub fn internal() -> Self {
        Self::new(ErrorCode::InternalError, "internal error").with_details(
            "the provider's log says more; it names the request by the x-request-id of this answer",
        )
    }

    /// The same with another status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with details.
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.document = self.document.with_details(details);
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.document)).into_response()
    }
}
