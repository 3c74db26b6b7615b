//! Who may lead, decided from what was seen and for how long. No IO.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::LeaseConfig;

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who leads; empty after a clean stop.
    pub holder: String,
    /// How long the holder wants to be left alone after each renewal.
    pub duration: Duration,
    /// When the holder began to lead, on its own clock. Only ever copied or compared for equality.
    pub acquired: Option<Timestamp>,
    /// When the holder last renewed, on its own clock. Only ever compared for equality.
    pub renewed: Option<Timestamp>,
    /// How often the lease changed hands.
    pub transitions: i32,
}

/// A lease as we have seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What it said last.
    pub record: Record,
    /// The version to write on top of.
    pub resource_version: Option<String>,
    /// When we first saw it say that, on our monotonic clock.
    pub since: Instant,
}

/// What to do about a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nobody has ever led.
    Create,
    /// We lead; write a new renewal time.
    Renew,
    /// Nobody leads any more.
    Take,
    /// Somebody else leads, or may still do so, at least this long.
    Wait(Duration),
}

/// What to do, given what was seen. Never takes a lease before it was seen unchanged for the longer
/// of our own duration and the holder's: a holder that renews more slowly is still leading.
#[must_use]
pub fn decide(observed: Option<&Observed>, identity: &str, own: Duration, now: Instant) -> Decision {
    let Some(Observed { record, since, .. }) = observed else { return Decision::Create };
    if record.holder == identity {
        return Decision::Renew;
    }
    if record.holder.is_empty() {
        return Decision::Take;
    }
    let patience = own.max(record.duration);
    let seen = now.saturating_duration_since(*since);
    if seen >= patience { Decision::Take } else { Decision::Wait(patience - seen) }
}

impl Observed {
    /// What is known after `lease` was read at `now`: an unchanged record keeps its age.
    #[must_use]
    pub fn update(previous: Option<Self>, lease: &Lease, now: Instant) -> Self {
        let record = Record::read(lease.spec.as_ref());
        let since = previous.filter(|previous| previous.record == record).map_or(now, |previous| previous.since);
        Self { record, resource_version: lease.metadata.resource_version.clone(), since }
    }
}

impl Record {
    fn read(spec: Option<&LeaseSpec>) -> Self {
        let spec = spec.cloned().unwrap_or_default();
        Self {
            holder: spec.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0)),
            acquired: spec.acquire_time.map(|MicroTime(time)| time),
            renewed: spec.renew_time.map(|MicroTime(time)| time),
            transitions: spec.lease_transitions.unwrap_or(0),
        }
    }

    /// The record with which `config.identity` leads, after `previous`.
    #[must_use]
    pub(super) fn held(previous: Option<&Self>, config: &LeaseConfig, now: Timestamp) -> Self {
        let ours = previous.filter(|previous| previous.holder == config.identity);
        Self {
            holder: config.identity.clone(),
            duration: config.duration,
            acquired: ours.and_then(|ours| ours.acquired).or(Some(now)),
            renewed: Some(now),
            transitions: match (previous, ours) {
                (_, Some(ours)) => ours.transitions,
                (Some(previous), None) => previous.transitions.saturating_add(1),
                (None, None) => 0,
            },
        }
    }

    /// The record that lets anybody lead at once: no holder, and the shortest duration that the API takes.
    #[must_use]
    pub(super) fn released(&self, now: Timestamp) -> Self {
        Self {
            holder: String::new(),
            duration: Duration::from_secs(1),
            acquired: Some(now),
            renewed: Some(now),
            transitions: self.transitions,
        }
    }

    /// The lease that says this, to be written on top of `resource_version` only.
    #[must_use]
    pub(super) fn to_lease(&self, config: &LeaseConfig, resource_version: Option<String>) -> Lease {
        let seconds = self.duration.as_millis().div_ceil(1000).max(1);
        Lease {
            metadata: ObjectMeta {
                name: Some(config.name.clone()),
                namespace: Some(config.namespace.clone()),
                resource_version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.holder.clone()),
                lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
                acquire_time: self.acquired.map(MicroTime),
                renew_time: self.renewed.map(MicroTime),
                lease_transitions: Some(self.transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}
