//! Somebody else keeps changing what we write: which steps only undo that, and how long they wait. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::pair::Pair;
use super::plan::{Marks, Rules, Step};

/// Between two rounds of undoing: the first wait, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(300));
/// After so long without one, the next round is the first again.
const PEACE: Duration = Duration::from_secs(600);

/// What was undone on one object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fight {
    rounds: u8,
    last: Instant,
    /// The last round did not succeed.
    open: bool,
}

impl Fight {
    /// Another round begins, or the last one once more.
    pub(super) fn round(before: Option<Self>, now: Instant) -> Self {
        let before = before.filter(|fight| fight.last + PEACE > now);
        let rounds = before.map_or(1, |fight| {
            fight.rounds.saturating_add(u8::from(!fight.open))
        });
        Self {
            rounds,
            last: now,
            open: false,
        }
    }

    /// The round did not succeed: when it is tried again is not for us to say.
    pub(super) fn reopen(&mut self) {
        self.open = true;
    }

    /// When the next round may begin.
    pub(super) fn until(self) -> Instant {
        if self.open {
            return self.last;
        }
        let wait = WAIT.0.saturating_mul(1 << (self.rounds - 1).min(16));
        self.last + wait.min(WAIT.1)
    }
}

/// Of these missing steps those that are due, if steps that only undo have to wait. What the author changes
/// ends the waiting.
pub(super) fn due(pair: &Pair, rules: &Rules, mut steps: Vec<Step>) -> Vec<Step> {
    if rules.patient && !is_authors(pair, rules, &steps) {
        steps.retain(|step| !undoes(pair, rules, *step));
    }
    steps
}

/// Whether these steps bring what the consumer's author changed, or make the copy.
pub(super) fn is_authors(pair: &Pair, rules: &Rules, steps: &[Step]) -> bool {
    let brings = |step: &Step| match step {
        Step::Create => true,
        Step::Change => !undoes(pair, rules, *step),
        _ => false,
    };
    steps.iter().any(brings)
}

/// Whether a step only undoes what somebody else did: a side differs from what we wrote there, although the
/// other side has not changed since.
pub(super) fn undoes(pair: &Pair, rules: &Rules, step: Step) -> bool {
    match step {
        Step::Adopt | Step::Change => {
            let consumer = pair.consumer.as_ref();
            consumer.is_some_and(|consumer| consumer.configuration == pair.sent)
        }
        Step::Status => {
            let provider = pair.provider.as_ref();
            provider.is_some_and(|provider| provider.status == pair.mirrored)
        }
        Step::Annotate => Marks::of(pair, rules).digest() == pair.marked,
        Step::Mark | Step::Create | Step::Delete | Step::Release => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_waits_longer_and_after_peace_the_first_one_does_not() {
        let start = Instant::now();
        let mut fight = None;
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..13 {
            let next = Fight::round(fight, now);
            waits.push((next.until() - now).as_millis());
            now = next.until();
            fight = Some(next);
        }
        assert_eq!(waits[..3], [400, 800, 1600]);
        assert_eq!(waits[11..], [300_000, 300_000]);
        let later = now + PEACE;
        let fight = Fight::round(fight, later);
        assert_eq!(fight.until(), later + WAIT.0);
    }
}
