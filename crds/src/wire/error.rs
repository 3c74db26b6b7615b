//! The error document of every HTTP route (contract section 2.3).

use serde::{Deserialize, Serialize};

use crate::names;

/// An error, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDocument {
    /// `Error`.
    #[serde(default)]
    pub kind: String,
    /// `kube-bind.io/v1alpha2`.
    #[serde(default)]
    pub api_version: String,
    /// What went wrong, for people.
    #[serde(default)]
    pub message: String,
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

impl ErrorDocument {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            kind: "Error".to_owned(),
            api_version: names::API_VERSION.to_owned(),
            message: message.into(),
            code,
            details: None,
        }
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }
}

/// Error codes of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// Not logged in, or not any more.
    AuthenticationFailed,
    /// Logged in, but not permitted.
    AuthorizationFailed,
    /// There is no such thing.
    ResourceNotFound,
    /// The request itself is wrong.
    BadRequest,
    /// The provider's own cluster does not answer; the original never writes it.
    ClusterConnectionFailed,
    /// Anything else; also what we read from codes that we do not know.
    #[serde(other)]
    InternalError,
}

impl ErrorCode {
    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::AuthenticationFailed => 401,
            Self::AuthorizationFailed => 403,
            Self::ResourceNotFound => 404,
            Self::BadRequest => 400,
            Self::ClusterConnectionFailed => 503,
            Self::InternalError => 500,
        }
    }
}
