//! Why a reconcile did not get to its end. No IO.

use std::time::Duration;

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

    /// Whether somebody else was faster: the object has to be looked at again, no more.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Request { source: kube::Error::Api(status), .. } if status.is_conflict())
    }
}

/// How often everything is looked at without a reason, because events can be missed.
pub const RESYNC: Duration = Duration::from_secs(30 * 60);
