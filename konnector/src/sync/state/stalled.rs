//! The objects whose last request a side did not carry out for reasons of its own. Pure.

use std::mem::discriminant;
use std::time::Duration;

use tokio::time::Instant;

use super::super::cluster::{Error, Key};
use super::super::maps::Map;

/// How often one of the objects that wait looks whether the side is well again.
pub(super) const PROBE: Duration = Duration::from_secs(30);

/// So many failures of whatever objects, over at least this time and with no success in between, are no
/// hiccup: where a server takes its time to fail, one object may wait for minutes until it fails again.
const ROW: (u32, Duration) = (8, Duration::from_secs(5));

/// The objects that wait for one side, since when.
#[derive(Default)]
pub(in super::super) struct Stalled {
    keys: Map<Key, Instant>,
    /// Why, once that has lasted; the first words of one sort stay, so that nothing flaps.
    why: Option<Error>,
    /// When the side last did all that was asked for some object.
    worked: Option<Instant>,
    /// How often it has failed since, and since when.
    row: Option<(u32, Instant)>,
    /// Before this no further object looks whether a right or a credential has been repaired.
    probed: Option<Instant>,
}

impl Stalled {
    /// A request failed; `lasting` says whether it is more than a hiccup. Says whether the object seems
    /// to be alone with that.
    pub(super) fn add(&mut self, key: &Key, error: &Error, lasting: bool, now: Instant) -> bool {
        let since = *self.keys.entry(key.clone()).or_insert(now);
        let alone = is_of_one(error) && self.worked.is_some_and(|at| at > since);
        let (failures, first) = self.row.unwrap_or((0, now));
        self.row = Some((failures.saturating_add(1), first));
        let lasting = lasting || (failures >= ROW.0 && now - first >= ROW.1);
        if lasting && !alone {
            keep_first(&mut self.why, error);
        }
        alone
    }

    /// Whether this object should look soon whether the side is well again, instead of the minutes that
    /// it would wait by itself: nobody tells when a right is granted. One does for all.
    pub(super) fn probes(&mut self, now: Instant) -> bool {
        let due = self.probed.is_none_or(|at| at <= now);
        if due {
            self.probed = Some(now + PROBE);
        }
        due
    }

    /// The side did all that was asked for an object.
    pub(super) fn works(&mut self, now: Instant) {
        self.worked = Some(now);
        self.row = None;
        if self.why.as_ref().is_some_and(is_of_one) {
            self.why = None;
        }
    }

    /// This object does not wait any more; says whether it did.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let waited = self.keys.remove(key).is_some();
        if self.keys.is_empty() {
            self.why = None;
            self.row = None;
        }
        waited
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.keys()
    }

    pub(super) fn why(&self) -> Option<&Error> {
        self.why.as_ref()
    }
}

/// Whether a server may answer like this for one object and be well otherwise. A missing right or an
/// invalid credential concerns all of a kind, even if some other request gets through.
fn is_of_one(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::TimedOut { .. })
}

/// Takes over an error unless one of its sort is known.
pub(super) fn keep_first(known: &mut Option<Error>, error: &Error) {
    if known.as_ref().map(discriminant) != Some(discriminant(error)) {
        *known = Some(error.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_objects_that_fail_once_each_are_no_hiccup_unless_one_succeeds() {
        let start = Instant::now();
        let fail = |stalled: &mut Stalled, n: u32| {
            let key = Key::new("n", n.to_string());
            stalled.add(&key, &boom(), false, start + Duration::from_secs(n.into()));
        };
        let mut stalled = Stalled::default();
        for n in 0..ROW.0 {
            fail(&mut stalled, n);
        }
        assert_eq!(stalled.why(), None);
        stalled.works(start + Duration::from_secs(ROW.0.into()));
        fail(&mut stalled, ROW.0 + 1);
        assert_eq!(stalled.why(), None);
        for n in 1..=ROW.0 {
            fail(&mut stalled, ROW.0 + 1 + n);
        }
        assert!(stalled.why().is_some());
    }

    fn boom() -> Error {
        Error::Unavailable {
            message: "boom".into(),
            retry_after: None,
        }
    }

    #[test]
    fn an_error_that_others_do_not_get_is_the_objects_own() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let key = Key::new("n", "a");
        let mut stalled = Stalled::default();
        stalled.works(at(0));
        assert!(!stalled.add(&key, &boom(), false, at(1)));
        assert!(
            !stalled.add(&key, &boom(), true, at(2)),
            "nothing got through since"
        );
        assert!(stalled.why().is_some());
        stalled.works(at(3));
        assert_eq!(stalled.why(), None);
        assert!(stalled.add(&key, &boom(), true, at(4)));
        assert_eq!(stalled.why(), None);
        let denied = Error::Denied {
            message: "cannot patch".into(),
        };
        assert!(!stalled.add(&key, &denied, true, at(5)));
        assert!(stalled.why().is_some(), "that concerns all of the kind");
    }
}
