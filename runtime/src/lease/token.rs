//! What a leader holds while it leads. No IO.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;

/// A write is not begun with less than this left: it would be given up at once.
pub const LEAST_WRITE_TIME: Duration = Duration::from_millis(500);

/// Proof of leading, for as long as it is not cancelled; clones share it.
///
/// A write to *another* API server is not fenced by the lease. Where one that comes late would undo
/// what the next leader wrote, as with users' objects, it must start only with [`LEAST_WRITE_TIME`] of
/// [`LeaderToken::time_left`] and be given up when that has passed, which the writer sees to. Conditions
/// and signs of life need none of this: the next leader writes them anew.
#[derive(Clone)]
pub struct LeaderToken {
    token: CancellationToken,
    clock: SharedClock,
    /// Nobody else leads before then; none means that nobody else ever does.
    until: Arc<Mutex<Option<Instant>>>,
}

impl LeaderToken {
    /// Leads until told otherwise: for a process that stands alone, and for tests.
    #[must_use]
    pub fn unlimited(clock: SharedClock, token: CancellationToken) -> Self {
        Self {
            token,
            clock,
            until: Arc::default(),
        }
    }

    pub(super) fn limited(clock: SharedClock, token: CancellationToken, until: Instant) -> Self {
        Self {
            token,
            clock,
            until: Arc::new(Mutex::new(Some(until))),
        }
    }

    pub(super) fn extend(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// How long nobody else can lead, even if no renewal succeeds any more. Zero once cancelled.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        if self.token.is_cancelled() {
            Duration::ZERO
        } else {
            self.valid_for()
        }
    }

    /// How long the lease is good for, cancelled or not: for finishing what was begun.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        match *self.until.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(until) => until.saturating_duration_since(self.clock.monotonic()),
            None => Duration::MAX,
        }
    }

    /// Cancelled when leading ends: lost, or the process stops. Children of it end with it.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether leading has ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until leading has ended.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::clock::{Clock as _, FixedClock};

    #[test]
    fn time_left_runs_down_and_ends_with_the_token() {
        let clock = FixedClock::new(Timestamp::UNIX_EPOCH);
        let leader = LeaderToken::limited(
            clock.shared(),
            CancellationToken::new(),
            clock.monotonic() + Duration::from_secs(4),
        );
        clock.advance(Duration::from_secs(1));
        assert_eq!(leader.time_left(), Duration::from_secs(3));
        leader.extend(clock.monotonic() + Duration::from_secs(4));
        assert_eq!(leader.clone().time_left(), Duration::from_secs(4));
        clock.advance(Duration::from_secs(9));
        assert_eq!(leader.time_left(), Duration::ZERO);
        leader.extend(clock.monotonic() + Duration::from_secs(4));
        leader.token().cancel();
        assert_eq!(leader.time_left(), Duration::ZERO);
        assert_eq!(leader.valid_for(), Duration::from_secs(4));
    }

    #[test]
    fn an_unlimited_leader_has_time_until_it_is_cancelled() {
        let token = CancellationToken::new();
        let leader = LeaderToken::unlimited(
            FixedClock::new(Timestamp::UNIX_EPOCH).shared(),
            token.clone(),
        );
        assert_eq!(leader.time_left(), Duration::MAX);
        token.cancel();
        assert_eq!(leader.time_left(), Duration::ZERO);
    }
}
