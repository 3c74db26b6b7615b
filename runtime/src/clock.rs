//! Time as an argument, so that decisions can be tested at any moment. No IO.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time, for what is written into objects and tokens.
    fn now(&self) -> Timestamp;
    /// Time that never jumps, for measuring how long something took or has been unchanged.
    fn monotonic(&self) -> Instant;
}

/// A clock that is handed to everything that needs one.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, ready to be handed around.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the machine for the time"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that stands still until it is moved; clones share their time. For tests.
#[derive(Debug, Clone)]
pub struct FixedClock {
    times: Arc<Mutex<(Timestamp, Instant)>>,
}

impl FixedClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            times: Arc::new(Mutex::new((now, Instant::now()))),
        }
    }

    /// This clock, ready to be handed around; it still follows [`FixedClock::advance`].
    #[must_use]
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.0 += SignedDuration::try_from(by).expect("tests move by far less than 292 years");
        times.1 += by;
    }

    /// Makes the wall clock jump, as time synchronisation does; the monotonic time stays.
    pub fn set(&self, now: Timestamp) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Instant {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_it_is_told_to() {
        let clock = FixedClock::new(Timestamp::UNIX_EPOCH);
        let shared = clock.shared();
        let before = shared.monotonic();
        clock.advance(Duration::from_secs(90));
        assert_eq!(shared.now().as_second(), 90);
        assert_eq!(shared.monotonic() - before, Duration::from_secs(90));
    }

    #[test]
    fn a_jump_of_the_wall_clock_leaves_the_monotonic_time_alone() {
        let clock = FixedClock::new(Timestamp::UNIX_EPOCH);
        let before = clock.monotonic();
        clock.set(Timestamp::from_second(1_000_000).expect("in range"));
        assert_eq!(clock.now().as_second(), 1_000_000);
        assert_eq!(clock.monotonic(), before);
    }
}
