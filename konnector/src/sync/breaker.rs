//! Many consumer objects that vanish at once are more likely a mistake (a restored backup, a CRD
//! that was made anew, the wrong cluster) than a wish. Then no copy is deleted because of it, until
//! the objects are back or a person says that it was meant. Pure.
//!
//! What a person deletes never comes here: our finalizer holds such objects until their copies are
//! gone, so they do not vanish.

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
    tripped: bool,
    released: bool,
}

impl Breaker {
    /// A copy is being deleted because its consumer object vanished.
    pub(super) fn deleting(&mut self, now: Instant) {
        self.forget(now);
        self.deleted.push_back(now);
    }

    /// Looks at the counts anew: more than a few, and more than half of all, vanished within a minute
    /// or are orphans at this moment. Once tripped it stays so until no orphan is left.
    pub(super) fn update(&mut self, tally: &Tally, now: Instant) {
        self.forget(now);
        let orphans = tally.orphans();
        let vanished = orphans + self.deleted.len();
        let too_many = vanished > ALWAYS && vanished > tally.living();
        self.tripped = orphans > 0 && (self.tripped || too_many);
    }

    /// A person says whether what vanished was meant to.
    pub(super) fn release(&mut self, released: bool) {
        self.released = released;
    }

    /// Whether copies without a consumer object are kept for now.
    pub(super) fn holds(&self) -> bool {
        self.tripped && !self.released
    }

    fn forget(&mut self, now: Instant) {
        let old = |at: &Instant| now.duration_since(*at) > WINDOW;
        while self.deleted.front().is_some_and(old) {
            self.deleted.pop_front();
        }
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

    fn holds(breaker: &mut Breaker, orphans: usize, synced: usize) -> bool {
        breaker.update(&tally(orphans, synced), Instant::now());
        breaker.holds()
    }

    #[tokio::test(start_paused = true)]
    async fn trips_when_most_vanish_and_not_when_a_few_do() {
        assert!(!holds(&mut Breaker::default(), 10, 0));
        assert!(holds(&mut Breaker::default(), 11, 0));
        assert!(!holds(&mut Breaker::default(), 11, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn vanishing_one_by_one_trips_it_too() {
        let mut breaker = Breaker::default();
        (0..10).for_each(|_| breaker.deleting(Instant::now()));
        tokio::time::advance(WINDOW / 2).await;
        assert!(holds(&mut breaker, 1, 5));
        let mut breaker = Breaker::default();
        (0..10).for_each(|_| breaker.deleting(Instant::now()));
        tokio::time::advance(WINDOW * 2).await;
        assert!(!holds(&mut breaker, 1, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn it_holds_until_the_objects_are_back_or_somebody_releases_it() {
        let mut breaker = Breaker::default();
        assert!(holds(&mut breaker, 20, 0));
        tokio::time::advance(WINDOW * 2).await;
        assert!(holds(&mut breaker, 5, 15), "some are back");
        assert!(!holds(&mut breaker, 0, 20), "all are back");
        assert!(holds(&mut breaker, 20, 0));
        breaker.release(true);
        assert!(!holds(&mut breaker, 20, 0));
    }
}
