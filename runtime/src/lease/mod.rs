//! Leader election over a `Lease`, with the rules that the original's replicas follow, so that
//! either side can take over from the other.
//!
//! Who may lead is decided from how long *we* have seen the lease unchanged, on our own monotonic
//! clock; the times written in the lease are never compared with ours, because clocks differ.
//! Every write names the resourceVersion that it was decided on, so that of two candidates one loses.

mod decide;
mod run;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

pub use decide::{Decision, Observed, Record, decide};
pub use run::run;
pub use token::{LEAST_WRITE_TIME, LeaderToken};

/// Which lease to stand for, as whom, and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub name: String,
    /// Who we are; unique among the candidates.
    pub identity: String,
    /// How long the others have to see the lease unchanged before they may take it.
    pub duration: Duration,
    /// How long we lead without a successful renewal; shorter than [`LeaseConfig::duration`], the
    /// difference is what the last requests have for finishing.
    pub renew_deadline: Duration,
    /// Time between two attempts.
    pub retry_period: Duration,
}

impl LeaseConfig {
    /// Leads for 4 s, gives up after 3 s without renewal, tries every 0.5 s: another one leads
    /// within 5 s after a crash.
    #[must_use]
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(4),
            renew_deadline: Duration::from_secs(3),
            retry_period: Duration::from_millis(500),
        }
    }

    /// `$POD_NAME`, else the word and a random number: what the original's replicas call themselves.
    #[must_use]
    pub fn default_identity(word: &str) -> String {
        std::env::var("POD_NAME")
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("{word}-{:016x}", rand::random::<u64>()))
    }
}
