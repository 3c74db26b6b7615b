//! Why a consumer could not be provisioned. No IO.

use crate::credentials;

/// Failure of a step of provisioning.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// All names that this consumer could have belong to others.
    #[error("namespace {namespace} belongs to another user")]
    OtherAuthor {
        /// The last name that was tried.
        namespace: String,
    },
    /// More than one namespace claims to be this consumer's.
    #[error("namespaces {} all belong to this consumer", namespaces.join(", "))]
    Ambiguous {
        /// Their names.
        namespaces: Vec<String>,
    },
    /// The consumer's namespace is being deleted; it can be provisioned again afterwards.
    #[error("namespace {namespace} is being deleted")]
    Terminating {
        /// Its name.
        namespace: String,
    },
    /// Others kept changing the namespace while it was claimed.
    #[error("namespace {namespace} was changed by others too often")]
    Contended {
        /// Its name.
        namespace: String,
    },
    /// The new rights did not take effect in time.
    #[error("rights of the service account in namespace {namespace} are not in effect yet")]
    RightsPending {
        /// The cluster namespace.
        namespace: String,
    },
    /// A request to the provider's API server failed.
    #[error("failed to {step}")]
    Request {
        /// What was being done.
        step: String,
        /// The answer.
        source: kube::Error,
    },
    /// The credential could not be made.
    #[error("failed to issue a credential")]
    Credential(#[from] credentials::Error),
}

impl Error {
    pub(crate) fn request(step: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let step = step.into();
        move |source| Self::Request { step, source }
    }
}
