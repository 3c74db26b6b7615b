//! Failures that pass by themselves are not worth a word. No IO.
//!
//! An API server that restarts, or that sets up the storage of a kind that was just changed, is away
//! for a few seconds. A condition that told of it would only make people look.

use std::time::{Duration, Instant};

/// What fails for less is still fine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Since when something fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// An attempt failed that began at `began`. Says how much longer that may go on before it is
    /// said; `None` once it has lasted.
    pub fn failed(&mut self, began: Instant, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(began);
        let left = PATIENCE.saturating_sub(now.saturating_duration_since(since));
        (!left.is_zero()).then_some(left)
    }

    /// It works.
    pub fn works(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_is_said_and_each_failure_counts_from_its_own_beginning() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::default();
        assert_eq!(patience.failed(at(0), at(0)), Some(PATIENCE));
        let left = patience.failed(at(3), at(4));
        assert_eq!(left, Some(Duration::from_secs(1)));
        assert_eq!(patience.failed(at(5), at(5)), None);
        patience.works();
        assert_eq!(patience.failed(at(6), at(6)), Some(PATIENCE));
        patience.works();
        assert_eq!(patience.failed(at(10), at(20)), None, "a long attempt");
    }
}
