//! What is said about an engine. No IO.

use std::time::{Duration, Instant};

use super::super::facts::SyncState;
use crate::patience::Patience;
use crate::sync::Counts;

/// How an engine is doing.
pub struct Ensured {
    /// What is said about it.
    pub state: SyncState,
    /// When that changes by time alone.
    pub again: Option<Duration>,
}

/// What is said about an engine: what fails for a moment only is not.
pub(super) fn judge(patience: &mut [Patience; 2], counts: Counts, now: Instant) -> Ensured {
    let mut again: Option<Duration> = None;
    let failing = [counts.consumer_failing, counts.provider_failing];
    for (patience, why) in patience.iter_mut().zip(failing) {
        let Some(why) = why else {
            patience.works();
            continue;
        };
        let Some(left) = patience.failed(now, now) else {
            let state = SyncState::Failing(why);
            return Ensured { state, again: None };
        };
        again = Some(again.map_or(left, |again| again.min(left)));
    }
    let state = if counts.held > 0 {
        SyncState::Held(counts.held)
    } else if counts.listed {
        SyncState::Running
    } else {
        SyncState::Listing
    };
    Ensured { state, again }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_fails_for_a_moment_is_still_running() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let counts = |failing: Option<&str>| Counts {
            listed: true,
            provider_failing: failing.map(str::to_owned),
            ..Counts::default()
        };
        let throttled = || counts(Some("the API server is throttling"));
        let mut patience = Default::default();
        let first = judge(&mut patience, throttled(), at(0));
        assert_eq!(first.state, SyncState::Running);
        let again = first.again.expect("it is looked at again");
        let back = judge(&mut patience, counts(None), at(2));
        assert_eq!((back.state, back.again), (SyncState::Running, None));
        judge(&mut patience, throttled(), at(10));
        let other_words = counts(Some("connection refused"));
        let lasting = judge(&mut patience, other_words, at(10) + again);
        assert_eq!(
            lasting.state,
            SyncState::Failing("connection refused".into())
        );
    }
}
