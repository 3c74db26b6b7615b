//! Whether a consumer's credential can stay, and when it has to be renewed. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube_bind_crds::hex;
use sha2::{Digest, Sha256};

use crate::provision::Settings;
use crate::provision::names::{
    ANNOTATION_BOUND_TO, ANNOTATION_DIGEST, ANNOTATION_ENDPOINT, ANNOTATION_EXPIRES,
    ANNOTATION_ISSUED,
};

/// Shortest time between two credentials of a consumer.
const RENEWAL_MIN: SignedDuration = SignedDuration::from_secs(5);

/// Why a new credential is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is none.
    #[error("there is none yet")]
    Missing,
    /// It is not what was written, or the original wrote it.
    #[error("it was changed by others, or is one without an end")]
    Damaged,
    /// The Secret that it is bound to is gone: somebody wants it to be worth nothing.
    #[error("it was revoked")]
    Revoked,
    /// The provider is reached under another address, CA or name.
    #[error("the address of the provider changed")]
    EndpointChanged,
    /// It is old enough.
    #[error("it is due")]
    Due,
}

/// What to do with a credential.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is good.
    Keep {
        /// The kubeconfig.
        kubeconfig: String,
        /// When it is due.
        renew_at: Timestamp,
    },
    /// A new one is needed.
    Issue(Reason),
}

/// Decides about the credential in `secret`, whose token should be bound to the Secret with the uid `bound_to`.
pub fn decide(
    secret: Option<&Secret>,
    key: &str,
    bound_to: Option<&str>,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    let none = BTreeMap::new();
    let Some(secret) = secret else {
        return Decision::Issue(Reason::Missing);
    };
    let annotations = secret.metadata.annotations.as_ref().unwrap_or(&none);
    let get = |name: &str| annotations.get(name).map(String::as_str);
    // Before all else: what was withdrawn because of this is still revoked.
    if get(ANNOTATION_BOUND_TO).is_some_and(|uid| bound_to != Some(uid)) {
        return Decision::Issue(Reason::Revoked);
    }
    let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(key)) else {
        return Decision::Issue(Reason::Missing);
    };
    let time = |name: &str| get(name).and_then(|text| text.parse::<Timestamp>().ok());
    let (Ok(kubeconfig), Some(issued), Some(expires)) = (
        String::from_utf8(bytes.0.clone()),
        time(ANNOTATION_ISSUED),
        time(ANNOTATION_EXPIRES),
    ) else {
        return Decision::Issue(Reason::Damaged);
    };
    if get(ANNOTATION_DIGEST) != Some(digest(&kubeconfig).as_str()) {
        return Decision::Issue(Reason::Damaged);
    }
    if get(ANNOTATION_BOUND_TO).is_none() {
        return Decision::Issue(Reason::Damaged);
    }
    if get(ANNOTATION_ENDPOINT) != Some(endpoint(settings).as_str()) {
        return Decision::Issue(Reason::EndpointChanged);
    }
    let renew_at = renew_at(issued, expires, settings.credential_renew_after);
    if now >= renew_at {
        return Decision::Issue(Reason::Due);
    }
    Decision::Keep {
        kubeconfig,
        renew_at,
    }
}

/// Whether a new credential may be made without a login. What was revoked stays revoked until somebody
/// who may bind does so again, and a consumer that never had one waits for the end of its first bind.
pub fn is_renewal(reason: Reason, is_bound: bool) -> bool {
    match reason {
        Reason::Revoked => false,
        Reason::Missing => is_bound,
        // Without the Secret to be bound to it is the original's, which bound nothing.
        Reason::Damaged | Reason::EndpointChanged | Reason::Due => true,
    }
}

/// The earlier of `renew_after` and half of the life that the API server granted, but not at once: with
/// clocks apart, or a server that grants seconds, there would be no end of issuing.
pub fn renew_at(issued: Timestamp, expires: Timestamp, renew_after: Duration) -> Timestamp {
    let half = expires.duration_since(issued) / 2;
    let after = SignedDuration::try_from(renew_after).unwrap_or(SignedDuration::MAX);
    let wait = half.min(after).max(RENEWAL_MIN);
    issued.saturating_add(wait).unwrap_or(issued)
}

/// Digest of a kubeconfig. It holds a token of high entropy, so the digest gives nothing away.
pub fn digest(kubeconfig: &str) -> String {
    hex::encode(&Sha256::digest(kubeconfig))
}

/// Digest of how consumers reach the provider.
pub fn endpoint(settings: &Settings) -> String {
    let mut hasher = Sha256::new();
    for part in [
        Some(settings.external_address.as_bytes()),
        settings.external_ca.as_deref(),
        settings.external_server_name.as_deref().map(str::as_bytes),
    ] {
        // The length keeps neighbours apart; none and empty mean the same to a kubeconfig.
        let part = part.unwrap_or_default();
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(&hasher.finalize())
}

#[cfg(test)]
mod tests;
