//! Why a reconcile did not get to its end. No IO.

use std::time::Duration;

use kube::core::response::StatusDetails;

use crate::{credentials, provision};

/// Failure of a reconcile; every kind of it is retried, `Waiting` without noise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the provider's API server failed.
    #[error("failed to {step}")]
    Request {
        /// What was being done.
        step: String,
        /// The answer.
        source: kube::Error,
    },
    /// Nothing is wrong, something else has to happen first.
    #[error("waiting: {what}")]
    Waiting {
        /// For what.
        what: String,
    },
    /// Somebody else has an object of that name.
    #[error("{what} exists and is not this backend's; it is left alone")]
    Foreign {
        /// Kind and name.
        what: String,
    },
    /// The policy that confines cluster-wide writes does not know this consumer.
    #[error(
        "namespace {namespace} does not begin with --namespace-prefix, so its consumer gets no right to write cluster-wide"
    )]
    NotCovered {
        /// The cluster namespace.
        namespace: String,
    },
    /// The finalizer could not be put on or taken off.
    #[error("failed to change the finalizer")]
    Finalizer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A consumer's objects could not be brought up to date.
    #[error(transparent)]
    Provision(#[from] provision::Error),
    /// A credential could not be issued.
    #[error(transparent)]
    Credential(#[from] credentials::Error),
}

impl Error {
    pub(crate) fn request(step: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let step = step.into();
        move |source| Self::Request { step, source }
    }

    pub(crate) fn waiting(what: impl Into<String>) -> Self {
        Self::Waiting { what: what.into() }
    }

    /// Whether this is part of normal life: something has to happen first, somebody else was faster, or
    /// the namespace is going away with all that is in it.
    pub(crate) fn is_expected(&self) -> bool {
        let source = match self {
            Self::Waiting { .. } => return true,
            Self::Finalizer(_) | Self::Foreign { .. } | Self::NotCovered { .. } => return false,
            Self::Request { source, .. }
            | Self::Provision(provision::Error::Request { source, .. })
            | Self::Credential(credentials::Error::Request { source, .. }) => source,
            Self::Provision(_) | Self::Credential(_) => return false,
        };
        let kube::Error::Api(status) = source else {
            return false;
        };
        let terminating = |details: &StatusDetails| {
            details
                .causes
                .iter()
                .any(|cause| cause.reason == "NamespaceTerminating")
        };
        status.is_conflict()
            || status.is_forbidden() && status.details.as_ref().is_some_and(terminating)
    }
}

impl Error {
    /// What the API server says about a write that it will not take however often it is tried: not a
    /// conflict, not a namespace that goes, not a busy server.
    pub(crate) fn refusal(&self) -> Option<String> {
        let Self::Request {
            step,
            source: kube::Error::Api(status),
        } = self
        else {
            return None;
        };
        let refused = matches!(status.code, 400 | 403 | 405 | 413 | 415 | 422);
        (refused && !self.is_expected())
            .then(|| format!("the provider failed to {step}: {}", status.message))
    }
}

/// How often everything is looked at without a reason, because events can be missed.
pub const RESYNC: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::StatusCause;

    use super::*;

    fn answered(code: u16, reason: &str, cause: Option<&str>) -> Error {
        let causes = cause.map(|reason| StatusCause {
            reason: reason.into(),
            message: String::new(),
            field: String::new(),
        });
        let status = Status::failure("m", reason)
            .with_code(code)
            .with_details(StatusDetails {
                causes: causes.into_iter().collect(),
                name: String::new(),
                group: String::new(),
                kind: String::new(),
                uid: String::new(),
                retry_after_seconds: 0,
            });
        Error::request("do it")(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_missing_right_is_not_a_namespace_that_goes() {
        assert!(answered(403, "Forbidden", Some("NamespaceTerminating")).is_expected());
        assert!(!answered(403, "Forbidden", None).is_expected());
        assert!(answered(409, "Conflict", None).is_expected());
        assert!(!answered(500, "InternalError", None).is_expected());
        assert!(Error::waiting("it").is_expected());
    }

    #[test]
    fn what_is_tried_again_in_vain_is_a_refusal() {
        let refusal = answered(422, "Invalid", None).refusal().unwrap();
        assert_eq!(refusal, "the provider failed to do it: m");
        assert!(answered(403, "Forbidden", None).refusal().is_some());
        for passing in [
            answered(403, "Forbidden", Some("NamespaceTerminating")),
            answered(404, "NotFound", None),
            answered(409, "Conflict", None),
            answered(429, "TooManyRequests", None),
            answered(500, "InternalError", None),
            Error::waiting("it"),
        ] {
            assert_eq!(passing.refusal(), None, "{passing}");
        }
    }
}
