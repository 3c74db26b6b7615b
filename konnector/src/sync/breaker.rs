//! Many consumer objects that vanish at once are more likely a mistake (a restored backup, a CRD
//! that was made anew, the wrong cluster) than a wish. Then no copy is deleted because of it. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::class::Tally;

/// So many are always believed.
const ALWAYS: usize = 10;
/// Deletions of orphans within this time belong together.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts the orphans of the last minute. An ordinary deletion leaves none: our finalizer holds the
/// consumer object until its copy is gone.
#[derive(Default)]
pub(super) struct Breaker {
    deleted: VecDeque<Instant>,
}

impl Breaker {
    /// A copy is being deleted because its consumer object vanished.
    pub(super) fn deleting(&mut self, now: Instant) {
        while self
            .deleted
            .front()
            .is_some_and(|at| now.duration_since(*at) > WINDOW)
        {
            self.deleted.pop_front();
        }
        self.deleted.push_back(now);
    }

    /// Whether copies without a consumer object are kept for now: more than a few, and more than
    /// half of all, vanished within a minute or are orphans at this moment.
    pub(super) fn is_tripped(&self, tally: &Tally, now: Instant) -> bool {
        let recent = self
            .deleted
            .iter()
            .filter(|at| now.duration_since(**at) <= WINDOW)
            .count();
        let vanished = tally.orphans() + recent;
        tally.orphans() > 0 && vanished > ALWAYS && vanished > tally.living()
    }
}

#[cfg(test)]
mod tests {
    use super::super::class::Class;
    use super::*;

    fn tally(orphans: usize, synced: usize) -> Tally {
        let mut tally = Tally::default();
        (0..orphans).for_each(|_| tally.change(&Class::Nothing, &Class::Orphan));
        (0..synced).for_each(|_| tally.change(&Class::Nothing, &Class::Synced));
        tally
    }

    #[tokio::test(start_paused = true)]
    async fn trips_when_most_vanish_and_not_when_a_few_do() {
        let now = Instant::now();
        let breaker = Breaker::default();
        assert!(!breaker.is_tripped(&tally(10, 0), now));
        assert!(breaker.is_tripped(&tally(11, 0), now));
        assert!(!breaker.is_tripped(&tally(11, 100), now));
    }

    #[tokio::test(start_paused = true)]
    async fn vanishing_one_by_one_trips_it_too() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        (0..10).for_each(|_| breaker.deleting(now));
        assert!(breaker.is_tripped(&tally(1, 5), now));
        assert!(!breaker.is_tripped(&tally(1, 5), now + WINDOW * 2));
    }
}
