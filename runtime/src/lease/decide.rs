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
    /// The version to write on top of; API servers always give one.
    pub resource_version: String,
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
pub fn decide(
    observed: Option<&Observed>,
    identity: &str,
    own: Duration,
    now: Instant,
) -> Decision {
    let Some(Observed { record, since, .. }) = observed else {
        return Decision::Create;
    };
    if record.holder == identity {
        return Decision::Renew;
    }
    if record.holder.is_empty() {
        return Decision::Take;
    }
    let patience = own.max(record.duration);
    let seen = now.saturating_duration_since(*since);
    if seen >= patience {
        Decision::Take
    } else {
        Decision::Wait(patience - seen)
    }
}

impl Observed {
    /// What is known after `lease` was read at `now`: an unchanged record keeps its age.
    #[must_use]
    pub fn update(previous: Option<Self>, lease: &Lease, now: Instant) -> Self {
        let record = Record::read(lease.spec.as_ref());
        let since = previous
            .filter(|previous| previous.record == record)
            .map_or(now, |previous| previous.since);
        Self {
            record,
            resource_version: lease.metadata.resource_version.clone().unwrap_or_default(),
            since,
        }
    }
}

impl Record {
    fn read(spec: Option<&LeaseSpec>) -> Self {
        let spec = spec.cloned().unwrap_or_default();
        Self {
            holder: spec.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(
                spec.lease_duration_seconds
                    .and_then(|s| u64::try_from(s).ok())
                    .unwrap_or(0),
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Duration = Duration::from_secs(4);

    fn record(holder: &str, duration: u64) -> Record {
        Record {
            holder: holder.to_owned(),
            duration: Duration::from_secs(duration),
            acquired: Some(Timestamp::UNIX_EPOCH),
            renewed: Some(Timestamp::UNIX_EPOCH),
            transitions: 3,
        }
    }

    fn seen(record: Record, since: Instant) -> Observed {
        Observed {
            record,
            resource_version: "7".to_owned(),
            since,
        }
    }

    fn config() -> LeaseConfig {
        LeaseConfig::new("kube-bind", "konnector", "us")
    }

    fn after(seen: &Observed, seconds: u64) -> Decision {
        decide(
            Some(seen),
            "us",
            OWN,
            seen.since + Duration::from_secs(seconds),
        )
    }

    #[test]
    fn a_lease_is_never_overtaken_before_both_durations_have_passed() {
        for (theirs, patience) in [(4, 4), (15, 15), (1, 4), (0, 4)] {
            let seen = seen(record("them", theirs), Instant::now());
            for second in 0..patience {
                let left = Duration::from_secs(patience - second);
                assert_eq!(
                    after(&seen, second),
                    Decision::Wait(left),
                    "{theirs} s lease after {second} s"
                );
            }
            assert_eq!(after(&seen, patience), Decision::Take, "{theirs} s lease");
        }
    }

    #[test]
    fn a_follower_of_an_original_leader_waits_15_seconds_since_its_last_renewal() {
        let start = Instant::now();
        let first = seen(record("them", 15), start);
        let renewed = Record {
            renewed: Some(Timestamp::UNIX_EPOCH + OWN),
            ..record("them", 15)
        };
        let lease = renewed.to_lease(&config(), Some("8".to_owned()));
        let second = Observed::update(Some(first), &lease, start + Duration::from_secs(10));
        assert_eq!(second.since, start + Duration::from_secs(10));
        assert_eq!(
            decide(Some(&second), "us", OWN, start + Duration::from_secs(24)),
            Decision::Wait(Duration::from_secs(1))
        );
        assert_eq!(
            decide(Some(&second), "us", OWN, start + Duration::from_secs(25)),
            Decision::Take
        );
    }

    /// How long after its last renewal a leader that crashed is followed, at worst: the follower looks
    /// just before that renewal, and then as often as it does.
    fn followed_after(theirs: u64) -> Duration {
        let config = config();
        let crash = Instant::now();
        let first_look = crash + config.retry_period;
        let seen = seen(record("them", theirs), first_look);
        let mut look = first_look;
        while decide(Some(&seen), "us", config.duration, look) != Decision::Take {
            look += config.retry_period;
        }
        look - crash
    }

    #[test]
    fn by_default_our_leader_is_followed_in_less_than_five_seconds_and_the_originals_not_before_its_time()
     {
        let ours = config().duration.as_secs();
        assert!(followed_after(ours) <= Duration::from_millis(4500));
        assert!(followed_after(15) >= Duration::from_secs(15));
        assert!(followed_after(15) <= Duration::from_secs(16));
    }

    #[test]
    fn an_unchanged_record_keeps_its_age_whatever_else_changed_in_the_object() {
        let start = Instant::now();
        let first = seen(record("them", 4), start);
        let mut lease = record("them", 4).to_lease(&config(), Some("99".to_owned()));
        lease.metadata.labels = Some([("team".to_owned(), "storage".to_owned())].into());
        let second = Observed::update(Some(first), &lease, start + Duration::from_secs(3));
        assert_eq!(second.since, start);
        assert_eq!(second.resource_version, "99");
    }

    #[test]
    fn clocks_of_others_do_not_matter() {
        let start = Instant::now();
        for renewed in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            let seen = seen(
                Record {
                    renewed: Some(renewed),
                    ..record("them", 4)
                },
                start,
            );
            assert_eq!(after(&seen, 3), Decision::Wait(Duration::from_secs(1)));
            assert_eq!(after(&seen, 4), Decision::Take);
        }
    }

    #[test]
    fn nobody_is_waited_for_where_nobody_leads() {
        let now = Instant::now();
        assert_eq!(decide(None, "us", OWN, now), Decision::Create);
        assert_eq!(
            decide(Some(&seen(record("", 15), now)), "us", OWN, now),
            Decision::Take
        );
    }

    #[test]
    fn our_own_lease_is_renewed_however_old_it_is() {
        let seen = seen(record("us", 4), Instant::now());
        assert_eq!(after(&seen, 0), Decision::Renew);
        assert_eq!(after(&seen, 100), Decision::Renew);
    }

    #[test]
    fn only_a_change_of_hands_counts_as_a_transition() {
        let now = Timestamp::from_second(50).expect("in range");
        let renewed = Record::held(Some(&record("us", 4)), &config(), now);
        assert_eq!(
            (renewed.transitions, renewed.acquired),
            (3, Some(Timestamp::UNIX_EPOCH))
        );
        let taken = Record::held(Some(&record("them", 15)), &config(), now);
        assert_eq!((taken.transitions, taken.acquired), (4, Some(now)));
        assert_eq!(taken.duration, OWN);
        assert_eq!(Record::held(None, &config(), now).transitions, 0);
    }

    #[test]
    fn a_written_record_is_read_back_and_survives_odd_durations() {
        let record = record("us", 4);
        let lease = record.to_lease(&config(), None);
        assert_eq!(Record::read(lease.spec.as_ref()), record);
        let short = Record {
            duration: Duration::from_millis(1500),
            ..record.clone()
        };
        assert_eq!(
            Record::read(short.to_lease(&config(), None).spec.as_ref()).duration,
            Duration::from_secs(2)
        );
        let none = Record {
            duration: Duration::ZERO,
            ..record
        };
        assert_eq!(
            Record::read(none.to_lease(&config(), None).spec.as_ref()).duration,
            Duration::from_secs(1)
        );
        let negative = LeaseSpec {
            lease_duration_seconds: Some(-5),
            ..LeaseSpec::default()
        };
        assert_eq!(Record::read(Some(&negative)).duration, Duration::ZERO);
        assert_eq!(Record::read(None).holder, "");
    }
}
